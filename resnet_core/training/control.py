"""What people may ask of a training while it runs. Safe to call from any thread; the training looks once a step."""

import threading


class StopAsked(Exception):
    """Raised inside the training when it is asked to stop now."""


class Control:
    """Pause, resume, stop now, stop after this epoch; each may be asked twice without harm."""

    def __init__(self) -> None:
        self._going = threading.Event()
        self._going.set()
        self._stop_now = threading.Event()
        self._stop_after_epoch = threading.Event()

    def pause(self) -> None:
        """Waits after the current step."""
        self._going.clear()

    def resume(self) -> None:
        """Goes on after a pause."""
        self._going.set()

    def stop(self, *, after_epoch: bool = False) -> None:
        """Ends after the current step, or after the current epoch; also ends a pause."""
        (self._stop_after_epoch if after_epoch else self._stop_now).set()
        self._going.set()

    @property
    def pausing(self) -> bool:
        """True from `pause` to `resume`."""
        return not self._going.is_set()

    @property
    def stopping(self) -> bool:
        """True once a stop was asked for."""
        return self._stop_now.is_set() or self._stop_after_epoch.is_set()

    @property
    def ends_after_epoch(self) -> bool:
        """True once a stop after this epoch was asked for."""
        return self._stop_after_epoch.is_set()

    def check(self) -> None:
        """Raises StopAsked if a stop now was asked for."""
        if self._stop_now.is_set():
            raise StopAsked

    def rest(self, seconds: float) -> None:
        """Returns after so many seconds. Raises StopAsked as soon as a stop now is asked for."""
        if self._stop_now.wait(seconds):
            raise StopAsked

    def wait(self) -> None:
        """Returns once the pause is over. Raises StopAsked, even where someone paused right after asking to stop."""
        while not self._going.wait(0.5):
            self.check()
        self.check()
