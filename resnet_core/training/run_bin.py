"""Deleted runs: a folder `.bin` inside the runs folder, where a run goes by renaming and from where it comes back.

Nothing is copied or written on the way in, so deleting works on a full disk, and a run is always wholly in one place or
the other. When it was put there is the time of its folder. After a day it goes for good.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from resnet_core.data.images import display_name
from resnet_core.errors import RunError
from resnet_core.training.disk_use import disk_used

log = logging.getLogger(__name__)

FOLDER = ".bin"  # no run's name begins with a dot
KEPT_SECONDS = 24 * 3600.0
GOING = ".going-"  # what is being removed for good: never half there under its own name


@dataclass(frozen=True, kw_only=True)
class BinnedRun:
    """A deleted run that can still come back."""

    run_id: str
    deleted: float  # seconds since 1970
    size_bytes: int


class RunBin:
    """The deleted runs of one runs folder; every method may be called from any thread or process."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.folder = runs_dir / FOLDER

    def put(self, run_id: str) -> None:
        """Moves the run's folder into the bin. Raises RunError where it is gone or cannot be moved."""
        source, target = self.runs_dir / run_id, self.folder / run_id
        try:
            self.folder.mkdir(exist_ok=True)
            if target.exists():
                raise RunError(f"A run {run_id} is in the bin already; bring it back or empty the bin first.")
            os.utime(source)  # before the move: a run found in the bin is never older than its deletion
            os.rename(source, target)
        except FileNotFoundError as error:
            raise RunError(f"There is no run “{display_name(run_id)}” any more.") from error
        except OSError as error:
            raise RunError(f"Run {run_id} could not be deleted ({error.strerror}).") from error

    def take_back(self, run_id: str) -> None:
        """Moves the run's folder back. Raises RunError where it is not in the bin, or its place is taken."""
        if not run_id or Path(run_id).name != run_id or run_id.startswith("."):
            raise RunError(f"There is no run “{display_name(run_id)}” in the bin.")
        source, target = self.folder / run_id, self.runs_dir / run_id
        try:
            if source.exists() and target.exists():
                raise RunError(f"There is another run {run_id} by now; delete that one first.")
            os.rename(source, target)
        except (FileNotFoundError, ValueError) as error:  # ValueError: a NUL in the name
            raise RunError(
                f"There is no run “{display_name(run_id)}” in the bin; after a day it is emptied."
            ) from error
        except OSError as error:
            raise RunError(f"Run {run_id[:80]} could not be brought back ({error.strerror}).") from error

    def list(self) -> tuple[BinnedRun, ...]:
        """What is in the bin, the last deleted first."""
        found = []
        for name in self._names():
            with contextlib.suppress(OSError):  # brought back or emptied in this moment
                deleted = os.stat(self.folder / name).st_mtime
                size = disk_used(self.folder / name)
                found.append(BinnedRun(run_id=name, deleted=deleted, size_bytes=size))
        return tuple(sorted(found, key=lambda binned: (-binned.deleted, binned.run_id)))

    def empty(self, *, older_than: float = KEPT_SECONDS, now: float | None = None) -> int:
        """Removes for good what was deleted at least so many seconds ago; how many runs went.

        What the system does not let go stays and is tried again next time.
        """
        now = time.time() if now is None else now
        gone = 0
        for name in self._names():
            with contextlib.suppress(OSError):
                if now - os.stat(self.folder / name).st_mtime >= older_than:
                    os.rename(self.folder / name, self.folder / f"{GOING}{name[:100]}-{secrets.token_hex(3)}")
                    gone += 1
        self._sweep()
        return gone

    def _sweep(self) -> None:
        """Removes what is on its way out, also what an app that was killed meanwhile left there."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.folder):
                if name.startswith(GOING):
                    shutil.rmtree(self.folder / name, ignore_errors=True)
                    if os.path.isdir(self.folder / name):
                        log.warning("a deleted run could not be removed yet")

    def _names(self) -> tuple[str, ...]:
        try:
            names = [name for name in os.listdir(self.folder) if not name.startswith(".")]
        except OSError:  # nothing was ever deleted here
            return ()
        return tuple(name for name in names if os.path.isdir(self.folder / name))
