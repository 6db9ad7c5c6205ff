"""`train --dry-run`, `--find-rate` and `--settings`: a run before it is one."""

import json
from pathlib import Path
from typing import Any

import pytest

from resnet_core.cli import main
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import RunStore
from resnet_core.training.settings_files import read_settings, write_settings

QUICK = ["--model", "resnet20", "--image-size", "16", "--batch-size", "4", "--num-threads", "1", "--precision", "fp32"]


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "data"))


@pytest.fixture
def folder(make_folder: Any) -> Path:
    paths = [
        f"{part}/{name}/{n}.png" for part, count in (("train", 8), ("val", 2)) for name in "ab" for n in range(count)
    ]
    made: Path = make_folder(paths)
    return made


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["train", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_dry_run_tells_the_schedule_and_leaves_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset", str(folder), *QUICK, "--epochs", "4", "--thaw", "layer3@2", "--learning-rate", "0.1"]
    code, out, _ = run(capsys, *options, "--dry-run")
    assert code == 0
    assert out.startswith("ResNet-20 (CIFAR), 16 px, 4 epochs of 4 steps, batch 4, sgd, one-cycle up to 0.1.")
    assert "  Optimizer: sgd" in out
    rows = [line.split() for line in out.splitlines()[-4:]]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"]
    assert [row[-1] for row in rows] == ["layer3", "layer2", "layer2", "layer2"]
    code, out, _ = run(capsys, *options, "--dry-run", "--json")
    told = json.loads(out)
    assert (told["steps_per_epoch"], len(told["epochs"]), told["n_train"]) == (4, 4, 16)
    assert told["settings"]["learning_rate"] == 0.1
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_of_what_cannot_be_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--dataset", str(folder), *QUICK, "--freeze", "layer4", "--dry-run")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "no stage layer4" in err


def test_a_scan_prints_rates_losses_and_a_suggestion(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset", str(folder), *QUICK, "--find-rate"]
    code, out, _ = run(capsys, *options, "--json")
    scan = json.loads(out)
    assert code == 0
    assert len(scan["learning_rates"]) == len(scan["losses"]) > 20
    assert scan["learning_rates"] == sorted(scan["learning_rates"])
    code, out, _ = run(capsys, *options)
    assert code == 0
    assert out.splitlines()[-1].endswith((": a good peak for one-cycle.", "suggests nothing."))
    assert not (tmp_path / "runs").exists()


def test_settings_of_a_run_start_another_with_one_thing_changed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = RunStore(tmp_path / "runs")
    config = TrainConfig(dataset=str(folder), model="resnet20", image_size=16, epochs=7, name="first", mixup=0.2)
    made = store.create(config)
    assert main(["runs", "show", made.run_id, "--settings"]) == 0
    text = capsys.readouterr().out
    assert read_settings(text.encode()) == config
    kept = tmp_path / "settings.json"
    kept.write_text(text, encoding="utf-8")
    code, out, _ = run(capsys, "--settings", str(kept), "--epochs", "3", "--dry-run", "--json")
    assert code == 0
    assert {**json.loads(out)["settings"]}.items() >= {"epochs": 3, "mixup": 0.2, "name": "first"}.items()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[1]", "no settings"),
        (b'{"epochs": "ten"}', "Epochs must be a whole number"),
        (b'{"epochs": 1e999}', "Epochs must be a whole number"),
        (b'{"learning_rate": NaN}', "Learning rate must be"),
        (b'{"wings": 2}', "Unknown settings: wings"),
        (b'{"model": 5}', "Model must be a text"),
        (b'{"name": "' + b"x" * 70_000 + b'"}', "too large"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_bad_file_is_one_sentence(
    content: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    code, out, err = run(capsys, "--settings", str(path), "--dry-run")
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_settings_beside_a_preset_or_a_run_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "settings.json"
    path.write_text(write_settings(TrainConfig()), encoding="utf-8")
    assert "without --preset" in run(capsys, "--settings", str(path), "--preset", "flowers")[2]
    assert "without others" in run(capsys, "--settings", str(path), "--resume", "x")[2]
    missing = "The settings file “none.json” cannot be read (No such file or directory); check the name and the folder."
    code, out, err = run(capsys, "--settings", str(tmp_path / "none.json"), "--dry-run")
    assert (code, out, err.strip()) == (2, "", missing)
    assert "about a new run" in run(capsys, "--resume", "x", "--dry-run")[2]


def test_a_file_cannot_pretend_to_be_a_branch() -> None:
    assert read_settings(b'{"forked_from": "20260101-000000-x/3"}').forked_from == ""
