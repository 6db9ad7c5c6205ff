"""Long work in pieces, so that whoever waits for the same network gets a turn in between.

found = trust_heat(model, inputs, "layer4", class_index, in_turn=desk.run, stopped=lambda: gone)
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from resnet_core.errors import RunError

T = TypeVar("T")


class InTurn(Protocol):
    """Does a piece of work when it is its turn, and returns what it returns."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


class WorkStopped(RunError):
    """Somebody stopped the work."""


def at_once(work: Callable[[], T], /) -> T:
    """Nobody else waits: do it now."""
    return work()


def stoppable(in_turn: InTurn | None = None, stopped: Callable[[], bool] | None = None) -> InTurn:
    """Return turns of which none begins once `stopped()` is true: it raises WorkStopped instead."""
    turn = in_turn or at_once

    def take(work: Callable[[], T], /) -> T:
        if stopped and stopped():
            raise WorkStopped("Stopped before it was finished; start again whenever you like.")
        return turn(work)

    return take
