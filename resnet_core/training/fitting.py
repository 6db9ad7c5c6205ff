"""How much memory a training step takes, and the largest batch that fits what is free."""

import contextlib
import ctypes
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch

from resnet_core.models.describe import LayerDescription, describe
from resnet_core.models.resnet import Network

STEP_FACTOR = 1.5  # memory of a step over the bytes of all layers' outputs; measured 1.0–1.25 on CPU
WEIGHT_COPIES = 5  # weights, gradients, Adam's two moments, an average
SHARE = 0.8  # of the free memory may be taken; the rest is for pictures, validation and other programs
LEAST_BATCH = 2  # BatchNorm needs two pictures


@dataclass(frozen=True)
class StepMemory:
    """About how many bytes a training step in float32 takes."""

    per_picture: int  # what the layers give, kept for the way back
    fixed: int  # weights, and what the optimizer keeps of those that learn

    def of(self, batch: int) -> int:
        """The bytes of a step on so many pictures."""
        return batch * self.per_picture + self.fixed

    def fit(self, batch: int, free: int) -> int:
        """The batch, halved until a step of it fits a share of `free` bytes; at least 2."""
        while batch > LEAST_BATCH and self.of(batch) > SHARE * free:
            batch = max(LEAST_BATCH, batch // 2)
        return batch


def step_memory(network: Network, image_size: int, *, freeze: str = "none") -> StepMemory:
    """What a step of the network takes, which may be hollow; of frozen stages only the largest output is ever held."""
    table = describe(network, image_size)
    frozen = _frozen_stages(network, freeze)
    passing = max((_output_bytes(row) for row in table.layers if row.stage in frozen), default=0)
    kept = sum(_output_bytes(row) for row in table.layers if row.leaf and row.stage not in frozen)
    learning = sum(row.parameters for row in table.layers if row.leaf and row.stage not in frozen)
    return StepMemory(
        per_picture=int(STEP_FACTOR * kept + 2 * passing),
        fixed=4 * (table.parameters + (WEIGHT_COPIES - 1) * learning),
    )


def free_memory(device: torch.device) -> int | None:
    """Bytes that this program may still take on that device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    known = [number for number in (_available(), _left_of_container()) if number is not None]
    return min(known) if known else None


def _frozen_stages(network: Network, freeze: str) -> tuple[str, ...]:
    stages = ("stem", *network.stage_names)
    return () if freeze == "none" else stages[: stages.index(freeze) + 1]


def _output_bytes(row: LayerDescription) -> int:
    return 4 * math.prod(row.output_shape) * row.runs if row.output_shape else 0


def _available() -> int | None:
    """Memory that can be had without swapping: Linux and Windows say it; elsewhere half of what is built in."""
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    if hasattr(ctypes, "windll"):
        return _windows_available()
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_ulong),
        ("load", ctypes.c_ulong),
        *((name, ctypes.c_ulonglong) for name in ("total", "available", "a", "b", "c", "d", "e")),
    )


def _windows_available() -> int | None:
    status = _MemoryStatus()
    status.length = ctypes.sizeof(status)
    told = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined,unused-ignore]
    return int(status.available) if told else None


def _left_of_container(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container's limit (cgroup v2, or v1) leaves; caches that the system would give back count as free."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_cache"),
    ):
        with contextlib.suppress(OSError, ValueError):
            most = int((root / limit).read_text(encoding="ascii"))  # "max" where there is no limit
            now = int((root / used).read_text(encoding="ascii"))
            return max(0, most - now + _reclaimable(root / Path(used).parent / "memory.stat", cache))
    return None


def _reclaimable(stat: Path, key: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        rows = (line.split() for line in stat.read_text(encoding="ascii").splitlines())
        return next((int(number) for name, number in rows if name == key), 0)
    return 0
