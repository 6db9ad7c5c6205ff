"""The color maps of maps and heat, all safe for the color-blind. Heat always has the first one.

    viridis      dark violet through green to yellow, ever brighter (van der Walt and Smith 2015)
    cividis      dark blue to yellow: looks nearly the same with and without red and green (Nuñez et al. 2018)
    magma        black through violet and orange to pale yellow
    grey         black to white
    blue-orange  for signed values: white is zero, blue below, orange above, the pair of Okabe and Ito (2008)

Anchors are joined linearly. Value 255 of an indexed picture is no color of the map but the neutral grey of gaps and of
values that are not a number.
"""

import functools

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from resnet_core.errors import ConfigError

ANCHORS = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
)  # fmt: skip
COLOR_MAPS: dict[str, tuple[str, ...]] = {
    "viridis": ANCHORS,
    "cividis": (
        "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
    ),
    "magma": (
        "#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf",
    ),
    "grey": ("#000000", "#ffffff"),
    "blue-orange": ("#00263f", "#0072b2", "#7dbbe0", "#f7f7f7", "#f0c069", "#d07f00", "#4a2a00"),
}  # fmt: skip
SIGNED = ("blue-orange",)  # their middle stands for zero
NEUTRAL = "#8c8c8c"  # stands apart from the map on a light and on a dark page

LEVELS = 255  # steps of the map: indices 0 to 254
NEUTRAL_INDEX = 255

Pixels = npt.NDArray[np.uint8]


def colorize(values: Tensor | npt.NDArray[np.floating]) -> Pixels:
    """Return the RGB colors uint8 [..., 3] of values [...] in [0, 1]; what lies outside is clipped, NaN is grey."""
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return PALETTE[to_index(array)]


def to_index(values: npt.NDArray[np.floating]) -> Pixels:
    """Return the place uint8 [...] of each value in [0, 1] on the map, 0 to 254; 255 for NaN.

    By torch, which takes a quarter of numpy's time for a sheet of a million values.
    """
    places = torch.from_numpy(np.asarray(values, dtype=np.float32)).mul(LEVELS - 1).add_(0.5)
    places = places.clamp_(0, LEVELS - 0.5).nan_to_num_(nan=NEUTRAL_INDEX)
    indices: Pixels = places.to(torch.uint8).numpy()
    return indices


def paint(indices: Pixels, colors: str = "viridis") -> Image.Image:
    """Return the picture of indices [height, width] as `to_index` gives them: mode "P", these indices and the map.

    A third of the bytes of RGB, and encoded in a fraction of its time.
    """
    picture = Image.fromarray(indices)
    picture.putpalette(palette(colors).tobytes())
    return picture


def check_colors(colors: str) -> str:
    """Return the name of a color map; raises ConfigError for one that is not there."""
    if colors not in COLOR_MAPS:
        raise ConfigError(f"There are no colors called “{str(colors)[:40]}”; choose auto, {', '.join(COLOR_MAPS)}.")
    return colors


def _rgb(code: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(code.removeprefix("#"))
    return red, green, blue


@functools.cache
def palette(colors: str) -> Pixels:
    """Return the RGB colors uint8 [256, 3] of a color map, the neutral one last."""
    codes = COLOR_MAPS[check_colors(colors)]
    anchors = np.array([_rgb(code) for code in codes], dtype=np.float64)
    places = np.linspace(0, len(codes) - 1, LEVELS)
    ramp = np.stack([np.interp(places, range(len(codes)), band) for band in anchors.T], axis=1)
    return np.vstack([ramp.round(), _rgb(NEUTRAL)]).astype(np.uint8)


PALETTE: Pixels = palette("viridis")
