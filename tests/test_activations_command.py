"""`activations`: a list, a sheet, numbers or a film; one sentence and the right exit code where that cannot be."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.layers import list_layers
from resnet_core.cli import main
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "colors.safetensors"
    torch.manual_seed(0)
    model = build_model("resnet20", num_classes=3)
    described = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(model.architecture_arguments),
        class_names=("blue", "red", "grün"),
        preprocessing=Preprocessing(resize=36, crop=32),
    )
    save_checkpoint(path, described, model.state_dict())
    return path


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "noise.png"
    noise = torch.randint(0, 256, (50, 60, 3), generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.byte().numpy()).save(path)
    return path


@pytest.fixture
def command(checkpoint: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        places = ["--runs-dir", str(tmp_path / "runs"), "--checkpoint", str(checkpoint)]
        code = main(["activations", str(picture), *places, *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def expected(checkpoint: Path, picture: Path, *layers: str) -> dict[str, torch.Tensor]:
    classifier = Classifier.load(checkpoint, engine="plain")
    with Image.open(picture) as opened:
        inputs = classifier.checkpoint.preprocessing(opened.convert("RGB"))[None]
    return {name: maps[0] for name, maps in capture_activations(classifier.model, inputs, layers).items()}


def test_without_an_output_every_layer_is_listed(command: Command, checkpoint: Path, picture: Path) -> None:
    code, out, err = command("--json")
    assert (code, err) == (0, "")
    rows: list[dict[str, Any]] = json.loads(out)
    names = list_layers(build_model("resnet20", num_classes=3), 32)
    assert [row["layer"] for row in rows] == list(names)
    for name, maps in expected(checkpoint, picture, "bn1", "layer3", "fc").items():
        row = next(each for each in rows if each["layer"] == name)
        assert row["shape"] == list(maps.shape)
        assert row["mean"] == pytest.approx(float(maps.mean()), abs=1e-4)
        assert row["maximum"] == pytest.approx(float(maps.max()), abs=1e-4)
    assert next(row for row in rows if row["layer"] == "conv1")["dead"] is None
    assert isinstance(next(row for row in rows if row["layer"] == "relu")["dead"], int)


def test_the_list_for_people_has_a_line_a_layer(command: Command) -> None:
    code, out, _ = command("--layer", "layer1", "--layer", "fc", "--layer", "layer1")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == ["layer", "layer1", "fc"]
    assert "16×32×32" in lines[1]


def test_the_list_before_the_relu_holds_what_has_one(command: Command) -> None:
    code, out, _ = command("--json", "--relu", "before")
    rows = json.loads(out)
    assert code == 0
    assert {"bn1", "relu", "layer1.0", "layer3"} <= {row["layer"] for row in rows}
    assert "conv1" not in {row["layer"] for row in rows}
    assert all(row["minimum"] < 0 for row in rows)


def test_a_png_shows_the_channels_in_the_order_asked_for(
    command: Command, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new" / "maps.png"
    code, out, _ = command("--layer", "layer2", "--output", str(target), "--order", "strength", "--json")
    assert code == 0
    facts = json.loads(out)
    strengths = expected(checkpoint, picture, "layer2")["layer2"].abs().mean(dim=(1, 2))
    assert facts["channels"] == strengths.sort(descending=True, stable=True).indices.tolist()
    with Image.open(target) as opened:
        assert opened.format == "PNG"
        first = opened.tobytes()
    code, out, _ = command("--layer", "layer2", "--output", str(target), "--order", "relevance", "--label", "grün")
    assert code == 0
    assert "layer2" in out
    with Image.open(target) as opened:
        assert opened.tobytes() != first


def test_an_npz_holds_the_layers_and_where_they_come_from(
    command: Command, checkpoint: Path, picture: Path, tmp_path: Path
) -> None:
    target = tmp_path / "maps.npz"
    assert command("--layer", "bn1", "--layer", "layer3", "--output", str(target))[0] == 0
    file = np.load(io.BytesIO(target.read_bytes()), allow_pickle=False)
    for name, maps in expected(checkpoint, picture, "bn1", "layer3").items():
        np.testing.assert_allclose(file[name], maps.numpy(), rtol=1e-5, atol=1e-6)
    about = json.loads(str(file["about"]))
    assert (about["picture"], about["class_names"]) == ("noise.png", ["blue", "red", "grün"])


def test_without_a_layer_the_film_and_the_numbers_are_of_every_stage(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("--output", str(tmp_path / "film.webp"), "--json")
    assert code == 0
    assert json.loads(out)["layers"] == ["conv1", "relu", "layer1", "layer2", "layer3"]
    with Image.open(tmp_path / "film.webp") as film:
        assert (film.format, film.n_frames) == ("WEBP", 7)
    assert command("--output", str(tmp_path / "all.npz"))[0] == 0
    with np.load(tmp_path / "all.npz", allow_pickle=False) as file:
        assert "layer3" in file.files


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--layer", "layer9"], 1, "There is no layer called 'layer9'; did you mean layer"),
        (["--layer", "conv1", "--relu", "after"], 1, "No ReLU stands right behind 'conv1'"),
        (["--output", "maps.gif"], 2, "--output must end in .png, .npz or .webp, not “maps.gif”."),
        (["--output", "maps.png"], 2, "A .png shows one layer"),
        (
            ["--output", "maps.png", "--layer", "layer1", "--page", "9"],
            2,
            "There is no page 9; this layer has the pages",
        ),
        (["--output", "m.png", "--layer", "fc", "--order", "relevance", "--label", "tulip"], 2, "no class “tulip”"),
        (["--output", "m.webp", "--order", "relevance"], 2, "relevance is for a .png"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found, out, err = command(*arguments)
    assert (found, out) == (code, "")
    assert sentence in err
    assert len(err.strip().splitlines()) == 1
    assert not any(tmp_path.glob("m*"))


def test_a_picture_that_is_none_is_a_sentence(command: Command, tmp_path: Path, checkpoint: Path) -> None:
    (tmp_path / "words.jpg").write_text("no picture")
    assert main(["activations", str(tmp_path / "words.jpg"), "--checkpoint", str(checkpoint)]) == 1
