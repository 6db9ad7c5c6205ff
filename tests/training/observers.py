"""What the training tests hold on to: a saver of states, a control that stops anywhere, events without clocks."""

import dataclasses
import io
from typing import Any

import torch

from resnet_core.training.control import Control, StopAsked
from resnet_core.training.engine import KeepNothing
from resnet_core.training.events import Event
from resnet_core.training.session import Session, Validation

MEASURED = ("images_per_second", "seconds", "waited")


class Keeper(KeepNothing):
    """Keeps the newest resumable state as bytes, and the weights of the newest epoch."""

    def __init__(self) -> None:
        self.saved: list[str] = []
        self.content = b""
        self.weights: dict[str, torch.Tensor] = {}
        self.judged: dict[str, torch.Tensor] = {}

    def save_best(self, session: Session, validation: Validation) -> None:
        self.saved.append("best")

    def save_epoch(self, session: Session, validation: Validation) -> None:
        self.saved.append("last")
        self.weights = {name: tensor.clone() for name, tensor in session.model.state_dict().items()}
        self.judged = {name: tensor.clone() for name, tensor in session.judged_model.state_dict().items()}
        self._keep(session)

    def save_resume(self, session: Session) -> None:
        self.saved.append("resume")
        self._keep(session)

    @property
    def state(self) -> dict[str, Any]:
        loaded = torch.load(io.BytesIO(self.content), weights_only=True)
        assert isinstance(loaded, dict)
        return loaded

    def _keep(self, session: Session) -> None:
        buffer = io.BytesIO()
        torch.save(session.state(), buffer)
        self.content = buffer.getvalue()


class StopsAtLook(Control):
    """Stops at the n-th moment at which the training looks: after a step, or between validation batches."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise StopAsked


def facts(events: list[Event]) -> list[dict[str, Any]]:
    """The events without what a clock measured."""
    rows = []
    for event in events:
        row = {"event": type(event).__name__, **dataclasses.asdict(event)}
        rows.append({key: value for key, value in row.items() if key not in MEASURED})
    return rows


def story(events: list[Event]) -> list[dict[str, Any]]:
    """What was learned: steps and epochs only."""
    return [row for row in facts(events) if row["event"] in ("StepEnded", "EpochEnded")]


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
