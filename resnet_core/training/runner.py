"""The buttons of trainings in this process: start, fork, pause, resume, stop, change, and the order of those that wait.

One run at a time is trained, in a background thread (training_thread.py); pages and API calls ask here and watch. Where
another app has the runs folder every button raises a RunError that says so.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec, load_dataset
from resnet_core.errors import RunError
from resnet_core.training.branching import branch_off
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import check_changeable, lifting_budget
from resnet_core.training.data_changes import ready_to_go_on
from resnet_core.training.queue_file import read_queue
from resnet_core.training.recorder import find_resume
from resnet_core.training.run_queue import Job
from resnet_core.training.runs import Run, RunStore
from resnet_core.training.training_thread import TrainingThread

log = logging.getLogger(__name__)

T = TypeVar("T")


class Runner:
    """Trains the runs of a store; every method may be called from any thread."""

    def __init__(self, store: RunStore, *, data_dir: Path) -> None:
        self.store = store
        self._data_dir = data_dir
        self._thread = TrainingThread(store.runs_dir, data_dir=data_dir)
        self._taking_up = threading.Lock()
        self._queue_is_ours = False  # what waited on the disk waits here
        store.on_take_over = self._take_over

    def start(self, config: TrainConfig) -> Run:
        """Starts the training, or queues it behind the one under way. Raises DatasetError or RunError."""
        self._check_writable()
        dataset = load_dataset(config.dataset, data_dir=self._data_dir, seed=config.seed)
        self._thread.check_room()
        return self._begin(self.store.create(config), dataset)

    def fork(self, run_id: str, epoch: int, /, *, anyway: bool = False, **settings: Any) -> Run:
        """A new run that goes on after a kept epoch of another one, with these settings changed; see `branch_off`."""
        self._check_writable()
        self._thread.check_room()
        run, dataset = branch_off(self.store, run_id, epoch, settings, data_dir=self._data_dir, anyway=anyway)
        return self._begin(run, dataset, takes_up=True)

    def resume(self, run_id: str, *, anyway: bool = False) -> Run:
        """Ends a pause, or takes up a stopped, failed or interrupted run where it was saved.

        Asking twice does no harm. Raises RunError where there is nothing to go on with (yet), and DataChangedError
        where its pictures have changed, unless told to go on `anyway`.
        """
        self._check_writable()
        job = self._thread.find(run_id)
        if job is not None:
            if job.control.stopping:
                raise RunError(f"Run {run_id} is about to stop; resume it once it has.")
            job.control.resume()
            return job.run
        run = self.store.get(run_id)
        status = run.status()
        if status == "finished":
            raise RunError(f"Run {run_id} is finished; branch off from one of its epochs, or start a new one.")
        if run.owner_alive() and status in ("running", "paused", "preparing", "queued"):
            raise RunError(f"Run {run_id} is being trained by another program on this machine.")
        config, state = run.config(), find_resume(run)
        dataset = load_dataset(config.dataset, data_dir=self._data_dir, seed=config.seed)
        self._thread.check_room()
        if state is not None:
            ready_to_go_on(run, state, dataset, anyway=anyway)
        self._thread.add(Job(run, config, dataset, takes_up=state is not None))
        return run

    def pause(self, run_id: str) -> Run:
        """Waits after the current step. Raises RunError unless this program trains the run."""
        job = self._require(run_id)
        job.control.pause()
        return job.run

    def change(self, run_id: str, /, **settings: Any) -> Run:
        """Other settings from the run's next epoch on. Raises ConfigError where they cannot change or are out of range,
        RunError unless this program trains the run."""
        job = self._require(run_id)
        check_changeable(settings)
        settings = lifting_budget(settings, job.config.budget_minutes)
        job.config.replace(**settings)  # out of range: refused here, where a person sees it
        job.control.change(**settings)
        return job.run

    def stop(self, run_id: str, *, after_epoch: bool = False) -> Run:
        """Ends the run after the current step or epoch; a waiting one leaves the queue. Asking twice does no harm."""
        self._check_writable()
        waiting = self._thread.take_out(run_id)
        if waiting:
            return waiting.run
        job = self._thread.find(run_id)
        if job is None:
            run = self.store.get(run_id)
            if run.at_rest:
                return run
            raise RunError(f"Run {run_id} is trained by another program; stop it there.")
        job.control.stop(after_epoch=after_epoch)
        return job.run

    def move(self, run_id: str, place: int) -> tuple[str, ...]:
        """Moves a waiting run to that place, 1 is the next; the new order. Raises RunError where it does not wait."""
        self._check_writable()
        order = self._thread.move(run_id, place)
        if order is None:
            raise self._not_waiting(run_id)
        return order

    def drop(self, run_id: str) -> Run:
        """Takes a waiting run out of the queue. Raises RunError where it does not wait (any more)."""
        self._check_writable()
        job = self._thread.take_out(run_id)
        if job is None:
            raise self._not_waiting(run_id)
        return job.run

    def take_up_queue(self) -> tuple[str, ...]:
        """Goes on with the runs that waited when the last app ended, in their order; their ids.

        What was being trained then is left to a person: it shows as stopped or interrupted and can be resumed.
        """
        with self._taking_up:
            jobs = [job for job in map(self._left_waiting, read_queue(self.store.runs_dir)) if job]
            fresh = self._thread.add(*jobs)
            self._queue_is_ours = True
        return tuple(job.run.run_id for job in fresh)

    def aside(self, work: Callable[[Progress], T], *, progress: Progress | None = None) -> T:
        """What short work on the training device gives, such as a scan. Raises RunError while a run trains, and where
        one begins before the work is done."""
        self._check_writable()
        return self._thread.aside.run(work, refuse=self._why_not_aside, progress=progress)

    def stop_aside(self) -> None:
        """Breaks off such work; asking twice does no harm."""
        self._thread.aside.stop()

    def _why_not_aside(self) -> str | None:
        run = self.active()
        return f"Run {run.run_id} is training; scan for a learning rate once it has ended." if run else None

    def active(self) -> Run | None:
        """The run under way in this process."""
        job = self._thread.current()
        return job.run if job else None

    def phase(self, run_id: str) -> str | None:
        """What this process is about to do with a run: "queued", "pausing", "stopping", or None."""
        job = self._thread.find(run_id)
        if job is None:
            return None
        if run_id in self._thread.waiting():
            return "queued"
        return "stopping" if job.control.stopping else "pausing" if job.control.pausing else None

    def queued(self) -> tuple[str, ...]:
        """Ids of the runs that wait, the next first."""
        return self._thread.waiting()

    def shutdown(self, timeout: float = 30.0) -> bool:
        """Stops what is under way, saved; what waits, waits for the next app. True when the thread ended in time."""
        return self._thread.shutdown(timeout)

    def wait(self, timeout: float | None = None) -> bool:
        """Returns once nothing is under way or waiting; False when that took more than `timeout` seconds."""
        return self._thread.wait(timeout)

    def _begin(self, run: Run, dataset: DatasetSpec, *, takes_up: bool = False) -> Run:
        """Queues a run made a moment ago; one that cannot be queued leaves nothing behind."""
        try:
            self._thread.add(Job(run, run.config(), dataset, takes_up=takes_up))
        except RunError:
            self.store.remove(run.run_id)
            raise
        return run

    def _left_waiting(self, run_id: str) -> Job | None:
        """The job of a run that an app before this one left waiting; None where it does not wait any more."""
        try:
            run = self.store.get(run_id)
            if run.status() == "queued" and self._thread.find(run_id) is None:
                job = Job(run, run.config(), None, takes_up=(run.folder / "resume.pt").is_file())
                if job.config.forked_from and not job.takes_up:
                    raise RunError("what it branched off with is gone")
                job.recorder  # noqa: B018  made here, so that a folder that vanishes keeps no other run from waiting
                return job
        except (RunError, OSError):
            log.exception("run %s cannot wait any longer", run_id)
        return None

    def _check_writable(self) -> None:
        self.store.check_writable()
        self._take_over()

    def _take_over(self) -> None:
        """Takes up what waits on the disk, once, where this app has the folder: the next job would overwrite it."""
        if self.store.lock is not None and not self._queue_is_ours:
            self.take_up_queue()

    def _require(self, run_id: str) -> Job:
        self._check_writable()
        job = self._thread.find(run_id)
        if job is None:
            run = self.store.get(run_id)
            raise RunError(f"Run {run_id} is {run.status()}; only one under way in this app can be paused or changed.")
        return job

    def _not_waiting(self, run_id: str) -> RunError:
        return RunError(f"Run {run_id} is {self.store.get(run_id).status()}; it does not wait in the queue (any more).")
