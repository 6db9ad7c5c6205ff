"""A run that ends by the clock. While it trains, its epochs follow the time really used, so that the learning rate is
down when the time is over.

Time is that of the monotonic clock, preparing included and pauses left out; a run that is taken up again has what was
left of its budget when it was saved. Only whole epochs are added or taken away: each such decision is a `Changed` event
with `epochs`, so a replay repeats it instead of looking at its own clock.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from resnet_core.training.config import TrainConfig
from resnet_core.training.plan import Plan

now = time.monotonic

SPARE = 0.04  # of the budget is kept back for an epoch that takes longer than those before it
OVER = 1.1  # times the budget, up to which a last epoch may run whose learning rate falls to the end
WORTH_MORE = 0.1  # of the budget must be left over for more epochs: each change bends the learning rate's curve
MOST_EPOCHS = 200  # more change hardly anything, whatever the budget
# what a budget decides where the config leaves it open, and the epochs whatever the config says
DECIDED = ("model", "stem", "width", "image_size", "resize", "batch_size", "max_pictures", "epochs")


class Budget:
    """The stopwatch of a run with so many minutes; 0 minutes: it never decides anything."""

    def __init__(self, minutes: float, state: Mapping[str, Any] | None = None) -> None:
        kept = (state or {}).get("budget", {})
        self.seconds = minutes * 60
        self._spent = float(kept.get("spent", 0.0))
        self._in_epoch = float(kept.get("in_epoch", 0.0))
        self._epochs_over = int(kept.get("epochs_over", 0))
        self._pace: float | None = kept.get("pace")  # seconds an epoch of pictures of 1 px
        self._training = False
        self._mark = now()

    @property
    def left(self) -> float:
        """Seconds until the run should end, those kept back left out."""
        self._advance()
        return self.seconds * (1 - SPARE) - self._spent

    def begin_training(self) -> None:
        """From here on epochs are timed; what went before prepared them."""
        self._advance()
        self._training = True

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside, the budget is not used up: somebody has paused the run."""
        self._advance()
        try:
            yield
        finally:
            self._mark = now()

    def epochs(self, plan: Plan, done: int) -> int:
        """How many epochs the run shall have now that `done` of them are over."""
        if not self.seconds:
            return plan.epochs
        left = self.left
        if done > self._epochs_over:
            self._pace = self._in_epoch / (done - self._epochs_over) / _weight(plan, done)
            self._in_epoch, self._epochs_over = 0.0, done
        if not self._pace or done >= plan.epochs:
            return plan.epochs
        fitting = fitting_epochs(plan, done, left / self._pace)
        if fitting == done:
            last = self._pace * _weight(_with_epochs(plan, done + 1), done + 1)
            return done + 1 if self._spent + last <= OVER * self.seconds else done
        gained = (fitting - plan.epochs) * self._pace * _weight(plan, plan.epochs)
        return plan.epochs if 0 < gained < WORTH_MORE * self.seconds else fitting

    def state(self) -> dict[str, Any]:
        """Plain numbers from which a later session goes on with what is left."""
        self._advance()
        return {
            "spent": self._spent,
            "in_epoch": self._in_epoch,
            "epochs_over": self._epochs_over,
            "pace": self._pace,
        }

    def _advance(self) -> None:
        passed = now() - self._mark
        self._mark += passed
        self._spent += passed
        if self._training:
            self._in_epoch += passed


def fitting_epochs(plan: Plan, done: int, room: float) -> int:
    """The most epochs in all, at least `done`, of which those after `done` take no more than `room`, in seconds over
    the seconds of an epoch of pictures of 1 px."""
    if plan.config.start_image_size is None:
        return max(done, min(MOST_EPOCHS, done + int(room * (1 + 1e-9) / _weight(plan, 1))))
    fitting = done
    for epochs in range(done + 1, MOST_EPOCHS + 1):
        longer = _with_epochs(plan, epochs)
        if sum(_weight(longer, epoch) for epoch in range(done + 1, epochs + 1)) > room * (1 + 1e-9):
            break
        fitting = epochs
    return fitting


def as_decided(config: TrainConfig, events: Iterable[Mapping[str, Any]]) -> TrainConfig:
    """The settings of a run that had a budget, with what the budget chose when it began instead of the budget."""
    if not config.budget_minutes:
        return config
    started: Mapping[str, Any] = next((event for event in events if event.get("event") == "RunStarted"), {})
    chosen = started.get("settings", {})
    return config.replace(
        budget_minutes=0.0, **{field: chosen[field] for field in DECIDED if chosen.get(field) is not None}
    )


def _with_epochs(plan: Plan, epochs: int) -> Plan:
    return Plan(config=plan.config.replace(epochs=epochs), steps_per_epoch=plan.steps_per_epoch)


def _weight(plan: Plan, epoch: int) -> int:
    """What an epoch costs more than one of pictures of 1 px: as many times as its pictures have pixels."""
    return plan.image_size(epoch) ** 2
