"""What a training looks like in a terminal: one line that moves, and a line an epoch that stays."""

import time
from typing import TextIO

from resnet_core.training.events import Changed, EpochEnded, Event, RunEnded, RunStarted, StepEnded, Warned

WIDTH = 30


class ProgressBar:
    """Draws on `stream` only when it is a terminal; what stays is returned as lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._steps = 1
        self._epochs = 1
        self._first = 1
        self._began = time.monotonic()

    def decoding(self, done: int, total: int) -> None:
        """Pictures are being decoded, or their features computed."""
        self._draw(f"preparing pictures {_bar(done, total)} {done:,} of {total:,}", done == total)

    def scanning(self, done: int, total: int) -> None:
        """Learning rates are being tried."""
        self._draw(f"trying learning rates {_bar(done, total)} {done:,} of {total:,}", done == total)

    def downloading(self, done: int, total: int) -> None:
        """Bytes are being fetched."""
        self._draw(f"downloading {_bar(done, total)} {done / 1e6:,.1f} of {total / 1e6:,.1f} MB", done == total)

    def show(self, event: Event) -> list[str]:
        """Moves the bar; the lines that should stay."""
        if isinstance(event, StepEnded):
            self._draw(self._step_line(event), False)
            return []
        self._draw("", True)
        if isinstance(event, RunStarted):
            self._steps, self._epochs, self._first = event.steps_per_epoch, event.epochs, event.first_step
            self._began = time.monotonic()
            pictures = f"{event.n_train:,} train, {event.n_val:,} val"
            head = f"{event.model} ({event.parameters:,} parameters) on {event.dataset}: {pictures}"
            return [head, *(f"  {note}" for note in event.notes)]
        if isinstance(event, EpochEnded):
            return [_epoch_line(event)]
        if isinstance(event, Warned):
            return [f"Warning: {event.message}"]
        if isinstance(event, Changed):
            changed = ", ".join(f"{name} {value}" for name, value in event.settings.items())
            return [f"Changed from epoch {event.epoch} on: {changed}"]
        if isinstance(event, RunEnded) and event.status != "failed":  # a failure is the caller's to tell
            return [f"{event.status.capitalize()}: {event.reason}"]
        return []

    def _step_line(self, event: StepEnded) -> str:
        done = event.step - (event.epoch - 1) * self._steps
        elapsed = time.monotonic() - self._began
        left = elapsed / max(1, event.step - self._first + 1) * (self._epochs * self._steps - event.step)
        bar = _bar(done, self._steps)
        place = f"epoch {event.epoch}/{self._epochs} {bar} step {done}/{self._steps}"
        return f"{place}  loss {event.loss:.3f}  {left:,.0f} s left"

    def _draw(self, line: str, last: bool) -> None:
        if self._stream.isatty():
            self._stream.write("\r\x1b[K" + ("" if last else line))
            self._stream.flush()


def _bar(done: int, total: int) -> str:
    filled = WIDTH * done // max(1, total)
    return "█" * filled + "░" * (WIDTH - filled)


def _epoch_line(event: EpochEnded) -> str:
    mark = "  best so far" if event.best else ""
    return (
        f"[epoch {event.epoch}] train loss {event.train_loss:.3f}, accuracy {event.train_top1:.1%}; "
        f"val loss {event.val_loss:.3f}, accuracy {event.val_top1:.1%}; "
        f"{event.images_per_second:,.0f} images/s, waited {event.waited:.0%}{mark}"
    )
