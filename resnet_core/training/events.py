"""What can happen in a training, one frozen class each. `list(fit(...))` is the whole story of a run.

On disk an event is one JSON object: its class name under "event", a wall-clock "time", and its fields; a number that is
not finite is written as null. Epoch and step count from 1.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RunStarted:
    """Everything is decided: what is trained, on which data, where and how long; `notes` say what was picked, why."""

    model: str
    dataset: str
    class_names: tuple[str, ...]
    parameters: int
    n_train: int
    n_val: int
    epochs: int
    steps_per_epoch: int
    device: str
    precision: str
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    first_step: int = 1  # above 1 when a run is taken up again


@dataclass(frozen=True, kw_only=True)
class StepEnded:
    """Optimizer updates up to `step` are done; `loss` is the mean over the pictures since the last StepEnded."""

    step: int
    epoch: int
    loss: float
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class EpochEnded:
    """One pass over the training pictures and one over the validation pictures are done; accuracies lie in [0, 1]."""

    epoch: int
    step: int
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    learning_rate: float
    images_per_second: float
    seconds: float
    waited: float  # share of the training time spent waiting for pictures
    best: bool  # the best val_top1 so far


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved:
    """A file of the run was replaced as a whole; `kind` is "best" or "last"."""

    kind: str
    epoch: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something a person should know; the training goes on. `refused` are settings that could not change."""

    message: str
    refused: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Paused:
    """The training waits after this step."""

    step: int


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The training goes on after this step, after a pause or taken up from the disk; `lost` steps after it were
    trained before but not saved, since the process was killed or the training broke off."""

    step: int
    lost: int = 0


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Settings changed while the run was on: a person asked, a stage thawed, the budget has room for more or fewer
    epochs, or the memory ran out. They hold from `epoch` on, which begins after `step`."""

    epoch: int
    step: int
    settings: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """The one last event: `status` is "finished", "stopped" or "failed", `reason` a sentence."""

    status: str
    reason: str


Event = RunStarted | StepEnded | EpochEnded | CheckpointSaved | Warned | Paused | Resumed | Changed | RunEnded


def event_to_json(event: Event) -> dict[str, Any]:
    """The event as it is written to `events.jsonl`, without the time."""
    return {"event": type(event).__name__, **_plain(dataclasses.asdict(event))}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
