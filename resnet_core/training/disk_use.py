"""How much of the disk folders take. A file with several names (hard links) is counted once."""

import os
from collections.abc import Iterable
from pathlib import Path


def disk_used(*folders: Path) -> int:
    """Bytes of all files below these folders together; what goes away meanwhile is not counted, links not followed."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for path in _files(folders):
        try:
            status = os.lstat(path)
        except OSError:  # a temporary file may be gone by now
            continue
        if status.st_nlink > 1 and status.st_ino:  # some file systems number no files
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        total += status.st_size
    return total


def _files(folders: Iterable[Path]) -> Iterable[str]:
    for folder in folders:
        for parent, _, names in os.walk(folder):
            yield from (os.path.join(parent, name) for name in names)
