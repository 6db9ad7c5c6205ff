"""One app at a time writes into a runs folder: a lock on `app.lock`, which the system gives back when the app dies.

The file also says who holds it. It is never deleted: two apps could then lock two files of the same name.
"""

import contextlib
import errno
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.processes import process_started

FILE = "app.lock"
FAR = 1 << 30  # the byte that Windows locks; what is locked there cannot be read, so it lies behind the text


class FolderLock:
    """The right to write into a runs folder; any thread may ask, one process holds it."""

    def __init__(self, folder: Path, name: str = FILE) -> None:
        self._path = folder / name
        self._descriptor: int | None = None
        self._taking = threading.Lock()  # a second thread's own lock would be refused by the first one's

    @property
    def held(self) -> bool:
        """True while this process has it."""
        return self._descriptor is not None

    @property
    def descriptor(self) -> int | None:
        """The open file, for a child process that is to hold the lock as well."""
        return self._descriptor

    def take(self) -> bool:
        """True once this process has it, also where it had it before; False while another living one has it."""
        with self._taking:
            return self._take()

    def _take(self) -> bool:
        if self._descriptor is not None:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)  # no child process inherits it
        except OSError:
            return False
        locked = _lock(descriptor)
        if locked is None:  # no locks here: then the one who is named has it, as long as it lives
            locked = not _lives(self.holder())
        if not locked:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        _sign(descriptor)
        return True

    def release(self) -> None:
        """Gives it back; once more does no harm."""
        with self._taking:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, 0)
                _unlock(descriptor)
                os.close(descriptor)

    def holder(self) -> dict[str, Any]:
        """pid, host, started and since (seconds since 1970) of who has it, as far as they are told."""
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def refusal(self) -> str:
        """The sentence for whoever wants to write and may not."""
        return (
            f"Another ResNet Lab app{_in_words(self.holder())} works on this runs folder, so this one only reads. "
            "Use that one, or close it and press again."
        )


def _in_words(holder: dict[str, Any]) -> str:
    pid, host, since = (holder.get(key) for key in ("pid", "host", "since"))
    if not isinstance(pid, int):
        return ""
    where = f" on {visible_text(host, 60)}" if isinstance(host, str) and host != socket.gethostname() else ""
    when = ""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        when = time.strftime(", since %H:%M", time.localtime(since)) if isinstance(since, int | float) else ""
    return f" (process {pid}{where}{when})"


def _lock(descriptor: int) -> bool | None:
    """True: locked for us; False: another has it; None: this file system knows no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK) else None
    return True


def _sign(descriptor: int) -> None:
    """Writes down who has the lock."""
    me = {"pid": os.getpid(), "host": socket.gethostname(), "started": process_started(os.getpid())}
    with contextlib.suppress(OSError):  # a full disk: locked all the same, only nobody is told by whom
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, json.dumps(me | {"since": round(time.time())}).encode())


def _lives(holder: dict[str, Any]) -> bool:
    """True while the process that signed lives; of one on another machine that cannot be known."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or holder.get("host") != socket.gethostname():
        return False
    return process_started(pid) == holder.get("started") is not None


def _unlock(descriptor: int) -> None:
    """Gives the lock back at once: a program that another thread is just starting has a copy of the open file for a
    moment, and closing ours would leave the lock with it. Windows unlocks by closing."""
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
