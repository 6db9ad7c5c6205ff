"""Work between the runs: one piece at a time, never beside a run, broken off when a run begins."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from resnet_core.data.cache import Progress
from resnet_core.errors import RunError
from resnet_core.training.aside import Aside
from resnet_core.training.config import TrainConfig
from resnet_core.training.runner import Runner
from resnet_core.training.runs import RunStore

Quick = Callable[..., TrainConfig]
PATIENCE = 60.0


def aside() -> Aside:
    return Aside(begin=lambda: None)


def free() -> None:
    return None


def test_it_gives_what_the_work_gives_and_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []

    def work(progress: Progress) -> str:
        progress(1, 2)
        progress(2, 2)
        return threading.current_thread().name

    assert aside().run(work, refuse=free, progress=lambda *place: told.append(place)) == "scan"
    assert told == [(1, 2), (2, 2)]


def test_what_it_raises_is_raised_here_and_the_place_is_free_again() -> None:
    place = aside()

    def fails(progress: Progress) -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        place.run(fails, refuse=free)
    assert place.run(lambda progress: 3, refuse=free) == 3


def test_refused_with_the_sentence_and_nothing_begun() -> None:
    place = aside()
    with pytest.raises(RunError, match="not now"):
        place.run(lambda progress: pytest.fail("it began"), refuse=lambda: "not now")
    assert place.run(lambda progress: 3, refuse=free) == 3


def busy(place: Aside) -> tuple[threading.Thread, list[str], threading.Event]:
    """Work under way in another thread, why it ended, and the sign that it runs."""
    ended: list[str] = []
    runs = threading.Event()

    def work(progress: Progress) -> None:
        while True:
            runs.set()
            progress(1, 2)

    def call() -> None:
        try:
            place.run(work, refuse=free)
        except RunError as error:
            ended.append(str(error))

    caller = threading.Thread(target=call)
    caller.start()
    assert runs.wait(PATIENCE)
    return caller, ended, runs


def test_a_second_one_is_refused_and_stop_ends_the_first() -> None:
    place = aside()
    caller, ended, _ = busy(place)
    with pytest.raises(RunError, match="Another scan"):
        place.run(lambda progress: None, refuse=free)
    place.stop()
    caller.join(PATIENCE)
    assert ended == ["The scan was stopped."]
    place.stop()
    assert place.run(lambda progress: 3, refuse=free) == 3


def test_a_run_that_begins_breaks_it_off_and_then_none_may_begin(
    tmp_path: Path, quick: Quick, drawn_folder: Path
) -> None:
    runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
    try:
        ended: list[str] = []
        runs, refused = threading.Event(), []

        def work(progress: Progress) -> None:
            while True:
                runs.set()
                progress(1, 2)

        def call() -> None:
            try:
                runner.aside(work)
            except RunError as error:
                ended.append(str(error))

        caller = threading.Thread(target=call)
        caller.start()
        assert runs.wait(PATIENCE)
        run = runner.start(quick(dataset=str(drawn_folder), epochs=50))
        caller.join(PATIENCE)
        assert ended == ["A run was started, so the scan was broken off; the training device is the run's."]
        try:
            runner.aside(lambda progress: None)
        except RunError as error:
            refused.append(str(error))
        assert refused == [f"Run {run.run_id} is training; scan for a learning rate once it has ended."]
        runner.stop(run.run_id)
        assert runner.wait(PATIENCE)
        assert runner.aside(lambda progress: 3) == 3
    finally:
        assert runner.shutdown(PATIENCE)


def test_once_closed_it_breaks_off_and_refuses(tmp_path: Path) -> None:
    place = aside()
    caller, ended, _ = busy(place)
    place.close()
    caller.join(PATIENCE)
    assert ended == ["The scan was stopped."]
    runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
    assert runner.shutdown()
    for refused in (lambda: place.run(lambda progress: 3, refuse=free), lambda: runner.aside(lambda progress: 3)):
        with pytest.raises(RunError, match="shutting down"):
            refused()
