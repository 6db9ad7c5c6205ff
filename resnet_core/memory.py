"""How much memory this program holds and may still take, on the processor or on a GPU."""

import contextlib
import ctypes
import os
import sys
from pathlib import Path

import torch


def free_memory(device: torch.device) -> int | None:
    """Bytes that this program may still take on that device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    known = [number for number in (_available(), _left_of_container()) if number is not None]
    return min(known) if known else None


def held_memory() -> int | None:
    """Bytes of main memory that this program holds now, on macOS the most it ever held; None where nobody can tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if hasattr(ctypes, "windll"):
        return _windows_held()
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes there, kilobytes elsewhere
    return None


def device_memory(device: torch.device) -> int | None:
    """Bytes that torch holds on a GPU, what it keeps for later included; None on the processor."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    return torch.mps.driver_allocated_memory() if device.type == "mps" else None


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


class _ProcessMemory(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of the Windows API."""

    _fields_ = (
        ("length", ctypes.c_ulong),
        ("faults", ctypes.c_ulong),
        *((name, ctypes.c_size_t) for name in ("peak", "held", "a", "b", "c", "d", "paged", "peak_paged")),
    )


def _windows_held() -> int | None:
    counters = _ProcessMemory()
    counters.length = ctypes.sizeof(counters)
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    told = kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.length)
    return int(counters.held) if told else None


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
