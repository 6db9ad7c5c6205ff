"""The table of flower kinds: how each is built, its varieties, its leaves and the poses it is seen in."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resnet_core.data.flower_mesh import Floats, Stops
from resnet_core.data.flower_shapes import (
    ROUND_TIP,
    Bloom,
    Palette,
    daisy,
    dandelion,
    linear_outline,
    rose,
    sunflower,
    tulip,
)


@dataclass(frozen=True, slots=True)
class LeafShape:
    """A kind of leaf: half width and outline as shares of its length; places on the stem, 0 is the head."""

    width: float
    places: tuple[float, ...]
    length: tuple[float, float]
    outline: Callable[[Floats], Floats]
    teeth: int = 0
    upright: bool = False


@dataclass(frozen=True, slots=True)
class Species:
    """How one kind of flower is built and posed: tilts in degrees, sizes as shares of the head's radius."""

    build: Callable[[np.random.Generator, Palette, tuple[int, int]], Bloom]
    palettes: tuple[Palette, ...]
    leaf: LeafShape
    front_tilt: tuple[float, float] = (0.0, 58.0)
    side_tilt: tuple[float, float] = (62.0, 84.0)
    side_share: float = 0.2
    scale: float = 1.0
    stem: float = 0.06
    depth: float = 0.25


LANCE = linear_outline((0, 0.55), (0.3, 1), (0.6, 0.85), (0.85, 0.4), (1, 0.02))
HEART = linear_outline((0, 0.3), (0.1, 0.85), (0.25, 1), (0.5, 0.8), (0.8, 0.32), (1, 0.02))


def _toothed(t: Floats) -> Floats:
    """Return a dandelion leaf's outline: teeth that point back to the base, larger towards the tip."""
    return (0.3 + 0.7 * np.mod(-t * 6.0, 1.0)) * np.interp(t, [0, 0.7, 1], [0.35, 1, 0.15])


def _serrated(t: Floats) -> Floats:
    """Return a rose leaf's outline: an oval with a fine saw edge."""
    return np.sin(np.pi * np.clip(t, 0, 1) ** 0.8) * (0.86 + 0.14 * np.mod(-t * 9.0, 1.0)) + 0.02


def _hues(*stops: tuple[int, int, int]) -> Stops:
    """Return evenly spaced color stops."""
    return tuple((k / (len(stops) - 1), color) for k, color in enumerate(stops))


YOLK = _hues((198, 150, 24), (246, 190, 40), (226, 150, 22))
DARK_DISC = _hues((92, 84, 38), (50, 30, 18), (66, 36, 18), (120, 72, 24))
SEEDS = Palette(_hues((250, 250, 250), (240, 240, 240)), gone_to_seed=True)


def _tulip_palette(base: tuple[int, int, int], mid: tuple[int, int, int], tip: tuple[int, int, int]) -> Palette:
    """Return tulip colors outside and, darker and with a spot at the base, inside."""
    inner = tuple(int(0.62 * value) for value in mid)
    return Palette(_hues(base, mid, mid, tip), _hues((48, 40, 44), (inner[0], inner[1], inner[2]), mid, tip))


SPECIES: dict[str, Species] = {
    "daisy": Species(
        daisy,
        (
            Palette(_hues((232, 236, 222), (250, 250, 250), (252, 252, 252)), YOLK, 2.0),
            Palette(_hues((246, 196, 218), (240, 160, 196), (228, 112, 166)), YOLK, 1.2),
            Palette(_hues((250, 214, 90), (252, 228, 120), (252, 240, 170)), YOLK, 1.2),
            Palette(_hues((208, 190, 238), (186, 160, 226), (162, 128, 212)), YOLK, 0.8),
        ),
        LeafShape(0.15, (0.55, 0.8), (0.5, 0.8), ROUND_TIP),
        stem=0.045,
    ),
    "dandelion": Species(
        dandelion,
        (
            Palette(_hues((206, 120, 4), (244, 182, 14), (255, 216, 44)), share=1.3),
            Palette(_hues((200, 100, 4), (238, 154, 10), (252, 190, 36)), share=0.7),
            SEEDS,
        ),
        LeafShape(0.14, (0.95, 0.95, 0.95), (0.9, 1.5), _toothed, teeth=6, upright=True),
        front_tilt=(5.0, 60.0),
        side_share=0.4,
        scale=0.92,
        stem=0.06,
    ),
    "roses": Species(
        rose,
        (
            Palette(_hues((150, 8, 24), (204, 20, 38), (226, 52, 62)), share=1.4),
            Palette(_hues((216, 88, 128), (244, 150, 176), (252, 204, 212))),
            Palette(_hues((244, 226, 196), (250, 242, 226), (252, 250, 244))),
            Palette(_hues((232, 140, 32), (250, 196, 66), (254, 226, 130))),
            Palette(_hues((226, 84, 40), (246, 134, 70), (252, 184, 120))),
        ),
        LeafShape(0.3, (0.3, 0.55, 0.8), (0.6, 0.95), _serrated, teeth=9),
        front_tilt=(12.0, 58.0),
        side_tilt=(62.0, 78.0),
        side_share=0.28,
        stem=0.07,
        depth=0.4,
    ),
    "sunflowers": Species(
        sunflower,
        (
            Palette(_hues((236, 140, 10), (252, 190, 16), (254, 214, 50)), DARK_DISC, 1.7),
            Palette(_hues((214, 90, 8), (244, 140, 14), (252, 176, 40)), DARK_DISC),
            Palette(_hues((96, 18, 10), (164, 46, 14), (224, 120, 30)), DARK_DISC, 0.9),
            Palette(_hues((246, 206, 90), (252, 232, 140), (254, 244, 186)), DARK_DISC, 0.6),
        ),
        LeafShape(0.36, (0.45, 0.75), (0.8, 1.15), HEART),
        front_tilt=(0.0, 52.0),
        side_tilt=(62.0, 80.0),
        side_share=0.15,
        scale=1.12,
        stem=0.08,
    ),
    "tulips": Species(
        tulip,
        (
            _tulip_palette((236, 190, 80), (214, 26, 34), (232, 62, 50)),
            _tulip_palette((226, 196, 70), (248, 188, 20), (252, 210, 60)),
            _tulip_palette((216, 200, 220), (122, 42, 132), (160, 84, 170)),
            _tulip_palette((214, 226, 170), (246, 244, 232), (250, 248, 240)),
            _tulip_palette((244, 228, 214), (238, 110, 152), (248, 176, 198)),
            _tulip_palette((250, 206, 60), (240, 116, 30), (250, 190, 60)),
        ),
        LeafShape(0.12, (0.97, 0.99, 0.9), (1.7, 2.6), LANCE, upright=True),
        front_tilt=(22.0, 50.0),
        side_tilt=(62.0, 97.0),
        side_share=0.82,
        scale=0.98,
        stem=0.075,
        depth=0.8,
    ),
}
