"""One control for several processes: what any of them is asked, all heed at the same step.

Every process must put the same questions in the same order; the answers are agreed on, so all take the same way.
"""

import time
from collections.abc import Mapping
from typing import Any

from resnet_core.training.control import Control, StopAsked
from resnet_core.training.distributed import Team

BEAT = 0.2  # seconds between two looks while a training waits


class SharedControl(Control):
    """The wishes told to `own`, the control of this process, and to those of the others."""

    def __init__(self, own: Control, team: Team) -> None:
        super().__init__()
        self._own = own
        self._team = team
        self._pausing = False

    def check_alone(self) -> None:
        self._own.check()

    def check(self) -> None:
        if self._ask():
            raise StopAsked

    @property
    def pausing(self) -> bool:
        """As it was agreed on when last checked."""
        return self._pausing

    @property
    def ends_after_epoch(self) -> bool:
        return bool(self._team.loudest([self._own.ends_after_epoch])[0])

    def take_changes(self, epoch: int) -> dict[str, Any]:
        return self._team.first(lambda: self._own.take_changes(epoch))

    def give_back(self, epoch: int, changes: Mapping[str, Any]) -> None:
        self._own.give_back(epoch, changes)

    def pending(self) -> dict[str, Any]:
        return self._own.pending()

    def recall(self, pending: Mapping[str, Any], epoch: int) -> None:
        self._own.recall(pending, epoch)

    def rest(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / BEAT))):
            time.sleep(min(BEAT, seconds))
            self.check()

    def wait(self) -> None:
        self.check()
        while self._pausing:
            time.sleep(BEAT)
            self.check()

    def _ask(self) -> bool:
        """Agrees with the others; True where a stop now is wanted."""
        stop, pause = self._team.loudest([self._own.stopping_now, self._own.pausing])
        self._pausing = bool(pause)
        return bool(stop)


def share_control(control: Control, team: Team) -> Control:
    """The control itself for a process that is alone."""
    return SharedControl(control, team) if team.size > 1 else control
