"""How many pictures a second, over the last seconds."""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 6.0  # seconds


class Pace:
    """Counts what was done and when; not safe for several threads by itself."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: deque[tuple[float, int]] = deque([(clock(), 0)])

    def add(self, count: int) -> None:
        """Notes that `count` more are done."""
        now = self._clock()
        self._done.append((now, count))
        while len(self._done) > 2 and now - self._done[1][0] > WINDOW:
            self._done.popleft()

    @property
    def per_second(self) -> float:
        """Done a second between the first and the last note kept; 0 before there are two."""
        seconds = self._done[-1][0] - self._done[0][0]
        return sum(count for _, count in list(self._done)[1:]) / seconds if seconds > 0 else 0.0
