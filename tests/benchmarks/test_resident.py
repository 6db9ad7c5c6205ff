"""Memory readings: what a process holds is noticed, its peak stays, its children count."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.resident import family, resident_mb, rest_mb

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
ROOT = Path(__file__).parents[2]
HOLDS_60_MB = "import sys; kept = bytearray(60_000_000); kept[::4096] = b'x' * len(kept[::4096]);"
WAITS = "print('ready', flush=True); sys.stdin.read()"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


GROWS = """
from benchmarks.resident import peak_mb, resident_mb
before = resident_mb()
held = bytearray(80_000_000)
held[::4096] = b"x" * len(held[::4096])
during = resident_mb()
del held
print(before, during, resident_mb(), peak_mb())
"""


def test_what_is_held_shows_and_what_was_held_stays_the_peak() -> None:
    # a process of its own: this one may have been told by a training to keep what is freed
    told = subprocess.run([sys.executable, "-c", GROWS], cwd=ROOT, capture_output=True, text=True, check=True)
    before, during, after, peak = map(float, told.stdout.split())
    assert 70 < during - before < 100
    assert peak > during - 2  # the kernel counts pages a processor at a time
    assert after < during - 60


def test_a_resting_process_counts_with_its_children() -> None:
    command = [sys.executable, "-c", PARENT, HOLDS_60_MB + WAITS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        members = list(family(process.pid))
        megabytes = rest_mb(process.pid, limit=60)
        process.communicate()
    assert len(members) == 2
    assert 60 < megabytes < 200


def test_a_process_that_never_rests_is_given_up() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            with pytest.raises(TimeoutError):
                rest_mb(process.pid, limit=3)
        finally:
            process.kill()


def test_the_own_process_is_the_default() -> None:
    assert resident_mb() == pytest.approx(resident_mb(os.getpid()), rel=0.05)
