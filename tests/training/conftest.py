"""Small trainings: twenty rendered flowers at 16 px, a few milliseconds a step."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_core.data.datasets import DatasetSpec, rendered_flowers
from resnet_core.training.config import TrainConfig


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_flowers() -> DatasetSpec:
    return rendered_flowers(train=4, val=2, size=32)


QUICK: dict[str, Any] = {
    "model": "resnet20",
    "image_size": 16,
    "resize": 18,
    "epochs": 2,
    "batch_size": 4,
    "num_threads": 1,
    "precision": "fp32",
    "device": "cpu",
}


@pytest.fixture(scope="session")
def quick() -> Callable[..., TrainConfig]:
    """A config whose epoch of `tiny_flowers` takes five steps."""

    def make(**settings: Any) -> TrainConfig:
        return TrainConfig(**{**QUICK, **settings})

    return make


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ of two classes, red and blue, 24 px: 12 and 4 pictures."""
    from PIL import Image

    root = tmp_path_factory.mktemp("drawn") / "colors"
    for split, count in (("train", 6), ("val", 2)):
        for name, color in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                shade = tuple(min(255, value + 3 * index) for value in color)
                Image.new("RGB", (24, 24), shade).save(root / split / name / f"{index}.png")
    return root
