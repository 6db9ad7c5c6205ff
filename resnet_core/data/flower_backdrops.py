"""What stands behind rendered flowers, out of focus: meadow, sky, foliage, soil, a wall or a dark studio.

A backdrop is painted small and blurred, then enlarged by the caller: nobody can tell, and it costs little.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from resnet_core.data.flower_mesh import Floats, Light

SIDE = 96  # pixels of the small picture
Painter = Callable[[np.random.Generator], Image.Image]


def paint_backdrop(rng: np.random.Generator, light: Light, heads: Sequence[tuple[float, float, float]]) -> Image.Image:
    """Return a small RGB backdrop in the scene's light, with shadows of heads (x, y, radius as shares)."""
    painter = PAINTERS[int(rng.choice(len(PAINTERS), p=SHARES))]
    lit = np.asarray(painter(rng), dtype=np.float64) * (0.2 + 0.75 * (light.sun + light.sky))
    if painter in (_soil, _wall):
        lit *= _shadows(light, heads)
    return _image(lit)


def _shadows(light: Light, heads: Sequence[tuple[float, float, float]]) -> Floats:
    """Return factors [S,S,1] that darken a surface where flower heads stand between it and the sun."""
    shade = Image.new("L", (SIDE, SIDE), 255)
    draw = ImageDraw.Draw(shade)
    dx, dy = -0.45 * light.direction[0], 0.45 * light.direction[1]
    for x, y, radius in heads:
        cx, cy, r = (x + dx * radius) * SIDE, (y + dy * radius) * SIDE, radius * SIDE * 0.75
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=140)
    return np.asarray(shade.filter(ImageFilter.GaussianBlur(5)), dtype=np.float64)[..., None] / 255


def _ramp(top: Floats, bottom: Floats, *, bend: float = 1.0) -> Image.Image:
    """Return a vertical gradient between two RGB colors."""
    share = np.linspace(0.0, 1.0, SIDE)[:, None, None] ** bend
    ramp = np.broadcast_to(top + (bottom - top) * share, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(ramp, 0, 255).astype(np.uint8))


def _mottled(rng: np.random.Generator, color: Floats, *, cells: int, strength: float) -> Floats:
    """Return a color [S,S,3] with soft random patches, cells of them across."""
    noise = Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8))
    patches = np.asarray(noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64) / 255 - 0.5
    return color * (1 + strength * patches[..., None])


def _image(pixels: Floats) -> Image.Image:
    """Return float pixels [S,S,3] as a picture, clipped to 0…255."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _green(rng: np.random.Generator) -> Floats:
    """Return a leaf green between olive and blue-green, dark to bright."""
    green = rng.uniform((50, 96, 36), (118, 150, 84))
    grey = rng.uniform(0.1, 0.4)
    muted: Floats = (green * (1 - grey) + green.mean() * grey) * rng.uniform(0.6, 1.3)
    return muted


def _tones(rng: np.random.Generator, color: Floats, count: int, low: float, high: float) -> list[tuple[int, ...]]:
    """Return count variations of a color, darker or brighter by a factor between low and high."""
    varied = np.clip(color * rng.uniform(low, high, (count, 1)), 0, 255)
    return [tuple(tone) for tone in varied.astype(int).tolist()]


def _scatter(rng: np.random.Generator, count: int, *ranges: tuple[float, float]) -> list[list[float]]:
    """Return count rows with one number from each range."""
    lows, highs = np.array(ranges).T
    rows: list[list[float]] = rng.uniform(lows, highs, (count, len(ranges))).tolist()
    return rows


def _bokeh(rng: np.random.Generator, image: Image.Image, color: Floats, count: int, alpha: tuple[int, int]) -> None:
    """Paint translucent discs of light, as an open lens draws them."""
    draw = ImageDraw.Draw(image, "RGBA")
    discs = _scatter(rng, count, (0, SIDE), (0, SIDE), (2.5, 10), alpha)
    for (x, y, r, glow), tone in zip(discs, _tones(rng, color, count, 0.8, 1.3), strict=True):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(*tone, int(glow)))


def _meadow(rng: np.random.Generator) -> Image.Image:
    """Return grass out of focus, with blurred far blossoms in any color."""
    near, far = _green(rng), _green(rng) * 1.15 + 20
    image = _ramp(far, near)
    draw = ImageDraw.Draw(image)
    blades = _scatter(rng, 70, (0, SIDE), (SIDE * 0.25, SIDE * 1.2), (-9, 9), (12, 40))
    for (x, y, lean, length), tone in zip(blades, _tones(rng, near, 70, 0.6, 1.5), strict=True):
        draw.line((x, y, x + lean, y - length), fill=tone, width=2)
    blossom = np.array([(250, 220, 60), (245, 245, 245), (226, 70, 70), (190, 110, 210), (250, 150, 190)])
    _bokeh(rng, image, blossom[int(rng.integers(5))].astype(np.float64), int(rng.integers(0, 12)), (60, 170))
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.6, 3.6))))


def _sky(rng: np.random.Generator) -> Image.Image:
    """Return a blue, pale or evening sky, sometimes above a far hedge."""
    tops = np.array([(66, 124, 206), (130, 170, 216), (196, 204, 214), (96, 98, 160)], dtype=np.float64)
    lows = np.array([(176, 208, 238), (222, 230, 238), (228, 226, 222), (246, 176, 120)], dtype=np.float64)
    kind = int(rng.integers(4))
    image = _ramp(tops[kind], lows[kind], bend=float(rng.uniform(0.7, 1.6)))
    _bokeh(rng, image, np.array([238.0, 240.0, 244.0]), int(rng.integers(0, 9)), (20, 60))
    if rng.random() < 0.6:
        draw = ImageDraw.Draw(image)
        tone, level = _green(rng), rng.uniform(0.6, 0.92) * SIDE
        bushes = _scatter(rng, 15, (7, 15), (level - 5, level + 8))
        for place, ((r, y), fill) in enumerate(zip(bushes, _tones(rng, tone, 15, 0.75, 1.2), strict=True)):
            draw.ellipse((place * 7 - 4 - r, y - r, place * 7 - 4 + r, SIDE + 20), fill=fill)
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.8, 3.2))))


def _foliage(rng: np.random.Generator) -> Image.Image:
    """Return dark leaves out of focus with discs of light between them."""
    image = _image(_mottled(rng, _green(rng) * 0.85, cells=7, strength=1.1))
    draw = ImageDraw.Draw(image)
    tones = [tone for _ in range(4) for tone in _tones(rng, _green(rng), 7, 0.5, 1.05)]
    leaves = _scatter(rng, len(tones), (-8, SIDE), (-8, SIDE), (7, 26), (7, 26))
    for place in rng.permutation(len(tones)).tolist():
        x, y, wide, high = leaves[place]
        draw.ellipse((x, y, x + wide, y + high), fill=tones[place])
    _bokeh(rng, image, np.array([214.0, 226.0, 150.0]), int(rng.integers(2, 18)), (25, 90))
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.8, 4.0))))


def _soil(rng: np.random.Generator) -> Image.Image:
    """Return brown to grey earth with crumbs and some straw."""
    earth = rng.uniform((92, 74, 52), (140, 108, 84)) * rng.uniform(0.55, 1.1)
    image = _image(_mottled(rng, earth, cells=14, strength=0.6))
    draw = ImageDraw.Draw(image)
    crumbs = _scatter(rng, 120, (0, SIDE), (0, SIDE), (0.6, 3.2))
    for (x, y, r), tone in zip(crumbs, _tones(rng, earth, 120, 0.5, 1.5), strict=True):
        draw.ellipse((x - r, y - r * 0.7, x + r, y + r * 0.7), fill=tone)
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.8, 1.8))))


def _wall(rng: np.random.Generator) -> Image.Image:
    """Return a garden wall: bricks in red, sand or white, or upright planks."""
    tones = np.array(
        [(158, 90, 70), (190, 164, 126), (206, 204, 198), (122, 98, 78), (120, 146, 158)], dtype=np.float64
    )
    tone = tones[int(rng.integers(5))] * rng.uniform(0.65, 1.1)
    planks = rng.random() < 0.4
    image = _image(_mottled(rng, tone * rng.uniform(0.6, 1.2), cells=10, strength=0.2))
    draw = ImageDraw.Draw(image)
    wide, high = (rng.uniform(12, 20), 200.0) if planks else (rng.uniform(18, 30), rng.uniform(8, 13))
    for row in range(int(SIDE / high) + 2):
        shift = (row % 2) * wide / 2 + rng.uniform(-1, 1)
        for column in range(-1, int(SIDE / wide) + 2):
            x, y = column * wide - shift, row * high - 3
            fill = tuple(np.clip(tone * rng.uniform(0.82, 1.16), 0, 255).astype(int).tolist())
            draw.rectangle((x + 0.8, y + 0.8, x + wide - 0.8, y + high - 0.8), fill=fill)
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.9, 2.2))))


def _studio(rng: np.random.Generator) -> Image.Image:
    """Return a dark cloth with a pool of light."""
    cloths = np.array([(54, 56, 62), (24, 66, 72), (82, 34, 48), (44, 48, 84), (70, 62, 50)], dtype=np.float64)
    cloth = _mottled(rng, cloths[int(rng.integers(5))], cells=5, strength=0.25)
    x, y = rng.uniform(0.2, 0.8, 2) * SIDE
    across = np.arange(SIDE)
    distance = ((across[None, :] - x) ** 2 + (across[:, None] - y) ** 2) / (SIDE * rng.uniform(0.4, 0.8)) ** 2
    return _image(cloth * (0.35 + 1.3 / (1 + 2.2 * distance))[..., None])


PAINTERS: tuple[Painter, ...] = (_meadow, _sky, _foliage, _soil, _wall, _studio)
SHARES = (0.28, 0.16, 0.22, 0.1, 0.12, 0.12)
