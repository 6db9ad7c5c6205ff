"""One benchmark run at a time on a machine: two at once would measure each other."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LOCK = Path(tempfile.gettempdir()) / "resnet-lab-benchmarks.lock"


@contextlib.contextmanager
def only_run(path: Path = LOCK, *, every: float = 1.0) -> Iterator[None]:
    """Waits until no other benchmark runs here and holds the machine; the system frees it if this process dies."""
    told = False
    while (descriptor := _acquire(path)) is None:
        if not told:
            print("Another benchmark runs on this machine; waiting for its end.", file=sys.stderr, flush=True)
        told = True
        time.sleep(every)
    try:
        yield
    finally:
        os.close(descriptor)
        if os.name == "nt":
            path.unlink(missing_ok=True)


def _acquire(path: Path) -> int | None:
    """An open descriptor that holds the lock, or None while somebody else does."""
    if os.name == "nt":
        # Windows refuses to remove a file that is open elsewhere: one that can be removed was left by a dead run.
        try:
            path.unlink(missing_ok=True)
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        except OSError:
            return None
    import fcntl  # not on Windows

    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
