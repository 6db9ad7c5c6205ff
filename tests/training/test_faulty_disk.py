"""Every step of every save fails in turn, in each way a disk can fail: a loadable checkpoint is always there."""

import contextlib
import errno
import io
import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from observers import Keeper, same_weights, story
from safetensors import SafetensorError

from resnet_core import files
from resnet_core.data.datasets import DatasetSpec
from resnet_core.training import checkpoint as checkpoints
from resnet_core.training import engine
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.engine import fit
from resnet_core.training.events import CheckpointSaved, Paused, Resumed, RunEnded, Warned
from resnet_core.training.recorder import RunRecorder, load_kept, load_resume
from resnet_core.training.runs import Run, RunStore
from resnet_core.training.session import Session, Validation

FAULTS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO)
MANY_WRITES = 150  # every so many writes of a file one fails: a resume file is written in some hundred


class Disk:
    """The system calls of a save, counted; the one whose turn it is fails.

    `step` counts from 1; 0: none fails. What fails is listed in `failed`, what happened in `done`.
    """

    def __init__(self, step: int, fault: int) -> None:
        self.step, self.fault = step, fault
        self.done: list[str] = []
        self.failed = ""

    def touched(self, what: str) -> None:
        self.done.append(what)
        if len(self.done) == self.step or (self.failed and self.fault == errno.EROFS):  # that one stays
            self.failed = self.failed or what
            raise OSError(self.fault, os.strerror(self.fault))


class Opened:
    """A file whose writes are counted; the failing one leaves half of what it was given."""

    def __init__(self, opened: Any, disk: Disk) -> None:
        self._opened, self._disk = opened, disk
        self._writes = 0

    def write(self, content: Any) -> int:
        self._writes += 1
        if self._writes % MANY_WRITES == 1:
            try:
                self._disk.touched("write")
            except OSError:
                self._opened.write(content[: len(content) // 2])
                self._opened.flush()
                raise
        return int(self._opened.write(content))

    def __enter__(self) -> "Opened":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)


@contextlib.contextmanager
def under(disk: Disk) -> Iterator[None]:
    """Inside, everything that saves a run does it on this disk."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        path_open, save_file = pathlib.Path.open, checkpoints.save_file

        def opened(self: Path, mode: str = "r", *arguments: Any, **settings: Any) -> Any:
            if not self.name.endswith(".part"):
                return path_open(self, mode, *arguments, **settings)
            disk.touched("open")
            found = path_open(self, mode, *arguments, **settings)
            return Opened(found, disk) if "w" in mode else found

        def saved(tensors: Any, path: Path, metadata: Any) -> None:
            try:
                disk.touched("safetensors")
            except OSError as error:  # its own words for the same, half way
                path.write_bytes(b"\0" * 5000)
                told = f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
                raise SafetensorError(told) from None
            save_file(tensors, path, metadata=metadata)

        def counted(owner: Any, name: str) -> None:
            real = getattr(owner, name)

            def called(*arguments: Any, **settings: Any) -> Any:
                disk.touched(name)
                return real(*arguments, **settings)

            monkeypatch.setattr(owner, name, called)

        monkeypatch.setattr(pathlib.Path, "open", opened)
        monkeypatch.setattr(checkpoints, "save_file", saved)
        for owner, name in ((files.os, "fsync"), (files.os, "replace"), (files.os, "link"), (pathlib.Path, "touch")):
            counted(owner, name)
        counted(pathlib.Path, "chmod")
        yield


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, quick: Callable[..., TrainConfig], tiny_flowers: DatasetSpec
) -> tuple[Path, Session, Validation]:
    """A run as it stands after its first epoch, and its session and validation after the second."""
    config = quick(model="resnet8", epochs=3)
    run = RunStore(tmp_path_factory.mktemp("faulty")).create(config)
    session = Session(config, tiny_flowers)
    for epoch in (1, 2):
        list(session.train_epoch())
        validation = session.validate(Control())
        session.end_epoch(validation)
        if epoch == 1:
            recorder = RunRecorder(run)
            recorder.save_best(session, validation)
            recorder.save_epoch(session, validation)
    return run.folder, session, validation


def save_on(disk: Disk, folder: Path, session: Session, validation: Validation) -> OSError | None:
    """What a save of the epoch raises on that disk."""
    recorder = RunRecorder(Run(folder))
    with under(disk):
        try:
            recorder.save_best(session, validation)
            recorder.save_epoch(session, validation)
        except OSError as error:
            return error
    return None


STEPS = {"touch", "open", "write", "safetensors", "chmod", "fsync", "replace", "link"}


def test_whatever_step_of_a_save_fails_a_checkpoint_of_some_moment_is_there(
    trained: tuple[Path, Session, Validation], tmp_path: Path
) -> None:
    folder, session, validation = trained
    whole = Disk(0, 0)
    assert save_on(whole, copied(folder, tmp_path / "whole"), session, validation) is None
    assert set(whole.done) == STEPS
    failed = set()
    for step, fault in turns(len(whole.done)):
        place, disk = copied(folder, tmp_path / f"{step}-{fault}"), Disk(step, fault)
        error = save_on(disk, place, session, validation)
        if error is not None:
            assert error.errno == fault, disk.failed
            assert "MB free" in str(error)
        failed.add(disk.failed)
        check(place, step, disk)
        shutil.rmtree(place)
    assert failed == STEPS


def turns(steps: int) -> Iterator[tuple[int, int]]:
    """Every step with a full disk, and with another fault in turn."""
    others = itertools.cycle(FAULTS[1:])
    for step in range(1, steps + 1):
        yield step, errno.ENOSPC
        yield step, next(others)


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def check(folder: Path, step: int, disk: Disk) -> None:
    """Everything that is there can be read, is of one moment, and no half file lies beside it."""
    run, where = Run(folder), f"step {step}: {disk.failed}"
    for name in ("best", "last"):
        found, _ = load_checkpoint(folder / f"{name}.safetensors")
        assert found.training["epoch"] in (1, 2), where
    state = load_resume(run)
    assert state["position"]["epoch"] in (2, 3), where
    assert state["position"]["step_in_epoch"] == 0
    for epoch in run.kept_epochs():
        assert load_checkpoint(run.kept_checkpoint(epoch))[0].training["epoch"] == epoch, where
        assert load_kept(run, epoch)["position"]["epoch"] == epoch + 1, where
    rows = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 11, where
    assert not list(folder.rglob("*.part")), where


def test_what_a_disk_does_not_let_go_is_swept_by_the_next_owner(
    trained: tuple[Path, Session, Validation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that turns read-only half way: the temporary file cannot even be removed."""
    folder, session, validation = trained
    place = copied(folder, tmp_path / "stuck")

    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", refused)
        patched.setattr(pathlib.Path, "unlink", refused)
        with pytest.raises(OSError, match="Read-only"):
            RunRecorder(Run(place)).save_epoch(session, validation)
    assert list(place.glob(".*.part"))
    with RunRecorder(Run(place)):
        pass
    assert not list(place.rglob("*.part"))
    check(place, 0, Disk(0, 0))


# ---- While it trains ------------------------------------------------------------------------------------------


class FullForAWhile:
    """Refuses every save from the n-th call of `replace` on until it has refused so many times."""

    def __init__(self, first: int, times: int) -> None:
        self.calls, self.first, self.left = 0, first, times
        self.real = os.replace

    def replace(self, source: Any, target: Any) -> None:
        if Path(target).name == "heartbeat.json":
            return self.real(source, target)
        self.calls += 1
        if self.calls >= self.first and self.left:
            self.left -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.real(source, target)


@pytest.mark.parametrize("first", [1, 2, 3, 4, 5, 6])
def test_a_full_disk_at_any_file_pauses_the_training_which_goes_on_unchanged(
    first: int,
    tmp_path: Path,
    quick: Callable[..., TrainConfig],
    tiny_flowers: DatasetSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = quick(model="resnet8", keep="none")
    straight = Keeper()
    expected = list(fit(config, tiny_flowers, saver=straight))
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)
    disk = FullForAWhile(first, 2)
    run = RunStore(tmp_path).create(config)
    with RunRecorder(run) as recorder:
        monkeypatch.setattr(files.os, "replace", disk.replace)
        events = list(recorder.record(fit(config, tiny_flowers, saver=recorder)))
    assert disk.left == 0
    told = [type(event) for event in events if isinstance(event, Warned | Paused | Resumed)]
    assert told == [Warned, Paused, Resumed]
    assert story(events) == story(expected)
    assert run.status() == "finished"
    assert same_weights(load_checkpoint(run.checkpoint_path("last"))[1].state_dict(), straight.judged)


def test_a_disk_that_turns_read_only_ends_the_run_with_what_was_saved_before(
    tmp_path: Path, quick: Callable[..., TrainConfig], tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = quick(model="resnet8", epochs=3)
    expected = story(list(fit(config, tiny_flowers)))
    run = RunStore(tmp_path).create(config)
    real, turned = os.replace, io.StringIO()

    def replace(source: Any, target: Any) -> None:
        if Path(target).name == "last.safetensors" and turned.tell():
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        turned.write("x" if Path(target).name == "last.safetensors" else "")
        real(source, target)

    with RunRecorder(run) as recorder, monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", replace)
        first = list(recorder.record(fit(config, tiny_flowers, saver=recorder)))
    ended = first[-1]
    assert isinstance(ended, RunEnded)
    assert (ended.status, "Read-only file system" in ended.reason) == ("failed", True)
    state = load_resume(run)
    assert (state["position"]["step"], state["lost_steps"]) == (5, 5)
    with RunRecorder(run) as recorder:
        second = list(recorder.record(fit(config, tiny_flowers, saver=recorder, resume=state)))
    again = [row for row in story(first) if row["step"] <= 5] + story(second)
    assert again == expected


@pytest.fixture(autouse=True)
def _no_waiting_files(tmp_path: Path) -> Iterator[None]:
    yield
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("room_at_the_stop", [False, True])
def test_a_stop_while_the_best_epoch_waits_for_room_never_claims_a_best_that_is_not_there(
    room_at_the_stop: bool,
    quick: Callable[..., TrainConfig],
    tiny_flowers: DatasetSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)
    control, full = Control(), True

    class Full(Keeper):
        def save_best(self, session: Session, validation: Validation) -> None:
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().save_best(session, validation)

    keeper, events = Full(), []
    for event in fit(quick(epochs=1), tiny_flowers, saver=keeper, control=control):
        events.append(event)
        if isinstance(event, Paused):
            control.stop()
            full = not room_at_the_stop
    place = keeper.state["position"]
    assert keeper.saved == (["best", "resume"] if room_at_the_stop else ["resume"])
    assert (place["best_epoch"], place["best_top1"] >= 0) == ((1, True) if room_at_the_stop else (0, False))
    told = [event for event in events if isinstance(event, CheckpointSaved)]
    assert len(told) == room_at_the_stop
