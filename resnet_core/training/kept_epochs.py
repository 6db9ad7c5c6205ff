"""Epochs of a run that stay: `kept/epoch-0003.safetensors`, the model, and `kept/epoch-0003.pt`, to go on from.

Both are second names (hard links) of files that the epoch wrote anyway: keeping writes nothing, and takes room only
once the next epoch has replaced the first names. An epoch of which only one file is there does not count.
"""

import contextlib
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from resnet_core.errors import RunError
from resnet_core.files import link_or_copy

FOLDER = "kept"
CHECKPOINT, STATE = ".safetensors", ".pt"
BUDGET = 1_000_000_000  # bytes of one run's kept epochs with keep="some"; five epochs of a ResNet-18 with momentum
_FILE = re.compile(r"epoch-(\d{4,6})(\.safetensors|\.pt)")


def list_kept(folder: Path) -> tuple[int, ...]:
    """The epochs of the run in this folder that can be used and gone on from, in order."""
    found: dict[str, set[int]] = {CHECKPOINT: set(), STATE: set()}
    for name in _names(folder):
        if match := _FILE.fullmatch(name):
            found[match[2]].add(int(match[1]))
    return tuple(sorted(found[CHECKPOINT] & found[STATE]))


def kept_path(folder: Path, epoch: int, ending: str) -> Path:
    """The file of a kept epoch. Raises RunError with the epochs there are."""
    kept = list_kept(folder)
    if epoch not in kept:
        there = f"kept are {in_words(kept)}" if kept else "none of its epochs is"
        raise RunError(f"Epoch {epoch} of run {folder.name} is not kept; {there}.")
    return _path(folder, epoch, ending)


def in_words(epochs: Iterable[int]) -> str:
    """Epochs as people write them: 1, 2, 4–9."""
    ordered = sorted(epochs)
    starts = [epoch for before, epoch in pairwise([-1, *ordered]) if epoch != before + 1]
    ends = [epoch for epoch, after in pairwise([*ordered, -1]) if after != epoch + 1]
    return ", ".join(
        str(start) if start == end else f"{start}{', ' if end == start + 1 else '–'}{end}"
        for start, end in zip(starts, ends, strict=True)
    )


def keep_epoch(folder: Path, epoch: int, *, keep: str, best: int) -> None:
    """Keeps the epoch that `last.safetensors` and `resume.pt` hold. With keep="some" these stay: epochs 1, 2, 4, 8, …,
    the newest and the best, of which the earliest go once they take more than BUDGET. Raises OSError."""
    if keep == "none":
        return
    link_or_copy(folder / "resume.pt", _path(folder, epoch, STATE))
    link_or_copy(folder / "last.safetensors", _path(folder, epoch, CHECKPOINT))
    if keep == "some":
        _thin(folder, newest=epoch, best=best)


def sweep(folder: Path) -> None:
    """Removes what a program that was killed left half done."""
    kept = {_path(folder, epoch, ending).name for epoch in list_kept(folder) for ending in (CHECKPOINT, STATE)}
    for name in _names(folder):
        if name.endswith(".part") or (_FILE.fullmatch(name) and name not in kept):
            with contextlib.suppress(OSError):
                (folder / FOLDER / name).unlink()


def _thin(folder: Path, *, newest: int, best: int) -> None:
    kept = list_kept(folder)
    for epoch in kept:
        if epoch & (epoch - 1) and epoch not in (newest, best):
            _remove(folder, epoch)
    left = [epoch for epoch in list_kept(folder) if epoch != newest]
    left.sort(key=lambda epoch: (epoch == best, epoch))  # the best is the last to go
    sizes = {epoch: _size(folder, epoch) for epoch in (*left, newest)}
    while left and sum(sizes.values()) > BUDGET:
        _remove(folder, left[0])
        del sizes[left.pop(0)]


def _remove(folder: Path, epoch: int) -> None:
    for ending in (CHECKPOINT, STATE):
        with contextlib.suppress(OSError):  # somebody reads it, on a system that minds: next time
            _path(folder, epoch, ending).unlink()


def _size(folder: Path, epoch: int) -> int:
    total = 0
    for ending in (CHECKPOINT, STATE):
        with contextlib.suppress(OSError):
            total += _path(folder, epoch, ending).stat().st_size
    return total


def _path(folder: Path, epoch: int, ending: str) -> Path:
    return folder / FOLDER / f"epoch-{epoch:04d}{ending}"


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in (folder / FOLDER).iterdir()]
    except OSError:  # nothing was ever kept
        return []
