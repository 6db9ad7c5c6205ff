"""Real processes: what a side returns, how it fails, how it is ended, and what the whole command leaves behind."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.harness import Options
from benchmarks.processes import run_side
from benchmarks.yardstick import yardstick_seconds

ROOT = Path(__file__).parents[2]
TINY = "tests.benchmarks.tiny"
LONG = 60.0  # seconds no side here needs


def test_a_side_runs_in_a_process_of_its_own_without_torch(tmp_path: Path) -> None:
    first, second = (run_side(TINY, "ours", Options(data_dir=tmp_path), timeout=LONG) for _ in range(2))
    assert first["values"] == {"rate": 10.0, "time": 50.0}
    assert first["answers"] == [0.25, 0.75]
    assert first["notes"]["data_dir"] == str(tmp_path)
    assert first["notes"]["torch"] is False
    assert len({first["notes"]["pid"], second["notes"]["pid"], os.getpid()}) == 3


def test_warnings_and_words_of_a_side_do_not_reach_the_screen(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_side(TINY, "slower", Options(), timeout=LONG)["values"]["rate"] == 4.0
    assert capfd.readouterr() == ("", "")


def test_a_failing_side_gives_its_reason_in_one_line() -> None:
    assert run_side(TINY, "failing", Options(), timeout=LONG) == {"failed": "RuntimeError: the peer's kernel is broken"}


def test_a_side_that_cannot_be_measured_gives_its_own_sentence() -> None:
    assert run_side(TINY, "unwilling", Options(), timeout=LONG) == {"failed": "needs a GPU"}


def test_a_side_that_dies_is_a_failure_too() -> None:
    failed = run_side(TINY, "dying", Options(), timeout=LONG)["failed"]
    assert failed.startswith("its process ended with code" if os.name == "nt" else "its process was ended by signal 9")


def test_a_hanging_side_is_ended_after_its_time(tmp_path: Path) -> None:
    started = time.monotonic()
    assert run_side(TINY, "hanging", Options(data_dir=tmp_path), timeout=4) == {"failed": "took longer than 4 s"}
    assert time.monotonic() - started < 60
    pid = int((tmp_path / "hanging.pid").read_text(encoding="utf-8"))
    if os.name != "nt":
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_worker_prints_its_result_where_no_file_is_named() -> None:
    command = [sys.executable, "-m", "benchmarks.worker", TINY, "ours", "--precision", "fp32"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout)["values"] == {"rate": 10.0, "time": 50.0}
    assert answer.stderr == ""


def test_the_yardstick_takes_some_time_and_repeats() -> None:
    assert 0 < yardstick_seconds() < 5


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """`python -m benchmarks` with the tests' benchmark, two blocks, its hanging side cut short."""
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-c", HURRIED, TINY, "--results", str(folder), "--data-dir", str(folder)]
    env = {**os.environ, "TMPDIR": str(folder), "TMP": str(folder)}  # a lock of its own
    answer = subprocess.run(
        [*command, "--blocks", "2", "--seed", "7"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=200
    )
    return answer, folder


HURRIED = """
import dataclasses, sys
from benchmarks import blocks
from benchmarks.__main__ import main
from tests.benchmarks import tiny
tiny.BENCHMARK = dataclasses.replace(tiny.BENCHMARK, timeout=6.0)
blocks.yardstick_seconds = lambda: 1.0
sys.exit(main())
"""


def test_a_whole_run_prints_the_table(whole_run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    answer, folder = whole_run
    assert answer.returncode == 0, answer.stderr
    lines = [line for line in answer.stdout.splitlines() if line.startswith("| tiny |")]
    assert lines[0] == (
        "| tiny | rate, items/s | 10 | slower 4 | 2.5× (2.5 to 2.5) | 2.5× | at least 2× | – | meets | 2 of 2 |"
    )
    assert "misses" in lines[1]  # 2.5 times is not 5 times
    assert "not measured: ours and wrong were not compared: their answers differ by 0.5" in lines[2]
    assert "not measured: hanging took longer than 6 s" in answer.stdout
    assert lines[-1] == "| tiny | time, items/s | 50 | – | 50 (50 to 50) | 50 | at most 60 | – | meets | 2 of 2 |"
    assert (folder / "table.md").read_text(encoding="utf-8") == answer.stdout.removesuffix("\n")


def test_a_whole_run_keeps_raw_samples_rows_and_the_machine(
    whole_run: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, folder = whole_run
    records = [json.loads(line) for line in (folder / "tiny.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({record["run"] for record in records}) == 1
    assert {record["kind"] for record in records} == {"run", "sample", "checked", "yardstick"}
    ours = [record for record in records if record.get("side") == "ours"]
    assert [record["block"] for record in ours] == [1, 2]
    kept = json.loads((folder / "tiny.json").read_text(encoding="utf-8"))
    assert kept["seed"] == 7
    assert re.match(r"\d+\.\d+", kept["machine"]["torch"])
    assert kept["machine"]["cores"] >= 1
    assert [row["verdict"] for row in kept["rows"]][:2] == ["meets", "misses"]


def test_no_number_at_all_is_exit_code_one(tmp_path: Path) -> None:
    only_failing = """
import dataclasses, sys
from benchmarks.__main__ import main
from tests.benchmarks import tiny
tiny.BENCHMARK = dataclasses.replace(tiny.BENCHMARK, comparisons=(tiny.against("failing"),))
sys.exit(main())
"""
    command = [sys.executable, "-c", only_failing, TINY, "--results", str(tmp_path)]
    env = {**os.environ, "TMPDIR": str(tmp_path), "TMP": str(tmp_path)}
    answer = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100)
    assert answer.returncode == 1
    assert "not measured: failing RuntimeError" in answer.stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_a_run_that_is_ended_takes_its_side_along(tmp_path: Path) -> None:
    only_hanging = """
import dataclasses, sys
from benchmarks.__main__ import main
from tests.benchmarks import tiny
tiny.BENCHMARK = dataclasses.replace(tiny.BENCHMARK, comparisons=(tiny.against(None, ours="hanging"),), timeout=300)
sys.exit(main())
"""
    command = [sys.executable, "-c", only_hanging, TINY, "--results", str(tmp_path), "--data-dir", str(tmp_path)]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    note = tmp_path / "hanging.pid"
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 60
        while not (note.exists() and note.read_text(encoding="utf-8")) and time.monotonic() < limit:
            time.sleep(0.05)
        process.terminate()
        assert process.wait(30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text(encoding="utf-8")), 0)


def test_an_unknown_name_is_refused_in_a_sentence() -> None:
    command = [sys.executable, "-m", "benchmarks", "no-such-thing"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 2
    assert "there is no benchmark called no-such-thing" in answer.stderr
    assert "Traceback" not in answer.stderr
