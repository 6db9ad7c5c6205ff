"""The thread that trains, one run after the other, and the queue of those that wait for it.

It is not a daemon: it ends by itself after `shutdown`, having saved what it was doing. Whatever happens in it ends in
one RunEnded on the disk.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from resnet_core.data.datasets import load_dataset
from resnet_core.errors import ResNetLabError, RunError
from resnet_core.training.aside import OVERTAKEN, Aside
from resnet_core.training.engine import fit
from resnet_core.training.events import Event, RunEnded
from resnet_core.training.launching import count_processes, train_together
from resnet_core.training.lost_steps import begins_again
from resnet_core.training.recorder import load_resume
from resnet_core.training.run_queue import Job, RunQueue

log = logging.getLogger(__name__)

NICENESS = 10  # of the training thread: measured, it keeps a page's answer at 6 instead of 14 ms
QUEUE_LIMIT = 20
CLOSED = "The app is shutting down; start it again to train."


class TrainingThread:
    """Owns the training thread of this process and its queue; every method may be called from any thread."""

    def __init__(self, runs_dir: Path, *, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._lock = threading.Lock()
        self._waiting = RunQueue(runs_dir)
        self._current: Job | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self.aside = Aside(begin=_be_nice)  # work between the runs

    def add(self, *jobs: Job) -> tuple[Job, ...]:
        """Trains the jobs, or lets them wait their turn; those that were new here. Raises RunError after `shutdown`."""
        with self._lock:
            if self._closed:
                raise RunError(CLOSED)
            known = {job.run.run_id for job in self._jobs()}  # two people may ask at the same moment
            fresh = tuple(job for job in jobs if job.run.run_id not in known)
            for job in fresh:
                job.recorder.tell("queued")
            if self._current is None and fresh:
                self._current, *rest = fresh
                self._thread = threading.Thread(target=self._work, name="training")
                self._thread.start()
                self._wait_in_line(rest)
            else:
                self._wait_in_line(fresh)
            return fresh

    def check_room(self) -> None:
        """Raises RunError while nothing more can be taken on."""
        with self._lock:
            if self._closed:
                raise RunError(CLOSED)
            if len(self._waiting) >= QUEUE_LIMIT:
                raise RunError(f"{QUEUE_LIMIT} runs are waiting already; wait for one to end or stop one.")

    def find(self, run_id: str) -> Job | None:
        """The run's job, under way or waiting."""
        with self._lock:
            return next((job for job in self._jobs() if job.run.run_id == run_id), None)

    def current(self) -> Job | None:
        """The job under way."""
        with self._lock:
            return self._current

    def waiting(self) -> tuple[str, ...]:
        """Ids of the runs that wait, the next first."""
        with self._lock:
            return self._waiting.ids()

    def take_out(self, run_id: str) -> Job | None:
        """Takes a waiting job out of the queue and ends it; None where it does not wait (any more)."""
        with self._lock:
            job = self._waiting.take(run_id)
        if job:
            try:
                with job.recorder:
                    job.recorder.write(RunEnded(status="stopped", reason="Taken from the queue before it started."))
            except (RunError, OSError):  # its folder was deleted: nothing is left to tell
                log.warning("run %s left the queue, but its ending could not be written", run_id)
        return job

    def move(self, run_id: str, place: int) -> tuple[str, ...] | None:
        """The new order, with the run at that place; None where it does not wait (any more)."""
        with self._lock:
            return self._waiting.ids() if self._waiting.move(run_id, place) else None

    def shutdown(self, timeout: float) -> bool:
        """Stops what is under way, saved; what waits, waits for the next app. True when the thread ended in time."""
        with self._lock:
            self._closed = True
            current, thread = self._current, self._thread
            self._waiting.leave()
        self.aside.close()
        if current:
            current.control.stop()
        if thread:
            thread.join(timeout)
            return not thread.is_alive()
        return True

    def wait(self, timeout: float | None) -> bool:
        """Returns once nothing is under way or waiting; False when that took more than `timeout` seconds."""
        with self._lock:
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def _work(self) -> None:
        _be_nice()
        with self._lock:
            job = self._current
        while job is not None:
            self.aside.stop(OVERTAKEN, wait=True)
            try:
                self._train(job)
            except Exception:
                log.exception("run %s broke off outside the training loop", job.run.run_id)
            with self._lock:  # once nothing is left here the next job gets a thread of its own
                job = self._current = self._waiting.next()
                if job is None:
                    self._thread = None

    def _train(self, job: Job) -> None:
        processes = count_processes(job.config)
        if processes > 1:
            train_together(job.run, job.control, processes=processes, data_dir=self._data_dir)
            return
        job.recorder.tell("preparing")
        with job.recorder:
            for _ in job.recorder.record(self._events(job)):
                if job.recorder.homeless:  # somebody deleted the folder: do not train for nothing
                    job.control.stop()

    def _events(self, job: Job) -> Iterator[Event]:
        config = job.config
        try:
            dataset = job.dataset or load_dataset(config.dataset, data_dir=self._data_dir, seed=config.seed)
            state = load_resume(job.run) if job.takes_up else None
        except ResNetLabError as error:  # something was deleted while it waited
            yield RunEnded(status="failed", reason=str(error))
            return
        if state is None:
            yield from begins_again(job.run.folder, job.run.events())
        yield from fit(
            config,
            dataset,
            saver=job.recorder,
            control=job.control,
            resume=state,
            progress=job.recorder.progress,
        )

    def _wait_in_line(self, jobs: Iterable[Job]) -> None:
        if jobs := tuple(jobs):
            self._waiting.add(*jobs)

    def _jobs(self) -> list[Job]:
        return [*self._waiting, *([self._current] if self._current else [])]


def _be_nice() -> None:
    """Lets the threads that answer pages go first. Ends with the thread, and with those that compute for it.

    Only Linux takes a thread's number here; elsewhere it could be the number of somebody else's process.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
