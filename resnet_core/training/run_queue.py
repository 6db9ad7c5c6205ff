"""The runs that wait behind the one under way: they may be reordered and dropped, and outlive the app."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from resnet_core.data.datasets import DatasetSpec
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control, Replay
from resnet_core.training.queue_file import write_queue
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import Run

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One training, waiting or under way; without a data set it is looked for when the turn comes."""

    run: Run
    config: TrainConfig
    dataset: DatasetSpec | None
    takes_up: bool  # goes on from the run's saved state

    def __post_init__(self) -> None:
        self.control: Control = Replay(self.run.events())

    @cached_property
    def recorder(self) -> RunRecorder:
        """What writes into the run's folder; once asked for, readers see the run waiting."""
        return RunRecorder(self.run, phase="queued")


class RunQueue:
    """Jobs in order, each change written to the disk at once. Not thread-safe: its owner holds a lock.

    Where the disk refuses, the order holds as long as this program lives.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._jobs: list[Job] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def ids(self) -> tuple[str, ...]:
        """The runs that wait, the next first."""
        return tuple(job.run.run_id for job in self._jobs)

    def find(self, run_id: str) -> Job | None:
        """The job of that run, if it waits."""
        return next((job for job in self._jobs if job.run.run_id == run_id), None)

    def add(self, *jobs: Job) -> None:
        """Puts jobs at the end."""
        self._jobs += jobs
        self._write()

    def next(self) -> Job | None:
        """Takes out the job whose turn it is."""
        return self._take(self._jobs[0]) if self._jobs else None

    def take(self, run_id: str) -> Job | None:
        """Takes that run's job out."""
        job = self.find(run_id)
        return self._take(job) if job else None

    def move(self, run_id: str, place: int) -> bool:
        """Moves the run to that place, 1 is the next, beyond the end is the end; False where it does not wait."""
        job = self.find(run_id)
        if job is None:
            return False
        self._jobs.remove(job)
        self._jobs.insert(min(max(0, place - 1), len(self._jobs)), job)
        self._write()
        return True

    def leave(self) -> None:
        """Forgets the jobs here and leaves them on the disk, for the next start of the app."""
        self._jobs.clear()

    def _take(self, job: Job) -> Job:
        self._jobs.remove(job)
        self._write()
        return job

    def _write(self) -> None:
        try:
            write_queue(self._runs_dir, self.ids())
        except OSError:
            log.exception("the order of the waiting runs could not be written")
