"""The pooled stages of all pictures a calibration needs, computed once: pictures of the classes and of other things.

Both pass the same random losses (`degrading`), so that neither size nor softness tells them apart. Beside photos of
other things stand pictures that are drawn here.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnet_core.data.cache import Progress
from resnet_core.data.datasets import (
    PICTURE_SUFFIXES,
    DatasetSpec,
    Picture,
    list_datasets,
    load_dataset,
    rendered_flowers,
)
from resnet_core.data.degrading import collage, degrade
from resnet_core.data.images import display_name, read_image
from resnet_core.data.preprocessing import draft_size
from resnet_core.data.rendered import CLASS_NAMES as FLOWER_NAMES
from resnet_core.data.rendered_others import KINDS, render_other
from resnet_core.errors import DatasetError, ImageError
from resnet_core.inference.classifier import Classifier, network_inputs
from resnet_core.inference.reading import Source, read_ahead
from resnet_core.models.pooled import stage_channels
from resnet_core.models.resnet import Network

Load = Callable[[], Image.Image]
T = TypeVar("T")

BATCH = 32
KNOWN_LIMIT, OTHERS_LIMIT = 4000, 4000  # pictures of the classes, and of each source of others
LEAST_VIEWS = 1200  # a smaller source is seen in several degraded views
DRAWN, DRAWN_FLOWERS, COLLAGES = 200, 30, 800  # pictures; the first of a kind, the second of a class
FOLDER_DRAFT = 400  # px that a large JPEG of a folder is decoded to at least
SMALL_SIDE = 64  # px; sources of pictures as small as this also make collages


@dataclass(frozen=True, kw_only=True)
class Others:
    """Pictures of other things from one source, to be opened when they are needed."""

    name: str
    pictures: tuple[Load, ...]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Answers of the network, logits and behind them the pooled stages, `[N, K + F]` each."""

    classes: int
    channels: tuple[int, ...]  # of each stage
    known: Tensor
    known_targets: Tensor
    held: Tensor  # val, as it is
    held_targets: Tensor
    natural: dict[str, Tensor] = field(default_factory=dict)  # photos of other things, by source
    drawn: dict[str, Tensor] = field(default_factory=dict)  # what this project draws, by kind

    def features(self, rows: Tensor) -> Tensor:
        """The pooled stages among answers `[N, K + F]`."""
        return rows[:, self.classes :]

    @property
    def held_logits(self) -> Tensor:
        """Logits of val `[M, K]`."""
        return self.held[:, : self.classes]


def gather(
    classifier: Classifier, dataset: DatasetSpec, others: Sequence[Others], *, seed: int = 0, progress: Progress
) -> Gathered:
    """Asks the network about everything a calibration needs; some minutes. `progress(done, total)` in pictures.

    The classifier must have been made with `features`. Raises DatasetError where val, the training pictures or one of
    the others cannot be read.
    """
    model = classifier.model
    if not isinstance(model, Network):
        raise DatasetError("Only networks of ours can be calibrated: the stages of others are not known.")
    jobs: dict[str, list[tuple[Load, int]]] = {
        "held": [(_opened(classifier, dataset, each), each.class_index) for each in dataset.val],
        "known": _known_views(classifier, dataset, seed),
    }
    natural = {other.name: _views(other, seed) for other in others}
    drawn = _drawn_views(seed)
    total = sum(map(len, (*jobs.values(), *natural.values(), *drawn.values())))
    done = _Counter(progress, total)
    found = {name: ask(classifier, views, done.add) for name, views in jobs.items()}
    if not len(found["held"][0]):
        raise DatasetError("No picture of val could be read; a calibration needs them.")
    if not len(found["known"][0]):
        raise DatasetError("No training picture could be read; a calibration needs them.")
    strange = {name: ask(classifier, views, done.add)[0] for name, views in natural.items()}
    if unread := next((name for name, rows in strange.items() if not len(rows)), None):
        raise DatasetError(f"No picture of “{unread}” could be read; leave it out or name another source.")
    return Gathered(
        classes=len(classifier.class_names),
        channels=stage_channels(model),
        known=found["known"][0],
        known_targets=found["known"][1],
        held=found["held"][0],
        held_targets=found["held"][1],
        natural=strange,
        drawn={name: ask(classifier, views, done.add)[0] for name, views in drawn.items()},
    )


def ask(
    classifier: Classifier, views: Sequence[tuple[Load, int]], done: Callable[[int], None]
) -> tuple[Tensor, Tensor]:
    """Answers `[N, K + F]` and the numbers `[N]` beside the pictures; those that cannot be read are left out."""
    preprocessing = classifier.checkpoint.preprocessing
    rows, numbers = [], []
    sources: Iterable[Source] = [load for load, _ in views]
    place = 0
    for batch in read_ahead(sources, preprocessing.square, draft_size=None, batch=BATCH):
        squares = [square for square in batch if not isinstance(square, ImageError)]
        labels = [number for _, number in views[place : place + len(batch)]]
        if squares:
            rows.append(classifier.answer_rows(network_inputs(squares, preprocessing)))
        numbers += [n for n, square in zip(labels, batch, strict=True) if not isinstance(square, ImageError)]
        place += len(batch)
        done(len(batch))
    answers = torch.cat(rows) if rows else torch.zeros(0, 0)
    return answers, torch.tensor(numbers, dtype=torch.int64)


def find_others(name: str, dataset: DatasetSpec, *, data_dir: Path) -> Others:
    """Pictures of other things: a named data set, or a folder (of `data_dir`, or a path) with everything below it.

    Pictures in a class or folder that the data set has itself are left out. Raises DatasetError when none is left.
    """
    mine = {_plain_name(label) for label in dataset.class_names}
    folder = next((path for path in (Path(name).expanduser(), data_dir / name) if os.path.isdir(path)), None)
    loads: list[Load]
    if name in {listing.name for listing in list_datasets(data_dir)} or folder is None:
        spec = load_dataset(name, data_dir=data_dir)
        foreign = {index for index, label in enumerate(spec.class_names) if _plain_name(label) not in mine}
        loads = [partial(spec.source.load, each.path) for each in spec.train if each.class_index in foreign]
    else:
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURE_SUFFIXES]
        foreign_paths = [path for path in paths if _plain_name(path.parent.name) not in mine and path.is_file()]
        loads = [partial(read_image, path, draft_size=FOLDER_DRAFT) for path in foreign_paths]
    if not loads:
        raise DatasetError(f"“{display_name(name)}” holds no pictures of other things than the data set's own classes.")
    return Others(name=display_name(Path(name).name), pictures=tuple(loads))


def _plain_name(label: str) -> str:
    """“Dogs” and “dog” are one class."""
    return label.casefold().removesuffix("s")


class _Counter:
    """Adds up what is done and tells it."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)


def _opened(classifier: Classifier, dataset: DatasetSpec, picture: Picture) -> Load:
    size = draft_size(classifier.checkpoint.preprocessing.resize)
    return partial(dataset.source.load, picture.path, draft_size=size)


def _degraded(load: Load, *seed: int) -> Load:
    return lambda: degrade(load(), np.random.default_rng(list(seed)))


def _known_views(classifier: Classifier, dataset: DatasetSpec, seed: int) -> list[tuple[Load, int]]:
    """Training pictures as they are and degraded, each with its class; rendered flowers where those are the classes."""
    chosen = _some(dataset.train, KNOWN_LIMIT, seed)
    views: list[tuple[Load, int]] = []
    for index, picture in enumerate(chosen):
        load = _opened(classifier, dataset, picture)
        views += [(load, picture.class_index), (_degraded(load, seed, 1, index, 0), picture.class_index)]
    if dataset.class_names == tuple(FLOWER_NAMES):
        rendered = rendered_flowers(train=DRAWN_FLOWERS, val=0)
        for index, picture in enumerate(rendered.train):
            load = partial(rendered.source.load, picture.path)
            views += [(load, picture.class_index), (_degraded(load, seed, 2, index), picture.class_index)]
    return views


def _views(other: Others, seed: int) -> list[tuple[Load, int]]:
    """A source's pictures as they are and degraded; of small ones collages, too."""
    chosen = _some(other.pictures, OTHERS_LIMIT, seed)
    times = max(1, -(-LEAST_VIEWS // max(1, len(chosen))))
    plain = list(chosen)
    views = [_degraded(load, seed, 3, index, turn) for index, load in enumerate(chosen) for turn in range(times)]
    if _are_small(chosen):
        plain = plain[: len(plain) // 2]
        views = views[: len(views) // 2] + [partial(_collage, chosen, seed, index) for index in range(COLLAGES)]
    return [(load, -1) for load in (*plain, *views)]


def _are_small(pictures: Sequence[Load]) -> bool:
    try:
        return bool(pictures) and max(pictures[0]().size) <= SMALL_SIDE
    except ImageError:
        return False


def _collage(pictures: Sequence[Load], seed: int, index: int) -> Image.Image:
    rng = np.random.default_rng([seed, 4, index])
    return collage([pictures[int(place)]() for place in rng.integers(0, len(pictures), 16)], rng)


def _drawn_views(seed: int) -> dict[str, list[tuple[Load, int]]]:
    """Pictures of every kind that is drawn, half of them degraded."""
    return {kind: [(partial(_draw, kind, seed, index), -1) for index in range(DRAWN)] for kind in KINDS}


def _draw(kind: str, seed: int, index: int) -> Image.Image:
    drawn = render_other(kind, index, seed=seed)
    return degrade(drawn, np.random.default_rng([seed, 5, index])) if index % 2 else drawn


def _some(pictures: Sequence[T], limit: int, seed: int) -> list[T]:
    """At most so many of them, in their order, the same for the same seed."""
    if len(pictures) <= limit:
        return list(pictures)
    chosen = np.random.default_rng(seed).choice(len(pictures), limit, replace=False)
    return [pictures[int(index)] for index in sorted(chosen)]
