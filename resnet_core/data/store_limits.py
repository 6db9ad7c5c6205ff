"""Keeps the folder of decoded pictures small: the stores used longest ago go first, never one that is in use.

Pixels can always be decoded again, so removing a store costs time and nothing else.
"""

import contextlib
import os
import secrets
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_STORES = 20  # a training uses two, train and val: the last ten settings of data and size start at once
MAX_BYTES = 20_000_000_000
GRACE_SECONDS = 3600.0  # another process may have opened a store just now and not yet read its pixels
LEFTOVER_SECONDS = 86_400.0  # what a killed process left half built or half removed

_PixelRef = weakref.ref[np.ndarray[tuple[int], np.dtype[np.uint8]]]

_BUILDING, _LEAVING = ".building-", ".leaving-"
_used: dict[Path, list[_PixelRef]] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class _Store:
    folder: Path
    last_used: float  # seconds since 1970
    size: int  # bytes


def building_folder(stores: Path) -> Path:
    """A new folder beside the finished stores in which one may be built."""
    folder = stores / f"{_BUILDING}{secrets.token_hex(6)}"
    folder.mkdir(parents=True)
    return folder


def note_use(folder: Path, pixels: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> None:
    """Remembers that this store was used now, and that it is in use for as long as `pixels` lives."""
    with contextlib.suppress(OSError):  # a cache may be read-only: it is used all the same
        os.utime(folder / "index.json")
    with _lock:
        _used[folder.absolute()] = [*_living(folder), weakref.ref(pixels)]


def trim(stores: Path, *, max_stores: int | None = None, max_bytes: int | None = None) -> None:
    """Removes stores, those used longest ago first, until at most so many (bytes) are left.

    Those in use by this process stay, and those that anyone opened within the last hour. What cannot be removed stays.
    """
    most = MAX_STORES if max_stores is None else max_stores
    room = MAX_BYTES if max_bytes is None else max_bytes
    found = sorted(_finished(stores), key=lambda store: store.last_used)
    count, total = len(found), sum(store.size for store in found)
    for store in found:
        if count <= most and total <= room:
            break
        if not _in_use(store) and _remove(store.folder):
            count, total = count - 1, total - store.size


def sweep(stores: Path) -> None:
    """Removes what killed processes left more than a day ago."""
    for left in (*stores.glob(f"{_BUILDING}*"), *stores.glob(f"{_LEAVING}*")):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(left)


def _finished(stores: Path) -> Iterator[_Store]:
    for index in stores.glob("[!.]*/index.json"):
        with contextlib.suppress(OSError):  # another process may be removing it
            size = sum(file.stat().st_size for file in index.parent.iterdir())
            yield _Store(index.parent, index.stat().st_mtime, size)


def _in_use(store: _Store) -> bool:
    if time.time() - store.last_used < GRACE_SECONDS:
        return True
    with _lock:
        alive = _used[store.folder.absolute()] = _living(store.folder)
    return bool(alive)


def _living(folder: Path) -> list[_PixelRef]:
    return [pixels for pixels in _used.get(folder.absolute(), []) if pixels() is not None]


def _remove(folder: Path) -> bool:
    """Renames first, so that nobody ever sees half a store; on Windows that fails while another process maps it."""
    leaving = folder.with_name(f"{_LEAVING}{secrets.token_hex(6)}")
    try:
        os.replace(folder, leaving)
    except OSError:
        return False
    shutil.rmtree(leaving, ignore_errors=True)
    return True
