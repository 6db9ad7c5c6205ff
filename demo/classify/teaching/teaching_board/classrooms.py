"""The classrooms of all visitors: `<cache>/teaching/<session>/`.

A session is 128 random bits drawn by the browser: who does not know them cannot see the pictures. A folder that was not
used for a day is swept.
"""

import contextlib
import os
import re
import shutil
import threading
import time
from pathlib import Path

from demo.classify.teaching.teaching_board.classroom import Classroom
from resnet_core.errors import DatasetError
from resnet_core.files import cache_dir

KEEP_SECONDS = 24 * 3600.0
SWEEP_EVERY = 3600.0
MAX_ROOMS = 64  # folders of up to about 150 MB; more are a mistake or an attack, the longest unused go first
FORGET_ABOVE = 500  # visitors in memory; those without classes have nothing to lose
_SESSION = re.compile(r"[0-9a-f]{32}")


class Classrooms:
    """The classrooms of all visitors of this app."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._rooms: dict[str, Classroom] = {}
        self._swept = 0.0

    @property
    def folder(self) -> Path:
        """Where they lie; found when first asked, since the cache may be named by the environment."""
        return self._folder or cache_dir() / "teaching"

    def open(self, session: object) -> Classroom:
        """The classroom of a session, empty if it is new. Raises DatasetError for what is no session."""
        if not isinstance(session, str) or not _SESSION.fullmatch(session):
            raise DatasetError("This page has lost its place; reload it.")
        self.sweep_in_time()
        path = self.folder / session
        with self._lock:
            room = self._rooms.get(session)
            if room is None or (room.classes() and not path.is_dir()):
                if len(self._rooms) > FORGET_ABOVE:
                    self._rooms = {name: kept for name, kept in self._rooms.items() if kept.classes()}
                room = self._rooms[session] = Classroom(path)
        with contextlib.suppress(OSError):
            os.utime(path)
        return room

    def sweep(self, *, now: float | None = None) -> int:
        """Deletes folders that were not used for a day, and the longest unused above `MAX_ROOMS`; how many went."""
        now = time.time() if now is None else now
        used: list[tuple[float, Path]] = []
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                with contextlib.suppress(OSError):
                    if _SESSION.fullmatch(path.name):
                        used.append((path.stat().st_mtime, path))
        used.sort(reverse=True)
        old = [path for index, (at, path) in enumerate(used) if index >= MAX_ROOMS or now - at > KEEP_SECONDS]
        for path in old:
            with self._lock:
                self._rooms.pop(path.name, None)
            shutil.rmtree(path, ignore_errors=True)
        return len(old)

    def sweep_in_time(self) -> None:
        """Sweeps, at most once an hour."""
        with self._lock:
            due = time.monotonic() - self._swept > SWEEP_EVERY or not self._swept
            if due:
                self._swept = time.monotonic()
        if due:
            self.sweep()
