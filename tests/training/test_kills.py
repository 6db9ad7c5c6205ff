"""Real trainings, killed with SIGKILL at every moment that could hurt, and taken up: nothing is lost but time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kill_host import MOMENTS, PAUSED, RANDOM_KILLS

ROOT = Path(__file__).parents[2]
EVERY = [*MOMENTS, *(f"at random, {number + 1}" for number in range(RANDOM_KILLS))]

# moment: steps done by the newest event, and the step the run can be taken up after
KNOWN = {
    "in the first second, before the pictures": (0, 0),
    "after the first event": (0, 0),
    "in the middle of the first epoch": (3, 0),
    "in the middle of the second epoch": (7, 5),
    "in the first validation": (5, 0),
    "between the last weights and the resume file": (10, 5),
    "between the resume file and what else is kept": (10, 10),
    "at the very last step": (14, 10),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX can fork a warmed process"),
]


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> dict[str, dict[str, Any]]:
    """What became of each run, by the moment at which it was killed."""
    runs = tmp_path_factory.mktemp("kills") / "runs"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(Path(__file__).with_name("kill_host.py")), str(runs)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RESNET_LAB_CACHE": str(session_cache), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {row["moment"]: row for row in map(json.loads, done.stdout.splitlines())}


def test_two_quiet_runs_are_alike_to_the_last_bit(lives: dict[str, dict[str, Any]]) -> None:
    """Else the comparisons below would say nothing."""
    quiet = lives["never"]
    assert all(quiet[key] for key in quiet if key.startswith("same")), quiet
    assert quiet["status"] == "finished"


def test_at_least_twenty_trainings_were_really_killed(lives: dict[str, dict[str, Any]]) -> None:
    killed = [row for row in lives.values() if row["signal"] == signal.SIGKILL]
    assert len(killed) == len(EVERY) >= 20


@pytest.mark.parametrize("moment", EVERY)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(moment: str, lives: dict[str, dict[str, Any]]) -> None:
    life = lives[moment]
    assert life["signal"] == signal.SIGKILL, life
    assert life["status when killed"] == "interrupted", life
    assert life["status"] == "finished", life
    for what in ("same history", "same weights", "same state", "same predictions", "kept"):
        assert life[what], (what, life)
    assert life["leftovers"] == [], "half files of the dead are swept"


@pytest.mark.parametrize("moment", KNOWN)
def test_it_says_how_many_steps_were_lost(moment: str, lives: dict[str, dict[str, Any]]) -> None:
    life, (told, saved) = lives[moment], KNOWN[moment]
    lost = told - saved
    assert life["lost"] == lost, life
    if not lost:
        assert life["said"] == []
    elif saved:
        sentence = f"The run was interrupted and lost {lost} steps; it goes on after step {saved}."
        assert life["said"] == [lost, sentence]
    else:
        assert life["said"] == [f"The run was interrupted and lost {lost} steps; it begins again."]


def test_a_kill_while_a_pause_is_saved_costs_the_steps_before_it(lives: dict[str, dict[str, Any]]) -> None:
    assert (lives[PAUSED]["lost"], lives[PAUSED]["there"]) == (3, [])


def test_a_checkpoint_is_there_from_the_first_epoch_on(lives: dict[str, dict[str, Any]]) -> None:
    for moment, (_, saved) in KNOWN.items():
        assert lives[moment]["there"] == (["best", "last", "resume"] if saved else []), moment
