"""What the files of a machine say about its cores, limits and abilities, read from made-up roots."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_core import processor
from resnet_core.processor import Cores, has_bf16, processor_name, read_cores


def make_root(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def stand_on(monkeypatch: pytest.MonkeyPatch, present: int, allowed: set[int] | None = None) -> None:
    numbers = set(range(present)) if allowed is None else allowed
    monkeypatch.setattr(os, "cpu_count", lambda: present)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: numbers, raising=False)


VERSION_1 = "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n"
HOST = "sys/fs/cgroup/cpu,cpuacct/docker/abc/"

LIMITS: dict[str, tuple[dict[str, str], float | None]] = {
    "no control groups": ({}, None),
    "version 2, unlimited": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    "version 2, docker --cpus 1.5": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1.5),
    "version 2, the group above is tighter": (
        {
            "proc/self/cgroup": "0::/pods/one/two\n",
            "sys/fs/cgroup/pods/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/pods/one/cpu.max": "max 100000\n",
            "sys/fs/cgroup/pods/one/two/cpu.max": "800000 100000\n",
        },
        2.0,
    ),
    "version 2, seen from outside its namespace": (
        {"proc/self/cgroup": "0::/../../pods\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"},
        0.5,
    ),
    "version 1": (
        {"proc/self/cgroup": VERSION_1, HOST + "cpu.cfs_quota_us": "300000", HOST + "cpu.cfs_period_us": "100000"},
        3.0,
    ),
    "version 1, unlimited": (
        {"proc/self/cgroup": VERSION_1, HOST + "cpu.cfs_quota_us": "-1", HOST + "cpu.cfs_period_us": "100000"},
        None,
    ),
    "version 1, the host's path, its limit mounted at the top": (
        {
            "proc/self/cgroup": VERSION_1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        4.0,
    ),
    "version 1, another controller's limit": (
        {
            "proc/self/cgroup": "3:cpuset:/x\n",
            "sys/fs/cgroup/cpuset/x/cpu.cfs_quota_us": "100000",
            "sys/fs/cgroup/cpuset/x/cpu.cfs_period_us": "100000",
        },
        None,
    ),
    "both versions": (
        {
            "proc/self/cgroup": "1:cpu:/\n0::/slice\n",
            "sys/fs/cgroup/unified/slice/cpu.max": "600000 100000",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "500000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        },
        5.0,
    ),
}


@pytest.mark.parametrize(("files", "quota"), LIMITS.values(), ids=LIMITS.keys())
def test_a_containers_time_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    stand_on(monkeypatch, 8)
    assert read_cores(make_root(tmp_path, files)).quota == quota


@pytest.mark.parametrize(
    "text",
    ["", "max", "100000", "0 100000", "100000 0", "-5 100000", "1e5 100000", "٣ 100000", "a b", "1 2 3", "9" * 99],
)
def test_a_limit_that_says_nothing_limits_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    stand_on(monkeypatch, 8)
    root = make_root(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": text})
    assert read_cores(root).usable == 8


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_no_content_of_these_files_fails(tmp_path_factory: pytest.TempPathFactory, groups: bytes, limit: bytes) -> None:
    root = make_root(tmp_path_factory.mktemp("root"), {"proc/self/cgroup": "", "sys/fs/cgroup/cpu.max": ""})
    (root / "proc/self/cgroup").write_bytes(groups.replace(b"\0", b"?"))
    (root / "sys/fs/cgroup/cpu.max").write_bytes(limit)
    (root / "proc/cpuinfo").write_bytes(groups)
    assert read_cores(root).usable >= 1
    assert processor_name(root)
    assert has_bf16(root) in (False, True)


@pytest.mark.parametrize(
    ("quota", "usable"),
    [(None, 8), (0.1, 1), (1.0, 1), (1.4, 1), (1.5, 2), (2.0, 2), (7.6, 8), (64.0, 8)],
)
def test_as_many_threads_as_the_time_allows(quota: float | None, usable: int) -> None:
    assert Cores(present=16, allowed=8, physical=4, quota=quota).usable == usable


def siblings(pairs: dict[int, str]) -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": f"{text}\n" for n, text in pairs.items()}


@pytest.mark.parametrize(
    ("pairs", "allowed", "physical"),
    [
        ({0: "0", 1: "1"}, {0, 1}, 2),
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, {0, 1, 2, 3}, 2),
        ({0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5"}, {0, 1, 4, 5}, 2),
        ({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}, {1, 2}, 2),
        ({0: "0-1", 1: "0-1"}, {0, 1}, 1),
        ({0: "0-1"}, {0, 1}, 2),
        ({}, {5}, 1),
    ],
)
def test_hyperthreads_are_counted_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pairs: dict[int, str], allowed: set[int], physical: int
) -> None:
    stand_on(monkeypatch, 8, allowed)
    cores = read_cores(make_root(tmp_path, siblings(pairs)))
    assert (cores.present, cores.allowed, cores.physical) == (8, len(allowed), physical)


def test_a_system_without_affinity_counts_its_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert read_cores(tmp_path) == Cores(present=1, allowed=1, physical=1)


BLOCKS: dict[str, tuple[str, bool, str]] = {
    "AMX": ("model name\t: Xeon 6\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n\nflags: x", True, "Xeon 6"),
    "AVX512": ("model name\t: EPYC 9454P\nflags\t\t: fpu avx512f avx512_bf16\n", True, "EPYC 9454P"),
    "AVX2": (
        "model name\t: AMD EPYC\nflags\t\t: fpu avx2 fma\n\nmodel name: other\nflags\t: amx_bf16\n",
        False,
        "AMD EPYC",
    ),
    "only alike": ("model name : X\nflags : amx_bf16_not no_avx512_bf16 avx512_bf16x\n", False, "X"),
    "in a name": ("model name : amx_bf16 avx512_bf16\nflags : fpu\n", False, "amx_bf16 avx512_bf16"),
    "ARM": ("CPU implementer\t: 0x41\nCPU part\t: 0xd4f\nFeatures\t: fp asimd bf16 i8mm\n", True, "0x41 0xd4f"),
    "old ARM": ("CPU implementer\t: 0x41\nCPU part\t: 0xd08\nFeatures\t: fp asimd\n", False, "0x41 0xd08"),
}


@pytest.mark.parametrize(("text", "bf16", "name"), BLOCKS.values(), ids=BLOCKS.keys())
def test_bf16_needs_its_flag(tmp_path: Path, text: str, bf16: bool, name: str) -> None:
    root = make_root(tmp_path, {"proc/cpuinfo": text})
    assert (has_bf16(root), processor_name(root)) == (bf16, name)


def test_without_any_description_there_is_no_bf16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert not has_bf16(tmp_path)
    assert processor_name(tmp_path) == platform.machine()


APPLE = {
    "machdep.cpu.brand_string": "Apple M2",
    "hw.optional.arm.FEAT_BF16": "1",
    "hw.perflevel0.physicalcpu": "4",
    "hw.physicalcpu": "8",
}


def test_a_mac_is_asked_through_sysctl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(command: list[str], **named: Any) -> SimpleNamespace:
        return SimpleNamespace(stdout=APPLE.get(command[-1], "") + "\n")

    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(processor, "_sysctl", processor._sysctl.__wrapped__)
    assert processor_name(tmp_path) == "Apple M2"
    assert has_bf16(tmp_path)
    assert read_cores(tmp_path) == Cores(present=8, allowed=8, physical=4)


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("sysctl", 5)])
def test_a_mac_without_sysctl_counts_every_core(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    stand_on(monkeypatch, 8)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(subprocess, "run", fail)
    monkeypatch.setattr(processor, "_sysctl", processor._sysctl.__wrapped__)
    assert read_cores(tmp_path).physical == 8
    assert not has_bf16(tmp_path)
