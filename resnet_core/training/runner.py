"""Runs trainings in a background thread, one at a time; more wait in order. Pages and API calls ask and watch.

The thread is not a daemon: it ends by itself after `shutdown`, having saved what it was doing. Whatever happens in
it ends in one RunEnded on the disk.
"""

import contextlib
import logging
import os
import sys
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_core.data.datasets import DatasetSpec, load_dataset
from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control, Replay, check_changeable
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded
from resnet_core.training.recorder import RunRecorder, load_resume
from resnet_core.training.runs import Run, RunStore

log = logging.getLogger(__name__)

NICENESS = 10  # of the training thread: measured, it keeps a page's answer at 6 instead of 14 ms
QUEUE_LIMIT = 20
CLOSED = "The app is shutting down; start it again to train."


@dataclass(frozen=True, eq=False)
class Job:
    """One training, waiting or under way."""

    run: Run
    config: TrainConfig
    dataset: DatasetSpec
    recorder: RunRecorder
    control: Control
    state: dict[str, Any] | None


class Runner:
    """Owns the training thread of this process."""

    def __init__(self, store: RunStore, *, data_dir: Path) -> None:
        self.store = store
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._waiting: deque[Job] = deque()
        self._current: Job | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, config: TrainConfig) -> Run:
        """Starts the training, or queues it behind the one under way. Raises DatasetError or RunError."""
        dataset = load_dataset(config.dataset, data_dir=self._data_dir, seed=config.seed)
        self._check_room()
        run = self.store.create(config)
        try:
            self._enqueue(run, config, dataset, None)
        except RunError:
            self.store.remove(run.run_id)
            raise
        return run

    def resume(self, run_id: str) -> Run:
        """Ends a pause, or takes up a stopped, failed or interrupted run where it was saved.

        Asking twice does no harm. Raises RunError where there is nothing to go on with (yet).
        """
        job = self._job(run_id)
        if job is not None:
            if job.control.stopping:
                raise RunError(f"Run {run_id} is about to stop; resume it once it has.")
            job.control.resume()
            return job.run
        run = self.store.get(run_id)
        if run.status() == "finished":
            raise RunError(f"Run {run_id} is finished; start a new one.")
        if run.owner_alive() and run.status() in ("running", "paused", "preparing", "queued"):
            raise RunError(f"Run {run_id} is being trained by another program on this machine.")
        config, state = run.config(), load_resume(run)
        dataset = load_dataset(config.dataset, data_dir=self._data_dir, seed=config.seed)
        self._check_room()
        self._enqueue(run, config, dataset, state)
        return run

    def pause(self, run_id: str) -> Run:
        """Waits after the current step. Raises RunError unless this program trains the run."""
        job = self._require(run_id)
        job.control.pause()
        return job.run

    def change(self, run_id: str, **settings: Any) -> Run:
        """Other settings from the run's next epoch on. Raises ConfigError where they cannot change or are out of range,
        RunError unless this program trains the run."""
        job = self._require(run_id)
        check_changeable(settings)
        job.config.replace(**settings)  # out of range: refused here, where a person sees it
        job.control.change(**settings)
        return job.run

    def stop(self, run_id: str, *, after_epoch: bool = False) -> Run:
        """Ends the run after the current step or epoch; a waiting one leaves the queue. Asking twice does no harm."""
        job = self._job(run_id)
        if job is None:
            run = self.store.get(run_id)
            if run.status() in ("finished", "stopped", "failed", "interrupted"):
                return run
            raise RunError(f"Run {run_id} is trained by another program; stop it there.")
        with self._lock:
            waiting = job in self._waiting
            if waiting:
                self._waiting.remove(job)
        if waiting:
            _drop(job)
        else:
            job.control.stop(after_epoch=after_epoch)
        return job.run

    def active(self) -> Run | None:
        """The run under way in this process."""
        with self._lock:
            return self._current.run if self._current else None

    def phase(self, run_id: str) -> str | None:
        """What this process is about to do with a run: "queued", "pausing", "stopping", or None."""
        job = self._job(run_id)
        if job is None:
            return None
        with self._lock:
            if job in self._waiting:
                return "queued"
        return "stopping" if job.control.stopping else "pausing" if job.control.pausing else None

    def queued(self) -> tuple[str, ...]:
        """Ids of the runs that wait, the next first."""
        with self._lock:
            return tuple(job.run.run_id for job in self._waiting)

    def shutdown(self, timeout: float = 30.0) -> bool:
        """Stops everything, saved; True when the thread has ended in time."""
        with self._lock:
            self._closed = True
            current, thread = self._current, self._thread
            waiting = list(self._waiting)
            self._waiting.clear()
        for job in waiting:
            _drop(job)
        if current:
            current.control.stop()
        if thread:
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Returns once nothing is under way or waiting; False when that took more than `timeout` seconds."""
        with self._lock:
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _enqueue(self, run: Run, config: TrainConfig, dataset: DatasetSpec, state: dict[str, Any] | None) -> None:
        with self._lock:
            if self._closed:
                raise RunError(CLOSED)
            if any(job.run.run_id == run.run_id for job in self._jobs()):
                return  # two people asked at the same moment
            job = Job(run, config, dataset, RunRecorder(run, phase="queued"), Replay(run.events()), state)
            self._waiting.append(job)
            if self._current is None:
                self._current = self._waiting.popleft()
                self._thread = threading.Thread(target=self._work, name="training")
                self._thread.start()

    def _work(self) -> None:
        _be_nice()
        while self._current is not None:
            try:
                self._train(self._current)
            except Exception:
                log.exception("run %s broke off outside the training loop", self._current.run.run_id)
            with self._lock:
                self._current = self._waiting.popleft() if self._waiting else None
                if self._current is None:
                    self._thread = None

    def _train(self, job: Job) -> None:
        job.recorder.tell("preparing")
        with job.recorder:
            events = fit(
                job.config,
                job.dataset,
                saver=job.recorder,
                control=job.control,
                resume=job.state,
                progress=job.recorder.progress,
            )
            for _ in job.recorder.record(events):
                pass

    def _check_room(self) -> None:
        with self._lock:
            if self._closed:
                raise RunError(CLOSED)
            if len(self._waiting) >= QUEUE_LIMIT:
                raise RunError(f"{QUEUE_LIMIT} runs are waiting already; wait for one to end or stop one.")

    def _job(self, run_id: str) -> Job | None:
        with self._lock:
            return next((job for job in self._jobs() if job.run.run_id == run_id), None)

    def _jobs(self) -> list[Job]:
        return [*self._waiting, *([self._current] if self._current else [])]

    def _require(self, run_id: str) -> Job:
        job = self._job(run_id)
        if job is None:
            run = self.store.get(run_id)
            raise RunError(f"Run {run_id} is {run.status()}; only one under way in this app can be paused or changed.")
        return job


def _drop(job: Job) -> None:
    with job.recorder:
        job.recorder.write(RunEnded(status="stopped", reason="Taken from the queue before it started."))


def _be_nice() -> None:
    """Lets the threads that answer pages go first. Ends with the thread, and with those that compute for it.

    Only Linux takes a thread's number here; elsewhere it could be the number of somebody else's process.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
