"""Recorded trainings on disk: `runs/<run_id>/`. Files, not shared memory, so a reloaded page, a restarted app, a
second browser, a run started from the command line and a post-mortem are all the same read.

    config.json        the settings as asked for
    events.jsonl       one JSON object a line, append only; an incomplete last line is ignored
    heartbeat.json     who trains it (pid, host) and when that was last seen
    best.safetensors   the best epoch's checkpoint        last.safetensors   the newest epoch's
    predictions.csv    one row a validation picture       resume.pt          to go on from
    probes/            kept for later lessons
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_core.data.images import display_name
from resnet_core.errors import ResNetLabError, RunError
from resnet_core.files import write_json
from resnet_core.training.config import TrainConfig

FOREIGN_SILENCE = 60.0  # seconds without a heartbeat after which an owner on another host counts as dead
ENDED = ("finished", "stopped", "failed")
WAITING = ("queued", "preparing")


class EventLog:
    """The events of one run, read from where the last read ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._events: list[dict[str, Any]] = []
        self._offset = 0
        self._inode = 0

    def read(self) -> list[dict[str, Any]]:
        """All events so far; the list is the log's own, so treat it as read-only."""
        with self._lock:
            with contextlib.suppress(OSError):  # not there (yet): what was read stays
                self._read_on()
            return self._events

    def _read_on(self) -> None:
        with self._path.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:  # another file: start over
                self._events, self._offset, self._inode = [], 0, status.st_ino
            if status.st_size == self._offset:
                return
            opened.seek(self._offset)
            chunk = opened.read()
        complete = chunk[: chunk.rfind(b"\n") + 1]
        self._offset += len(complete)
        for line in complete.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a line torn by a crash; what follows is sound
            if isinstance(event, dict) and "event" in event:
                self._events.append(event)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A line of `runs list`; accuracies in [0, 1], time in seconds since 1970."""

    run_id: str
    name: str
    status: str
    model: str
    dataset: str
    epochs_done: int
    epochs: int
    best_top1: float | None
    best_epoch: int | None
    started: float | None
    size_bytes: int


class Run:
    """One recorded training, from the reader's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_id = folder.name
        self._log = EventLog(folder / "events.jsonl")

    def config(self) -> TrainConfig:
        """The settings the run was started with. Raises RunError if they are gone."""
        try:
            return TrainConfig.from_json(json.loads((self.folder / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, ResNetLabError) as error:
            raise RunError(f"The settings of run {self.run_id} cannot be read.") from error

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """The events from number `after` on, in order; `after + len(...)` is the next cursor."""
        return self._log.read()[max(0, after) :]

    def status(self) -> str:
        """queued, preparing, running, paused, finished, stopped, failed or interrupted."""
        for event in reversed(self._log.read()):
            if event["event"] == "RunEnded":
                phase = self.heartbeat().get("phase")
                taken_up_again = phase in WAITING and self.owner_alive()
                return str(phase if taken_up_again else event.get("status", "failed"))
            if event["event"] in ("RunStarted", "Resumed", "StepEnded", "EpochEnded"):
                return "running" if self.owner_alive() else "interrupted"
            if event["event"] == "Paused":
                return "paused" if self.owner_alive() else "interrupted"
        return self._phase() if self.owner_alive() else "interrupted"

    def _phase(self) -> str:
        phase = self.heartbeat().get("phase")
        return phase if phase in WAITING else "preparing"

    def heartbeat(self) -> dict[str, Any]:
        """Who trains the run and what it is doing right now; empty when nobody ever did."""
        try:
            content = json.loads((self.folder / "heartbeat.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def owner_alive(self) -> bool:
        """True while the process that trains the run lives (on another host: while its heartbeat is fresh)."""
        beat = self.heartbeat()
        try:
            if beat.get("host") == socket.gethostname() and os.name == "posix":
                started = process_started(int(beat["pid"]))
                return started is not None and started == str(beat["started"])
            return abs(time.time() - float(beat["time"])) < FOREIGN_SILENCE
        except (KeyError, TypeError, ValueError):
            return False

    def summary(self) -> RunSummary:
        """The run in one line; a run without readable settings is listed all the same."""
        events = self._log.read()
        started = next((event for event in events if event["event"] == "RunStarted"), {})
        epochs = [event for event in events if event["event"] == "EpochEnded"]
        best = next((event for event in reversed(epochs) if event.get("best")), None)
        try:
            config = self.config()
        except RunError:
            config = TrainConfig()
        return RunSummary(
            run_id=self.run_id,
            name=config.name,
            status=self.status(),
            model=str(started.get("model") or config.model or ""),
            dataset=str(started.get("dataset") or display_name(Path(config.dataset).name)),
            epochs_done=len({event["epoch"] for event in epochs}),
            epochs=int(started.get("epochs") or config.epochs or 0),
            best_top1=best["val_top1"] if best else None,
            best_epoch=best["epoch"] if best else None,
            started=float(started["time"]) if started else None,
            size_bytes=_size(self.folder),
        )

    def checkpoint_path(self, which: str = "best") -> Path:
        """The "best" or the "last" epoch's checkpoint. Raises RunError while there is none."""
        path = self.folder / f"{which}.safetensors"
        if not path.is_file():
            raise RunError(f"Run {self.run_id} has no checkpoint yet; it is written after the first epoch.")
        return path


class RunStore:
    """The folder of runs."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._lock = threading.Lock()
        self._known: dict[str, Run] = {}

    def create(self, config: TrainConfig) -> Run:
        """A new run folder with its settings. Raises RunError where the folder cannot be written."""
        run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{_slug(config)}-{secrets.token_hex(2)}"
        folder = self.runs_dir / run_id
        try:
            (folder / "probes").mkdir(parents=True)
            write_json(folder / "config.json", config.to_json())
            (folder / "events.jsonl").touch()
        except OSError as error:
            raise RunError(
                f"The runs folder cannot be written ({error.strerror}); choose another with --runs-dir."
            ) from error
        return self.get(run_id)

    def get(self, run_id: str) -> Run:
        """The run of that id. Raises RunError if there is none."""
        folder = self.runs_dir / run_id
        plain = run_id and Path(run_id).name == run_id and not run_id.startswith(".")
        if not plain or not os.path.isfile(folder / "config.json"):  # unlike Path's, this question never raises
            raise RunError(f"There is no run “{display_name(run_id)}”.")
        with self._lock:
            return self._known.setdefault(run_id, Run(folder))

    def list(self) -> list[Run]:
        """All runs, newest first."""
        runs = []
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self.runs_dir), reverse=True):
                with contextlib.suppress(RunError):  # other folders, and runs removed in this moment
                    runs.append(self.get(name))
        return runs

    def remove(self, run_id: str) -> None:
        """Deletes the run's folder. Raises RunError while it is being trained."""
        run = self.get(run_id)
        if run.status() not in (*ENDED, "interrupted"):
            raise RunError(f"Run {run_id} is still {run.status()}; stop it first.")
        with self._lock:
            self._known.pop(run_id, None)
        try:
            shutil.rmtree(run.folder)
        except OSError as error:
            raise RunError(f"Run {run_id} could not be removed ({error.strerror}).") from error


def process_started(pid: int) -> str | None:
    """When the process of that id started, as the system tells it; None when it does not live.

    Together with the id it names one process for good: ids are used again.
    """
    if os.name != "posix":
        return "alive"  # there, the question itself would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except (PermissionError, OverflowError):
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return "alive"
    return None if fields[0] in "ZX" else fields[19]


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a temporary file may be gone by now
            total += path.stat().st_size if path.is_file() else 0
    return total


def _slug(config: TrainConfig) -> str:
    words = [config.model or "auto", Path(config.dataset).stem]
    return "-".join("".join(c if c.isascii() and c.isalnum() else "-" for c in word)[:24].strip("-") for word in words)
