"""Memory kept during a training goes back when it ends, and who nests or fails leaves no trace."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from resnet_core import allocator

GLIBC = sys.platform.startswith("linux") and allocator._glibc() is not None

# blocks of 40 MB are taken and freed ten times: how many pages the system had to hand out
FAULTS = """
import resource, torch
from resnet_core.allocator import keeping_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        for block in [torch.ones(40 << 20, dtype=torch.uint8) for _ in range(4)]:
            del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
usual = faults()
with keeping_freed_memory():
    faults()
    kept = faults()
print(usual, kept)
"""


class Recorded:
    """A C library that writes down what it is told."""

    def __init__(self) -> None:
        self.settings: dict[int, int] = {}
        self.trimmed = 0

    def mallopt(self, parameter: int, value: int) -> int:
        self.settings[parameter] = value
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trimmed += 1
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    recorded = Recorded()
    monkeypatch.setattr(allocator, "_glibc", lambda: recorded)
    yield recorded
    assert allocator._keepers == 0


def test_settings_come_with_the_first_and_go_with_the_last(library: Recorded) -> None:
    with allocator.keeping_freed_memory():
        assert library.settings == allocator.KEEPING
        with allocator.keeping_freed_memory():
            pass
        assert library.settings == allocator.KEEPING
        assert library.trimmed == 0
    assert library.settings == allocator.USUAL
    assert library.trimmed == 1


def test_a_failure_inside_gives_the_memory_back(library: Recorded) -> None:
    with pytest.raises(ValueError, match="inside"), allocator.keeping_freed_memory():
        raise ValueError("inside")
    assert library.settings == allocator.USUAL


def test_a_generator_that_is_dropped_gives_the_memory_back(library: Recorded) -> None:
    def training() -> Iterator[int]:
        with allocator.keeping_freed_memory():
            yield 1
            yield 2

    events = training()
    assert next(events) == 1
    assert library.settings == allocator.KEEPING
    events.close()
    assert library.settings == allocator.USUAL


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        return None

    monkeypatch.setattr(allocator, "_glibc", none)
    with allocator.keeping_freed_memory():
        assert allocator._keepers == 0


@pytest.mark.skipif(not GLIBC, reason="only glibc gives large blocks back at once")
def test_the_system_hands_out_far_fewer_pages() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    usual, kept = map(int, done.stdout.split())
    assert kept < usual / 4
