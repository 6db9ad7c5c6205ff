"""How a training on the command line is told to stop: by signals, or because nobody reads what it prints."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from resnet_core.training.control import Control
from resnet_core.training.launching import under_torchrun


@contextlib.contextmanager
def stopping_on_signals(control: Control) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM ask the training to stop; a second Ctrl-C ends the program.

    Not so under torchrun, which sends a Ctrl-C on to processes that have had it from the terminal already.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if control.stopping and number == signal.SIGINT and not under_torchrun():
            raise KeyboardInterrupt
        control.stop()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stopping_when_nobody_listens(control: Control) -> Callable[[str], None]:
    """Prints; when the other end of the pipe is gone, asks the training to stop instead, so that it is saved."""

    def say(line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            control.stop()

    return say
