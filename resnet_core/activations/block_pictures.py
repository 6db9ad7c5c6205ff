"""The four steps inside a block as pictures side by side: x, F(x), their sum, and what is left after ReLU.

Blue is below zero, orange above and white zero in all of them, so one sees what the branch takes away and what the
ReLU cuts off.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from resnet_core.activations.color_map import NEUTRAL_INDEX, Pixels, paint, to_index
from resnet_core.activations.residual import BlockParts
from resnet_core.errors import ModelError

PAGE = 64  # channels on a sheet
COLUMNS, GAP = 8, 2  # tiles in a row, px between them
TILE, LARGE = 36, 168  # px, longer edge of a tile and of the enlarged channel
COLORS = "blue-orange"
FRAME = "#000000"  # around the chosen channel, in the grey gap


@dataclass(frozen=True, kw_only=True)
class PartPicture:
    """One of the four; low, high and norm are those of all its channels."""

    sheet: Image.Image  # RGB, a page of channels, the chosen one framed
    large: Image.Image  # RGB, the chosen channel
    low: float
    high: float
    norm: float


def draw_parts(parts: BlockParts, *, channel: int, shared: bool) -> dict[str, PartPicture]:
    """Return the pictures of the first photo's parts by name: identity (not in a plain block), branch, total, output.

    shared: one color scale for all four, so that sizes can be compared; else every channel has its own. Raises
    ModelError for a channel the block lacks.
    """
    named = {"identity": parts.identity, "branch": parts.branch, "total": parts.total, "output": parts.output}
    maps = {name: each[0].float().nan_to_num() for name, each in named.items() if each is not None}
    count = len(parts.output[0])
    if not 0 <= channel < count:
        raise ModelError(f"There is no channel {channel}; this block has the channels 0 to {count - 1}.")
    first = page_of(channel)
    pages = {name: each[first : first + PAGE] for name, each in maps.items()}
    ones = {name: each[channel : channel + 1] for name, each in maps.items()}
    drawn = {}
    for name, each in maps.items():
        sheet = _sheet(_colored(pages[name], _bound(pages, name, shared), TILE), channel - first)
        large = paint(_colored(ones[name], _bound(ones, name, shared), LARGE)[0], COLORS).convert("RGB")
        low, high = torch.aminmax(each)
        drawn[name] = PartPicture(sheet=sheet, large=large, low=float(low), high=float(high), norm=float(each.norm()))
    return drawn


def page_of(channel: int) -> int:
    """Return the first channel of the sheet on which a channel stands."""
    return channel // PAGE * PAGE


def _bound(maps: dict[str, Tensor], name: str, shared: bool) -> Tensor:
    """What the strongest colors stand for, [1,1,1] or [C,1,1]."""
    if shared:
        return torch.stack([each.abs().max() for each in maps.values()]).max().view(1, 1, 1)
    return maps[name].abs().flatten(1).amax(1).view(-1, 1, 1)


def _colored(maps: Tensor, bound: Tensor, edge: int) -> Pixels:
    """Indices of the color map [C,h,w], the longer edge at about `edge` px: means of places, or repeated ones."""
    height, width, times = _tile(maps.shape[1], maps.shape[2], edge)
    if (height, width) != tuple(maps.shape[1:]):
        maps = functional.adaptive_avg_pool2d(maps, (height, width))
    places = (maps / bound.where(bound > 0, 1.0) + 1) / 2
    return to_index(places.numpy()).repeat(times, axis=1).repeat(times, axis=2)


def _tile(height: int, width: int, edge: int) -> tuple[int, int, int]:
    """Height and width that a map is brought to, and how many px each of its places then gets."""
    longer = max(height, width)
    if longer <= edge:
        return height, width, edge // longer
    return max(1, round(height * edge / longer)), max(1, round(width * edge / longer)), 1


def _sheet(tiles: Pixels, chosen: int) -> Image.Image:
    count, height, width = tiles.shape
    rows = -(-count // COLUMNS)
    across = min(count, COLUMNS)
    canvas = np.full((rows * (height + GAP) + GAP, across * (width + GAP) + GAP), NEUTRAL_INDEX, dtype=np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, COLUMNS)
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        canvas[top : top + height, left : left + width] = tile
    picture = paint(canvas, COLORS).convert("RGB")
    row, column = divmod(chosen, COLUMNS)
    top, left = row * (height + GAP), column * (width + GAP)
    box = (left, top, left + width + 2 * GAP - 1, top + height + 2 * GAP - 1)
    ImageDraw.Draw(picture).rectangle(box, outline=FRAME, width=GAP)
    return picture


def channel_at(maps: tuple[int, ...], page: int, x: float, y: float) -> int | None:
    """Return the channel at a point of a sheet, in px, of maps [C,h,w] from the channel `page` on; None in a gap."""
    height, width, times = _tile(maps[1], maps[2], TILE)
    row, down = divmod(y - GAP, height * times + GAP)
    column, across = divmod(x - GAP, width * times + GAP)
    channel = page + int(row) * COLUMNS + int(column)
    hit = row >= 0 and 0 <= column < COLUMNS and down < height * times and across < width * times
    return channel if hit and channel < min(maps[0], page + PAGE) else None
