"""A data set with fewer training pictures, chosen evenly: for a first look, or where time is short."""

import hashlib
from dataclasses import replace

from resnet_core.data.datasets import DatasetSpec, Picture


def with_fewer(dataset: DatasetSpec, count: int, *, seed: int = 0) -> DatasetSpec:
    """The data set with about `count` of its training pictures: the same share of every class, at least one of each.

    The choice depends on the seed and the pictures' paths alone; validation stays as it is.
    """
    share = count / max(1, len(dataset.train))
    if share >= 1:
        return dataset
    by_class: dict[int, list[Picture]] = {}
    for picture in dataset.train:
        by_class.setdefault(picture.class_index, []).append(picture)
    kept: set[Picture] = set()
    for pictures in by_class.values():
        drawn = sorted(pictures, key=lambda picture: _draw(seed, picture.path))
        kept |= set(drawn[: max(1, round(share * len(pictures)))])
    return replace(
        dataset,
        train=tuple(picture for picture in dataset.train if picture in kept),
        fingerprint=hashlib.sha256(f"{dataset.fingerprint}/{seed}/{count}".encode()).hexdigest()[:16],
    )


def _draw(seed: int, path: str) -> str:
    return hashlib.sha256(f"{seed}/{path}".encode("utf-8", "surrogatepass")).hexdigest()
