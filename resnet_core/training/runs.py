"""Recorded trainings on disk: `runs/<run_id>/`. Files, not shared memory, so a reloaded page, a restarted app, a
second browser, a run started from the command line and a post-mortem are all the same read.

    config.json        the settings as asked for
    events.jsonl       one JSON object a line, append only; an incomplete last line is ignored
    usage.jsonl        images a second, memory and load, a line about once a second
    run.lock           held by who trains it (run_lock.py)
    heartbeat.json     who trains it (pid, host) and when that was last seen
    notes.json         a name, a note and tags that people gave it (run_notes.py)
    best.safetensors   the best epoch's checkpoint        last.safetensors   the newest epoch's
    predictions.csv    one row a validation picture       resume.pt          to go on from
    kept/              epochs that can be used and gone on from (kept_epochs.py)
    pictures.json.gz   which pictures it learns from       probes/          kept for later lessons
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name
from resnet_core.errors import ConfigError, ResNetLabError, RunError
from resnet_core.files import write_json
from resnet_core.processes import ALIVE, process_started
from resnet_core.training.config import TrainConfig
from resnet_core.training.disk_use import disk_used
from resnet_core.training.event_log import EventLog, number_of, text_of, whole_of
from resnet_core.training.folder_lock import FolderLock
from resnet_core.training.kept_epochs import CHECKPOINT, STATE, kept_path, list_kept
from resnet_core.training.lost_steps import count_lost
from resnet_core.training.queue_file import read_queue
from resnet_core.training.run_bin import KEPT_SECONDS, RunBin
from resnet_core.training.run_lock import is_held
from resnet_core.training.run_notes import RunNotes, checked_notes, edit_notes, read_notes
from resnet_core.training.run_search import search_runs

FOREIGN_SILENCE = 60.0  # seconds without a heartbeat after which an owner on another host counts as dead
ENDED = ("finished", "stopped", "failed")
WAITING = ("queued", "preparing")


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
    note: str = ""
    tags: tuple[str, ...] = ()
    forked_from: str = ""  # “<run id>/<epoch>”


class Run:
    """One recorded training, from the reader's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_id = folder.name
        self._log = EventLog(folder / "events.jsonl")
        self._usage = EventLog(folder / "usage.jsonl")

    def config(self) -> TrainConfig:
        """The settings the run was started with. Raises RunError if they are gone."""
        try:
            return TrainConfig.from_json(json.loads((self.folder / "config.json").read_text(encoding="utf-8")))
        except ConfigError as error:
            raise RunError(f"The settings of run {self.run_id} do not fit this version: {error}") from error
        except (OSError, ValueError, TypeError, RecursionError, ResNetLabError) as error:
            raise RunError(f"The settings of run {self.run_id} cannot be read.") from error

    @property
    def name(self) -> str:
        """What people call the run: the name in its notes, else in its settings; "" where nobody named it."""
        given = read_notes(self.folder).name
        if given:
            return given
        try:
            return self.config().name
        except RunError:
            return ""

    def events(self, after: int = 0) -> list[dict[str, Any]]:
        """The events from number `after` on, in order; `after + len(...)` is the next cursor."""
        return self._log.read()[max(0, after) :]

    def usage(self, after: int = 0) -> list[dict[str, Any]]:
        """What the run took from its machine (usage.py), from line `after` on; empty for runs of older versions."""
        return self._usage.read()[max(0, after) :]

    def status(self) -> str:
        """queued, preparing, running, paused, finished, stopped, failed or interrupted."""
        phase = self.heartbeat().get("phase")
        if phase in WAITING and (self.owner_alive() or (phase == "queued" and self._is_queued())):
            return str(phase)  # also of a run that is taken up again
        for event in reversed(self._log.read()):
            if event["event"] == "RunEnded":
                return next((status for status in ENDED if status == event.get("status")), "failed")
            if event["event"] in ("RunStarted", "Resumed", "StepEnded", "EpochEnded"):
                return "running" if self.owner_alive() else "interrupted"
            if event["event"] == "Paused":
                return "paused" if self.owner_alive() else "interrupted"
        return "preparing" if self.owner_alive() else "interrupted"

    @property
    def at_rest(self) -> bool:
        """True while nobody trains the run or is about to, such as between a killed process and the one after it."""
        status = self.status()
        return status in ("finished", "stopped") or (status in ("failed", "interrupted") and not is_held(self.folder))

    def lost_steps(self) -> int:
        """Steps that were trained but not saved when an interrupted run was killed; 0 for any other run."""
        return count_lost(self.folder, self.events()) if self.status() == "interrupted" else 0

    def _is_queued(self) -> bool:
        """True where the run waits for an app that will go on with its queue once it is started again."""
        return self.run_id in read_queue(self.folder.parent)

    def heartbeat(self) -> dict[str, Any]:
        """Who trains the run and what it is doing right now; empty when nobody ever did."""
        try:
            content = json.loads((self.folder / "heartbeat.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def owner_alive(self) -> bool:
        """True while the process that trains the run lives; on another host, and where nobody tells when the process
        started, while its heartbeat is fresh."""
        beat = self.heartbeat()
        try:
            if beat.get("host") == socket.gethostname() and os.name == "posix":
                started = process_started(int(beat["pid"]))
                if started is None or str(beat.get("started", started)) != started:
                    return False  # gone, and its number may be another's
                if "started" in beat and started != ALIVE:
                    return True
            return abs(time.time() - float(beat["time"])) < FOREIGN_SILENCE
        except (KeyError, TypeError, ValueError, OverflowError):
            return False

    def summary(self) -> RunSummary:
        """The run in one line; without readable settings, and whatever its events hold, it is listed all the same."""
        events = self._log.read()
        started = next((event for event in events if event["event"] == "RunStarted"), {})
        epochs = [event for event in events if event["event"] == "EpochEnded"]
        best: dict[str, Any] = next((event for event in reversed(epochs) if event.get("best")), {})
        try:
            config = self.config()
        except RunError:
            config = TrainConfig()
        notes = read_notes(self.folder)
        return RunSummary(
            run_id=self.run_id,
            name=notes.name or visible_text(config.name),
            note=notes.note,
            tags=notes.tags,
            forked_from=config.forked_from,
            status=self.status(),
            model=text_of(started, "model") or config.model or "",
            dataset=text_of(started, "dataset") or display_name(Path(config.dataset).name),
            epochs_done=len({whole_of(event, "epoch") for event in epochs} - {0}),
            epochs=whole_of(started, "epochs") or config.epochs or 0,
            best_top1=number_of(best, "val_top1"),
            best_epoch=whole_of(best, "epoch") or None,
            started=number_of(started, "time"),
            size_bytes=disk_used(self.folder),
        )

    def checkpoint_path(self, which: str = "best") -> Path:
        """The "best" or the "last" epoch's checkpoint. Raises RunError while there is none."""
        path = self.folder / f"{which}.safetensors"
        if path.is_file():
            return path
        if any(event["event"] == "CheckpointSaved" for event in self._log.read()):
            raise RunError(f"The checkpoint of the {which} epoch of run {self.run_id} is gone; choose another model.")
        raise RunError(f"Run {self.run_id} has no checkpoint yet; it is written after the first epoch.")

    def kept_epochs(self) -> tuple[int, ...]:
        """The epochs whose model can be used and that one can branch off from, in order."""
        return list_kept(self.folder)

    def kept_checkpoint(self, epoch: int) -> Path:
        """The checkpoint of a kept epoch. Raises RunError with those there are."""
        return kept_path(self.folder, epoch, CHECKPOINT)

    def kept_state(self, epoch: int) -> Path:
        """What the run can be gone on from after a kept epoch. Raises RunError with those there are."""
        return kept_path(self.folder, epoch, STATE)


class RunStore:
    """The folder of runs."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._lock = threading.Lock()
        self._known: dict[str, Run] = {}
        self.bin = RunBin(runs_dir)
        self.lock: FolderLock | None = None  # only apps claim the folder; the command line works beside them
        self.on_take_over: Callable[[], None] | None = None  # told when the app that had the folder has gone

    def claim(self) -> bool:
        """Makes this app the one that writes here; False while another app has that right: then this one only reads."""
        self.lock = self.lock or FolderLock(self.runs_dir)
        return self.lock.take()

    @property
    def reads_only(self) -> bool:
        """True in an app that asked for the folder while another one had it."""
        return self.lock is not None and not self.lock.held

    def check_writable(self) -> None:
        """Raises RunError with a sentence while another app has the folder; once that has gone, this one takes over."""
        if self.lock is None or self.lock.held:
            return
        if not self.lock.take():
            raise RunError(self.lock.refusal())
        if self.on_take_over:
            self.on_take_over()

    def release(self) -> None:
        """Lets another app write here."""
        if self.lock is not None:
            self.lock.release()

    def create(self, config: TrainConfig) -> Run:
        """A new run folder with its settings. Raises RunError where the folder cannot be written."""
        try:
            folder = self._claimed(_slug(config))
            (folder / "probes").mkdir()
            write_json(folder / "config.json", config.to_json())
            (folder / "events.jsonl").touch()
        except OSError as error:
            raise RunError(
                f"The runs folder cannot be written ({error.strerror}); choose another with --runs-dir."
            ) from error
        return self.get(folder.name)

    def _claimed(self, slug: str) -> Path:
        """A new empty folder of a name nobody else has; OSError where none can be made."""
        self.runs_dir.mkdir(parents=True, exist_ok=True)
        while True:
            folder = self.runs_dir / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug}-{secrets.token_hex(2)}"
            with contextlib.suppress(FileExistsError):  # two of one second may draw the same digits
                folder.mkdir()
                return folder

    def get(self, run_id: str) -> Run:
        """The run of that id. Raises RunError if there is none."""
        if not isinstance(run_id, str):  # programs may send anything
            raise RunError("Name the run by its id.")
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
        run = self._at_rest(run_id)
        try:
            shutil.rmtree(run.folder)
        except OSError as error:
            raise RunError(f"Run {run_id} could not be removed ({error.strerror}).") from error

    def delete(self, run_id: str) -> None:
        """Puts the run into the bin, where `restore` finds it for a day. Raises RunError while it is being trained."""
        self.check_writable()
        self._at_rest(run_id)
        self.bin.put(run_id)
        if not Run(self.bin.folder / run_id).at_rest:  # taken up again in this moment
            self.bin.take_back(run_id)
            raise RunError(f"Run {run_id} is being trained again; stop it first.")

    def restore(self, run_id: str) -> Run:
        """Brings a deleted run back. Raises RunError where it is not in the bin any more."""
        self.check_writable()
        self.bin.take_back(run_id)
        return self.get(run_id)

    def empty_bin(self, *, older_than: float = KEPT_SECONDS) -> int:
        """Removes for good what was deleted so many seconds ago, a day if not told; how many runs went."""
        self.check_writable()
        return self.bin.empty(older_than=older_than)

    def describe(self, run_id: str, **notes: object) -> RunNotes:
        """Changes what is said of a run: `name` (empty: its first one), `note`, `tags`; what is not named stays.
        Raises ConfigError over a limit and RunError for a run that is gone."""
        self.check_writable()
        return edit_notes(self.get(run_id).folder, **checked_notes(notes))

    def search(self, words: str = "") -> tuple[RunSummary, ...]:
        """The runs in which all these words occur, newest first; see run_search.py. Raises ConfigError."""
        return search_runs((run.summary() for run in self.list()), words)

    def _at_rest(self, run_id: str) -> Run:
        """The run, no longer known here, as its folder is about to go. Raises RunError while it is being trained."""
        run = self.get(run_id)
        if not run.at_rest:
            status = run.status()
            still = "being trained" if status in ("failed", "interrupted") else status
            raise RunError(f"Run {run_id} is still {still}; stop it first.")
        with self._lock:
            self._known.pop(run_id, None)
        return run


def _slug(config: TrainConfig) -> str:
    words = [config.model or "auto", Path(config.dataset).stem]
    return "-".join("".join(c if c.isascii() and c.isalnum() else "-" for c in word)[:24].strip("-") for word in words)
