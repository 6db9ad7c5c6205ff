"""What the processor is and how much of it this process may use.

A container limits twice: which cores a process may run on (affinity, `docker --cpuset-cpus`, `taskset`) and how much
time it gets on them (quota, `docker --cpus`). Python sees the first only; 64 threads on a quota of 2 cores wait for
each other most of the time.
"""

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")


@dataclass(frozen=True, kw_only=True)
class Cores:
    """The cores of this machine and what this process may use of them."""

    present: int  # logical cores of the machine; a core with two hyperthreads counts twice
    allowed: int  # those of them this process may run on
    physical: int  # cores behind the allowed ones, hyperthreads counted once; on Apple's processors the fast ones
    quota: float | None = None  # cores' worth of time; None: unlimited

    @property
    def usable(self) -> int:
        """How many threads can run at once; a quota of 1.5 cores is rounded to 2, one of 1.4 to 1."""
        by_time = self.allowed if self.quota is None else int(self.quota + 0.5)
        return max(1, min(self.allowed, by_time))


def read_cores(root: Path = ROOT) -> Cores:
    """The cores as `/sys` and `/proc` below `root` tell them; what cannot be read counts as unlimited."""
    present = os.cpu_count() or 1
    numbers = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(present)
    return Cores(
        present=max(present, len(numbers)),
        allowed=max(1, len(numbers)),
        physical=_apple_cores() or _physical(root, numbers),
        quota=_quota(root),
    )


@functools.cache
def processor_name(root: Path = ROOT) -> str:
    """The processor's model as it calls itself, e.g. “AMD EPYC 9454P”."""
    described = _first_processor(root)
    named = [described[key] for key in ("model name", "CPU implementer", "CPU part") if key in described]
    return " ".join(named) or _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


@functools.cache
def has_bf16(root: Path = ROOT) -> bool:
    """Whether the processor multiplies bfloat16 in hardware; elsewhere it is emulated, 20 times slower than float32."""
    described = _first_processor(root)
    flags = set(f"{described.get('flags', '')} {described.get('Features', '')}".split())
    return bool(flags & {"amx_bf16", "avx512_bf16", "bf16"}) or _sysctl("hw.optional.arm.FEAT_BF16") == "1"


def _first_processor(root: Path) -> dict[str, str]:
    """The first block of `/proc/cpuinfo`; {} where there is none."""
    block = _read(root / "proc" / "cpuinfo").strip().split("\n\n")[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _physical(root: Path, numbers: range | set[int]) -> int:
    """How many physical cores the logical cores of these numbers belong to."""
    folder = root / "sys" / "devices" / "system" / "cpu"
    siblings = {_read(folder / f"cpu{number}" / "topology" / "thread_siblings_list").strip() for number in numbers}
    return max(1, len(numbers) if "" in siblings else len(siblings))


def _apple_cores() -> int:
    """Fast cores of an Apple processor, 0 elsewhere: the efficient ones would make the fast ones wait."""
    text = _sysctl("hw.perflevel0.physicalcpu") or _sysctl("hw.physicalcpu")
    return int(text) if text.isdecimal() else 0


def _quota(root: Path) -> float | None:
    """Cores' worth of time the tightest control group around this process allows."""
    return min((share for folder in _control_groups(root) if (share := _share(folder)) is not None), default=None)


def _control_groups(root: Path) -> Iterator[Path]:
    """Folders of the groups that may limit this process's time, its own and all above it.

    A container that sees the host's path finds only the top folder, where its own limit is mounted.
    """
    mounted = root / "sys" / "fs" / "cgroup"
    for line in _read(root / "proc" / "self" / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        tops = (mounted / controllers, mounted / "cpu") if controllers else (mounted, mounted / "unified")
        yield from (top.joinpath(*parts[:depth]) for top in tops for depth in range(len(parts) + 1))


def _share(folder: Path) -> float | None:
    """The limit of one group: `cpu.max` (version 2) or the `cpu.cfs_*` files (version 1), both in µs."""
    words = _read(folder / "cpu.max").split() or [
        *_read(folder / "cpu.cfs_quota_us").split(),
        *_read(folder / "cpu.cfs_period_us").split(),
    ]
    if len(words) != 2 or not all(word.isascii() and word.isdecimal() and len(word) < 16 for word in words):
        return None  # “max” or -1: no limit
    quota, period = map(int, words)
    return quota / period if quota and period else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@functools.cache
def _sysctl(name: str) -> str:
    """A fact macOS knows about its hardware; "" elsewhere."""
    if sys.platform != "darwin":
        return ""
    try:
        found = subprocess.run(["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
