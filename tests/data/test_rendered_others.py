"""Pictures that are surely no flowers, and the losses that flowers and others share."""

import numpy as np
import pytest
from PIL import Image

from resnet_core.data.degrading import AREA, SIDES, collage, degrade, recompress
from resnet_core.data.rendered import render_flower
from resnet_core.data.rendered_others import KINDS, render_other
from resnet_core.errors import DatasetError


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_the_same_again_and_another_one_is_not(kind: str) -> None:
    first, again = render_other(kind, 3), render_other(kind, 3)
    assert (first.mode, first.size) == ("RGB", (160, 160))
    assert first.tobytes() == again.tobytes()
    assert len({render_other(kind, index).tobytes() for index in range(6)}) == 6
    assert render_other(kind, 3, seed=1).tobytes() != first.tobytes()
    assert render_other(kind, 3, size=48).size == (48, 48)


def test_plain_colours_are_plain_and_noise_is_not() -> None:
    drawn = {kind: [np.asarray(render_other(kind, index)) for index in range(5)] for kind in KINDS}
    spreads = {kind: float(np.mean([pixels.std((0, 1)) for pixels in drawn[kind]])) for kind in KINDS}
    assert spreads["plain colours"] < 8 < spreads["noise"]
    assert min(spreads, key=spreads.__getitem__) == "plain colours"


def test_a_kind_that_does_not_exist_is_a_sentence() -> None:
    with pytest.raises(DatasetError, match="no kind of drawing “cats”"):
        render_other("cats", 0)


@pytest.mark.parametrize("size", [(96, 96), (300, 40), (1, 1), (20, 700)])
def test_losses_keep_a_picture_a_small_square_of_its_colours(size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, (200, 120, 40))
    for seed in range(12):
        lost = degrade(picture, np.random.default_rng(seed))
        assert lost.mode == "RGB"
        assert lost.width == lost.height
        assert SIDES[0] <= lost.width <= SIDES[1]
        assert np.abs(np.asarray(lost, dtype=int) - (200, 120, 40)).max() < 12
    assert AREA[1] <= 1


def test_losses_are_the_same_for_the_same_seed_and_leave_the_picture_alone() -> None:
    flower = render_flower("tulips", 0)
    before = flower.tobytes()
    first, again, other = (degrade(flower, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()
    assert flower.tobytes() == before


def test_a_collage_shows_several_pictures() -> None:
    sheet = collage([Image.new("RGB", (9, 9), color) for color in ("red", "lime", "blue")], np.random.default_rng(1))
    assert len(set(map(tuple, np.asarray(sheet).reshape(-1, 3)))) == 3


def test_a_jpeg_of_low_quality_loses_detail() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    worse = np.abs(np.asarray(recompress(noise, 20), dtype=int) - np.asarray(noise)).mean()
    better = np.abs(np.asarray(recompress(noise, 95), dtype=int) - np.asarray(noise)).mean()
    assert worse > better > 0
