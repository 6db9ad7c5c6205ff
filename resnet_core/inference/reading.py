"""Pictures decoded in threads, a few ahead of whoever consumes them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from PIL import Image

from resnet_core.data.images import read_image
from resnet_core.device import default_num_threads
from resnet_core.errors import ImageError

Source = Path | bytes | Callable[[], Image.Image]
T = TypeVar("T")

MOST_THREADS = 8  # more decode no faster than the network answers, and each holds a whole picture


def read_ahead(
    sources: Iterable[Source], prepare: Callable[[Image.Image], T], *, draft_size: int | None, batch: int
) -> Iterator[list[T | ImageError]]:
    """Lists of up to `batch` prepared pictures, in order; in place of one that cannot be read stands its ImageError."""

    def read(source: Source) -> T:
        return prepare(source() if callable(source) else read_image(source, draft_size=draft_size))

    return do_ahead((partial(read, source) for source in sources), batch=batch)


def do_ahead(tasks: Iterable[Callable[[], T]], *, batch: int) -> Iterator[list[T | ImageError]]:
    """Lists of up to `batch` results, in order; in place of a task that raises ImageError stands the error.

    At most 2 · batch results are held. Only Pillow's work leaves Python's lock, which is nearly all there is.
    """
    remaining = iter(tasks)
    waiting: deque[Future[T | ImageError]] = deque()
    pool = reading_pool()
    try:
        while True:
            while len(waiting) < 2 * batch and (task := next(remaining, None)) is not None:
                waiting.append(pool.submit(done_or_error, task))
            if not waiting:
                return
            yield [waiting.popleft().result() for _ in range(min(batch, len(waiting)))]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def reading_pool() -> ThreadPoolExecutor:
    """Threads that decode, as many as pay."""
    return ThreadPoolExecutor(min(MOST_THREADS, default_num_threads()), thread_name_prefix="reading")


def done_or_error(task: Callable[[], T]) -> T | ImageError:
    """What the task gives, or the ImageError it raises."""
    try:
        return task()
    except ImageError as error:
        return error
