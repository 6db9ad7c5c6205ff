"""Trainings in processes of their own: the runner's buttons reach them, and which run a torchrun goes on with."""

import argparse
import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnet_core.errors import RunError
from resnet_core.training import launching as module
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.distributed import ALONE
from resnet_core.training.events import RunEnded, StepEnded
from resnet_core.training.launching import branch_of_this_launch, note_launch, run_of_this_launch, train_together
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


def test_a_branch_of_this_start_is_known_by_its_beginning_and_its_settings(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    branch = store.create(quick(epochs=7, forked_from="parent/2"))
    launched(monkeypatch, "job-7")
    assert branch_of_this_launch(store, "parent/2", {"epochs": 7}) is None, "the first start"
    note_launch(branch)
    assert branch_of_this_launch(store, "parent/2", {"epochs": 7}) is branch
    assert branch_of_this_launch(store, "parent/3", {"epochs": 7}) is None
    assert branch_of_this_launch(store, "parent/2", {"epochs": 8}) is None


def test_a_branch_is_made_once_however_often_its_processes_are_replaced(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_core.cli import build_parser
    from resnet_core.commands import training as command

    store = RunStore(tmp_path)
    parent = store.create(quick())

    def branch_off(store: RunStore, run_id: str, epoch: int, *_: Any, **__: Any) -> tuple[Run, None]:
        run = store.create(quick(forked_from=f"{run_id}/{epoch}"))
        (run.folder / "resume.pt").touch()
        return run, None

    monkeypatch.setattr(command, "branch_off", branch_off)
    monkeypatch.setattr(command, "load_resume", lambda run: {})
    launched(monkeypatch, "job-7")
    words = ["train", "--runs-dir", str(tmp_path), "--fork", parent.run_id, "--from-epoch", "2"]
    options = build_parser().parse_args(words)
    first, again = (command._new_or_resumed(options, store)[1] for _ in range(2))
    assert first is again
    assert len(store.list()) == 2


def test_a_resume_in_several_processes_agrees_to_changed_pictures_first(
    tmp_path: Path, quick: Quick, drawn_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they take up is what a person agreed to, in a process started here as well as in one of torchrun's."""
    from resnet_core.commands import training_together as command
    from resnet_core.training.engine import fit
    from resnet_core.training.recorder import load_resume

    colors = Path(shutil.copytree(drawn_folder, tmp_path / "colors"))
    store, control = RunStore(tmp_path / "runs"), Control()
    config = quick(dataset=str(colors), model="resnet8", epochs=3, processes=2)
    run = store.create(config)
    dataset = command.load_dataset(config.dataset, data_dir=tmp_path, seed=config.seed)
    with RunRecorder(run) as recorder:
        for event in recorder.record(fit(config, dataset, saver=recorder, control=control)):
            if isinstance(event, StepEnded) and event.step == 2:
                control.stop()
    (colors / "train" / "red" / "0.png").unlink()
    options = argparse.Namespace(anyway=False, data_dir=tmp_path, json=True, replay=None)
    task, started = (config, run, load_resume(run)), []

    def train_together(run: Run, control: Control, **_: Any) -> None:
        started.append(load_resume(run))
        with RunRecorder(run) as recorder:
            recorder.write(RunEnded(status="stopped", reason="enough"))

    monkeypatch.setattr(command, "train_together", train_together)
    for ask in (
        lambda: command.train_elsewhere(options, store, task, 2),
        lambda: command._parcel(options, store, ALONE, lambda *_: task),
    ):
        options.anyway = False
        with pytest.raises(RunError, match=r"have changed since it was saved: .* Add --anyway to go on"):
            ask()
        assert not started
    options.anyway = True
    _, _, state = command._parcel(options, store, ALONE, lambda *_: task)
    assert state
    assert "1 gone" in state["accepted"]
    assert state["data_fingerprint"] != task[2]["data_fingerprint"]
    assert command.train_elsewhere(options, store, task, 2) == 0
    assert started[0]["data_fingerprint"] == state["data_fingerprint"]


@pytest.mark.parametrize("broken", ["tell", "output", "start", "remove"])
def test_whatever_keeps_the_processes_from_starting_the_run_ends(
    broken: str, tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunStore(tmp_path).create(quick(processes=2))

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(module, "_command", lambda *_: [module.sys.executable, "-c", ""])
    if broken == "output":
        (run.folder / "processes.log").mkdir()
    else:
        place = {"start": module.subprocess}.get(broken, module.OrderWriter)
        monkeypatch.setattr(place, "Popen" if broken == "start" else broken, refused)
    train_together(run, Control(), processes=2, data_dir=tmp_path)
    assert run.status() == "failed"
    assert kinds(run) == ["RunEnded"]
    assert ("could not be started" in run.events()[0]["reason"]) == (broken != "remove")
    with RunRecorder(run):
        pass  # nobody holds it any more


def test_a_run_whose_orders_cannot_be_carried_over_does_not_go_on_alone(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunStore(tmp_path).create(quick(processes=2))
    began: list[Any] = []

    def breaks(launcher: Any, *_: Any) -> None:
        began.append(launcher)
        raise ValueError("x")

    monkeypatch.setattr(module, "_command", lambda *_: [module.sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(module, "_carry_over", breaks)
    train_together(run, Control(), processes=2, data_dir=tmp_path)
    assert began[0].poll() is not None
    assert "broke off unexpectedly (ValueError)" in run.events()[-1]["reason"]


def test_between_two_lives_of_its_processes_a_run_is_nobody_elses(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process looks like the end; the one who replaces it still has the run."""
    store = RunStore(tmp_path)
    run = store.create(quick(processes=2))
    looked = []

    def look(launcher: Any, *_: Any) -> None:
        launcher.wait()
        with RunRecorder(run, locks=False) as recorder:
            recorder.write(RunEnded(status="failed", reason="Another process of this training has ended."))
        looked.append(run.status())
        with pytest.raises(RunError, match="is still being trained; stop it first"):
            store.delete(run.run_id)
        with pytest.raises(RunError, match="is being trained by another program; stop it there first"):
            RunRecorder(run).__enter__()
        with pytest.raises(RunError, match="by another program"):
            train_together(run, Control(), processes=2, data_dir=tmp_path)

    monkeypatch.setattr(module, "_command", lambda *_: [module.sys.executable, "-c", ""])
    monkeypatch.setattr(module, "_carry_over", look)
    train_together(run, Control(), processes=2, data_dir=tmp_path)
    assert looked == ["failed"]
    store.delete(run.run_id)


def test_an_error_before_the_first_step_is_told_in_the_run_not_by_a_replacement(
    tmp_path: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_core.cli import build_parser
    from resnet_core.commands import training_together as command

    store = RunStore(tmp_path)
    run = store.create(quick(processes=2))
    with RunRecorder(run) as recorder:
        recorder.write(RunEnded(status="stopped", reason="An earlier life."))
    monkeypatch.setenv(module.LAUNCHED, "1")
    options = build_parser().parse_args(["train", "--runs-dir", str(tmp_path), "--begin", run.run_id])

    def fails(*_: Any) -> Any:
        raise RunError("The saved state is damaged.")

    time.sleep(0.01)
    with pytest.raises(SystemExit) as ended:
        command.train_under_torchrun(options, store, fails, fails)
    assert ended.value.code == 0
    assert [event["reason"] for event in run.events()] == ["An earlier life.", "The saved state is damaged."]
    assert run.status() == "failed"


def test_what_was_answered_is_asked_no_more_and_what_was_not_still_is() -> None:
    control = Control()
    control.change(learning_rate=0.5, patience=3)
    module._forget_what_changed(control, [{"event": "Changed", "settings": {"learning_rate": 0.5, "epochs": 9}}])
    assert control.asked_changes == {"patience": 3}
    control.change(patience=4, mixup=0.2)
    module._forget_what_changed(control, [{"event": "Warned", "refused": {"patience": 3}}, {"event": "Warned"}])
    assert control.asked_changes == {"patience": 4, "mixup": 0.2}, "another value is another wish"
    module._forget_what_changed(control, [{"event": "Warned", "refused": {"patience": 4}}])
    assert control.asked_changes == {"mixup": 0.2}
