"""A seeded run learns the same to the last bit, whatever the rest of the app does in the meantime."""

import contextlib
import gc
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from observers import MEASURED, same_weights
from PIL import Image

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.gradcam import grad_cam
from resnet_core.data.augment import get_policy
from resnet_core.data.datasets import load_dataset
from resnet_core.data.loaders import make_loaders
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import RunError
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.runner import Runner
from resnet_core.training.runs import Run, RunStore

ROUNDS = 3  # that each disturber must have made for the comparison to mean something


def learned(run: Run) -> list[dict[str, Any]]:
    """The run's events without times and without the pauses that were asked for."""
    return [
        {key: value for key, value in event.items() if key not in (*MEASURED, "time")}
        for event in run.events()
        if event["event"] not in ("Paused", "Resumed")
    ]


class Disturber(threading.Thread):
    """Does something again and again until it is told to end; keeps what went wrong."""

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        super().__init__(name=name)
        self._work = work
        self.ended = threading.Event()
        self.rounds = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                self._work()
                self.rounds += 1
                self.ended.wait(0.05)  # the training thread is a nice one: it would wait for ever
        except Exception as error:
            self.failure = error


@pytest.fixture
def long(quick: Callable[..., TrainConfig], drawn_folder: Path) -> TrainConfig:
    return quick(dataset=str(drawn_folder), epochs=12, ema_decay=0.9, augment="standard", drop_path=0.2)


def trained(runner: Runner, config: TrainConfig) -> Run:
    run = runner.start(config)
    assert runner.wait(120)
    assert run.status() == "finished", run.events()[-1]
    return run


def test_four_threads_that_use_everything_do_not_change_a_seeded_run(
    tmp_path: Path, long: TrainConfig, drawn_folder: Path
) -> None:
    runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
    quiet = trained(runner, long)
    other = trained(runner, long.replace(epochs=1, seed=9))
    run = runner.start(long)
    disturbers = [
        Disturber("classifies", classifying(quiet)),
        Disturber("captures maps", capturing(quiet)),
        Disturber("swaps models", swapping(quiet, other)),
        Disturber("previews data, pauses and resumes", previewing(runner, run, drawn_folder)),
    ]
    for disturber in disturbers:
        disturber.start()
    try:
        assert runner.wait(200)
    finally:
        for disturber in disturbers:
            disturber.ended.set()
        for disturber in disturbers:
            disturber.join()
        assert runner.shutdown()
    assert {disturber.name: disturber.failure for disturber in disturbers if disturber.failure} == {}
    assert min(disturber.rounds for disturber in disturbers) >= ROUNDS
    assert [event for event in run.events() if event["event"] == "Paused"], "it was really paused"
    assert learned(run) == learned(quiet)
    for which in ("best", "last"):
        weights = [load_checkpoint(one.checkpoint_path(which))[1].state_dict() for one in (run, quiet)]
        assert same_weights(*weights)


def classifying(run: Run) -> Callable[[], object]:
    classifier = Classifier.load(run.checkpoint_path())
    answers = set()

    def work() -> None:
        torch.manual_seed(random.randrange(1000))
        answer = classifier.classify(Image.new("RGB", (30, 24), (220, 40, 40)))
        answers.add(round(answer.predictions[0].probability, 4))
        assert len(answers) == 1, "the training does not change an answer either"

    return work


def capturing(run: Run) -> Callable[[], object]:
    network = load_checkpoint(run.checkpoint_path())[1].eval()
    inputs = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)

    def work() -> None:
        first = capture_activations(network, inputs, ("layer1", "layer3"))
        grad_cam(network, inputs, "layer3", class_index=0)
        second = capture_activations(network, inputs, ("layer1", "layer3"))
        assert all(torch.equal(first[name], second[name]) for name in first)

    return work


def swapping(one: Run, other: Run) -> Callable[[], object]:
    paths = [one.checkpoint_path(), other.checkpoint_path("last")]

    def work() -> None:
        paths.reverse()
        Classifier.load(paths[0]).warm_up()
        build_model("resnet20", num_classes=3)
        random.seed(1)

    return work


def previewing(runner: Runner, run: Run, folder: Path) -> Callable[[], object]:
    dataset = load_dataset(str(folder), data_dir=folder)

    def work() -> None:
        with contextlib.suppress(RunError):  # it has just ended
            runner.pause(run.run_id)
        loaders = make_loaders(
            dataset,
            Preprocessing(resize=18, crop=16),
            policy=get_policy("strong"),
            batch_size=4,
            seed=1,
            device=torch.device("cpu"),
        )
        next(iter(loaders.train.epoch(1)))
        with contextlib.suppress(RunError):
            runner.resume(run.run_id)

    return work


def resident_bytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not say how much memory is used")
def test_twenty_starts_and_stops_leave_no_thread_and_no_growing_memory(tmp_path: Path, long: TrainConfig) -> None:
    runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
    threads, sizes = threading.active_count(), []
    for _ in range(20):
        run = runner.start(long.replace(epochs=5000))
        while not any(event["event"] == "StepEnded" for event in run.events()):
            assert not runner.wait(0.005), run.events()
        runner.stop(run.run_id)
        assert runner.wait(60)
        assert run.status() == "stopped"
        gc.collect()
        sizes.append(resident_bytes())
    assert threading.active_count() == threads
    assert sizes[-1] - min(sizes[7:10]) < 12e6, "a leaked network, optimizer and average would be 3 MB each time"
    assert runner.shutdown()
