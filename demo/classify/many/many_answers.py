"""Many pictures through the desk, eight at a time: what the page's batches and the end point /classify_many share.

Decoding and cutting happen in other threads beforehand; the desk only computes. A batch is one errand there, so other
visitors' photos come in between two of them.
"""

import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image

from demo.desk import BATCH, Desk
from resnet_core.data.picture_files import PictureFile
from resnet_core.errors import DeviceError, ImageError, ResNetLabError

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classification, Classifier

log = logging.getLogger(__name__)

THUMBNAIL_SIDE = 160  # px; about 5 kB as JPEG


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedPicture:
    """A picture cut for the network, with a small copy for people where one was asked for."""

    square: Image.Image
    thumbnail: bytes  # JPEG
    notes: tuple[str, ...]


def open_picture(file: PictureFile, classifier: "Classifier", *, thumbnail: bool = False) -> OpenedPicture:
    """The picture of a file, ready for `answer_together`. Raises ImageError."""
    photo = file.read(draft_size=max(classifier.draft_size, THUMBNAIL_SIDE))
    return OpenedPicture(
        square=classifier.checkpoint.preprocessing.square(photo.image),
        thumbnail=small_jpeg(photo.image, THUMBNAIL_SIDE) if thumbnail else b"",
        notes=photo.notes,
    )


def small_jpeg(image: Image.Image, side: int) -> bytes:
    """The picture as a JPEG whose longer side has at most `side` px."""
    small = image.copy()
    small.thumbnail((side, side))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def answer_all(
    desk: Desk, classifier: "Classifier", files: Iterable[PictureFile], *, top_k: int | None = None
) -> Iterator["Classification | ResNetLabError"]:
    """Every picture's answer in order, or the failure whose sentence says why there is none."""
    from resnet_core.inference.reading import do_ahead

    tasks = (partial(open_picture, file, classifier) for file in files)
    for opened in do_ahead(tasks, batch=BATCH):
        try:
            yield from answer_together(desk, classifier, opened, top_k=top_k)
        except DeviceError as error:  # too many wait: these pictures were not answered, the next may be
            yield from (item if isinstance(item, ImageError) else error for item in opened)


def answer_together(
    desk: Desk, classifier: "Classifier", opened: Sequence[OpenedPicture | ImageError], *, top_k: int | None = None
) -> list["Classification | ResNetLabError"]:
    """The answers of one batch, in its order. Raises DeviceError where the desk takes nobody in."""
    squares = [item.square for item in opened if isinstance(item, OpenedPicture)]
    answers = iter(desk.run(partial(_compute, classifier, squares, top_k)) if squares else ())
    return [item if isinstance(item, ImageError) else next(answers) for item in opened]


def _compute(
    classifier: "Classifier", squares: Sequence[Image.Image], top_k: int | None
) -> list["Classification | ResNetLabError"]:
    """All at once; where that fails, one by one, so that a picture fails only by itself."""
    try:
        return list(classifier.classify_squares(squares, top_k=top_k))
    except Exception as error:
        if len(squares) > 1:
            return [answer for square in squares for answer in _compute(classifier, [square], top_k)]
        if isinstance(error, ResNetLabError):
            return [error]
        log.exception("a picture could not be answered")
        return [ResNetLabError(f"This picture could not be answered ({type(error).__name__}); the log says more.")]
