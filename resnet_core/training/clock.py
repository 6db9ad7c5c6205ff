"""How long an epoch trains, and how much of that it waits for pictures."""

import time


class Clock:
    """Training time of an epoch and the part of it spent waiting for pictures, in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._mark = time.perf_counter()
        self._waited = 0.0
        self.seconds = 0.0
        self._pictures = 0

    def start(self) -> None:
        """The loop turns to the loader."""
        self._mark = time.perf_counter()

    def arrived(self) -> None:
        """The loader has answered."""
        now = time.perf_counter()
        self._waited += now - self._mark
        self.seconds += now - self._mark
        self._mark = now

    def stepped(self, pictures: int) -> None:
        """The optimizer has been updated with so many pictures."""
        now = time.perf_counter()
        self.seconds += now - self._mark
        self._mark = now
        self._pictures += pictures

    @property
    def images_per_second(self) -> float:
        """Training pictures a second, waiting included."""
        return self._pictures / self.seconds if self.seconds else 0.0

    @property
    def waited_share(self) -> float:
        """Share in [0, 1] of the training time spent waiting."""
        return self._waited / self.seconds if self.seconds else 0.0
