"""The desk where every photo of every visitor is answered: one thread, so that 32 visitors start one pool of
computing threads and not 32, and photos that wait together go through the network together.

    desk.classify(classifier, image)   a Future; resolves to the Classification, or fails alone
    desk.run(work)                     something else that needs the network, in turn; returns its result

Measured on 2 cores with the shipped model, photos a second: 44 one by one, 60 in fours, 81 in eights.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from resnet_core.errors import DeviceError

if TYPE_CHECKING:
    from PIL import Image

    from resnet_core.inference.classifier import Classification, Classifier

log = logging.getLogger(__name__)

T = TypeVar("T")

BATCH = 8  # photos that go through the network together; more makes the first of them wait without being faster
WAITING_LIMIT = 64  # visitors in the queue; further ones are told to come back
GUESSED_SECONDS = 0.05  # a photo before the first was timed
CLOSED = "The app is shutting down; start it again to ask."


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A picture that waits for its answer."""

    classifier: Classifier
    image: Image.Image
    top_k: int | None
    answer: Future[Classification] = field(default_factory=Future)


@dataclass(frozen=True, kw_only=True, eq=False)
class Errand:
    """Work of another kind that waits for its turn."""

    work: Callable[[], Any]
    answer: Future[Any] = field(default_factory=Future)


class Desk:
    """One thread that does all work with networks for visitors; started by the first of them."""

    def __init__(self, *, batch: int = BATCH, waiting_limit: int = WAITING_LIMIT) -> None:
        self._batch = batch
        self._waiting_limit = waiting_limit
        self._waiting: deque[Photo | Errand] = deque()
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._seconds = GUESSED_SECONDS  # a photo, averaged over the last ones

    def classify(
        self, classifier: Classifier, image: Image.Image, *, top_k: int | None = None
    ) -> Future[Classification]:
        """The answer to come for one RGB picture. Raises DeviceError at once where too many wait already."""
        photo = Photo(classifier=classifier, image=image, top_k=top_k)
        self._queue(photo)
        return photo.answer

    def run(self, work: Callable[[], T]) -> T:
        """What `work()` returns or raises, done alone in the desk's thread. Raises DeviceError where too many wait."""
        if threading.current_thread() is self._thread:
            return work()
        errand = Errand(work=work)
        self._queue(errand)
        result: T = errand.answer.result()
        return result

    def close(self, timeout: float = 5.0) -> None:
        """Refuses everyone who waits or comes later, and ends the thread after what it is doing."""
        with self._news:
            self._closed = True
            refused, thread = list(self._waiting), self._thread
            self._waiting.clear()
            self._news.notify_all()
        for item in refused:
            if item.answer.set_running_or_notify_cancel():
                item.answer.set_exception(DeviceError(CLOSED))
        if thread:
            thread.join(timeout)

    def _queue(self, item: Photo | Errand) -> None:
        with self._news:
            if self._closed:
                raise DeviceError(CLOSED)
            waiting = len(self._waiting)
            if waiting >= self._waiting_limit:
                seconds = max(1, math.ceil(waiting * self._seconds))
                raise DeviceError(f"{waiting} people are waiting already; try again in about {seconds} s.")
            self._waiting.append(item)
            if self._thread is None:  # a daemon: what it does is a question somebody may ask again
                self._thread = threading.Thread(target=self._work, name="desk", daemon=True)
                self._thread.start()
            self._news.notify()

    def _work(self) -> None:
        while (turn := self._next_turn()) is not None:
            if isinstance(turn, Errand):
                _settle(turn, turn.work)
            elif turn:
                started = time.perf_counter()
                _answer_together(turn)
                self._seconds += 0.2 * ((time.perf_counter() - started) / len(turn) - self._seconds)
            del turn  # its pictures are let go while the thread waits

    def _next_turn(self) -> Errand | list[Photo] | None:
        """The first who waits, and with a photo those after it that ask the same model; None once closed."""
        with self._news:
            while not self._waiting:
                if self._closed:
                    return None
                self._news.wait()
            first = self._waiting.popleft()
            if isinstance(first, Errand):
                return first
            fitting = [item for item in self._waiting if isinstance(item, Photo) and goes_with(item, first)]
            together = fitting[: self._batch - 1]
            for item in together:
                self._waiting.remove(item)
        return [photo for photo in (first, *together) if photo.answer.set_running_or_notify_cancel()]


def goes_with(photo: Photo, other: Photo) -> bool:
    """True when both can go through the network in one batch."""
    return photo.classifier is other.classifier and photo.top_k == other.top_k


def _answer_together(photos: list[Photo]) -> None:
    """Answers all at once; where that fails, one by one, so that a photo fails only by itself."""
    first = photos[0]
    try:
        answers = first.classifier.classify_batch([photo.image for photo in photos], top_k=first.top_k)
    except Exception as error:
        if len(photos) == 1:
            first.answer.set_exception(error)
            return
        log.info("a batch of %d photos failed (%s); answering one by one", len(photos), error)
        for photo in photos:
            _answer_together([photo])
        return
    for photo, answer in zip(photos, answers, strict=True):
        photo.answer.set_result(answer)


def _settle(errand: Errand, work: Callable[[], Any]) -> None:
    if not errand.answer.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # whoever asked raises it
        errand.answer.set_exception(error)
    else:
        errand.answer.set_result(result)
