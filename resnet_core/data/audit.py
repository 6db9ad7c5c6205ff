"""What is wrong with a data set, told before anyone trains on it: every picture is read once, nothing is changed.

    corrupt       a picture that cannot be read; trainings leave it out
    duplicate     the same picture more than once in one class of one split
    leaked        the same picture in train and in val
    mislabelled   the same picture in the folders of different classes
    tiny          a shorter side below 32 px, unless most pictures of the set are that small
    imbalanced    the largest class has more than five times the training pictures of the smallest

Pictures are the same when all their pixels are, as trainings get them: upright, RGB, at full size. So a copy is found
under any name, with any metadata and in any format that loses nothing; one that was scaled, cut or compressed anew
passes as another picture. One picture may count under several kinds.
"""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from resnet_core.data.cache import Progress, read_in_order
from resnet_core.data.datasets import DatasetSpec, Picture
from resnet_core.data.images import VERY_SMALL_SIDE
from resnet_core.data.sources import PictureSource
from resnet_core.errors import ResNetLabError

# Of two classes that differ as much, naming the larger every time is right on five pictures of six.
IMBALANCED_RATIO = 5

Same = tuple[str, ...]  # paths of one picture


@dataclass(frozen=True, kw_only=True)
class Corrupt:
    """A picture that cannot be read, and the sentence why."""

    path: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A picture with too few pixels, and how many it has."""

    path: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How many pictures of a class can be read."""

    class_name: str
    train: int
    val: int


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What was found. Paths are those inside the data set, in its order: train before val, else by name."""

    dataset: str
    train: int  # pictures, readable or not
    val: int
    corrupt: tuple[Corrupt, ...]
    duplicate: tuple[Same, ...]
    leaked: tuple[Same, ...]
    mislabelled: tuple[Same, ...]
    tiny: tuple[Tiny, ...]
    is_small: bool  # most pictures are, so that none is called tiny
    classes: tuple[ClassCount, ...]

    @property
    def ratio(self) -> float | None:
        """Training pictures of the largest class for each one of the smallest; None where that has none left."""
        counts = [each.train for each in self.classes]
        return max(counts) / min(counts) if min(counts) else None

    @property
    def is_imbalanced(self) -> bool:
        """Whether the classes differ so much that a training should know of it."""
        return self.ratio is None or self.ratio > IMBALANCED_RATIO

    def to_json(self) -> dict[str, Any]:
        """A plain dict for machines."""
        counts = {each.class_name: {"train": each.train, "val": each.val} for each in self.classes}
        return {
            "dataset": self.dataset,
            "pictures": {"train": self.train, "val": self.val},
            "corrupt": [dataclasses.asdict(each) for each in self.corrupt],
            "duplicate": [list(same) for same in self.duplicate],
            "leaked": [list(same) for same in self.leaked],
            "mislabelled": [list(same) for same in self.mislabelled],
            "tiny": [dataclasses.asdict(each) for each in self.tiny],
            "is_small": self.is_small,
            "imbalanced": {"counts": counts, "ratio": self.ratio, "is_imbalanced": self.is_imbalanced},
        }


@dataclass(frozen=True, slots=True)
class _Read:
    """What is kept of a picture that was read: no pixels, so that 60,000 of them take a few megabytes."""

    path: str
    split: str
    class_index: int
    size: tuple[int, int]  # width, height
    digest: bytes


def audit(dataset: DatasetSpec, *, progress: Progress | None = None) -> Audit:
    """Reads every picture of both splits in threads, tells `progress(done, total)`, and judges them."""
    pictures = (*dataset.train, *dataset.val)
    corrupt: list[Corrupt] = []
    read: list[_Read] = []
    for done, (picture, outcome) in enumerate(read_in_order(partial(_look, dataset.source), pictures), start=1):
        if isinstance(outcome, str):
            corrupt.append(Corrupt(path=picture.path, reason=outcome))
        else:
            split = "train" if done <= len(dataset.train) else "val"
            read.append(_Read(picture.path, split, picture.class_index, *outcome))
        if progress:
            progress(done, len(pictures))
    copies = _copies(read)
    small = [each for each in read if min(each.size) < VERY_SMALL_SIDE]
    is_small = 2 * len(small) > len(read)
    return Audit(
        dataset=dataset.name,
        train=len(dataset.train),
        val=len(dataset.val),
        corrupt=tuple(corrupt),
        duplicate=tuple(_paths(within) for same in copies for within in _within_class(same)),
        leaked=tuple(_paths(same) for same in copies if len({each.split for each in same}) > 1),
        mislabelled=tuple(_paths(same) for same in copies if len({each.class_index for each in same}) > 1),
        tiny=() if is_small else tuple(Tiny(path=e.path, width=e.size[0], height=e.size[1]) for e in small),
        is_small=is_small,
        classes=_count(dataset.class_names, read),
    )


def _look(source: PictureSource, picture: Picture) -> tuple[tuple[int, int], bytes] | str:
    """Size and digest of the pixels, or the reason why there are none."""
    try:
        image = source.load(picture.path)
    except ResNetLabError as error:
        return str(error)
    digest = hashlib.blake2b(repr(image.size).encode(), digest_size=16)
    digest.update(image.tobytes())
    return image.size, digest.digest()


def _copies(read: Iterable[_Read]) -> list[list[_Read]]:
    """Those that are there more than once."""
    by_content: dict[bytes, list[_Read]] = {}
    for each in read:
        by_content.setdefault(each.digest, []).append(each)
    return [same for same in by_content.values() if len(same) > 1]


def _within_class(same: Iterable[_Read]) -> Iterator[list[_Read]]:
    """Of equal pictures, those that share class and split with another."""
    places: dict[tuple[str, int], list[_Read]] = {}
    for each in same:
        places.setdefault((each.split, each.class_index), []).append(each)
    return (within for within in places.values() if len(within) > 1)


def _paths(same: Iterable[_Read]) -> Same:
    return tuple(each.path for each in same)


def _count(class_names: tuple[str, ...], read: Iterable[_Read]) -> tuple[ClassCount, ...]:
    counts = Counter((each.class_index, each.split) for each in read)
    return tuple(
        ClassCount(class_name=class_name, train=counts[index, "train"], val=counts[index, "val"])
        for index, class_name in enumerate(class_names)
    )
