"""How much of a run was not saved when its process was killed: the steps that are trained again when it is taken up."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from resnet_core.training.event_log import whole_of
from resnet_core.training.events import Warned

TELLS_STEP = ("StepEnded", "EpochEnded", "Paused", "Resumed")


def count_lost(folder: Path, events: Sequence[Mapping[str, Any]]) -> int:
    """Steps between the last one a run told of and the one it can be taken up from; about as many were lost.

    A run tells of about a hundred steps an epoch, so there may have been a few more. 0 where nothing can be told.
    """
    told = next((whole_of(event, "step") for event in reversed(events) if event.get("event") in TELLS_STEP), 0)
    path = folder / "resume.pt"
    if not path.is_file():  # killed before its first epoch was over
        return told
    place = saved_place(path)
    return max(0, told - place["step"]) if place else 0


def saved_place(path: Path) -> dict[str, Any] | None:
    """The position that a resume file goes on from; None where there is none or it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _read_place(path, status.st_mtime_ns, status.st_size)


def begins_again(folder: Path, events: Sequence[Mapping[str, Any]]) -> Iterator[Warned]:
    """What to tell of a run that was killed before anything was saved; nothing of one that is new."""
    lost = count_lost(folder, events)
    if lost:
        yield Warned(message=f"The run was interrupted and lost {in_steps(lost)}; it begins again.")


def in_steps(count: int) -> str:
    """So many steps, in words."""
    return f"{count:,} {'step' if count == 1 else 'steps'}"


@functools.lru_cache(maxsize=256)
def _read_place(path: Path, stamp: int, size: int) -> dict[str, Any] | None:
    """Reads the position alone: tensors stay on the disk. The page lists runs before torch is there."""
    try:
        import torch

        place = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["position"]
        return {**place, **{name: int(place[name]) for name in ("step", "step_in_epoch", "epoch")}}
    except Exception:  # torch raises many kinds for a damaged file
        return None
