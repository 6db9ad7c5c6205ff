"""Wishes for a training in processes of its own: the app writes them into `orders.json` of the run's folder, and the
process that leads the training looks there once a step.

    {"pausing": false, "stopping": "", "changes": {}, "sender": [pid, when it started]}

`stopping` is "", "now" or "epoch". A training whose sender is gone stops, saved, as one in the app's own thread would.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from resnet_core.errors import ConfigError
from resnet_core.files import write_json
from resnet_core.processes import process_started
from resnet_core.training.control import Control, Replay

FILE = "orders.json"
SENDER_SECONDS = 2.0  # between two looks at whether the sender still lives


class OrderWriter:
    """Keeps a run's orders as its control has them; the sender's side."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._written: dict[str, Any] = {}

    def tell(self, control: Control) -> None:
        """Writes down what the control is asked for, if that is new."""
        stopping = "now" if control.stopping_now else "epoch" if control.ends_after_epoch else ""
        orders = {
            "pausing": control.pausing,
            "stopping": stopping,
            "changes": control.asked_changes,
            "sender": [os.getpid(), process_started(os.getpid())],
        }
        if orders != self._written:
            write_json(self._path, orders)
            self._written = orders

    def remove(self) -> None:
        """Nobody is to heed them any more."""
        self._path.unlink(missing_ok=True)


class OrderedControl(Replay):
    """A control that heeds a run's orders beside what it is asked directly; the training's side."""

    def __init__(self, events: Iterable[Mapping[str, Any]], folder: Path) -> None:
        super().__init__(events)
        self._path = folder / FILE
        self._seen: tuple[int, int, int] | None = None
        self._orders: dict[str, Any] = {}
        self._next_look = 0.0

    @property
    def pausing(self) -> bool:
        """As the orders say; taken back by a resume."""
        self._heed()
        return super().pausing

    @property
    def stopping_now(self) -> bool:
        """True once a stop after the current step was asked for."""
        self._heed()
        return super().stopping_now

    @property
    def ends_after_epoch(self) -> bool:
        """True once a stop after this epoch was asked for."""
        self._heed()
        return super().ends_after_epoch

    def take_changes(self, epoch: int) -> dict[str, Any]:
        """What changes with this epoch, told once."""
        self._heed()
        return super().take_changes(epoch)

    def check(self) -> None:
        """Raises StopAsked if a stop now was asked for."""
        self._heed()
        super().check()

    def _heed(self) -> None:
        if self._is_new():
            before, self._orders = self._orders, self._read()
            if self._orders.get("stopping") in ("now", "epoch"):
                self.stop(after_epoch=self._orders["stopping"] == "epoch")
            elif self._orders.get("pausing"):
                self.pause()
            elif before.get("pausing"):
                self.resume()
            new = _news(before.get("changes"), self._orders.get("changes"))
            if new:
                self._change(new)
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + SENDER_SECONDS
            if not self._sender_lives():
                self.stop()

    def _is_new(self) -> bool:
        try:
            status = self._path.stat()
        except OSError:  # none yet, or none any more
            return False
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        new, self._seen = seen != self._seen, seen
        return new

    def _read(self) -> dict[str, Any]:
        try:
            orders = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return self._orders
        return orders if isinstance(orders, dict) else self._orders

    def _change(self, changes: dict[str, Any]) -> None:
        try:
            self.change(**changes)
        except ConfigError:  # the sender has checked them; a file may say anything
            return

    def _sender_lives(self) -> bool:
        sender = self._orders.get("sender")
        if not isinstance(sender, list) or len(sender) != 2 or not isinstance(sender[0], int):
            return True
        return bool(process_started(sender[0]) == sender[1])


def _news(told: Any, changes: Any) -> dict[str, Any]:
    """What is asked for now and was not told before with that value; what was refused is not tried again by itself."""
    known = told if isinstance(told, dict) else {}
    asked = changes if isinstance(changes, dict) else {}
    return {name: value for name, value in asked.items() if name not in known or known[name] != value}
