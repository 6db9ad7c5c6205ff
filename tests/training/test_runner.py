"""One training at a time in its own thread; the rest waits. Buttons may be pressed twice, from anywhere."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resnet_core.errors import DatasetError, RunError
from resnet_core.training import training_thread as module
from resnet_core.training.config import TrainConfig
from resnet_core.training.events import RunEnded
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.run_queue import Job
from resnet_core.training.runner import Runner
from resnet_core.training.runs import Run, RunStore


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path / "data")
    yield runner
    assert runner.shutdown()


@pytest.fixture
def config(drawn_folder: Path, quick: Callable[..., TrainConfig]) -> TrainConfig:
    return quick(dataset=str(drawn_folder), epochs=2)


@pytest.fixture
def endless(config: TrainConfig) -> TrainConfig:
    return config.replace(epochs=5000)


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def kinds(run: Run) -> list[str]:
    return [event["event"] for event in run.events()]


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_start_trains_to_the_end(runner: Runner, config: TrainConfig) -> None:
    run = runner.start(config)
    assert runner.wait(60)
    assert run.status() == "finished"
    assert kinds(run).count("RunEnded") == 1
    assert runner.active() is None
    assert runner.queued() == ()
    assert runner.phase(run.run_id) is None


def test_the_second_start_waits_its_turn(runner: Runner, endless: TrainConfig, config: TrainConfig) -> None:
    first = runner.start(endless)
    second, third = runner.start(config), runner.start(config)
    assert runner.queued() == (second.run_id, third.run_id)
    assert second.status() == "queued"
    assert runner.phase(second.run_id) == "queued"
    until(lambda: "StepEnded" in kinds(first))
    assert runner.active() is first
    assert kinds(second) == []
    runner.stop(first.run_id)
    assert runner.wait(60)
    assert [run.status() for run in (first, second, third)] == ["stopped", "finished", "finished"]
    ended = first.events()[-1]["time"]
    assert second.events()[0]["time"] >= ended
    assert third.events()[0]["time"] >= second.events()[-1]["time"]


def test_a_waiting_run_can_be_stopped_and_taken_up_later(runner: Runner, endless: TrainConfig) -> None:
    first, second = runner.start(endless), runner.start(endless)
    runner.stop(second.run_id)
    assert runner.queued() == ()
    assert second.status() == "stopped"
    assert kinds(second) == ["RunEnded"]
    runner.stop(second.run_id)
    assert kinds(second) == ["RunEnded"]
    assert runner.resume(second.run_id).run_id == second.run_id, "it never began, so it begins"
    assert runner.queued() == (second.run_id,)
    assert first.status() != "stopped"


def test_stop_and_resume_goes_on_to_the_same_end(runner: Runner, config: TrainConfig) -> None:
    straight = runner.start(config.replace(epochs=6))
    runner.wait(60)
    run = runner.start(config.replace(epochs=6))
    until(lambda: "EpochEnded" in kinds(run))
    runner.stop(run.run_id)
    assert runner.wait(60)
    assert run.status() in ("stopped", "finished")
    if run.status() == "stopped":
        assert runner.resume(run.run_id) is run
        assert runner.wait(60)
    assert run.status() == "finished"

    def learned(of: Run) -> list[tuple[Any, ...]]:
        return [(e["step"], e["loss"]) for e in of.events() if e["event"] == "StepEnded"]

    assert learned(run) == learned(straight)


def test_twenty_starts_and_stops_leave_nothing_behind(runner: Runner, endless: TrainConfig) -> None:
    threads, native = threading.active_count(), 0
    for cycle in range(20):
        run = runner.start(endless)
        until(lambda run=run: "StepEnded" in kinds(run))  # type: ignore[misc]
        runner.stop(run.run_id)
        assert runner.wait(30)
        assert run.status() == "stopped"
        if cycle == 4:
            native = native_threads()
    assert threading.active_count() == threads
    assert native_threads() <= native + 1
    assert len(runner.store.list()) == 20


def test_pause_and_resume_from_many_threads_do_no_harm(runner: Runner, endless: TrainConfig) -> None:
    run = runner.start(endless)
    until(lambda: "StepEnded" in kinds(run))
    failures: list[Exception] = []

    def press(button: Callable[[str], Run]) -> None:
        try:
            for _ in range(25):
                assert button(run.run_id) is run
        except Exception as error:
            failures.append(error)

    buttons = [threading.Thread(target=press, args=[b]) for b in (runner.pause, runner.resume) * 3]
    for thread in buttons:
        thread.start()
    for thread in buttons:
        thread.join()
    assert not failures
    runner.pause(run.run_id)
    until(lambda: run.status() == "paused")
    assert runner.phase(run.run_id) == "pausing"
    count = len(run.events())
    time.sleep(0.2)
    assert len(run.events()) == count, "nothing moves"
    runner.resume(run.run_id)
    until(lambda: run.status() == "running")
    told = [kind for kind in kinds(run) if kind in ("Paused", "Resumed")]
    assert told == ["Paused", "Resumed"] * (len(told) // 2)
    runner.pause(run.run_id)
    until(lambda: run.status() == "paused")
    runner.stop(run.run_id)
    assert runner.wait(30)
    assert run.status() == "stopped"
    assert kinds(run).count("RunEnded") == 1


def test_stop_and_resume_pressed_by_two_people_is_one_run(runner: Runner, endless: TrainConfig) -> None:
    run = runner.start(endless)
    until(lambda: "StepEnded" in kinds(run))
    runner.stop(run.run_id)
    assert runner.wait(30)
    outcomes: list[object] = []

    def press() -> None:
        try:
            outcomes.append(runner.resume(run.run_id))
        except RunError as error:
            outcomes.append(str(error))

    people = [threading.Thread(target=press) for _ in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert outcomes == [run] * 8
    assert runner.queued() == ()
    runner.stop(run.run_id)
    assert runner.wait(30)
    assert kinds(run).count("RunEnded") == 2
    assert kinds(run).count("RunStarted") == 2 or kinds(run).count("RunStarted") == 1, "the second may stop early"


def test_resume_of_a_run_about_to_stop_says_so(runner: Runner, endless: TrainConfig) -> None:
    run = runner.start(endless)
    until(lambda: "StepEnded" in kinds(run))
    runner.stop(run.run_id, after_epoch=True)
    try:
        runner.resume(run.run_id)
    except RunError as error:
        assert "stop" in str(error) or "nothing" in str(error)  # noqa: PT017
    runner.stop(run.run_id)
    assert runner.wait(30)


def test_stop_after_the_epoch_ends_with_one(runner: Runner, endless: TrainConfig) -> None:
    run = runner.start(endless)
    until(lambda: "StepEnded" in kinds(run))
    runner.stop(run.run_id, after_epoch=True)
    runner.stop(run.run_id, after_epoch=True)
    assert runner.wait(30)
    assert kinds(run)[-2:] == ["CheckpointSaved", "RunEnded"]
    assert run.status() == "stopped"


def test_shutdown_saves_everything_quickly(tmp_path: Path, endless: TrainConfig) -> None:
    runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
    first = runner.start(endless)
    waiting = [runner.start(endless) for _ in range(3)]
    until(lambda: "StepEnded" in kinds(first))
    runner.pause(first.run_id)
    started = time.monotonic()
    assert runner.shutdown(timeout=10)
    assert time.monotonic() - started < 5
    assert (first.folder / "resume.pt").is_file()
    assert [run.status() for run in (first, *waiting)] == ["stopped", "queued", "queued", "queued"]
    assert kinds(first)[-1] == "RunEnded"
    assert [kinds(run) for run in waiting] == [[], [], []], "they wait for the next app"
    assert runner.shutdown()
    before = len(runner.store.list())
    for press in (lambda: runner.start(endless), lambda: runner.resume(first.run_id)):
        with pytest.raises(RunError, match="shutting down"):
            press()
    assert len(runner.store.list()) == before, "no run is left that nobody will train"
    assert threading.active_count() == 1 or not any(t.name == "training" for t in threading.enumerate())


def test_shutdown_during_a_change_of_runs_stops_the_next_too(tmp_path: Path, config: TrainConfig) -> None:
    """The queue must not move on to a run of hours while the app is closing."""
    for delay in (0.0, 0.05, 0.15, 0.3):
        runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
        runner.start(config.replace(epochs=1))
        runner.start(config.replace(epochs=5000))
        time.sleep(delay)
        assert runner.shutdown(timeout=20)
    assert {run.status() for run in runner.store.list()} <= {"stopped", "finished", "queued"}
    for run in runner.store.list():
        assert kinds(run).count("RunStarted") <= kinds(run).count("RunEnded"), "what began was ended"


def test_stop_while_pictures_are_prepared(
    runner: Runner, endless: TrainConfig, drawn_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "fresh"
    shutil.copytree(drawn_folder, copy, copy_function=shutil.copy)  # new times, so nothing is cached
    run = runner.start(endless.replace(dataset=str(copy)))
    runner.stop(run.run_id)
    assert runner.wait(30)
    assert run.status() == "stopped"
    assert kinds(run).count("RunEnded") == 1


def test_what_cannot_start_leaves_no_run(runner: Runner, config: TrainConfig) -> None:
    with pytest.raises(DatasetError):
        runner.start(config.replace(dataset="/nowhere/at/all"))
    assert runner.store.list() == []


def test_unknown_and_finished_runs_are_refused_by_name(runner: Runner, config: TrainConfig) -> None:
    for button in (runner.pause, runner.resume, runner.stop):
        for name in ("nope", "../runs", ""):
            with pytest.raises(RunError):
                button(name)
    run = runner.start(config.replace(epochs=1))
    assert runner.wait(60)
    assert runner.stop(run.run_id) is run, "stopping what has ended does no harm"
    with pytest.raises(RunError, match="finished"):
        runner.resume(run.run_id)
    with pytest.raises(RunError, match="finished"):
        runner.pause(run.run_id)


def test_a_failing_run_does_not_take_the_next_along(
    runner: Runner, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.fit
    calls = iter((True, False))

    def explode(*arguments: Any, **settings: Any) -> Iterator[Any]:
        if next(calls):
            raise RuntimeError("outside the loop")
        return real(*arguments, **settings)

    monkeypatch.setattr(module, "fit", explode)
    first, second = runner.start(config), runner.start(config.replace(epochs=1))
    assert runner.wait(60)
    assert first.status() == "failed"
    assert kinds(first) == ["RunEnded"]
    assert second.status() == "finished"


def test_the_queue_has_a_limit(runner: Runner, endless: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 2)
    for _ in range(3):
        runner.start(endless)
    with pytest.raises(RunError, match="waiting already"):
        runner.start(endless)
    assert len(runner.store.list()) == 3


def test_a_dataset_that_vanishes_while_waiting_fails_cleanly(
    runner: Runner, endless: TrainConfig, config: TrainConfig, drawn_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "vanishing"
    shutil.copytree(drawn_folder, copy, copy_function=shutil.copy)  # new times, so nothing is cached
    first = runner.start(endless)
    second = runner.start(config.replace(dataset=str(copy)))
    shutil.rmtree(copy)
    runner.stop(first.run_id)
    assert runner.wait(60)
    assert second.status() == "failed"
    reason = second.events()[-1]["reason"]
    assert str(tmp_path) not in reason
    assert "unexpectedly" not in reason


def test_a_run_stopped_before_anything_was_saved_begins_again(runner: Runner, config: TrainConfig) -> None:
    run = runner.store.create(config)
    with RunRecorder(run) as recorder:
        recorder.write(RunEnded(status="stopped", reason="Stopped while the pictures were prepared, as asked."))
    runner.resume(run.run_id)
    assert runner.wait(60)
    assert run.status() == "finished"


def test_a_job_that_comes_as_the_thread_ends_is_trained_once(
    runner: Runner, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrives in the moment between the decision that nothing is left and the thread's end."""
    thread = runner._thread
    jobs = [Job(runner.store.create(config), config, None, takes_up=False) for _ in range(2)]
    trained: list[str] = []
    second_is_on, first_may_end = threading.Event(), threading.Event()

    def train(job: Job) -> None:
        trained.append(job.run.run_id)
        if job is jobs[1]:
            second_is_on.set()
            assert first_may_end.wait(30)

    class Gap:
        """The thread's lock; the second job comes as it is given back with nothing left."""

        def __init__(self) -> None:
            self.real, self.came = threading.Lock(), False

        def __enter__(self) -> None:
            self.real.acquire()

        def __exit__(self, *_: object) -> None:
            left = thread._current is None and trained and not self.came
            self.came = self.came or bool(left)
            self.real.release()
            if left:
                thread.add(jobs[1])
                assert second_is_on.wait(30)

    monkeypatch.setattr(thread, "_lock", Gap())
    monkeypatch.setattr(thread, "_train", train)
    thread.add(jobs[0])
    first = next(each for each in threading.enumerate() if each.name == "training")
    assert second_is_on.wait(30)
    first.join(1.0)  # a thread that took the second job as well would still be in it
    alive = first.is_alive()
    first_may_end.set()
    assert thread.wait(30)
    assert not alive
    assert trained == [job.run.run_id for job in jobs]
