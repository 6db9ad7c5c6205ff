"""The writer's side of a run folder: events, heartbeat, checkpoints, predictions."""

import csv
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from resnet_core.errors import RunError
from resnet_core.files import replacing, write_bytes
from resnet_core.training.checkpoint import save_checkpoint
from resnet_core.training.events import Event, RunEnded, event_to_json
from resnet_core.training.runs import Run, process_started
from resnet_core.training.session import Session, Validation

HEARTBEAT_SECONDS = 2.0


class RunRecorder:
    """Owns a run's folder while it is trained; a context manager, so that the run always gets its one RunEnded."""

    def __init__(self, run: Run, *, phase: str = "preparing") -> None:
        self.run = run
        self._phase = phase
        self._detail = ""
        self._ended = False
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._beat()
        self._heart = threading.Thread(target=self._beat_on, name=f"heartbeat-{run.run_id}", daemon=True)

    def __enter__(self) -> "RunRecorder":
        self._events = (self.run.folder / "events.jsonl").open("ab")
        self._end_torn_line()
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            self.write(RunEnded(status="stopped", reason="The program was ended while it trained; Resume goes on."))
        self._closing.set()
        self._heart.join()
        self._events.close()

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
            line = json.dumps({**event_to_json(event), "time": round(time.time(), 3)}, ensure_ascii=False)
            self._events.write(line.encode() + b"\n")
            self._events.flush()

    def progress(self, done: int, total: int) -> None:
        """Tells the readers how far the decoding of pictures is."""
        self.tell("preparing", f"{done:,} of {total:,} pictures")

    def tell(self, phase: str, detail: str = "") -> None:
        """What readers see before the first event; written with the next heartbeat."""
        self._phase, self._detail = phase, detail

    def save_best(self, session: Session, validation: Validation) -> None:
        """Writes `best.safetensors` and `predictions.csv`."""
        checkpoint = session.checkpoint(validation)
        save_checkpoint(self.run.folder / "best.safetensors", checkpoint, session.judged_model.state_dict())
        _write_predictions(self.run.folder / "predictions.csv", validation, checkpoint.class_names)

    def save_epoch(self, session: Session, validation: Validation) -> None:
        """Writes `last.safetensors` and `resume.pt`."""
        checkpoint = session.checkpoint(validation)
        save_checkpoint(self.run.folder / "last.safetensors", checkpoint, session.judged_model.state_dict())
        self.save_resume(session)

    def save_resume(self, session: Session) -> None:
        """Writes `resume.pt`, which loads with `weights_only=True`."""
        with replacing(self.run.folder / "resume.pt") as temporary:
            torch.save(session.state(), temporary)

    def _end_torn_line(self) -> None:
        """A line cut by a crash is closed, so that the next event starts on its own."""
        path = self.run.folder / "events.jsonl"
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            self._events.write(b"\n")
            self._events.flush()

    def _beat_on(self) -> None:
        while not self._closing.wait(HEARTBEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        beat = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": process_started(os.getpid()),
            "time": time.time(),
            "phase": self._phase,
            "detail": self._detail,
        }
        try:
            write_bytes(self.run.folder / "heartbeat.json", json.dumps(beat).encode())
        except OSError:
            pass  # a full disk must not end the training; readers on this host go by the process id


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
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
        rows = csv.writer(opened)
        rows.writerow(["image", "class", "prediction", "probability", *(f"p_{name}" for name in class_names)])
        for index, picture in enumerate(validation.paths):
            row = [picture, class_names[int(validation.targets[index])], class_names[int(best.indices[index])]]
            numbers = [best.values[index], *probabilities[index]]
            rows.writerow([_safe_cell(text) for text in row] + [f"{float(number):.6f}" for number in numbers])


def _safe_cell(text: str) -> str:
    """Spreadsheets run what begins with these signs as a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text
