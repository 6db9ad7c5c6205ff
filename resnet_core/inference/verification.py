"""Does a model answer the same wherever it is asked? Eight test pictures, asked in every way, held against the network.

The pictures are flowers this project draws, the same on every machine, in the shapes photos come in: wide, tall, lying
on the side with a camera's note to turn them, grey, half transparent, tiny. For a network of other classes they serve
as well: only numbers are compared. What they are compared with is the network itself, step by step, in float32.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from resnet_core.data.images import read_image
from resnet_core.data.rendered import CLASS_NAMES, render_flower
from resnet_core.errors import ResNetLabError
from resnet_core.inference.export import Source
from resnet_core.inference.mismatch import Steps, largest_difference, name_cause
from resnet_core.inference.ways import NotAsked, Way

SEED = 20_260
SCORE_DIFFERS = "Its score of how known a picture looks is another; the probabilities are compared above."
UPRIGHT_TAG = 0x0112  # EXIF 2.32
# file name, width and height in px, how the picture is stored
SHAPES = (
    ("square", (160, 160), "RGB"),
    ("wide", (192, 128), "RGB"),
    ("tall", (120, 180), "RGB"),
    ("turned", (176, 128), "turned"),
    ("grey", (160, 160), "L"),
    ("clear", (144, 160), "RGBA"),
    ("tiny", (40, 48), "RGB"),
    ("large", (320, 256), "RGB"),
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How one way answered: `difference` is the largest of a probability, None where it could not be asked."""

    way: str
    difference: float | None
    limit: float
    cause: str = ""  # a sentence: why it differs, or why it was not asked
    engine: str = ""  # what computed the answers, where that is known

    @property
    def agrees(self) -> bool:
        """False where it was asked and differs by more than the limit."""
        return self.difference is None or self.difference <= self.limit


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All ways, in the order they were asked."""

    pictures: int
    compared: tuple[Compared, ...]

    @property
    def agrees(self) -> bool:
        """True when every way that was asked gives the network's probabilities."""
        return all(one.agrees for one in self.compared)

    def to_json(self) -> dict[str, Any]:
        """A plain dict; a difference that is no number, as of answers that are none, is null."""
        rows = [asdict(one) | {"agrees": one.agrees} for one in self.compared]
        for row in rows:
            if row["difference"] is not None and not math.isfinite(row["difference"]):
                row["difference"] = None
        return {"agrees": self.agrees, "pictures": self.pictures, "ways": rows}


def write_test_pictures(folder: Path) -> list[Path]:
    """The eight pictures as PNG files in that folder."""
    written = []
    for number, (name, size, stored) in enumerate(SHAPES):
        flower = render_flower(CLASS_NAMES[number % len(CLASS_NAMES)], number, seed=SEED, size=max(size))
        left, top = (max(size) - size[0]) // 2, (max(size) - size[1]) // 2
        path = folder / f"{number}-{name}.png"
        _store(flower.crop((left, top, left + size[0], top + size[1])), path, stored)
        written.append(path)
    return written


def verify(source: Source, ways: Sequence[Way], pictures: Sequence[Path]) -> Verification:
    """Asks every way for the picture files and compares."""
    steps = Steps(source.checkpoint, source.network, [read_image(picture) for picture in pictures])
    return Verification(pictures=len(pictures), compared=tuple(_compare(way, steps, pictures) for way in ways))


def _compare(way: Way, steps: Steps, pictures: Sequence[Path]) -> Compared:
    try:
        answers = way.ask(pictures)
    except NotAsked as reason:
        return Compared(way=way.name, difference=None, limit=way.limit(), cause=f"Not asked: {reason}.")
    except ResNetLabError as error:
        return Compared(way=way.name, difference=math.inf, limit=way.limit(), cause=str(error))
    expected = steps.scores()[:, None] if way.scores else steps.probabilities()
    difference, limit = largest_difference(answers, expected), way.limit()
    cause = ""
    if difference > limit:
        cause = SCORE_DIFFERS if way.scores else name_cause(answers, steps, limit=limit)
    return Compared(way=way.name, difference=difference, limit=limit, cause=cause, engine=way.engine())


def _store(picture: Image.Image, path: Path, stored: str) -> None:
    if stored == "turned":  # as a camera held upright stores it: on its side, with a note
        note = Image.Exif()
        note[UPRIGHT_TAG] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=note)
        return
    if stored == "RGBA":
        fading = Image.linear_gradient("L").resize(picture.size)
        picture.putalpha(fading)
    picture.convert(stored).save(path)
