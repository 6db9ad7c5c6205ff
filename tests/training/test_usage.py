"""What a training takes from its machine: beside the events, never among them, by a clock that does not jump."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnet_core.data.datasets import DatasetSpec
from resnet_core.training import usage
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import CheckpointSaved, EpochEnded, Paused, Resumed, RunStarted, StepEnded
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import Run, RunStore
from resnet_core.training.usage import UsageLog

STARTED = RunStarted(
    model="resnet18",
    dataset="flowers",
    class_names=("a", "b"),
    parameters=1,
    n_train=320,
    n_val=80,
    epochs=9,
    steps_per_epoch=10,
    device="cpu",
    precision="fp32",
    settings={},
)


class Clocks:
    """Time that passes when a test says so; half of it is spent computing on one core."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.now / 2

    def time(self) -> float:
        return 0.0  # the wall clock was set back to 1970 and stands still


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    made = Clocks()
    for name in ("perf_counter", "process_time", "time"):
        monkeypatch.setattr(usage.time, name, getattr(made, name))
    return made


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def step(number: int) -> StepEnded:
    return StepEnded(step=number, epoch=1 + number // 10, loss=1.0, learning_rate=0.1)


def epoch(number: int) -> EpochEnded:
    losses = {"train_loss": 1.0, "train_top1": 0.5, "val_loss": 1.0, "val_top1": 0.5, "learning_rate": 0.1}
    at = {"epoch": number, "step": 10 * number, "best": False}
    return EpochEnded(**at, **losses, images_per_second=77.0, seconds=1.0, waited=0.0)  # type: ignore[arg-type]


def test_a_line_about_once_a_second_with_the_speed_since_the_last(tmp_path: Path, clocks: Clocks) -> None:
    log = UsageLog(tmp_path / "usage.jsonl")
    log.note(STARTED)
    for number in range(1, 9):
        clocks.now += 0.5
        log.note(step(number))
    found = lines(tmp_path / "usage.jsonl")
    assert [line["step"] for line in found] == [2, 4, 6, 8]
    assert {line["images_per_second"] for line in found} == {64.0}, "32 pictures every half second"
    assert all(line["memory"] > 10_000_000 and line["device_memory"] is None for line in found)
    assert {line["load"] for line in found} == {round(0.5 / log._cores, 4)}


def test_validation_saving_and_pauses_are_no_training_time(tmp_path: Path, clocks: Clocks) -> None:
    log = UsageLog(tmp_path / "usage.jsonl")
    log.note(STARTED)
    log.note(step(9))
    clocks.now += 2
    log.note(epoch(1))
    clocks.now += 60
    log.note(CheckpointSaved(kind="last", epoch=1, step=10))
    clocks.now += 60
    log.note(step(11))
    clocks.now += 1
    log.note(step(13))
    log.note(Paused(step=13))
    clocks.now += 3600
    log.note(Resumed(step=13))
    log.note(step(14))
    clocks.now += 1
    log.note(step(15))
    speeds = [(line["step"], line["images_per_second"]) for line in lines(tmp_path / "usage.jsonl")]
    assert speeds == [(10, 77.0), (13, 64.0), (15, 32.0)]


def test_a_long_run_does_not_fill_the_disk(tmp_path: Path, clocks: Clocks) -> None:
    log = UsageLog(tmp_path / "usage.jsonl", period=10.0)
    log.note(STARTED)
    for number in range(1, 8641):
        clocks.now += 10
        log.note(step(number))
    assert 2_000 < len(lines(tmp_path / "usage.jsonl")) < 4_000, "of a day"


def test_what_cannot_be_written_does_not_end_the_training(tmp_path: Path, clocks: Clocks) -> None:
    log = UsageLog(tmp_path / "no" / "such" / "folder" / "usage.jsonl")
    log.note(STARTED)
    clocks.now += 5
    log.note(epoch(1))
    assert not (tmp_path / "no").exists()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return RunStore(tmp_path / "runs").create(TrainConfig())


def test_a_real_run_is_measured_beside_its_events(
    run: Run, quick: Callable[..., TrainConfig], tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UsageLog.__init__, "__kwdefaults__", {"period": 0.0})
    with RunRecorder(run) as recorder:
        for _ in recorder.record(fit(quick(), tiny_flowers, saver=recorder)):
            pass
    found = run.usage()
    assert [line["step"] for line in found] == sorted(line["step"] for line in found)
    assert found[-1]["step"] == [event for event in run.events() if event["event"] == "EpochEnded"][-1]["step"]
    assert all(line["images_per_second"] > 0 and 0 <= line["load"] <= 1 for line in found)
    assert run.usage(len(found) - 1) == found[-1:]
    assert "Measured" not in {event["event"] for event in run.events()}


def test_a_run_of_an_older_version_has_no_measurements(run: Run) -> None:
    assert run.usage() == []
