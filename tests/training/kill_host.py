"""Kills real trainings with SIGKILL, each at another moment, and lets them go on; prints what became of each as JSON.

A process of its own that has imported everything once: every training is a fork of it, which costs milliseconds where
a new Python would take three seconds. The moments are made by patches inside the forked process; the product knows
nothing of them. Usage: python kill_host.py RUNS_FOLDER
"""

import contextlib
import csv
import gc
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # the first optimizer of a process imports it, which takes seconds

from resnet_core import files
from resnet_core.data.datasets import rendered_flowers
from resnet_core.training import checkpoint as checkpoints
from resnet_core.training import recorder as recording
from resnet_core.training import session as sessions
from resnet_core.training import validation as validating
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Replay
from resnet_core.training.engine import fit
from resnet_core.training.events import Paused, StepEnded
from resnet_core.training.learner import Learner
from resnet_core.training.lost_steps import begins_again
from resnet_core.training.optim import WeightAverage
from resnet_core.training.recorder import RunRecorder, find_resume, load_kept, load_resume
from resnet_core.training.runs import Run, RunStore

CONFIG = TrainConfig(
    dataset="rendered-flowers",
    model="resnet8",
    image_size=16,
    resize=18,
    epochs=3,
    batch_size=4,
    num_threads=1,
    precision="fp32",
    memory_format="contiguous",
    device="cpu",
    ema_decay=0.9,
    augment="flip",
)
FLOWERS = rendered_flowers(train=4, val=2, size=32)  # five steps an epoch
RANDOM_KILLS = 8
MEASURED = ("images_per_second", "seconds", "waited", "time")

Trap = Callable[[], None]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at(owner: Any, name: str, number: int = 1, *, after: bool = False) -> Trap:
    """Dies before or after the `number`-th call."""

    def arm() -> None:
        real, calls = getattr(owner, name), iter(range(1, 1 << 30))

        def trapped(*arguments: Any, **settings: Any) -> Any:
            here = next(calls) == number
            if here and not after:
                die()
            result = real(*arguments, **settings)
            if here:
                die()
            return result

        setattr(owner, name, trapped)

    return arm


def at_replace(target: str, number: int = 1, *, after: bool = False) -> Trap:
    """Dies before or after a finished temporary file is renamed over the target for the `number`-th time."""

    def arm() -> None:
        real, calls = os.replace, iter(range(1, 1 << 30))

        def trapped(source: Any, destination: Any) -> None:
            here = Path(destination).name == target and next(calls) == number
            if here and not after:
                die()
            real(source, destination)
            if here:
                die()

        files.os.replace = trapped

    return arm


def half_state() -> None:
    """Dies when the first half of a resume file is on the disk."""
    real = torch.save

    def torn(state: Any, opened: Any) -> None:
        real(state, opened)
        opened.flush()
        os.ftruncate(opened.fileno(), opened.tell() // 2)
        os.fsync(opened.fileno())
        die()

    recording.torch.save = torn


def half_weights() -> None:
    """Dies when the first half of a checkpoint is on the disk."""
    real = checkpoints.save_file

    def torn(tensors: Any, path: Path, metadata: Any) -> None:
        real(tensors, path, metadata=metadata)
        os.truncate(path, path.stat().st_size // 2)
        die()

    checkpoints.save_file = torn


def half_table() -> None:
    """Dies while the predictions are written."""
    real = csv.writer

    class Torn:
        def __init__(self, opened: Any) -> None:
            self.opened, self.rows = opened, real(opened)

        def writerow(self, row: Any) -> None:
            self.rows.writerow(row)
            if row[0] != "image":
                self.opened.flush()
                die()

    csv.writer = Torn


def half_line() -> None:
    """Dies when half of an event's line is written."""
    real = RunRecorder._append
    calls = iter(range(1, 1 << 30))

    def torn(self: RunRecorder, line: bytes) -> None:
        if next(calls) < 9:
            real(self, line)
            return
        os.write(self._events.fileno(), line[: len(line) // 2])
        die()

    RunRecorder._append = torn


MOMENTS: dict[str, Trap] = {
    "in the first second, before the pictures": at(sessions, "load_share"),
    "in the first second, before the network": at(sessions, "make_learner"),
    "before the first event": at(RunRecorder, "_append"),
    "after the first event": at(RunRecorder, "_append", after=True),
    "before the first step": at(Learner, "step"),
    "in the middle of the first epoch": at(Learner, "step", 4),
    "in the middle of the second epoch": at(Learner, "step", 8),
    "between a step and its weight average": at(WeightAverage, "update", 7),
    "after the last step of an epoch": at(Learner, "step", 10, after=True),
    "at the very last step": at(Learner, "step", 15),
    "in the first validation": at(validating, "compute_logits"),
    "in the second validation, at its end": at(validating, "compute_logits", 2, after=True),
    "while the best weights are half written": half_weights,
    "before the best weights are in their place": at_replace("best.safetensors"),
    "between the best weights and their predictions": at_replace("best.safetensors", after=True),
    "while the predictions are half written": half_table,
    "between the predictions and the last weights": at_replace("predictions.csv", after=True),
    "before the last weights are replaced": at_replace("last.safetensors", 2),
    "between the last weights and the resume file": at_replace("last.safetensors", 2, after=True),
    "while the resume file is half written": half_state,
    "before the resume file is replaced": at_replace("resume.pt", 2),
    "between the resume file and what else is kept": at_replace("resume.pt", 2, after=True),
    "before an epoch is kept": at(recording, "keep_epoch", 2),
    "after an epoch is kept, before it is told": at(recording, "keep_epoch", 2, after=True),
    "while a file is flushed": at(files.os, "fsync", 7),
    "before a heartbeat": at_replace("heartbeat.json", 2),
    "between a heartbeat and the next event": at_replace("heartbeat.json", 2, after=True),
    "while an event is half written": half_line,
    "while a pause is saved": at_replace("resume.pt"),
}
PAUSED = "while a pause is saved"  # this training is asked to pause after its third step


def train(run: Run, *, pausing: bool = False) -> None:
    """Begins the run or takes it up, as the command line does."""
    state = find_resume(run) if run.events() else None
    control = Replay(run.events())
    again = list(begins_again(run.folder, run.events())) if state is None else []
    with RunRecorder(run) as recorder:
        for event in again:
            recorder.write(event)
        for event in recorder.record(fit(CONFIG, FLOWERS, saver=recorder, control=control, resume=state)):
            if pausing and isinstance(event, StepEnded) and event.step == 3:
                control.pause()
            if isinstance(event, Paused):
                control.resume()


def forked(run: Run, trap: Trap | None = None, *, pausing: bool = False) -> int:
    """Trains in a fork; its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        if trap:
            trap()
        train(run, pausing=pausing)
        code = 0
    finally:
        os._exit(code)


def ended_by(child: int) -> int:
    """The signal that ended the process, 0 where it ended by itself and well."""
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def learned(run: Run) -> dict[str, list[dict[str, Any]]]:
    """What the run told of each step and epoch, however often; without what a clock measured."""
    told: dict[str, list[dict[str, Any]]] = {}
    for event in run.events():
        if event["event"] in ("StepEnded", "EpochEnded"):
            row = {key: value for key, value in event.items() if key not in MEASURED}
            told.setdefault(f"{event['event']} {event['step']}", []).append(row)
    return told


def same(one: Any, other: Any) -> bool:
    """Whether two states are equal, bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def state_of(run: Run) -> dict[str, Any]:
    """What the run ended with, without what a clock measured."""
    return {key: value for key, value in load_resume(run).items() if key not in ("budget", "lost_steps")}


def readable(run: Run) -> list[str]:
    """What of the killed run's files is there; every one of them is read."""
    found = []
    for name in ("best", "last"):
        if (run.folder / f"{name}.safetensors").is_file():
            load_checkpoint(run.folder / f"{name}.safetensors")
            found.append(name)
    if (run.folder / "resume.pt").is_file():
        load_resume(run)
        found.append("resume")
    for epoch in run.kept_epochs():
        load_checkpoint(run.kept_checkpoint(epoch))
        load_kept(run, epoch)
    return found


def report(run: Run, straight: Run, number: int, moment: str, lost: int) -> dict[str, Any]:
    """How the run looks after it was taken up, beside one that was never interrupted."""
    told, expected = learned(run), learned(straight)
    ends = [load_checkpoint(one.folder / "last.safetensors")[1].state_dict() for one in (run, straight)]
    bests = [load_checkpoint(one.folder / "best.safetensors")[1].state_dict() for one in (run, straight)]
    tables = [(one.folder / "predictions.csv").read_bytes() for one in (run, straight)]
    resumed = [event for event in run.events() if event["event"] == "Resumed" and event.get("lost")]
    warned = [event["message"] for event in run.events() if event["event"] == "Warned"]
    return {
        "moment": moment,
        "signal": number,
        "lost": lost,
        "said": [*(event["lost"] for event in resumed), *warned],
        "status": run.status(),
        "same history": told.keys() == expected.keys()
        and all(row == expected[key][0] for key, rows in told.items() for row in rows),
        "same weights": all(same(*pair) for pair in (ends, bests)),
        "same state": same(state_of(run), state_of(straight)),
        "same predictions": tables[0] == tables[1],
        "kept": list(run.kept_epochs()) == list(straight.kept_epochs()),
        "leftovers": sorted(path.name for path in run.folder.rglob("*.part")),
    }


def one_life(store: RunStore, straight: Run, moment: str, kill: Callable[[Run], int]) -> dict[str, Any]:
    """A run that is killed once and taken up once; its folder goes when it was looked at."""
    run = store.create(CONFIG)
    try:
        return life_of(run, straight, moment, kill)
    finally:
        shutil.rmtree(run.folder)


def life_of(run: Run, straight: Run, moment: str, kill: Callable[[Run], int]) -> dict[str, Any]:
    number = kill(run)
    if number != signal.SIGKILL:
        return {"moment": moment, "signal": number}
    status, lost = run.status(), run.lost_steps()
    there = readable(run)
    if ended_by(forked(run)):
        return {"moment": moment, "signal": number, "status": "the resumed training broke off"}
    return report(run, straight, number, moment, lost) | {"status when killed": status, "there": there}


def at_random(rest: random.Random, seconds: float) -> Callable[[Run], int]:
    """Kills from outside after a random part of the time that a whole run takes."""

    def kill(run: Run) -> int:
        child = forked(run)
        time.sleep(rest.uniform(0.02, 0.9) * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        return ended_by(child)

    return kill


def main(folder: Path) -> None:
    """Runs every moment and prints a line of JSON for each."""
    torch.set_num_threads(1)
    gc.freeze()  # else every fork copies what a collection in it touches
    store = RunStore(folder)
    straight = store.create(CONFIG)
    assert ended_by(forked(straight)) == 0
    timed = store.create(CONFIG)  # the first one has drawn the pictures
    began = time.monotonic()
    assert ended_by(forked(timed)) == 0
    seconds = time.monotonic() - began
    print(json.dumps(one_life_of(store, straight, timed)), flush=True)
    for moment, trap in MOMENTS.items():
        print(json.dumps(one_life(store, straight, moment, killed_by(trap, moment))), flush=True)
    rest, done = random.Random(5), 0
    while done < RANDOM_KILLS:
        row = one_life(store, straight, f"at random, {done + 1}", at_random(rest, seconds))
        if row["signal"] == signal.SIGKILL:  # else it was faster than we
            print(json.dumps(row), flush=True)
            done += 1


def killed_by(trap: Trap, moment: str) -> Callable[[Run], int]:
    """Kills where the trap says."""
    return lambda run: ended_by(forked(run, trap, pausing=moment == PAUSED))


def one_life_of(store: RunStore, straight: Run, again: Run) -> dict[str, Any]:
    """Two runs that nobody killed: what they have in common is what a resumed one is measured by."""
    return report(again, straight, 0, "never", 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
