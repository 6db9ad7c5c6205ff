"""`adopt` on the command line: weights from elsewhere are described, adopted, asked and trained on from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from resnet_core.cli import main
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.runs import RunStore

FLOWERS = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "data"))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Somebody's ResNet-20 of two classes."""
    torch.manual_seed(0)
    path = tmp_path / "theirs.safetensors"
    save_file(
        {f"module.{name}": tensor for name, tensor in build_model("resnet20", num_classes=2).state_dict().items()}, path
    )
    return path


def answer(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    """What a command prints: its result, or its one sentence."""
    assert main([str(each) for each in arguments]) == code
    printed = capsys.readouterr()
    if code:
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert "Traceback" not in printed.err
        return printed.err
    return printed.out


def test_the_flower_tutorials_weights_answer_as_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.manual_seed(4)
    oracle = torchvision.models.resnet34(num_classes=5)
    torch.save(oracle.state_dict(), tmp_path / "resNet34.pth")
    names = tmp_path / "class_indices.json"
    names.write_text(json.dumps({str(n): name for n, name in enumerate(FLOWERS)}, indent=4), encoding="utf-8")
    found = json.loads(answer(capsys, "adopt", tmp_path / "resNet34.pth", "--class-names", names, "--json"))
    assert found["adopted"]["name"] == "models/resnet34"
    assert [(fit["architecture"], fit["matched"], fit["complete"]) for fit in found["fits"]] == [
        ("resnet34", 218, True)
    ]
    assert (found["num_classes"], found["class_names"], found["class_names_from"]) == (5, FLOWERS, "given")
    checkpoint, model = load_checkpoint(tmp_path / "runs" / "models" / "resnet34.safetensors")
    assert (checkpoint.preprocessing.resize, checkpoint.preprocessing.crop) == (256, 224)
    with torch.no_grad():
        images = torch.randn(1, 3, 64, 64)
        torch.testing.assert_close(model(images), oracle.eval()(images), rtol=1e-5, atol=1e-5)


def test_inspect_only_looks(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    printed = answer(capsys, "adopt", small, "--inspect")
    assert "ResNet-20 (CIFAR)" in printed
    assert "after the prefix module. was taken off" in printed
    assert "plain twin" in printed
    assert "2 (nobody has named them): class 0, class 1" in printed
    assert json.loads(answer(capsys, "adopt", small, "--inspect", "--json"))["adopted"] is None
    assert not (tmp_path / "runs").exists()


def test_an_adopted_model_is_listed_asked_and_trained_on_from(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    printed = answer(capsys, "adopt", small, "--classes", "left,right", "--image-size", 16, "--name", "Mine & yours")
    assert "Adopted as models/mine-yours" in printed
    rows = json.loads(answer(capsys, "models", "list", "--json"))
    assert {"name": "models/mine-yours", "kind": "trained", "detail": "ResNet-20 (CIFAR), 2 classes"} in rows
    for split in ("train", "val"):
        for name, color in (("blue", "blue"), ("red", "red"), ("green", "green")):
            (tmp_path / "colors" / split / name).mkdir(parents=True)
            for index in range(4):
                Image.new("RGB", (20 + index, 20), color).save(tmp_path / "colors" / split / name / f"{index}.png")
    picture = tmp_path / "colors" / "val" / "red" / "0.png"
    said = json.loads(answer(capsys, "predict", picture, "--checkpoint", "models/mine-yours", "--json"))
    assert {prediction["label"] for prediction in said["predictions"]} == {"left", "right"}
    quick = ["--batch-size", "4", "--epochs", "1", "--num-threads", "1"]  # network and picture size are the model's own
    start = ["--init-from", "models/mine-yours", "--learning-rate", "1e-9", "--freeze", "layer3", "--device", "cpu"]
    events = answer(capsys, "train", "--dataset", tmp_path / "colors", *quick, *start, "--precision", "fp32", "--json")
    assert json.loads(events.splitlines()[-1])["status"] == "finished"
    (run,) = RunStore(tmp_path / "runs").list()
    _, trained = load_checkpoint(run.checkpoint_path("last"))
    _, adopted = load_checkpoint(tmp_path / "runs" / "models" / "mine-yours.safetensors")
    assert trained.fc.weight.shape == (3, 64)
    assert run.config().image_size == 16
    torch.testing.assert_close(trained.layer1[0].conv1.weight, adopted.layer1[0].conv1.weight)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--classes", "a,b,c"], 1, "has 3 class names, but the network tells 2 classes apart"),
        (["--classes", "a,b", "--class-names", "x.json"], 2, "Give the class names once"),
        (["--class-names", "x.json"], 1, "“x.json” cannot be read"),
        (["--model", "resnet34"], 1, "the nearest is ResNet-34"),
        (["--model", "resnet99"], 1, "no network called"),
        (["--image-size", "-3"], 1, "picture size"),
        (["--name", " "], 1, "needs a name"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, words: str
):
    assert words in answer(capsys, "adopt", small, *options, code=code)
    assert not list((tmp_path / "runs").rglob("*.safetensors"))


def test_a_file_that_is_no_checkpoint_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert "was not found" in answer(capsys, "adopt", tmp_path / "nothing.pth", code=1)
    (tmp_path / "page.pth").write_bytes(b"<html>404</html>")
    assert "looks like HTML" in answer(capsys, "adopt", tmp_path / "page.pth", "--json", code=1)


def test_json_is_plain(small: Path, capsys: pytest.CaptureFixture[str]):
    found: dict[str, Any] = json.loads(answer(capsys, "adopt", small, "--inspect", "--json"))
    assert set(found["preprocessing"]) == {"resize", "crop", "mean", "std"}
    assert found["problem"] is None
