"""Batches of pictures under way or done, each bound to whoever holds its id; in memory only, an hour at most."""

import threading
import time
from typing import TYPE_CHECKING

from demo.classify.many.many_job import ManyJob
from resnet_core.errors import RunError

if TYPE_CHECKING:
    from demo.services import Services

MOST_JOBS = 4  # kept at once, under way or done; each holds up to 25 MB of thumbnails
KEEP_SECONDS = 3000.0  # since a job was last asked after; and ten minutes until the janitor comes: an hour at most


class ManyJobs:
    """All jobs of this app."""

    def __init__(self, services: "Services") -> None:
        self._services = services
        self._jobs: dict[str, ManyJob] = {}
        self._lock = threading.Lock()

    def start(self, model: str, *, expected: int, threshold: float | None = None, instead_of: str = "") -> ManyJob:
        """A new job without pictures; the one it is `instead_of` is dropped, but only once the new one is there.

        `threshold`, in [0, 1], is what pictures are refused below; None: the model's own.

        Raises RunError where too many are under way, CheckpointError for no model.
        """
        classifier = self._services.classifier(model)  # outside the lock, since loading takes a moment
        with self._lock:
            self._drop_old()
            self._make_room(instead_of)
            if len(self._jobs) - (instead_of in self._jobs) >= MOST_JOBS:
                raise RunError(f"{MOST_JOBS} batches are being worked on already; try again when one is done.")
            job = ManyJob(self._services.desk, classifier, model=model, expected=expected, threshold=threshold)
            self._jobs[job.id] = job
        self.forget(instead_of)
        return job

    def find(self, job_id: str) -> ManyJob:
        """The job with that id. Raises RunError for one that is not kept (any more)."""
        with self._lock:
            self._drop_old()
            if job_id not in self._jobs:
                raise RunError("These answers are no longer kept; drop the pictures again.")
            return self._jobs[job_id]

    def forget(self, job_id: str) -> None:
        """Ends and drops a job; nothing happens for one that is not there."""
        with self._lock:
            job = self._jobs.pop(job_id, None)
        if job:
            job.close()

    def close(self) -> None:
        """Ends all jobs."""
        for job_id in list(self._jobs):
            self.forget(job_id)

    def sweep(self) -> None:
        """Drops what nobody asked after for long, also while nobody asks after anything."""
        with self._lock:
            self._drop_old()

    def _drop_old(self) -> None:
        """Drops what nobody asked after for long; under the lock."""
        now = time.monotonic()
        for job in [job for job in self._jobs.values() if now - job.touched > KEEP_SECONDS]:
            job.close()
            del self._jobs[job.id]

    def _make_room(self, instead_of: str) -> None:
        """Drops as many of the jobs that are done as a further one needs, the longest untouched first."""
        others = [job for job in self._jobs.values() if job.id != instead_of]
        done = sorted((job for job in others if not job.running), key=lambda job: job.touched)
        for job in done[: max(0, len(others) - MOST_JOBS + 1)]:
            job.close()
            del self._jobs[job.id]
