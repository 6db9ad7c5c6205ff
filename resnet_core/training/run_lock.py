"""One program at a time trains a run: a lock on `run.lock` in its folder, which the system gives back when it dies."""

import os
import time
from pathlib import Path

from resnet_core.errors import RunError
from resnet_core.training.folder_lock import FolderLock

FILE = "run.lock"
PATIENCE = 0.5  # seconds: whoever only looks, as `is_held`, has the lock for a moment too
LOOK = 0.02  # seconds between two attempts


def take_run(folder: Path) -> FolderLock:
    """The lock of the run in that folder. Raises RunError with a sentence while another program has it.

    Where there is no room even for the lock's file, it comes untaken: the training itself will say so.
    """
    lock, limit = FolderLock(folder, FILE), time.monotonic() + PATIENCE
    while folder.is_dir() and not lock.take() and (folder / FILE).exists():
        if time.monotonic() > limit:
            raise RunError(f"Run {folder.name} is being trained by another program; stop it there first.")
        time.sleep(LOOK)
    return lock


def is_held(folder: Path) -> bool:
    """True while a program trains the run in that folder, or is about to start its processes anew."""
    if not os.access(folder / FILE, os.W_OK):  # no lock yet, or a folder that is only read here
        return False
    lock = FolderLock(folder, FILE)
    taken = lock.take()
    lock.release()
    return not taken
