"""Pictures decoded in threads, a few ahead of whoever consumes them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    """Lists of up to `batch` prepared pictures, in order; in place of one that cannot be read stands its ImageError.

    At most 2 · batch pictures are held. Only Pillow's work leaves Python's lock, which is nearly all there is.
    """

    def read(source: Source) -> T | ImageError:
        try:
            image = source() if callable(source) else read_image(source, draft_size=draft_size)
            return prepare(image)
        except ImageError as error:
            return error

    remaining = iter(sources)
    waiting: deque[Future[T | ImageError]] = deque()
    pool = ThreadPoolExecutor(min(MOST_THREADS, default_num_threads()), thread_name_prefix="reading")
    try:
        while True:
            while len(waiting) < 2 * batch and (source := next(remaining, None)) is not None:
                waiting.append(pool.submit(read, source))
            if not waiting:
                return
            yield [waiting.popleft().result() for _ in range(min(batch, len(waiting)))]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
