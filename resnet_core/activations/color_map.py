"""The one color map of maps and heat: dark violet through green to yellow, ever brighter, safe for the color-blind.

Ten anchors follow viridis (van der Walt and Smith 2015) and are joined linearly. Value 255 of an indexed picture
is no color of the map but the neutral grey of gaps and of values that are not a number.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

ANCHORS = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
)  # fmt: skip
NEUTRAL = "#8c8c8c"  # stands apart from the map on a light and on a dark page

LEVELS = 255  # steps of the map: indices 0 to 254
NEUTRAL_INDEX = 255

Pixels = npt.NDArray[np.uint8]


def colorize(values: Tensor | npt.NDArray[np.floating]) -> Pixels:
    """Return the RGB colors uint8 [..., 3] of values [...] in [0, 1]; what lies outside is clipped, NaN is grey."""
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return PALETTE[to_index(array)]


def to_index(values: npt.NDArray[np.floating]) -> Pixels:
    """Return the place uint8 [...] of each value in [0, 1] on the map, 0 to 254; 255 for NaN."""
    places = np.clip(values, 0, 1) * np.float32(LEVELS - 1) + np.float32(0.5)
    indices: Pixels = np.nan_to_num(places, nan=NEUTRAL_INDEX).astype(np.uint8)
    return indices


def paint(indices: Pixels) -> Image.Image:
    """Return the RGB picture of indices [height, width] as `to_index` gives them."""
    picture = Image.fromarray(indices)
    picture.putpalette(PALETTE.tobytes())
    return picture.convert("RGB")


def _rgb(code: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(code.removeprefix("#"))
    return red, green, blue


def _palette() -> Pixels:
    anchors = np.array([_rgb(code) for code in ANCHORS], dtype=np.float64)
    places = np.linspace(0, len(ANCHORS) - 1, LEVELS)
    ramp = np.stack([np.interp(places, range(len(ANCHORS)), band) for band in anchors.T], axis=1)
    return np.vstack([ramp.round(), _rgb(NEUTRAL)]).astype(np.uint8)


PALETTE: Pixels = _palette()
