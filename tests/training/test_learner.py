"""A step never waits for a GPU, and the clock counts the moments in which it is waited for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_core.data.datasets import DatasetSpec
from resnet_core.training import clock
from resnet_core.training.config import TrainConfig
from resnet_core.training.metrics import Tally
from resnet_core.training.session import Session

Quick = Callable[..., TrainConfig]
WAITS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, torch.ops.aten.equal.default)


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for a GPU: `.item()`, `bool()`, `.tolist()`, `nonzero`."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += func in WAITS
        return func(*args, **(kwargs or {}))


def as_on_a_gpu(session: Session) -> Session:
    """The session, which believes that its CPU is a GPU."""
    session.where = replace(session.where, device=torch.device("cuda"))
    session.learner._where = session.where
    return session


@pytest.mark.parametrize(
    "settings",
    [
        {"ema_decay": 0.9},
        {"optimizer": "adamw", "class_weights": "balanced"},
        {"optimizer": "muon"},
        {"freeze": "layer2"},
        {"mixup": 0.4, "cutmix": 1.0, "drop_path": 0.2, "clip_norm": 1.0},
        {"freeze": "layer3", "augment": "flip"},
    ],
    ids=str,
)
def test_a_step_never_reads_a_number_back(settings: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec) -> None:
    session = Session(quick(**settings), tiny_flowers)
    with Waits() as on_a_cpu:
        batches = list(session._batches())
        session.learner.begin()
        session._step(batches[0])
    assert on_a_cpu.count >= 1, "there it looks whether the loss is a number"
    as_on_a_gpu(session)
    with Waits() as waits:
        for batch in batches[1:]:
            session._step(batch)
    assert waits.count == 0


def test_time_spent_reading_the_loss_is_training_time(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the steps themselves return at once; the waiting happens where a number is read."""
    now = 0.0
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now)
    read = Tally.read

    def slow(self: Tally) -> tuple[float, float, int]:
        nonlocal now
        now += 1.0
        return read(self)

    monkeypatch.setattr(Tally, "read", slow)
    session = Session(quick(), tiny_flowers)
    told = [event for event in session.train_epoch() if event]
    assert len(told) == 5
    assert session._clock.seconds == 5.0
    assert session._clock.images_per_second == 4.0
    assert session._clock.waited_share == 0.0


def test_waiting_for_pictures_is_counted_as_waiting(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(clock.time, "perf_counter", lambda: now)
    session = Session(quick(), tiny_flowers)
    batches, step = session._batches, session._step

    def slow_batches() -> Any:
        nonlocal now
        for batch in batches():
            now += 3.0
            yield batch

    def slow_step(batch: Any) -> None:
        nonlocal now
        now += 1.0
        step(batch)

    monkeypatch.setattr(session, "_batches", slow_batches)
    monkeypatch.setattr(session, "_step", slow_step)
    for _ in session.train_epoch():
        now += 100.0  # what the reader of the events does is not training
    assert session._clock.seconds == 20.0
    assert session._clock.waited_share == 0.75
