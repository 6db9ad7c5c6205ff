"""Two benchmark runs never overlap, and a killed one leaves the machine free."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.lock import only_run

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from benchmarks.lock import only_run
with only_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_waits_for_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock, order = tmp_path / "lock", list[str]()

    def second() -> None:
        with only_run(lock, every=0.02):
            order.append("second")

    with only_run(lock):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert capsys.readouterr().err.count("Another benchmark runs on this machine") == 1


def test_a_run_that_is_killed_leaves_the_machine_free(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(lock)], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        holder.kill()
        holder.wait()
    with only_run(lock, every=0.02):
        assert lock.exists()


def test_the_lock_is_given_back_when_a_run_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), only_run(tmp_path / "lock"):
        raise RuntimeError("a run breaks off")
    with only_run(tmp_path / "lock", every=0.02):
        pass
