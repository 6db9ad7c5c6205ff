"""A file of one JSON object a line that others append to, read on from where the last read ended.

The file may be old, cut or hostile, so that a field is missing or holds anything: `whole_of`, `number_of` and
`text_of` read it all the same.
"""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet_core.data.image_gate import visible_text

LARGEST_EXACT = 2**53  # beyond, a browser's number is no longer exact


class EventLog:
    """The events of one run, read from where the last read ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._events: list[dict[str, Any]] = []
        self._offset = 0
        self._inode = 0

    def read(self) -> list[dict[str, Any]]:
        """All events so far; the list is the log's own, so treat it as read-only."""
        with self._lock:
            with contextlib.suppress(OSError):  # not there (yet): what was read stays
                self._read_on()
            return self._events

    def _read_on(self) -> None:
        with self._path.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:  # another file: start over
                self._events, self._offset, self._inode = [], 0, status.st_ino
            if status.st_size == self._offset:
                return
            opened.seek(self._offset)
            chunk = opened.read()
        complete = chunk[: chunk.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            try:
                event = json.loads(line, object_pairs_hook=_with_shared_names)
            except (ValueError, RecursionError):
                continue  # a line torn by a crash; what follows is sound
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                self._events.append(event)


def whole_of(event: Mapping[str, Any], field: str) -> int:
    """A count that an event tells, such as its epoch; 0 where it tells none from 1 to 2**53."""
    value = event.get(field)
    return value if type(value) is int and 1 <= value <= LARGEST_EXACT else 0


def number_of(event: Mapping[str, Any], field: str) -> float | None:
    """A finite number that an event tells, such as its accuracy; None where it tells none."""
    value = event.get(field)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_EXACT:
        return None  # NaN is not below anything
    return float(value)


def text_of(event: Mapping[str, Any], field: str) -> str:
    """One line that an event tells, such as its model; "" where it tells none."""
    value = event.get(field)
    return visible_text(value) if isinstance(value, str) else ""


def _with_shared_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys and event name are kept once for all lines: a long run takes half the memory."""
    found = {sys.intern(key): value for key, value in pairs}
    if isinstance(found.get("event"), str):
        found["event"] = sys.intern(found["event"])
    return found
