"""The network sees what torchvision's transforms would show it, whatever the picture's shape."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from resnet_core.data.preprocessing import Preprocessing, center_crop, resize_short_side, to_pixels
from resnet_core.errors import CheckpointError

sides = st.integers(1, 90)


def noise(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def oracle(preprocessing: Preprocessing) -> transforms.Compose:
    return transforms.Compose(
        [
            transforms.Resize(preprocessing.resize),
            transforms.CenterCrop(preprocessing.crop),
            transforms.ToTensor(),
            transforms.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )


@settings(max_examples=150, deadline=None)
@given(width=sides, height=sides, resize=st.integers(1, 70), cut=st.integers(0, 30))
def test_any_picture_becomes_what_torchvision_makes_of_it(width: int, height: int, resize: int, cut: int) -> None:
    preprocessing = Preprocessing(resize=resize, crop=max(1, resize - cut))
    image = noise(width, height)
    before = image.tobytes()
    assert torch.equal(preprocessing(image), oracle(preprocessing)(image))
    assert image.tobytes() == before


@pytest.mark.parametrize("size", [(500, 333), (333, 500), (224, 227), (227, 224), (31, 977), (977, 31), (224, 224)])
def test_photo_sizes_agree_with_torchvision(size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(resize=256, crop=224)
    answer = preprocessing(noise(*size))
    assert torch.equal(answer, oracle(preprocessing)(noise(*size)))
    assert answer.shape == (3, 224, 224)
    assert answer.dtype == torch.float32


def test_the_square_is_what_is_normalized() -> None:
    preprocessing = Preprocessing(resize=40, crop=32, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    square = preprocessing.square(noise(70, 50))
    assert square.size == (32, 32)
    assert torch.equal(preprocessing.normalize(to_pixels(square)), preprocessing(noise(70, 50)))


def test_a_batch_is_normalized_like_each_of_its_pictures_and_left_alone() -> None:
    preprocessing = Preprocessing(resize=8, crop=8)
    for pixels in (torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8), torch.rand(4, 3, 8, 8) * 255):
        before = pixels.clone()
        together = preprocessing.normalize(pixels)
        assert torch.equal(together, torch.stack([preprocessing.normalize(each) for each in pixels]))
        assert torch.equal(pixels, before)


def test_small_pictures_grow_only_on_demand() -> None:
    image = noise(20, 10)
    assert resize_short_side(image, 16, upscale=False) is image
    assert resize_short_side(image, 16).size == (32, 16)
    assert resize_short_side(image, 10) is image
    assert resize_short_side(image, 5, upscale=False).size == (10, 5)
    assert center_crop(noise(9, 9), 9).tobytes() == noise(9, 9).tobytes()


@given(resize=st.integers(1, 4096), cut=st.integers(0, 100))
def test_a_checkpoint_gives_back_the_same_steps(resize: int, cut: int) -> None:
    preprocessing = Preprocessing(resize=resize, crop=max(1, resize - cut), mean=(0.1, 0.2, 1 / 3))
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


GOOD: dict[str, Any] = Preprocessing(resize=256, crop=224).to_json()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        [],
        None,
        *({key: value for key, value in GOOD.items() if key != left_out} for left_out in GOOD),
        *(GOOD | {"resize": bad} for bad in (223, 0, -1, 5000, "big", None, math.nan, math.inf, [256])),
        *(GOOD | {"crop": bad} for bad in (257, 0, -5, math.inf, {})),
        *(GOOD | {"mean": bad} for bad in ([0, 0], [0] * 4, "abc", 3, [0, 0, None], [math.nan, 0, 0], [0, 0, 10**400])),
        *(GOOD | {"std": bad} for bad in ([1, 1, 0], [1, -1, 1], [], [1, 1, math.nan], [math.inf, 1, 1])),
    ],
    ids=str,
)
def test_absurd_steps_in_a_checkpoint_are_refused(fields: Any) -> None:
    with pytest.raises(CheckpointError, match="preprocessing"):
        Preprocessing.from_json(fields)


def test_the_steps_describe_themselves() -> None:
    sentence = Preprocessing(resize=256, crop=224).describe()
    assert sentence == (
        "The shorter side is resized to 256 px, the central 224×224 px are kept, "
        "and colours are scaled to 0–1 and normalised by mean and spread."
    )
    plain = Preprocessing(resize=32, crop=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).describe()
    assert plain == "The shorter side is resized to 32 px, the centre square is kept, and colours are scaled to 0–1."
