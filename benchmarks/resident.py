"""Resident memory from /proc, in MB of 1,000,000 bytes: of this process or another, now, at its peak, or at rest."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

CALM_SECONDS = 4.0  # without use of the processor: then a process rests
CALM_SHARE = 0.05  # of one core; an idle page uses 0.02 for its clocks
BYTES_PER_KB = 1024  # what /proc calls kB


def resident_mb(pid: int | None = None) -> float:
    """Resident memory of a process now."""
    return _status_kb(pid or os.getpid(), "VmRSS") * BYTES_PER_KB / 1e6


def peak_mb(pid: int | None = None) -> float:
    """The most a process has held so far."""
    return _status_kb(pid or os.getpid(), "VmHWM") * BYTES_PER_KB / 1e6


def rest_mb(pid: int, *, limit: float) -> float:
    """Resident memory of a process and its children once they rest. Raises TimeoutError after `limit` seconds."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        before, started = _processor_seconds(pid), time.monotonic()
        time.sleep(CALM_SECONDS)
        used = _processor_seconds(pid) - before
        if used / (time.monotonic() - started) <= CALM_SHARE:
            return sum(map(resident_mb, family(pid)))
    raise TimeoutError(f"the process did not come to rest within {limit:g} s")


def family(pid: int) -> Iterator[int]:
    """A process and all it has started, directly or not."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text(encoding="ascii").split():
            yield from family(int(child))


def _processor_seconds(pid: int) -> float:
    return sum(map(_own_processor_seconds, family(pid)))


def _own_processor_seconds(pid: int) -> float:
    # The name in brackets may contain spaces; after it follow the state and then numbers (man 5 proc, fields 3 on).
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status_kb(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, text = line.partition(":")
        if name == key:
            return int(text.split()[0])
    raise OSError(f"/proc says nothing of {key}")
