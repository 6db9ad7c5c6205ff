"""What a training has done so far: its place, the sums since the last report and over the epoch, and the time it took.

Where several processes train together each counts its own pictures; what is told is of all of them.
"""

import math
from typing import Any

import torch

from resnet_core.data.loaders import Batch
from resnet_core.training.clock import Clock
from resnet_core.training.distributed import Team
from resnet_core.training.events import EpochEnded, StepEnded
from resnet_core.training.metrics import Tally
from resnet_core.training.resuming import Position
from resnet_core.training.validation import Validation, diverged


class Reckoning:
    """Place, sums and clock of one training; `clock` and `position` are the loop's to move."""

    clock: Clock
    _epoch: Tally
    _window: Tally

    def __init__(self, device: torch.device, team: Team) -> None:
        self._device = device
        self._team = team
        self.position = Position()
        self._begin_epoch()

    def count(self, logits: torch.Tensor, batch: Batch, loss: torch.Tensor) -> None:
        """One step more: its logits `[N, K]` and its mean loss, both on the device."""
        for tally in (self._epoch, self._window):
            tally.add(logits, batch.targets, loss, batch.whole)
        self.position.step += 1
        self.position.step_in_epoch += 1

    def step_ended(self, learning_rate: float) -> StepEnded:
        """What was learned since the last report. Raises RunError where the loss is no number any more."""
        loss, _, _ = self._window.read()
        if not math.isfinite(loss):
            raise diverged(self.position.step)
        self._window = Tally(self._device, self._team)
        return StepEnded(step=self.position.step, epoch=self.position.epoch, loss=loss, learning_rate=learning_rate)

    def epoch_ended(self, validation: Validation, learning_rate: float) -> EpochEnded:
        """Closes the epoch's sums and moves on to the next one."""
        train_loss, train_top1, _ = self._epoch.read()
        position = self.position
        best = (validation.top1, -validation.loss) > (position.best_top1, -position.best_loss)
        if best:
            position.best_top1, position.best_loss = validation.top1, validation.loss
            position.best_epoch = position.epoch
        ended = EpochEnded(
            epoch=position.epoch,
            step=position.step,
            train_loss=train_loss,
            train_top1=train_top1,
            val_loss=validation.loss,
            val_top1=validation.top1,
            learning_rate=learning_rate,
            images_per_second=self.clock.images_per_second,
            seconds=self.clock.seconds,
            waited=self.clock.waited_share,
            best=best,
        )
        position.epoch += 1
        position.step_in_epoch = 0
        self._begin_epoch()
        return ended

    def settle(self) -> None:
        """Brings together what the processes have counted, so that the first one's state holds all of it."""
        for tally in (self._epoch, self._window):
            tally.settle()

    def state(self) -> dict[str, Any]:
        """Plain tensors and numbers from which `restore` goes on."""
        return {
            "position": vars(self.position).copy(),
            "epoch_tally": self._epoch.state(),
            "window_tally": self._window.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self._epoch.restore(state["epoch_tally"])
        self._window.restore(state["window_tally"])
        position = state["position"]
        self.position = Position(**{"best_epoch": position["epoch"] - 1, **position})  # older states do not tell it

    def _begin_epoch(self) -> None:
        self._epoch = Tally(self._device, self._team)
        self._window = Tally(self._device, self._team)
        self.clock = Clock()
