"""How much of the disk folders take. A file with several names (hard links) is counted once."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

FileSizes = dict[tuple[int, int] | str, int]


def disk_used(*folders: Path) -> int:
    """Bytes of all files below these folders together; what goes away meanwhile is not counted, links not followed."""
    return sum(merged(map(disk_files, folders)).values())


def disk_files(folder: Path) -> FileSizes:
    """The bytes of each file below the folder, by what tells whether two names mean one file."""
    sizes: FileSizes = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with contextlib.suppress(OSError):  # a temporary file may be gone by now
                status = os.lstat(path)
                sizes[(status.st_dev, status.st_ino) if status.st_ino else path] = status.st_size
    return sizes  # some file systems number no files: there each name is a file


def merged(several: Iterable[FileSizes]) -> FileSizes:
    """The files of several folders, each once."""
    sizes: FileSizes = {}
    for each in several:
        sizes |= each
    return sizes
