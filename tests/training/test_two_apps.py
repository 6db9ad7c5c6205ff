"""Two apps on one runs folder: the second reads only and says so, and takes over when the first has gone."""

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resnet_core.cli import main
from resnet_core.errors import RunError
from resnet_core.processes import process_started
from resnet_core.training import folder_lock
from resnet_core.training.config import TrainConfig
from resnet_core.training.folder_lock import FILE, FolderLock
from resnet_core.training.queue_file import write_queue
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runner import Runner
from resnet_core.training.runs import RunStore

ROOT = Path(__file__).parents[2]
HOLDER = """
import pathlib, sys, time
from resnet_core.training.folder_lock import FolderLock
assert FolderLock(pathlib.Path(sys.argv[1])).take()
print("held", flush=True)
time.sleep(60)
"""
posix = pytest.mark.skipif(os.name != "posix", reason="flock")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another program that has the folder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"held\n"
        yield program
        program.kill()


@pytest.fixture
def config(drawn_folder: Path, quick: Callable[..., TrainConfig]) -> TrainConfig:
    return quick(dataset=str(drawn_folder), model="resnet8", epochs=1)


def files(folder: Path) -> dict[str, int]:
    """Every file with the time of its last change."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != FILE}


def test_only_one_has_the_folder_and_asking_again_is_no_harm(tmp_path: Path) -> None:
    one, other = FolderLock(tmp_path), FolderLock(tmp_path)
    assert one.take()
    assert one.take()
    assert not other.take()
    assert (one.held, other.held) == (True, False)
    assert other.holder()["pid"] == os.getpid()
    one.release()
    one.release()
    assert other.take()
    other.release()


def test_of_many_that_ask_at_once_one_gets_it(tmp_path: Path) -> None:
    for _ in range(20):
        locks = [FolderLock(tmp_path) for _ in range(8)]
        threads = [threading.Thread(target=lock.take) for lock in locks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(lock.held for lock in locks) == 1
        for lock in locks:
            lock.release()


def test_a_killed_app_gives_the_folder_back_and_is_named_before(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    store = RunStore(tmp_path)
    assert not store.claim()
    assert store.reads_only
    with pytest.raises(RunError) as refused:
        store.check_writable()
    assert f"(process {holder.pid}, since " in str(refused.value)
    assert "this one only reads" in str(refused.value)
    assert str(tmp_path) not in str(refused.value)
    holder.kill()
    holder.wait()
    store.check_writable()
    assert not store.reads_only
    store.release()


def test_every_button_of_the_second_app_says_so_and_writes_nothing(
    tmp_path: Path, config: TrainConfig, holder: subprocess.Popen[bytes]
) -> None:
    store = RunStore(tmp_path)
    run, waiting = store.create(config), store.create(config)
    with RunRecorder(run):
        pass
    RunRecorder(waiting, phase="queued")
    write_queue(tmp_path, [waiting.run_id])
    store.claim()
    app = Runner(store, data_dir=tmp_path)
    before = files(tmp_path)
    buttons: list[Callable[[], Any]] = [
        lambda: app.start(config),
        lambda: app.fork(run.run_id, 1),
        lambda: app.resume(run.run_id),
        lambda: app.resume(run.run_id, anyway=True),
        lambda: app.pause(run.run_id),
        lambda: app.change(run.run_id, epochs=2),
        lambda: app.stop(run.run_id),
        lambda: app.move(waiting.run_id, 1),
        lambda: app.drop(waiting.run_id),
    ]
    for button in buttons:
        with pytest.raises(RunError, match=r"Another ResNet Lab app \(process \d+, since"):
            button()
    assert files(tmp_path) == before
    assert waiting.status() == "queued"
    assert store.get(run.run_id).summary().status == "stopped", "reading goes on"

    holder.kill()
    holder.wait()
    mine = app.start(config)  # the first app has gone: its queue comes first
    assert app.wait(60)
    assert [waiting.status(), mine.status()] == ["finished", "finished"]
    assert waiting.events()[0]["time"] <= mine.events()[0]["time"]
    store.release()


def test_the_command_line_trains_beside_an_app(
    tmp_path: Path, holder: subprocess.Popen[bytes], drawn_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--model", "resnet8", "--epochs", "1", "--image-size", "16", "--batch-size", "8", "--device", "cpu"]
    options = ["--runs-dir", str(tmp_path), "--dataset", str(drawn_folder), "--num-threads", "1", "--json"]
    assert main(["train", *options, *settings]) == 0
    [run] = RunStore(tmp_path).list()
    assert run.status() == "finished"
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == {"run_id": run.run_id}


@posix
def test_a_program_started_by_the_app_does_not_hold_the_folder_for_it(tmp_path: Path) -> None:
    one, other = FolderLock(tmp_path), FolderLock(tmp_path)
    assert one.take()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False) as child:
        one.release()
        assert other.take()
        child.kill()
    other.release()


@posix
def test_a_copy_of_the_open_file_does_not_keep_the_lock_that_was_given_back(tmp_path: Path) -> None:
    one, other = FolderLock(tmp_path), FolderLock(tmp_path)
    assert one.take()
    assert one.descriptor is not None
    copy = os.dup(one.descriptor)  # as a program has it that is being started in this moment
    one.release()
    assert other.take()
    other.release()
    os.close(copy)


@posix
@pytest.mark.parametrize(
    ("who", "free"),
    [
        ({"pid": os.getpid(), "host": socket.gethostname(), "started": process_started(os.getpid())}, False),
        ({"pid": os.getpid(), "host": socket.gethostname(), "started": "another time"}, True),
        ({"pid": 2**22 + 17, "host": socket.gethostname(), "started": "1"}, True),
        ({"pid": 10**30, "host": socket.gethostname(), "started": "1"}, True),
        ({"pid": os.getpid(), "host": "elsewhere", "started": "1"}, True),
        ({"pid": "many"}, True),
        ([], True),
    ],
    ids=["lives", "number used again", "died", "no number", "elsewhere", "text", "list"],
)
def test_where_the_file_system_has_no_locks_the_one_who_signed_counts(
    who: Any, free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def none_here(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", none_here)
    (tmp_path / FILE).write_text(json.dumps(who))
    lock = FolderLock(tmp_path)
    assert lock.take() is free
    lock.release()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"pid": "x", "since": "y"}', '{"pid": 3, "host": 4, "since": 1e300}']
)
def test_a_damaged_signature_still_gives_a_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(content)
    told = FolderLock(tmp_path).refusal()
    assert told.startswith("Another ResNet Lab app")
    assert told.endswith("press again.")


def test_a_folder_one_may_not_write_into_is_only_read(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not FolderLock(tmp_path / "file").take()
    new = FolderLock(tmp_path / "not" / "there yet")
    assert new.take()
    new.release()


@pytest.mark.parametrize("write", ["empty the bin", "describe a run", "train"])
def test_whatever_takes_the_folder_over_takes_its_queue_too(write: str, tmp_path: Path, config: TrainConfig) -> None:
    """The janitor empties the bin once an hour: it may be the first to write after the other app has gone."""
    other = FolderLock(tmp_path)
    assert other.take()
    store = RunStore(tmp_path)
    waiting = store.create(config)
    RunRecorder(waiting, phase="queued")
    write_queue(tmp_path, [waiting.run_id])
    assert not store.claim()
    app = Runner(store, data_dir=tmp_path)
    other.release()
    if write == "empty the bin":
        store.empty_bin()
    elif write == "describe a run":
        store.describe(waiting.run_id, note="mine")
    app.start(config)
    assert app.wait(60)
    assert waiting.status() == "finished"
    store.release()


def test_a_start_before_the_queue_was_taken_up_does_not_lose_it(tmp_path: Path, config: TrainConfig) -> None:
    store = RunStore(tmp_path)
    waiting = store.create(config)
    RunRecorder(waiting, phase="queued")
    write_queue(tmp_path, [waiting.run_id])
    assert store.claim()
    app = Runner(store, data_dir=tmp_path)
    app.start(config)
    assert app.wait(60)
    assert waiting.status() == "finished"
    store.release()


def test_threads_of_one_app_that_ask_at_once_all_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, answers = FolderLock(tmp_path), []
    real, both = folder_lock._lock, threading.Barrier(2)

    def slow(descriptor: int) -> bool | None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # until the other thread is here too, where it is let in
        return real(descriptor)

    monkeypatch.setattr(folder_lock, "_lock", slow)
    threads = [threading.Thread(target=lambda: answers.append(lock.take())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True, True]
    lock.release()
