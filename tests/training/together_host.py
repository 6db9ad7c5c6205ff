"""Forks groups of processes that train together over gloo, one group for each scenario, and keeps what each was told.

A process of its own that has imported everything once, as `kill_host`. What goes wrong in a scenario is made by patches
inside the forked processes. Usage: python together_host.py FOLDER; it leaves a file for each scenario and process.
"""

import dataclasses
import errno
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # the first optimizer of a process imports it, which takes seconds
from observers import Keeper, facts

from resnet_core.data.datasets import DatasetSpec, rendered_flowers
from resnet_core.training import engine
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.distributed import Group
from resnet_core.training.engine import fit
from resnet_core.training.events import Event, StepEnded
from resnet_core.training.session import Session, Validation

FLOWERS = rendered_flowers(train=4, val=2, size=32)  # twenty to learn from, ten to be judged by
GARDEN = rendered_flowers(train=16, val=10, size=32)
QUICK = TrainConfig(
    model="resnet20", image_size=16, resize=18, epochs=2, batch_size=6, num_threads=1, precision="fp32", device="cpu"
)
# Only the head learns and BatchNorm does not look at the batch: then parts add up to what one process would learn.
HEAD = QUICK.replace(
    freeze="layer3", augment="standard", class_weights="balanced", label_smoothing=0.1, mixup=0.4, ema_decay=0.9
)
LEARNS = QUICK.replace(
    model="resnet8",
    image_size=28,
    resize=28,
    epochs=10,
    batch_size=16,
    learning_rate=0.02,
    augment="flip",
    ema_decay=0.0,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a group trains, and what happens to it in each process."""

    config: TrainConfig
    processes: int = 2
    dataset: DatasetSpec = FLOWERS
    happens: Callable[[int, Control], None] = lambda rank, control: None  # before it begins
    heeds: Callable[[int, Control, Event], None] = lambda rank, control, event: None  # after each event
    resumes: str = ""  # a scenario whose state is taken up
    full: int = 0  # so many attempts to save an epoch fail for want of room


def at_step(wanted: int, rank: int, do: Callable[[Control], None]) -> Callable[[int, Control, Event], None]:
    """Does something in one process when a step has ended."""

    def heed(here: int, control: Control, event: Event) -> None:
        if here == rank and isinstance(event, StepEnded) and event.step == wanted:
            do(control)

    return heed


def pause_for_a_moment(control: Control) -> None:
    control.pause()
    threading.Timer(0.3, control.resume).start()


def poison(rank: int, control: Control) -> None:
    """The pictures of the second process are no numbers from the sixth step on."""
    real = Session._step

    def step(self: Session, batch: Any) -> None:
        if rank == 1 and self.position.step == 5:
            batch.images.fill_(float("nan"))
        real(self, batch)

    Session._step = step  # type: ignore[method-assign]


def tear(rank: int, control: Control) -> None:
    """The second process breaks off at its sixth step, in its own way."""
    real = Session._step

    def step(self: Session, batch: Any) -> None:
        if rank == 1 and self.position.step == 5:
            raise MemoryError
        real(self, batch)

    Session._step = step  # type: ignore[method-assign]


def other_pictures(rank: int, control: Control) -> None:
    """The second process sees another data set."""
    global FLOWERS
    if rank == 1:
        FLOWERS = dataclasses.replace(FLOWERS, fingerprint="another folder")


def fall(control: Control) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


SCENARIOS = {
    "head": Scenario(config=HEAD),
    "head in three": Scenario(config=HEAD.replace(batch_size=7), processes=3),
    "learns": Scenario(config=LEARNS, dataset=GARDEN),
    "stopped": Scenario(config=HEAD, heeds=at_step(6, 1, Control.stop)),
    "resumed in three": Scenario(config=HEAD, processes=3, resumes="stopped"),
    "paused": Scenario(config=HEAD, heeds=at_step(3, 0, pause_for_a_moment)),
    "changed": Scenario(
        config=QUICK, heeds=at_step(2, 0, lambda control: control.change(learning_rate=0.001, freeze="layer1"))
    ),
    "after the epoch": Scenario(config=QUICK, heeds=at_step(2, 1, lambda control: control.stop(after_epoch=True))),
    "no number": Scenario(config=QUICK, happens=poison),
    "one breaks off": Scenario(config=QUICK, happens=tear),
    "one is killed": Scenario(config=QUICK, heeds=at_step(5, 1, fall)),
    "other pictures": Scenario(config=QUICK, happens=other_pictures),
    "too small a batch": Scenario(config=QUICK.replace(batch_size=3)),
    "full disk": Scenario(config=HEAD, full=2),
    "everything else": Scenario(
        config=QUICK.replace(drop_path=0.3, cutmix=1.0, clip_norm=1.0, optimizer="muon", augment="strong", patience=3),
        processes=3,
    ),
}


class Full(Keeper):
    """A keeper whose first attempts to save an epoch meet a full disk."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    def save_epoch(self, session: Session, validation: Validation) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        super().save_epoch(session, validation)


def take_part(scenario: Scenario, rank: int, port: int, state: dict[str, Any] | None) -> dict[str, Any]:
    """One process's training, and what it was told."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(scenario.processes)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(scenario.processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    engine.RETRY_SECONDS = 0.2
    control, keeper = Control(), Full(scenario.full if rank == 0 else 0)
    scenario.happens(rank, control)
    dataset = FLOWERS if scenario.dataset is not GARDEN else GARDEN
    events: list[Event] = []
    group = Group()
    for event in fit(scenario.config, dataset, saver=keeper, control=control, resume=state, team=group):
        events.append(event)
        scenario.heeds(rank, control, event)
    return {"events": facts(events), "saved": keeper.saved, "weights": keeper.judged, "state": keeper.content}


def forked(scenario: Scenario, rank: int, port: int, target: Path, state: dict[str, Any] | None) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        torch.save(take_part(scenario, rank, port, state), target)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def targets(folder: Path, name: str) -> Iterator[Path]:
    """A file for each process of a scenario."""
    for rank in range(SCENARIOS[name].processes):
        yield folder / f"{name.replace(' ', '-')}-{rank}.pt"


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    gc.freeze()  # else every fork copies what a collection in it touches
    for name, scenario in SCENARIOS.items():
        port, state = free_port(), None
        if scenario.resumes:
            first = torch.load(next(targets(folder, scenario.resumes)), weights_only=False)
            (folder / "state.pt").write_bytes(first["state"])
            state = torch.load(folder / "state.pt", weights_only=True)
        places = list(targets(folder, name))
        children = [forked(scenario, rank, port, place, state) for rank, place in enumerate(places)]
        for child in children:
            os.waitpid(child, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
