"""The writer's side of a run folder: events, heartbeat, checkpoints, predictions."""

import contextlib
import json
import logging
import os
import re
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError

from resnet_core.errors import ResNetLabError, RunError
from resnet_core.files import replacing, write_bytes
from resnet_core.processes import process_started
from resnet_core.training.checkpoint import read_checkpoint, save_checkpoint
from resnet_core.training.events import Event, RunEnded, event_to_json
from resnet_core.training.folder_lock import FolderLock
from resnet_core.training.kept_epochs import in_words, keep_epoch, sweep
from resnet_core.training.lost_steps import count_lost, saved_place
from resnet_core.training.picture_list import FILE as PICTURES
from resnet_core.training.picture_list import keep_pictures
from resnet_core.training.predictions import write_predictions
from resnet_core.training.run_lock import take_run
from resnet_core.training.run_notes import FILE as NOTES
from resnet_core.training.runs import Run
from resnet_core.training.session import Session
from resnet_core.training.usage import UsageLog
from resnet_core.training.validation import Validation

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0


class RunRecorder:
    """Owns a run's folder while it is trained; a context manager: the run always gets its one RunEnded.

    Entering raises RunError while another program trains the run; without `locks` the caller's parent has seen to that.
    """

    def __init__(self, run: Run, *, phase: str = "preparing", locks: bool = True) -> None:
        if not (run.folder / "config.json").is_file():  # the first heartbeat would make the folder anew
            raise RunError(f"Run {run.run_id} is gone; it was deleted meanwhile.")
        self.run = run
        self._phase = phase
        self._locks = locks
        self._held: FolderLock | None = None
        self._detail = ""
        self._ended = False
        self._unwritten = b""
        self._usage = UsageLog(run.folder / "usage.jsonl")
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._beating = threading.Lock()  # so that an older beat never lands on a newer one
        self._beat()
        self._heart = threading.Thread(target=self._beat_on, name=f"heartbeat-{run.run_id}", daemon=True)

    def __enter__(self) -> "RunRecorder":
        try:
            self._held = take_run(self.run.folder) if self._locks else None
            self._begin()
        except BaseException:
            self._let_go()
            raise
        self._heart.start()
        return self

    def _begin(self) -> None:
        for leftover in self.run.folder.glob(".*.part"):  # of an owner that was killed while it saved
            if not leftover.name.startswith(f".{NOTES}."):  # people write notes at any time, perhaps just now
                leftover.unlink(missing_ok=True)
        sweep(self.run.folder)
        self._catch_up()
        path = self.run.folder / "events.jsonl"
        torn = path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        self._unwritten = b"\n" if torn else b""  # the next event starts on its own line
        self._events = path.open("ab", buffering=0)

    def _let_go(self) -> None:
        """Of a run that this one could not begin with: nobody is to take it for its owner."""
        if self.run.heartbeat().get("pid") == os.getpid():
            (self.run.folder / "heartbeat.json").unlink(missing_ok=True)
        if self._held:
            self._held.release()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            reason = f"The training broke off unexpectedly ({type(error).__name__}); see the log."
            self.write(RunEnded(status="failed", reason=reason))
        elif not self._ended:
            self.write(RunEnded(status="stopped", reason="The program was ended while it trained; Resume goes on."))
        self._closing.set()
        self._heart.join()
        self._events.close()
        if self._unwritten:  # no room for the ending: without a heartbeat readers see that nobody trains it
            (self.run.folder / "heartbeat.json").unlink(missing_ok=True)
        if self._held:
            self._held.release()

    def record(self, events: Iterator[Event]) -> Iterator[Event]:
        """Passes events on, each written to the disk first."""
        for event in events:
            self.write(event)
            yield event

    def write(self, event: Event) -> None:
        """Appends one event; after RunEnded nothing more is written."""
        with self._lock:
            if self._ended:
                return
            self._ended = isinstance(event, RunEnded)
            phase = "ended" if self._ended else "running"
            if phase != self._phase:
                self._phase, self._detail = phase, ""
                self._beat()
            line = json.dumps({**event_to_json(event), "time": round(time.time(), 3)})
            self._append(line.encode() + b"\n")
            self._usage.note(event)

    def _append(self, line: bytes) -> None:
        """Writes what is to be written; what the disk refuses is kept and comes first next time."""
        waiting = self._unwritten + line
        try:
            written = self._events.write(waiting) or 0
        except OSError:
            log.exception("an event could not be written yet")
            written = 0
        self._unwritten = waiting[written:]

    def progress(self, done: int, total: int) -> None:
        """Tells the readers how far the decoding of pictures is."""
        self.tell("preparing", f"{done:,} of {total:,} pictures")

    def tell(self, phase: str, detail: str = "") -> None:
        """What readers see before the first event; written with the next heartbeat."""
        self._phase, self._detail = phase, detail

    def save_best(self, session: Session, validation: Validation) -> None:
        """Writes `best.safetensors` and `predictions.csv`."""
        with self._saving():
            checkpoint = session.checkpoint(validation)
            save_checkpoint(self.run.folder / "best.safetensors", checkpoint, session.judged_model.state_dict())
            write_predictions(self.run.folder / "predictions.csv", validation, checkpoint.class_names)

    def save_epoch(self, session: Session, validation: Validation) -> None:
        """Writes `last.safetensors` and `resume.pt`, and keeps both where this epoch is one to keep."""
        with self._saving():
            checkpoint = session.checkpoint(validation)
            save_checkpoint(self.run.folder / "last.safetensors", checkpoint, session.judged_model.state_dict())
        self.save_resume(session)
        position, keep = session.position, session.config.keep
        try:
            with self._saving():
                keep_epoch(self.run.folder, position.epoch - 1, keep=keep, best=position.best_epoch)
        except OSError:  # the epoch itself is saved; one to branch off from is not worth a pause
            log.exception("epoch %d could not be kept", position.epoch - 1)

    def save_resume(self, session: Session) -> None:
        """Writes `resume.pt`, which loads with `weights_only=True`."""
        with self._saving():
            write_state(self.run.folder / "resume.pt", session.state())
            if not (self.run.folder / PICTURES).is_file():
                keep_pictures(self.run.folder, session.dataset)

    def _catch_up(self) -> None:
        """Keeps the newest epoch where the owner before was killed between saving it and keeping it."""
        place = saved_place(self.run.folder / "resume.pt")
        if place and not place["step_in_epoch"] and place["epoch"] - 1 not in self.run.kept_epochs():
            with contextlib.suppress(OSError, ResNetLabError):
                epoch = read_checkpoint(self.run.folder / "last.safetensors").training.get("epoch")
                if epoch == place["epoch"] - 1:
                    keep = self.run.config().keep
                    keep_epoch(self.run.folder, epoch, keep=keep, best=place.get("best_epoch", 0))

    @property
    def homeless(self) -> bool:
        """True once somebody has deleted the run's folder."""
        return not (self.run.folder / "config.json").is_file()

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """Raises RunError where the folder is gone, rather than to make it anew without what was in it."""
        if self.homeless:
            raise RunError(f"The folder of run {self.run.run_id} was deleted while it was trained; start a new run.")
        with _disk_errors(self.run.folder):
            yield

    def _beat_on(self) -> None:
        while not self._closing.wait(HEARTBEAT_SECONDS) and not self._ended:
            self._beat()

    def _beat(self) -> None:
        if self.homeless:
            return
        with self._beating, contextlib.suppress(OSError):  # a full disk must not end the training
            beat = {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "started": process_started(os.getpid()),
                "time": time.time(),
                "phase": self._phase,
                "detail": self._detail,
            }
            write_bytes(self.run.folder / "heartbeat.json", json.dumps(beat).encode())


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Inside, what torch and safetensors raise when the disk refuses becomes an OSError that says how full it is."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        number = _errno(error)
        if number is None:
            raise
        free = shutil.disk_usage(folder).free / 1e6 if folder.is_dir() else 0
        raise OSError(number, f"{os.strerror(number)}, {free:,.0f} MB free") from error


def _errno(error: BaseException | None) -> int | None:
    """The system's number behind an error, or behind one that it followed."""
    if error is None or isinstance(error, OSError):
        return error.errno if error else None
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else _errno(error.__context__)


def load_resume(run: Run) -> dict[str, Any]:
    """The state a run can be taken up from, and how many `lost_steps` after it were never saved.

    Raises RunError if there is none or it cannot be read.
    """
    path = run.folder / "resume.pt"
    if path.is_file():
        return {**_read_state(path, run), "lost_steps": count_lost(run.folder, run.events())}
    if _was_saved(run):
        raise RunError(f"The saved state of run {run.run_id} was deleted, so it cannot go on{_way_out(run)}.")
    raise RunError(f"Run {run.run_id} has nothing to go on from; it ended before its first epoch.")


def find_resume(run: Run) -> dict[str, Any] | None:
    """The same; None where the run ended before anything was saved, so that it has to begin again.

    A branch never begins again: its beginning is what its parent had learned.
    """
    if (run.folder / "resume.pt").is_file() or _was_saved(run) or run.status() == "finished":
        return load_resume(run)
    if run.config().forked_from:
        raise RunError(f"The branch {run.run_id} was never completely written; branch off again.")
    return None


def load_kept(run: Run, epoch: int) -> dict[str, Any]:
    """The state after a kept epoch. Raises RunError if it is not kept or cannot be read."""
    return _read_state(run.kept_state(epoch), run)


def _was_saved(run: Run) -> bool:
    """Whether the run has ever told that it could be taken up; best weights alone cannot."""
    return any(event.get("kind") == "last" or event["event"] == "Paused" for event in run.events())


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Replaces a file by that state in one step; it loads with `weights_only=True`."""
    with replacing(path) as temporary, temporary.open("wb") as opened:
        torch.save(state, opened)


def _read_state(path: Path, run: Run) -> dict[str, Any]:
    told = f"The saved state of run {run.run_id} is damaged and cannot be taken up{_way_out(run)}."
    try:
        with zipfile.ZipFile(path) as packed:
            if packed.testzip() is not None:  # torch.load does not look at its checksums
                raise RunError(told)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except RunError:
        raise
    except Exception as error:  # torch raises many kinds for a damaged file
        raise RunError(told) from error
    if not isinstance(state, dict):
        raise RunError(told)
    return state


def _way_out(run: Run) -> str:
    kept = run.kept_epochs()
    return f"; branch off from one of its kept epochs ({in_words(kept)})" if kept else "; start a new run"
