"""Trainings in processes of their own: the runner's buttons reach them, and which run a torchrun goes on with."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnet_core.training import launching as module
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.events import RunEnded
from resnet_core.training.launching import note_launch, run_of_this_launch, train_together
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runner import Runner
from resnet_core.training.runs import Run, RunStore

Quick = Callable[..., TrainConfig]


def until(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def kinds(run: Run) -> list[str]:
    return [event["event"] for event in run.events()]


@pytest.mark.slow
def test_the_buttons_of_the_runner_reach_two_processes(
    tmp_path: Path, quick: Quick, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
    run = runner.start(quick(dataset=str(drawn_folder), model="resnet8", epochs=5000, processes=2))
    try:
        until(lambda: run.status() == "preparing")
        until(lambda: "EpochEnded" in kinds(run))
        beat = run.heartbeat()
        assert beat["pid"] != os.getpid(), "the first process has the folder"
        assert run.owner_alive()
        runner.pause(run.run_id)
        until(lambda: run.status() == "paused")
        count = len(run.events())
        runner.change(run.run_id, learning_rate=0.0123)
        time.sleep(0.5)
        assert len(run.events()) == count, "nothing moves"
        runner.resume(run.run_id)
        until(lambda: "Changed" in kinds(run))
        [changed] = [event for event in run.events() if event["event"] == "Changed"]
        assert changed["settings"] == {"learning_rate": 0.0123}
        job = runner._thread.find(run.run_id)
        assert job is not None
        until(lambda: job.control.asked_changes == {})
        runner.stop(run.run_id)
        assert runner.wait(60)
    finally:
        assert runner.shutdown()
    assert run.status() == "stopped"
    assert kinds(run).count("RunEnded") == 1
    assert (run.folder / "resume.pt").is_file()
    assert not (run.folder / "orders.json").exists()
    [started] = [event for event in run.events() if event["event"] == "RunStarted"]
    assert any(note.startswith("Processes: 2,") for note in started["notes"])


def test_processes_that_end_without_a_word_leave_a_failed_run_not_an_eternal_one(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunStore(tmp_path).create(quick(processes=2))
    monkeypatch.setattr(module, "_command", lambda *_: [module.sys.executable, "-c", "raise SystemExit(3)"])
    train_together(run, Control(), processes=2, data_dir=tmp_path)
    assert run.status() == "failed"
    assert "ended unexpectedly" in run.events()[-1]["reason"]


def test_a_stop_before_anything_runs_does_not_wait_for_it(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, control = RunStore(tmp_path).create(quick(processes=2)), Control()
    monkeypatch.setattr(module, "GRACE", 0.2)
    monkeypatch.setattr(module, "_command", lambda *_: [module.sys.executable, "-c", "import time; time.sleep(600)"])
    control.stop()
    began = time.monotonic()
    train_together(run, control, processes=2, data_dir=tmp_path)
    assert time.monotonic() - began < 60
    assert run.status() == "stopped"


def launched(monkeypatch: pytest.MonkeyPatch, run_id: str) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", run_id)


def test_a_restart_goes_on_with_the_run_that_this_start_began(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, config = RunStore(tmp_path), quick()
    assert run_of_this_launch(store, config) is None, "without torchrun there is none"
    launched(monkeypatch, "job-7")
    assert run_of_this_launch(store, config) is None, "the first start"
    run = store.create(config)
    note_launch(run)
    store.create(config)
    assert run_of_this_launch(store, config) is run
    assert run_of_this_launch(store, config.replace(seed=5)) is None, "other settings are another run"
    launched(monkeypatch, "job-8")
    assert run_of_this_launch(store, config) is None
    launched(monkeypatch, "job-7")
    with RunRecorder(run) as recorder:
        recorder.write(RunEnded(status="finished", reason="All epochs are done."))
    assert run_of_this_launch(store, config) is None, "what is finished is not begun again"


@pytest.mark.skipif(os.name != "posix", reason="only there a process is known by its start")
def test_a_start_without_a_name_is_known_by_its_launcher(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched(monkeypatch, "none")
    store = RunStore(tmp_path)
    run = store.create(quick())
    note_launch(run)
    assert run_of_this_launch(store, quick()) is run
    noted = json.loads((run.folder / "launch.json").read_text())
    assert str(os.getppid()) in noted["launch"].split()
    monkeypatch.setattr(module.os, "getppid", lambda: 1)
    assert run_of_this_launch(store, quick()) is None


def test_torchrun_takes_none_of_our_options_for_its_own() -> None:
    """It looks at everything behind the module's name too, and refuses what begins like two of its options."""
    from torch.distributed.run import get_args_parser

    from resnet_core.cli import build_parser

    [commands] = [action for action in build_parser()._actions if action.dest == "command"]
    ours = [option for action in commands.choices["train"]._actions for option in action.option_strings]  # type: ignore[index, call-overload, union-attr]
    theirs = [option for action in get_args_parser()._actions for option in action.option_strings]
    assert "--begin" in ours
    for option in ours:
        if option not in ("-h", "--help"):
            assert not [one for one in theirs if one.startswith(option)], option
