"""The four pictures of a block: colours say the sign, one scale compares, a click finds its channel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_core.activations.block_pictures import COLUMNS, GAP, PAGE, channel_at, draw_parts, page_of
from resnet_core.activations.color_map import palette
from resnet_core.activations.residual import BlockParts
from resnet_core.errors import ModelError

ZERO = tuple(int(each) for each in palette("blue-orange")[127])


def parts_of(channels: int = 70, height: int = 6, width: int = 5, *, plain: bool = False) -> BlockParts:
    draws = torch.Generator().manual_seed(0)
    branch = torch.randn(1, channels, height, width, generator=draws)
    identity = None if plain else torch.rand(1, channels, height, width, generator=draws) * 4
    total = branch if identity is None else branch + identity
    return BlockParts(identity=identity, branch=branch, total=total, output=total.relu())


def test_blue_is_below_zero_and_orange_above() -> None:
    parts = parts_of()
    large = np.asarray(draw_parts(parts, channel=3, shared=True)["branch"].large).astype(int)
    scale = large.shape[0] // 6
    for row in range(6):
        for column in range(5):
            red, _, blue = large[row * scale, column * scale]
            value = float(parts.branch[0, 3, row, column])
            assert (red >= blue) == (value >= 0) or abs(value) < 0.05


def test_one_scale_for_all_four_shows_x_and_its_sum_alike() -> None:
    """Where F(x) is zero, x and x + F(x) must be the same picture."""
    parts = parts_of()
    quiet = BlockParts(
        identity=parts.identity, branch=torch.zeros_like(parts.branch), total=parts.identity, output=parts.identity
    )  # type: ignore[arg-type]
    drawn = draw_parts(quiet, channel=0, shared=True)
    assert np.array_equal(np.asarray(drawn["identity"].sheet), np.asarray(drawn["total"].sheet))
    assert {tuple(each) for each in np.asarray(drawn["branch"].large).reshape(-1, 3).tolist()} == {ZERO}
    small = BlockParts(identity=parts.identity, branch=parts.branch * 1e-3, total=parts.identity, output=parts.identity)  # type: ignore[arg-type]
    spread = [np.asarray(draw_parts(small, channel=0, shared=how)["branch"].large).std() for how in (True, False)]
    assert spread[0] < 2 < spread[1]


def test_numbers_below_are_those_of_all_channels() -> None:
    parts = parts_of()
    drawn = draw_parts(parts, channel=69, shared=False)
    assert drawn["output"].low == 0
    assert drawn["branch"].high == pytest.approx(float(parts.branch.max()))
    assert drawn["total"].norm == pytest.approx(float(parts.total.norm()))


def test_a_plain_block_has_three_and_strange_numbers_do_no_harm() -> None:
    parts = parts_of(plain=True)
    parts.branch[0, 0, 0, 0] = float("nan")
    parts.branch[0, 1, 0, 0] = float("inf")
    assert set(draw_parts(parts, channel=0, shared=True)) == {"branch", "total", "output"}
    with pytest.raises(ModelError, match="channels 0 to 69"):
        draw_parts(parts, channel=70, shared=True)


@settings(max_examples=40)
@given(channels=st.integers(1, 200), height=st.integers(1, 120), width=st.integers(1, 120), data=st.data())
def test_a_click_finds_the_channel_that_is_framed(channels: int, height: int, width: int, data: st.DataObject) -> None:
    channel = data.draw(st.integers(0, channels - 1))
    maps = torch.rand(1, channels, height, width)
    parts = BlockParts(identity=None, branch=maps, total=maps, output=maps)
    sheet = np.asarray(draw_parts(parts, channel=channel, shared=True)["output"].sheet)
    rows, columns = np.nonzero((sheet == 0).all(axis=2))
    middle = ((columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2)
    assert channel_at((channels, height, width), page_of(channel), *middle) == channel
    assert channel_at((channels, height, width), page_of(channel), 0, 0) is None
    assert channel_at((channels, height, width), page_of(channel), sheet.shape[1] + 50, 5) is None
    assert sheet.shape[1] <= COLUMNS * (36 + GAP) + GAP
    assert page_of(channel) <= channel < page_of(channel) + PAGE
