"""A file of one JSON object a line that others append to, read on from where the last read ended."""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any


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
            except ValueError:
                continue  # a line torn by a crash; what follows is sound
            if isinstance(event, dict) and "event" in event:
                self._events.append(event)


def _with_shared_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys and event name are kept once for all lines: a long run takes half the memory."""
    found = {sys.intern(key): value for key, value in pairs}
    if isinstance(found.get("event"), str):
        found["event"] = sys.intern(found["event"])
    return found
