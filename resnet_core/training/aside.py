"""Short work on the training device beside the runs, such as a scan for a learning rate: never while one trains.

A run has the right of way. Where one is under way the work is refused; where one begins, the work is broken off first.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from resnet_core.data.cache import Progress
from resnet_core.errors import RunError

T = TypeVar("T")

STOPPED = "The scan was stopped."
OVERTAKEN = "A run was started, so the scan was broken off; the training device is the run's."
CLOSED = "The app is shutting down; start it again to scan."
BUSY = "Another scan is under way; try again in a moment."


class Aside:
    """One piece of work at a time, in a thread of its own that `begin` prepares; its methods suit any thread."""

    def __init__(self, *, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._end: str | None = None  # why the work under way is to be broken off
        self._closed = False

    def run(
        self, work: Callable[[Progress], T], *, refuse: Callable[[], str | None], progress: Progress | None = None
    ) -> T:
        """What `work` gives; it tells the progress it is handed how far it is, and is broken off there.

        `refuse` gives the sentence why nothing may begin now, or None. Raises RunError, and what `work` raises.
        """
        outcome: Future[T] = Future()
        thread = threading.Thread(target=self._work, args=(work, progress, outcome), name="scan")
        with self._lock:
            if self._closed:
                raise RunError(CLOSED)
            if self._thread is not None:
                raise RunError(BUSY)
            self._thread, self._end = thread, None
        why = refuse()  # asked once the place is taken: a run that begins now finds the work and breaks it off
        if why:
            self._thread = None
            raise RunError(why)
        thread.start()
        return outcome.result()

    def stop(self, why: str = STOPPED, *, wait: bool = False) -> None:
        """Breaks the work off at its next step; with `wait`, returns once it has ended."""
        with self._lock:
            self._end, thread = why, self._thread
        if wait and thread is not None and thread.ident is not None:
            thread.join()

    def close(self) -> None:
        """Breaks the work off and lets none begin any more."""
        with self._lock:
            self._closed = True
        self.stop()

    def _work(self, work: Callable[[Progress], T], progress: Progress | None, outcome: "Future[T]") -> None:
        def told(done: int, total: int) -> None:
            if self._end:
                raise RunError(self._end)
            if progress and done:
                progress(done, total)

        try:
            self._begin()
            told(0, 1)  # a run may have begun before this thread did
            outcome.set_result(work(told))
        except BaseException as error:  # whoever waits is to hear of it, whatever it is
            outcome.set_exception(error)
        finally:
            with self._lock:
                self._thread = None
