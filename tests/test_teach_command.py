"""`teach` on the command line: a report, a model on the shelf that `predict` knows, one sentence for what is wrong."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch

from resnet_core.cli import main
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.rendered import render_flower
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained network of two other classes."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    torch.manual_seed(0)
    network = build_model("resnet20", num_classes=2)
    described = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(network.architecture_arguments),
        class_names=("blue", "red"),
        preprocessing=Preprocessing(resize=32, crop=32),
    )
    save_checkpoint(path, described, network.state_dict())
    return path


@pytest.fixture(scope="module")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set") / "garden"
    for name in ("roses", "sunflowers"):
        (root / name).mkdir(parents=True)
        for index in range(20):
            render_flower(name, index, seed=9, size=48).save(root / name / f"{index}.png")
    (root / "roses" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def test_a_folder_becomes_a_model_that_predict_knows(
    flowers: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    asked = ["teach", "--dataset", str(flowers), "--checkpoint", str(checkpoint), "--name", "My garden", "--json"]
    assert main(asked) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == "models/my-garden"
    assert report["counts"] == {"roses": 20, "sunflowers": 20}
    assert (report["judged"], report["judged_by"]) == (40, "cross-validation")
    assert report["top1_low"] <= report["top1"] <= report["top1_high"]
    assert report["refuses_unknown"] is True
    assert [row["image"] for row in report["left_out"]] == ["broken.png"]
    stored, _ = load_checkpoint(tmp_path / "runs" / "models" / "my-garden.safetensors")
    assert stored.class_names == ("roses", "sunflowers")
    assert stored.unknown is not None
    assert main(["predict", str(flowers / "roses" / "1.png"), "--checkpoint", "models/my-garden", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {row["label"] for row in answer["predictions"]} == {"roses", "sunflowers"}


def test_people_read_how_good_it_is_and_what_was_left_out(
    flowers: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["teach", "--dataset", str(flowers), "--checkpoint", str(checkpoint)]) == 0
    told = capsys.readouterr().out
    assert "2 classes were taught from 40 pictures with the body of" in told
    assert "of its answers are right, most likely between" in told
    assert "Left out: broken.png" in told
    assert "predict --checkpoint models/garden-taught PICTURE" in told
    assert str(flowers.parent) not in told


def write_zip(path: Path, classes: dict[str, int]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for place, (name, count) in enumerate(classes.items()):
            for index in range(count):
                content = io.BytesIO()
                render_flower("daisy", 100 * place + index, seed=2, size=32).save(content, format="PNG")
                opened.writestr(f"{name}/{index}.png", content.getvalue())
    return path


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ({"a": 4, "b": 1}, "The class “b” has only one picture; add at least one more, better ten."),
        ({"a": 4}, "only one class"),
    ],
)
def test_what_cannot_be_taught_is_one_sentence(
    classes: dict[str, int],
    sentence: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    packed = write_zip(tmp_path / "few.zip", classes)
    assert main(["teach", "--dataset", str(packed), "--checkpoint", str(checkpoint)]) == 1
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    assert not (tmp_path / "runs" / "models").exists()


def test_usage_and_unknown_models(flowers: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["teach"])
    assert ended.value.code == 2
    assert main(["teach", "--dataset", str(flowers), "--checkpoint", "models/nobody"]) == 1
    assert "nobody" in capsys.readouterr().err


def test_a_zip_is_taught_with_its_name(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    packed = write_zip(tmp_path / "pets.zip", {"cats": 4, "dogs <b>": 4})
    assert main(["teach", "--dataset", str(packed), "--checkpoint", str(checkpoint), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["model"] == "models/pets-taught"
    assert report["class_names"] == ["cats", "dogs <b>"]
    assert report["refuses_unknown"] is False  # eight pictures tell nothing about others
