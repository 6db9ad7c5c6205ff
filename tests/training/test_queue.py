"""The queue lasts: its order is on the disk, the next app goes on with it, and nothing that was dropped comes back."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.queue_file import FILE, read_queue, write_queue
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runner import Runner
from resnet_core.training.runs import Run, RunStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(drawn_folder: Path, quick: Callable[..., TrainConfig]) -> TrainConfig:
    return quick(dataset=str(drawn_folder), model="resnet8", epochs=1)


@pytest.fixture
def endless(config: TrainConfig) -> TrainConfig:
    return config.replace(epochs=5000)


@pytest.fixture
def make_app(tmp_path: Path) -> Any:
    """Apps one after the other on the same folder."""
    apps: list[Runner] = []

    def make() -> Runner:
        apps.append(Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path))
        return apps[-1]

    yield make
    for app in apps:
        assert app.shutdown()


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def kinds(run: Run) -> list[str]:
    return [event["event"] for event in run.events()]


def begun(run: Run) -> float:
    return float(run.events()[0]["time"])


def test_the_order_is_on_the_disk_at_once_and_gone_when_nobody_waits(
    make_app: Any, endless: TrainConfig, config: TrainConfig
) -> None:
    app = make_app()
    runs_dir = app.store.runs_dir
    first = app.start(endless)
    assert not (runs_dir / FILE).exists(), "what is trained does not wait"
    a, b, c = (app.start(config).run_id for _ in range(3))
    assert read_queue(runs_dir) == app.queued() == (a, b, c)
    assert app.move(c, 1) == (c, a, b) == read_queue(runs_dir)
    assert app.move(c, 2) == (a, c, b)
    assert app.move(a, 10**30) == (c, b, a)
    assert app.move(a, -5) == (a, c, b)
    assert app.drop(c).status() == "stopped"
    assert read_queue(runs_dir) == (a, b)
    app.stop(first.run_id)
    assert app.wait(60)
    assert [app.store.get(run).status() for run in (a, b, c)] == ["finished", "finished", "stopped"]
    assert begun(app.store.get(a)) < begun(app.store.get(b))
    assert not (runs_dir / FILE).exists()


def test_a_restart_goes_on_with_the_queue_in_its_order_and_restarts_nothing_else(
    make_app: Any, endless: TrainConfig, config: TrainConfig
) -> None:
    app = make_app()
    trained = app.start(endless)
    waiting = [app.start(config) for _ in range(3)]
    app.move(waiting[2].run_id, 1)
    until(lambda: "EpochEnded" in kinds(trained))
    assert app.shutdown()
    assert [run.status() for run in (trained, *waiting)] == ["stopped", "queued", "queued", "queued"]
    assert all(kinds(run) == [] for run in waiting)

    after = make_app()
    order = (waiting[2].run_id, waiting[0].run_id, waiting[1].run_id)
    assert after.take_up_queue() == order
    assert after.take_up_queue() == (), "once is enough"
    assert after.wait(60)
    again = [after.store.get(run_id) for run_id in order]
    assert [run.status() for run in again] == ["finished"] * 3
    assert [begun(run) for run in again] == sorted(begun(run) for run in again)
    assert all(kinds(run).count("RunStarted") == 1 for run in again)
    assert after.store.get(trained.run_id).status() == "stopped"


def test_a_run_that_waits_to_be_resumed_goes_on_where_it_was(
    make_app: Any, endless: TrainConfig, config: TrainConfig
) -> None:
    app = make_app()
    stopped = app.start(config.replace(epochs=400))
    until(lambda: "EpochEnded" in kinds(stopped))
    app.stop(stopped.run_id)
    assert app.wait(30)
    app.start(endless)
    assert app.resume(stopped.run_id).status() == "queued"
    assert app.shutdown()
    assert stopped.status() == "queued"
    after = make_app()
    after.take_up_queue()
    run = after.store.get(stopped.run_id)
    until(lambda: "Resumed" in kinds(run))
    after.stop(run.run_id)
    assert after.wait(60)
    second = [event for event in run.events() if event["event"] == "RunStarted"][1]
    assert second["first_step"] > 1


PROGRAM = """
import os, sys, time
from resnet_core.training.config import TrainConfig
from resnet_core.training.runner import Runner
from resnet_core.training.runs import RunStore
runs, data = sys.argv[1:]
import json, pathlib
store = RunStore(pathlib.Path(runs))
assert store.claim()
app = Runner(store, data_dir=pathlib.Path(runs))
config = TrainConfig.from_json(json.loads(data))
first = app.start(config.replace(epochs=5000))
waiting = [app.start(config).run_id for _ in range(2)]
while "EpochEnded" not in [event["event"] for event in first.events()]:
    time.sleep(0.01)
print(json.dumps([first.run_id, *waiting]), flush=True)
time.sleep(60)
"""


def test_after_a_kill_the_queue_waits_and_what_was_trained_is_interrupted(
    make_app: Any, config: TrainConfig, tmp_path: Path
) -> None:
    arguments = [str(tmp_path / "runs"), json.dumps(config.to_json())]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, stdout=subprocess.PIPE) as app:
        assert app.stdout is not None
        trained, *waiting = json.loads(app.stdout.readline())
        store = RunStore(tmp_path / "runs")
        assert not store.claim()
        app.kill()
    assert store.claim(), "the lock of a dead app is free"
    store.release()
    assert store.get(trained).status() == "interrupted"
    assert [store.get(run_id).status() for run_id in waiting] == ["queued", "queued"]
    after = make_app()
    assert after.take_up_queue() == tuple(waiting)
    assert after.wait(60)
    assert [after.store.get(run_id).status() for run_id in waiting] == ["finished", "finished"]
    assert after.store.get(trained).status() == "interrupted", "that is a person's to decide"


def test_what_cannot_be_moved_is_a_sentence(make_app: Any, endless: TrainConfig, config: TrainConfig) -> None:
    app = make_app()
    first, second = app.start(endless), app.start(config)
    until(lambda: "StepEnded" in kinds(first))
    for act in (lambda name: app.move(name, 1), app.drop):
        with pytest.raises(RunError, match=r"is running; it does not wait in the queue"):
            act(first.run_id)
        for unknown in ("nope", "../runs", "", "\x00"):
            with pytest.raises(RunError, match="There is no run"):
                act(unknown)
    app.drop(second.run_id)
    with pytest.raises(RunError, match="is stopped; it does not wait"):
        app.drop(second.run_id)
    assert kinds(second) == ["RunEnded"]
    app.stop(first.run_id)


def test_many_people_who_move_and_drop_at_once_leave_a_sound_order(make_app: Any, endless: TrainConfig) -> None:
    app = make_app()
    app.start(endless)
    waiting = [app.start(endless).run_id for _ in range(6)]
    failures: list[Exception] = []

    def person(index: int) -> None:
        for turn in range(12):
            try:
                if index == 0 and turn < 3:
                    app.drop(waiting[turn])
                else:
                    app.move(waiting[(index + turn) % 6], turn % 7)
            except RunError as error:
                if "does not wait" not in str(error):
                    failures.append(error)

    people = [threading.Thread(target=person, args=[index]) for index in range(4)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join()
    assert not failures
    assert sorted(app.queued()) == sorted(waiting[3:])
    assert read_queue(app.store.runs_dir) == app.queued()


def test_a_folder_or_data_set_that_vanishes_while_it_waits_does_not_hold_up_the_next(
    make_app: Any, endless: TrainConfig, config: TrainConfig, drawn_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn_folder, tmp_path / "copy")
    app = make_app()
    app.start(endless)
    gone, poor, good = (app.start(config.replace(dataset=str(tmp_path / "copy"), seed=seed)) for seed in range(3))
    kept = app.start(config)
    app.drop(good.run_id)
    assert app.shutdown()
    shutil.rmtree(gone.folder)
    shutil.rmtree(tmp_path / "copy")
    after = make_app()
    assert after.take_up_queue() == (poor.run_id, kept.run_id)
    assert after.wait(60)
    failed = after.store.get(poor.run_id)
    assert failed.status() == "failed"
    assert "There is no data set or folder" in failed.events()[-1]["reason"]
    assert after.store.get(kept.run_id).status() == "finished"
    assert not gone.folder.exists()


def test_a_run_deleted_while_its_turn_comes_leaves_no_folder(
    make_app: Any, endless: TrainConfig, config: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    first, gone, last = app.start(endless), app.start(config), app.start(config)
    shutil.rmtree(gone.folder)
    app.stop(first.run_id)
    assert app.wait(60)
    assert last.status() == "finished"
    assert not gone.folder.exists()


HOSTILE: list[Any] = [
    "",
    "{",
    "[]",
    '{"waiting": 3}',
    '{"waiting": [1, null, {"a": 2}, ["x"]]}',
    '{"waiting": ["../../etc", "/etc/passwd", ".bin", "\\u0000", "nope", ""]}',
    "[" * 100_000,
    '{"waiting": ["' + "x" * 200_000 + '"]}',
]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_a_damaged_queue_file_is_an_empty_queue(
    content: str, make_app: Any, config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / FILE).write_text(content)
    app = make_app()
    assert app.take_up_queue() == ()
    assert app.store.list() == []
    assert app.active() is None


def test_runs_named_twice_or_ended_are_not_trained_again(make_app: Any, config: TrainConfig) -> None:
    app = make_app()
    ended = app.start(config)
    assert app.wait(60)
    never = app.store.create(config)
    write_queue(app.store.runs_dir, [ended.run_id, never.run_id, ended.run_id])
    assert app.take_up_queue() == ()
    assert kinds(ended).count("RunStarted") == 1
    assert never.status() == "interrupted"


def test_a_disk_that_refuses_the_order_does_not_refuse_the_run(
    make_app: Any, endless: TrainConfig, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_core.training import run_queue

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    app = make_app()
    first = app.start(endless)
    monkeypatch.setattr(run_queue, "write_queue", full)
    second = app.start(config)
    assert app.queued() == (second.run_id,)
    app.stop(first.run_id)
    assert app.wait(60)
    assert second.status() == "finished"


def test_a_run_is_queued_only_while_it_stands_in_the_queue(tmp_path: Path, config: TrainConfig) -> None:
    """Without its name there, a waiting run of a dead app would seem to wait for ever."""
    store = RunStore(tmp_path / "runs")
    run = store.create(config)
    beat = {"pid": os.getpid(), "host": "elsewhere", "started": "1", "time": 0, "phase": "queued"}
    (run.folder / "heartbeat.json").write_text(json.dumps(beat))
    assert run.status() == "interrupted"
    write_queue(store.runs_dir, [run.run_id])
    assert run.status() == "queued"
    (run.folder / "heartbeat.json").write_text(json.dumps(beat | {"phase": "running"}))
    assert run.status() == "interrupted"


def test_a_waiting_run_whose_folder_is_gone_can_be_dropped_and_stopped(
    make_app: Any, endless: TrainConfig, config: TrainConfig
) -> None:
    app = make_app()
    trained = app.start(endless)
    waiting = [app.start(config) for _ in range(3)]
    for run in waiting[:2]:
        shutil.rmtree(run.folder)
    app.drop(waiting[0].run_id)
    app.stop(waiting[1].run_id)
    assert app.queued() == read_queue(app.store.runs_dir) == (waiting[2].run_id,)
    app.stop(trained.run_id)
    assert app.wait(60)
    assert waiting[2].status() == "finished"


def test_a_folder_that_vanishes_as_the_queue_is_taken_up_keeps_no_other_from_it(
    make_app: Any, config: TrainConfig, endless: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    app.start(endless)
    waiting = [app.start(config) for _ in range(3)]
    assert app.shutdown()
    status = Run.status

    def vanishing(run: Run) -> str:
        told = status(run)
        if run.run_id == waiting[1].run_id:
            (run.folder / "config.json").rename(run.folder / "gone.json")
            monkeypatch.setattr(Run, "config", lambda run: config)
        return told

    after = make_app()
    monkeypatch.setattr(Run, "status", vanishing)
    assert after.take_up_queue() == (waiting[0].run_id, waiting[2].run_id)
    monkeypatch.setattr(Run, "status", status)
    assert after.wait(60)


def test_a_branch_that_waits_without_what_it_begins_with_does_not_begin_from_nothing(
    make_app: Any, config: TrainConfig
) -> None:
    app = make_app()
    branch = app.store.create(config.replace(forked_from="another/3"))
    RunRecorder(branch, phase="queued")
    write_queue(app.store.runs_dir, [branch.run_id])
    assert app.take_up_queue() == ()
    (branch.folder / "heartbeat.json").unlink()  # the app that let it wait has gone
    with pytest.raises(RunError, match="branch off again"):
        app.resume(branch.run_id)
    assert kinds(branch) == []
