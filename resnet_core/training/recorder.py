"""The writer's side of a run folder: events, heartbeat, checkpoints, predictions."""

import contextlib
import csv
import json
import logging
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError

from resnet_core.errors import RunError
from resnet_core.files import replacing, write_bytes
from resnet_core.training.checkpoint import save_checkpoint
from resnet_core.training.events import Event, RunEnded, event_to_json
from resnet_core.training.runs import Run, process_started
from resnet_core.training.session import Session
from resnet_core.training.validation import Validation

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0


class RunRecorder:
    """Owns a run's folder while it is trained; a context manager: the run always gets its one RunEnded."""

    def __init__(self, run: Run, *, phase: str = "preparing") -> None:
        self.run = run
        self._phase = phase
        self._detail = ""
        self._ended = False
        self._unwritten = b""
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._beating = threading.Lock()  # so that an older beat never lands on a newer one
        self._beat()
        self._heart = threading.Thread(target=self._beat_on, name=f"heartbeat-{run.run_id}", daemon=True)

    def __enter__(self) -> "RunRecorder":
        for leftover in self.run.folder.glob(".*.part"):  # of an owner that was killed while it saved
            leftover.unlink(missing_ok=True)
        path = self.run.folder / "events.jsonl"
        torn = path.is_file() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        self._unwritten = b"\n" if torn else b""  # the next event starts on its own line
        self._events = path.open("ab", buffering=0)
        self._heart.start()
        return self

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
        with _disk_errors(self.run.folder):
            checkpoint = session.checkpoint(validation)
            save_checkpoint(self.run.folder / "best.safetensors", checkpoint, session.judged_model.state_dict())
            _write_predictions(self.run.folder / "predictions.csv", validation, checkpoint.class_names)

    def save_epoch(self, session: Session, validation: Validation) -> None:
        """Writes `last.safetensors` and `resume.pt`."""
        with _disk_errors(self.run.folder):
            checkpoint = session.checkpoint(validation)
            save_checkpoint(self.run.folder / "last.safetensors", checkpoint, session.judged_model.state_dict())
        self.save_resume(session)

    def save_resume(self, session: Session) -> None:
        """Writes `resume.pt`, which loads with `weights_only=True`."""
        target = self.run.folder / "resume.pt"
        with _disk_errors(self.run.folder), replacing(target) as temporary, temporary.open("wb") as opened:
            torch.save(session.state(), opened)

    def _beat_on(self) -> None:
        while not self._closing.wait(HEARTBEAT_SECONDS) and not self._ended:
            self._beat()

    def _beat(self) -> None:
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
    """The state a run can be taken up from. Raises RunError if there is none or it cannot be read."""
    path = run.folder / "resume.pt"
    if not path.is_file():
        raise RunError(f"Run {run.run_id} has nothing to go on from; it ended before its first epoch.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise RunError(f"The saved state of run {run.run_id} is damaged and cannot be taken up.") from error
    if not isinstance(state, dict):
        raise RunError(f"The saved state of run {run.run_id} is damaged and cannot be taken up.")
    return state


def _write_predictions(path: Path, validation: Validation, class_names: tuple[str, ...]) -> None:
    probabilities = validation.logits.softmax(1)
    best = probabilities.max(1)
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as opened,
    ):
        rows = csv.writer(opened)
        rows.writerow(["image", "class", "prediction", "probability", *(f"p_{name}" for name in class_names)])
        for index, picture in enumerate(validation.paths):
            row = [
                picture,
                class_names[int(validation.targets[index])],
                class_names[int(best.indices[index])],
            ]
            numbers = [best.values[index], *probabilities[index]]
            rows.writerow([_safe_cell(text) for text in row] + [f"{float(number):.6f}" for number in numbers])


def _safe_cell(text: str) -> str:
    """Spreadsheets run what begins with these signs as a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text
