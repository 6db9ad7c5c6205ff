"""`calibrate` on pictures made here: what it stores is what is measured, and the weights stay as they are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from resnet_core import cli
from resnet_core.data.datasets import DatasetSpec, folder_dataset
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import DatasetError
from resnet_core.inference import gathering
from resnet_core.inference.calibrating import calibrate, without_source
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.gathering import Gathered, find_others, gather
from resnet_core.models.zoo import build_model
from resnet_core.training.calibration import expected_calibration_error, held_out_probabilities
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.unknown_score import THRESHOLD

NAMES = ("green", "red")


@pytest.fixture(autouse=True)
def _few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DRAWN": 4, "COLLAGES": 4, "LEAST_VIEWS": 12}.items():
        monkeypatch.setattr(gathering, name, value)


def paint(folder: Path, colors: dict[str, tuple[int, int, int]], count: int) -> Path:
    rng = np.random.default_rng(sum(map(ord, folder.name)))
    for name, color in colors.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.clip(np.array(color) + rng.normal(0, 30, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).resize((70, 50)).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with train and val, a folder of other things, and a checkpoint."""
    made = tmp_path_factory.mktemp("calibrating")
    colors = {"green": (40, 180, 40), "red": (200, 30, 40)}
    paint(made / "mine" / "train", colors, 12)
    paint(made / "mine" / "val", colors, 10)
    paint(made / "walls", {"blue": (30, 30, 200), "reds": (220, 20, 20)}, 8)
    torch.manual_seed(0)
    model = build_model("resnet20", num_classes=2)
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(model.architecture_arguments),
        class_names=NAMES,
        preprocessing=Preprocessing(resize=32, crop=32),
        flip_average=True,
        training={"config": {"epochs": 3}},
    )
    save_checkpoint(made / "net.safetensors", checkpoint, model.state_dict(), half=True)
    return made


@pytest.fixture(scope="module")
def dataset(home: Path) -> DatasetSpec:
    return folder_dataset(home / "mine", name="mine")


@pytest.fixture
def gathered(home: Path, dataset: DatasetSpec) -> Gathered:
    classifier = Classifier(*load_checkpoint(home / "net.safetensors"), engine="plain", features=True)
    others = [find_others(str(home / "walls"), dataset, data_dir=home)]
    told: list[tuple[int, int]] = []
    found = gather(classifier, dataset, others, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    return found


def test_a_source_without_a_readable_picture_is_named(home: Path, dataset: DatasetSpec, tmp_path: Path):
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "1.png").write_bytes(b"no picture")
    classifier = Classifier(*load_checkpoint(home / "net.safetensors"), engine="plain", features=True)
    others = [find_others("torn", dataset, data_dir=tmp_path)]
    with pytest.raises(DatasetError, match="No picture of “torn” could be read"):
        gather(classifier, dataset, others, progress=lambda done, total: None)


def test_other_things_never_include_the_classes_themselves(home: Path, dataset: DatasetSpec) -> None:
    assert len(find_others(str(home / "walls"), dataset, data_dir=home).pictures) == 8, "“reds” are “red”"
    assert find_others("walls", dataset, data_dir=home).name == "walls"
    with pytest.raises(DatasetError, match="no pictures of other things"):
        find_others(str(home / "mine"), dataset, data_dir=home)
    with pytest.raises(DatasetError, match="no data set or folder"):
        find_others("nowhere", dataset, data_dir=home)


def test_everything_is_asked_for_and_no_val_picture_is_fitted_on(gathered: Gathered) -> None:
    assert len(gathered.held) == 20
    assert len(gathered.known) == 2 * 24
    assert sorted(gathered.natural) == ["walls"]
    assert len(gathered.natural["walls"]) == 8 + 2 * 8, "as they are, and twice degraded"
    assert len(gathered.drawn) == 9
    assert gathered.held.shape[1] == 2 + 2 * sum(gathered.channels)
    same = torch.cdist(gathered.held, gathered.known).min()
    assert float(same) > 0


def test_what_is_stored_is_what_is_measured(home: Path, gathered: Gathered) -> None:
    checkpoint, _ = load_checkpoint(home / "net.safetensors")
    made = calibrate(checkpoint, gathered)
    assert made.unknown is not None
    scores = made.unknown.score(gathered.features(gathered.held))
    rate = float((scores < THRESHOLD).double().mean())
    assert made.metrics["unknown_rate"] == rate <= 0.1
    honest = held_out_probabilities(gathered.held_logits, gathered.held_targets)
    assert made.metrics["val_ece_held_out"] == pytest.approx(expected_calibration_error(honest, gathered.held_targets))
    assert sum(row[2] for row in made.metrics["reliability"]) == 20
    assert made.unknown.others is not None
    lone = without_source(gathered, "walls")
    assert made.unknown.others.share_below(THRESHOLD) == pytest.approx(
        float((lone < THRESHOLD).double().mean()), abs=0.05
    )
    assert made.unknown.others.count == len(lone)
    json.dumps(made.metrics, allow_nan=False)


def test_each_fold_s_temperature_comes_from_the_others() -> None:
    """A fold whose labels are nonsense spoils its own loss, never its own temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 4, generator=generator) * 2
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    honest = held_out_probabilities(logits * 3, targets)
    assert torch.allclose(honest.sum(1), torch.ones(2000), atol=1e-5)
    assert (
        expected_calibration_error(honest, targets)
        < 0.03
        < expected_calibration_error((logits * 3).softmax(1), targets)
    )
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(0))
    spoiled = targets.clone()
    spoiled[order[0::5]] = (spoiled[order[0::5]] + 1) % 4
    again = held_out_probabilities(logits * 3, spoiled)
    assert torch.equal(again[order[0::5]], honest[order[0::5]])


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    code = cli.main([str(each) for each in arguments])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def weights(path: Path) -> dict[str, Tensor]:
    return load_checkpoint(path)[1].state_dict()


def test_the_command_writes_a_checkpoint_that_judges(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = home / "net.safetensors", tmp_path / "out.safetensors"
    asked = ("--checkpoint", source, "--dataset", home / "mine", "--negatives", home / "walls", "--engine", "plain")
    facts = json.loads(run(capsys, "calibrate", *asked, "--output", output, "--json"))
    assert facts["negatives"] == ["walls"]
    assert 0 <= facts["let_through_others"] <= 1
    before, after = weights(source), weights(output)
    assert all(torch.equal(before[name], after[name]) for name in before)
    checkpoint = load_checkpoint(output)[0]
    assert checkpoint.training == {"config": {"epochs": 3}}
    assert checkpoint.temperature == facts["temperature"]
    assert set(checkpoint.unknown.sources) == {"walls", *gathering.KINDS}  # type: ignore[union-attr]
    shown = ("--checkpoint", output, "--dataset", home / "mine", "--json")
    scores = json.loads(run(capsys, "evaluate", *shown))
    assert scores["unknown_rate"] == pytest.approx(facts["refused_known"], abs=0.051)
    assert sum(row["n"] for row in scores["reliability"]) == scores["n"] == 20
    assert "refused as unknown" in run(capsys, "evaluate", *shown[:-1])
    answer = json.loads(run(capsys, "predict", home / "mine/val/red/0.png", "--checkpoint", output, "--json"))
    assert set(answer) == {"image", "predictions", "unknown", "error"}
    again = tmp_path / "again.safetensors"
    assert "Refuses" in run(capsys, "calibrate", *asked[:4], "--negatives", "--output", again)
    assert load_checkpoint(again)[0].unknown.others is None  # type: ignore[union-attr]


def test_another_data_set_is_refused(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["calibrate", "--checkpoint", str(home / "net.safetensors"), "--dataset", "rendered-flowers"]
    assert cli.main([*asked, "--output", str(tmp_path / "x.safetensors")]) == 1
    assert "other classes" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_broken_picture_among_the_others_is_passed_over(
    home: Path, dataset: DatasetSpec, tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    folder = make_folder([f"things/{index}.png" for index in range(5)], name="more")
    (folder / "things" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    classifier = Classifier(*load_checkpoint(home / "net.safetensors"), engine="plain", features=True)
    views = [(load, -1) for load in find_others(str(folder), dataset, data_dir=tmp_path).pictures]
    rows, numbers = gathering.ask(classifier, views, lambda _: None)
    assert len(rows) == len(numbers) == 4
