"""One sheet a layer: every channel is where the hit test says, with colors that order its values."""

import io
import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from torch import Tensor

from resnet_core.activations.color_map import ANCHORS, NEUTRAL, PALETTE
from resnet_core.activations.render import (
    ChannelSheet,
    channel_at,
    colorize,
    count_pages,
    encode_sheet,
    render_channel,
    render_sheet,
    tile_box,
)
from resnet_core.errors import ConfigError, ModelError, ResNetLabError

GREY = tuple(bytes.fromhex(NEUTRAL[1:]))
LOWEST, HIGHEST = (tuple(bytes.fromhex(ANCHORS[end][1:])) for end in (0, -1))


def random_maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rgb(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(image.convert("RGB"))


def tile_pixels(sheet: ChannelSheet, channel: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return rgb(sheet.image.crop(tile_box(sheet, channel)))


def luminance(colors: Any) -> Any:
    """Relative luminance of sRGB colors [..., 3] (WCAG 2.1)."""
    share = np.asarray(colors) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def test_the_color_map_grows_ever_brighter() -> None:
    colors = colorize(np.linspace(0, 1, 255))
    assert (np.diff(luminance(colors)) >= 0).all()
    assert (np.diff(luminance(colors[::2])) > 0).all()  # two neighbors of the 255 round to one color
    assert len(np.unique(colors, axis=0)) >= 250
    assert (tuple(colors[0]), tuple(colors[-1])) == (LOWEST, HIGHEST)


def test_the_color_map_keeps_its_order_for_the_color_blind() -> None:
    # Viénot, Brettel and Mollon 1999: what protanopes and deuteranopes see, in linear RGB.
    linear = (colorize(np.linspace(0, 1, 32)) / 255.0) ** 2.2
    protan = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])
    deutan = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    for seen in (linear @ protan.T, linear @ deutan.T):
        assert (np.diff(seen @ np.array([0.2126, 0.7152, 0.0722])) > 0).all()


def test_colorize_clips_and_marks_what_is_no_number() -> None:
    values = torch.tensor([[-1.0, 0.0, 0.5], [1.0, 2.0, math.nan], [math.inf, -math.inf, 0.5]])
    colors = colorize(values)
    assert colors.shape == (3, 3, 3)
    assert colors.dtype == np.uint8
    assert {tuple(colors[0, 0]), tuple(colors[0, 1]), tuple(colors[2, 1])} == {LOWEST}
    assert {tuple(colors[1, 0]), tuple(colors[1, 1]), tuple(colors[2, 0])} == {HIGHEST}
    assert tuple(colors[1, 2]) == GREY
    assert GREY not in {tuple(color) for color in PALETTE[:255]}


@settings(max_examples=60, deadline=None)
@given(
    channels=st.integers(1, 70),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    tile=st.none() | st.integers(1, 20),
    columns=st.none() | st.integers(1, 80),
    max_width=st.integers(1, 400),
    limit=st.integers(1, 40),
    page=st.integers(1, 70),
)
def test_a_click_on_any_channel_finds_it(
    channels: int,
    height: int,
    width: int,
    tile: int | None,
    columns: int | None,
    max_width: int,
    limit: int,
    page: int,
) -> None:
    page = min(page, count_pages(channels, limit))
    sheet = render_sheet(
        torch.zeros(channels, height, width),
        tile=tile,
        columns=columns,
        max_width=max_width,
        limit=limit,
        page=page,
    )
    assert sheet.image.width <= max_width
    assert sheet.total == channels
    shown = range(sheet.first_channel, sheet.first_channel + sheet.channels)
    for channel in shown:
        left, top, right, bottom = tile_box(sheet, channel)
        assert (right - left, bottom - top) == (sheet.tile_width, sheet.tile_height)
        for x, y in ((left, top), (right - 1, bottom - 1), (right - 0.01, top)):
            assert channel_at(sheet, x, y) == channel
            middle = ((x + 0.001) / sheet.image.width, (y + 0.001) / sheet.image.height)
            assert channel_at(sheet, *middle, normalized=True) == channel
        assert channel_at(sheet, right, top) is None
        assert channel_at(sheet, left, bottom) is None


def test_tiles_and_hit_test_agree_to_the_pixel() -> None:
    """Every pixel the hit test gives to a channel has that channel's color, all others are neutral."""
    sheet = render_sheet(torch.arange(11.0).view(11, 1, 1).expand(11, 2, 3), scale="shared", tile=6, columns=4)
    colors = colorize(torch.arange(11.0) / 10)
    pixels = rgb(sheet.image)
    for y in range(sheet.image.height):
        for x in range(sheet.image.width):
            channel = channel_at(sheet, x, y)
            expected = GREY if channel is None else tuple(colors[channel])
            assert tuple(pixels[y, x]) == expected, (x, y)
    assert (sheet.rows, sheet.columns, sheet.tile_width, sheet.tile_height) == (3, 4, 6, 4)


@pytest.mark.parametrize("point", [(-1, 0), (0, -0.5), (10**6, 0), (0, 10**6), (math.nan, 0), (0, math.inf)])
def test_a_click_outside_hits_nothing(point: tuple[float, float]) -> None:
    sheet = render_sheet(random_maps(4, 3, 3))
    assert channel_at(sheet, *point) is None
    assert channel_at(sheet, *point, normalized=True) is None
    with pytest.raises(ModelError, match="Channel 4 is not on this page"):
        tile_box(sheet, 4)


def test_an_enlarged_map_repeats_its_pixels_exactly() -> None:
    maps = random_maps(5, 4, 6)
    sheet = render_sheet(maps, tile=18)
    assert (sheet.tile_width, sheet.tile_height) == (18, 12)
    for channel, one in enumerate(maps):
        expected = colorize((one - one.min()) / (one.max() - one.min())).repeat(3, axis=0).repeat(3, axis=1)
        assert np.array_equal(tile_pixels(sheet, channel), expected)


def test_a_reduced_map_shows_means_over_areas() -> None:
    maps = random_maps(3, 8, 8)
    sheet = render_sheet(maps, tile=4)
    for channel, one in enumerate(maps):
        stretched = (one - one.min()) / (one.max() - one.min())
        means = stretched.view(4, 2, 4, 2).mean(dim=(1, 3))
        assert np.abs(tile_pixels(sheet, channel).astype(int) - colorize(means)).max() <= 2


@pytest.mark.parametrize("edge", [1, 5, 7, 8, 13, 31])
def test_uneven_sizes_keep_the_picture_in_place(edge: int) -> None:
    ramp = torch.linspace(0, 1, 13).expand(1, 13, 13)
    row = luminance(rgb(render_sheet(ramp, tile=edge).image))[0]
    assert len(row) == edge
    assert (np.diff(row) >= 0).all()
    if edge > 1:
        assert row[0] < 0.1
        assert row[-1] > 0.6


def test_scale_decides_whether_channels_compare() -> None:
    maps = torch.stack([torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 10.0]])])
    each = render_sheet(maps, tile=2, columns=2)
    shared = render_sheet(maps, tile=2, columns=2, scale="shared")
    assert tuple(tile_pixels(each, 0)[0, 1]) == tuple(tile_pixels(each, 1)[0, 1]) == HIGHEST
    assert tuple(tile_pixels(shared, 0)[0, 1]) == tuple(colorize(np.array(0.1)))
    assert tuple(tile_pixels(shared, 1)[0, 1]) == HIGHEST


@pytest.mark.parametrize("scale", ["channel", "shared"])
def test_a_channel_has_the_same_colors_on_any_page(scale: Any) -> None:
    maps = random_maps(10, 3, 3) * torch.arange(1.0, 11).view(10, 1, 1)
    whole = render_sheet(maps, tile=9, scale=scale)
    for page in (1, 2, 3):
        sheet = render_sheet(maps, tile=9, scale=scale, limit=4, page=page)
        for channel in range(sheet.first_channel, sheet.first_channel + sheet.channels):
            assert np.array_equal(tile_pixels(sheet, channel), tile_pixels(whole, channel))


@pytest.mark.parametrize("shape", [(2048, 7, 7), (2048, 1, 1), (2048,)])
def test_2048_channels_are_paged(shape: tuple[int, ...]) -> None:
    maps = random_maps(*shape)
    assert count_pages(2048) == 4
    sheets = [render_sheet(maps, page=page) for page in range(1, 5)]
    assert [sheet.first_channel for sheet in sheets] == [0, 512, 1024, 1536]
    assert {(sheet.channels, sheet.total) for sheet in sheets} == {(512, 2048)}
    assert channel_at(sheets[3], sheets[3].image.width - 1, 0) == 1536 + sheets[3].columns - 1
    for page in (0, 5, -1):
        with pytest.raises(ConfigError, match=rf"no page {page}; this layer has the pages 1 to 4"):
            render_sheet(maps, page=page)


def test_the_last_page_holds_the_rest() -> None:
    sheet = render_sheet(random_maps(10, 3, 3), limit=4, page=3)
    assert (sheet.first_channel, sheet.channels, sheet.total) == (8, 2, 10)


@pytest.mark.parametrize("shape", [(5,), (5, 1, 1)])
def test_vectors_become_cells_that_compare(shape: tuple[int, ...]) -> None:
    sheet = render_sheet(torch.tensor([3.0, -1.0, 1.0, 3.0, 0.0]).view(shape))
    assert (sheet.columns, sheet.rows) == (5, 1)
    colors = [tuple(tile_pixels(sheet, channel)[0, 0]) for channel in range(5)]
    assert colors[0] == colors[3] == HIGHEST
    assert colors[1] == LOWEST
    assert colors[2] == tuple(colorize(np.array(0.5)))


@pytest.mark.parametrize("scale", ["channel", "shared"])
@pytest.mark.parametrize("value", [0.0, -7.5, 3e38, 1e-45])
def test_a_constant_layer_takes_the_lowest_color(value: float, scale: Any) -> None:
    sheet = render_sheet(torch.full((3, 4, 4), value), scale=scale)
    assert tuple(tile_pixels(sheet, 1)[2, 2]) == LOWEST


def test_values_as_far_apart_as_float32_allows_keep_their_order() -> None:
    pixels = tile_pixels(render_sheet(torch.tensor([[[-3e38, 0.0, 3e38]]]), tile=3), 0)
    assert [tuple(color) for color in pixels[0]] == [LOWEST, tuple(colorize(np.array(0.5))), HIGHEST]


def test_what_is_not_finite_leaves_the_other_values_their_colors() -> None:
    maps = torch.tensor([[[0.0, 1.0, 2.0], [math.nan, math.inf, -math.inf]], [[math.nan] * 3] * 2])
    pixels = tile_pixels(render_sheet(maps, tile=3), 0)
    middle = tuple(colorize(np.array(0.5)))
    assert [tuple(color) for color in pixels.reshape(-1, 3)] == [LOWEST, middle, HIGHEST, GREY, HIGHEST, LOWEST]
    assert render_sheet(maps[1:], tile=3).image.convert("RGB").getcolors() == [(6, GREY)]


@settings(max_examples=60, deadline=None)
@given(
    maps=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    ),
    tile=st.none() | st.integers(1, 9),
    scale=st.sampled_from(["channel", "shared"]),
)
def test_any_numbers_give_a_sheet_and_its_channels(maps: Any, tile: int | None, scale: Any) -> None:
    activation = torch.from_numpy(maps)
    sheet = render_sheet(activation, tile=tile, scale=scale)
    for channel in range(len(maps)):
        alone = render_channel(activation, channel, size=max(sheet.tile_width, sheet.tile_height), scale=scale)
        assert np.array_equal(np.asarray(alone), tile_pixels(sheet, channel))
    assert Image.open(io.BytesIO(encode_sheet(sheet.image))).size == sheet.image.size


def test_an_enlarged_channel_is_the_same_picture_larger() -> None:
    maps = random_maps(6, 7, 14)
    large = render_channel(maps, 4, size=448)
    assert large.size == (448, 224)
    assert np.array_equal(np.asarray(large)[::32, ::32], tile_pixels(render_sheet(maps, tile=14), 4))
    for channel in (-1, 6):
        with pytest.raises(ModelError, match=rf"no channel {channel}; .* 0 to 5\."):
            render_channel(maps, channel)
    for size in (0, 10**6):
        with pytest.raises(ConfigError, match="size must be"):
            render_channel(maps, 0, size=size)


def test_the_activation_itself_stays_as_it_was() -> None:
    maps = random_maps(4, 6, 6)
    before = maps.clone()
    for scale in ("channel", "shared"):
        render_sheet(maps, scale=scale, tile=3)
        render_channel(maps, 1, scale=scale)
    assert torch.equal(maps, before)


def test_any_precision_layout_and_history_can_be_drawn() -> None:
    maps = random_maps(3, 4, 4)
    expected = render_sheet(maps, tile=8).image.tobytes()
    strided = maps.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    for other in (maps.double(), strided, maps.clone().requires_grad_()):
        assert render_sheet(other, tile=8).image.tobytes() == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"tile": 0},
        {"columns": 0},
        {"columns": -2},
        {"max_width": 0},
        {"limit": 0},
        {"tile": 2.5},
        {"scale": "log"},
        {"tile": 1000, "columns": 1, "limit": 512},
    ],
)
def test_settings_outside_their_range_are_refused_with_a_sentence(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^[A-Za-z].*\.$"):
        render_sheet(torch.zeros(512, 2, 2), **arguments)


@pytest.mark.parametrize("shape", [(), (3, 4), (1, 3, 4, 4), (0, 4, 4), (3, 0, 4), (0,)])
def test_other_shapes_are_refused_with_a_sentence(shape: tuple[int, ...]) -> None:
    for draw in (lambda: render_sheet(torch.zeros(shape)), lambda: render_channel(torch.zeros(shape), 0)):
        with pytest.raises(ResNetLabError, match=r"cannot be drawn"):
            draw()


def test_a_sheet_is_a_file_exact_in_every_pixel_and_no_larger_than_its_places() -> None:
    for sheet in (render_sheet(random_maps(4, 8, 8), tile=64), render_sheet(random_maps(64, 112, 112))):
        encoded = encode_sheet(sheet.image)
        with Image.open(io.BytesIO(encoded)) as decoded:
            assert decoded.format == "PNG"
            assert np.array_equal(rgb(decoded), rgb(sheet.image))
        assert len(encoded) < 1.01 * sheet.image.width * sheet.image.height + 2000  # 2000: palette and headers


@pytest.mark.parametrize(("count", "edge"), [(64, 112), (256, 56), (128, 28), (512, 7), (512, 1)])
def test_an_automatic_sheet_fits_a_page(count: int, edge: int) -> None:
    sheet = render_sheet(random_maps(count, edge, edge))
    assert 800 <= sheet.image.width <= 1100
    assert sheet.image.height <= 1100
    assert sheet.rows * sheet.columns - count < sheet.columns
    assert sheet.tile_width % edge == 0


@pytest.mark.parametrize("shape", [(512, 7, 7), (64, 112, 112)])
def test_a_layer_is_drawn_and_encoded_within_60_ms_of_cpu_time(shape: tuple[int, ...]) -> None:
    maps = random_maps(*shape).relu()
    costs = []
    for _ in range(7):
        started = time.thread_time()  # not the wall clock: other work on the machine must not fail this
        encode_sheet(render_sheet(maps).image)
        costs.append(time.thread_time() - started)
    assert min(costs) < 0.060
