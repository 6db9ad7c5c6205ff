"""Pictures of anything but flowers that this project draws itself: plain colours, gradients, noise, patterns, text,
drawings, charts, rooms. The same kind, index and seed give the same picture on every machine with the same fonts.

They teach a score what is surely not a photo of a flower; natural things it has to learn from photos.
"""

import colorsys
import string
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from resnet_core.errors import DatasetError

Rng = np.random.Generator
Color = tuple[int, int, int]
SIZE = 160  # px
WORDS = ("the", "total", "of", "invoice", "page", "and", "model", "street", "menu", "exit", "open", "2026", "figure")


def render_other(kind: str, index: int, *, seed: int = 0, size: int = SIZE) -> Image.Image:
    """Picture number `index` of a kind, RGB, `size` × `size` px. Raises DatasetError for a kind there is not."""
    if kind not in KINDS:
        raise DatasetError(f"There is no kind of drawing “{kind}”; use one of {', '.join(KINDS)}.")
    rng = np.random.default_rng([seed, list(KINDS).index(kind), index])
    return KINDS[kind](rng, size).convert("RGB")


def _color(rng: Rng) -> Color:
    """Any colour; half of them as grey or muted as paper, walls and metal are."""
    color = rng.integers(0, 256, 3)
    if rng.random() < 0.5:
        color = (color.mean() + 0.25 * (color - color.mean())).astype(int)
    return int(color[0]), int(color[1]), int(color[2])


def _plain(rng: Rng, size: int) -> Image.Image:
    """Half of them as saturated as petals, half of them without any grain."""
    color = _color(rng)
    if rng.random() < 0.5:
        petal = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.7, 1), rng.uniform(0.6, 1))
        color = (round(255 * petal[0]), round(255 * petal[1]), round(255 * petal[2]))
    pixels = np.full((size, size, 3), color, dtype=np.float32)
    grain = rng.uniform(0, 6) if rng.random() < 0.5 else 0
    return _image(pixels + grain * rng.standard_normal(pixels.shape))


def _gradient(rng: Rng, size: int) -> Image.Image:
    down, across = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * across + np.sin(angle) * down
    if rng.random() < 0.4:
        ramp = np.hypot(across - rng.uniform(0, 1), down - rng.uniform(0, 1))
    ramp = np.clip((ramp - ramp.min()) / np.ptp(ramp), 0, 1)[..., None] ** rng.uniform(0.5, 2)
    return _image((1 - ramp) * np.array(_color(rng)) + ramp * np.array(_color(rng)) + rng.standard_normal(ramp.shape))


def _noise(rng: Rng, size: int) -> Image.Image:
    """White to 1/f² noise, grey or coloured: natural photos have spectra near 1/f."""
    steps = np.fft.fftfreq(size)
    radius = np.maximum(np.hypot(steps[:, None], steps[None]), 1 / size)
    channels = 3 if rng.random() < 0.7 else 1
    white = np.fft.fft2(rng.standard_normal((channels, size, size)))
    noise = np.fft.ifft2(white / radius ** rng.uniform(0, 2)).real
    noise = noise / noise.std(axis=(1, 2), keepdims=True) * rng.uniform(15, 80)
    return _image(noise.transpose(1, 2, 0) + np.array(_color(rng)))


def _pattern(rng: Rng, size: int) -> Image.Image:
    """Stripes, checks, dots, rings."""
    down, across = np.mgrid[0:size, 0:size]
    period, angle = rng.uniform(4, 40), rng.uniform(0, np.pi)
    along = np.cos(angle) * across + np.sin(angle) * down
    beside = -np.sin(angle) * across + np.cos(angle) * down
    which = int(rng.integers(4))
    first, second = np.sin(2 * np.pi * along / period), np.sin(2 * np.pi * beside / period)
    rings = np.sin(2 * np.pi * np.hypot(across - rng.uniform(0, size), down - rng.uniform(0, size)) / period)
    wave = (first, first * second, np.minimum(first, second) - 0.4, rings)[which]
    mask = np.clip(wave * rng.uniform(1, 20) + 0.5, 0, 1)[..., None]
    return _image((1 - mask) * np.array(_color(rng)) + mask * np.array(_color(rng)))


def _text(rng: Rng, size: int) -> Image.Image:
    light = rng.random() < 0.75
    paper = int(rng.integers(190, 256)) if light else int(rng.integers(0, 70))
    sheet = Image.new("RGB", (size, size), (paper, paper, max(0, paper - int(rng.integers(20)))))
    draw = ImageDraw.Draw(sheet)
    height = float(rng.uniform(6, 60))
    font = ImageFont.load_default(height)
    ink = _color(rng) if rng.random() < 0.3 else ((30, 30, 30) if light else (230, 230, 230))
    top = float(rng.uniform(-5, 20))
    while top < size:
        draw.text((float(rng.uniform(-10, 14)), top), _line(rng), font=font, fill=ink)
        top += height * float(rng.uniform(1.1, 1.7))
    return sheet.rotate(float(rng.uniform(-8, 8)), Image.Resampling.BILINEAR, fillcolor=(paper, paper, paper))


def _line(rng: Rng) -> str:
    words = [WORDS[int(rng.integers(len(WORDS)))] for _ in range(12)]
    letters = string.ascii_letters + string.digits
    made = ["".join(letters[int(i)] for i in rng.integers(0, len(letters), int(rng.integers(2, 9)))) for _ in range(12)]
    return " ".join(word if rng.random() < 0.5 else other for word, other in zip(words, made, strict=True))


def _shapes(rng: Rng, size: int) -> Image.Image:
    """Flat or shaded boxes, discs and polygons over each other."""
    sheet = Image.new("RGB", (size, size), _color(rng))
    draw = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(1, 14))):
        _shape(rng, draw, size, outline=None if rng.random() < 0.7 else _color(rng), fill=_color(rng))
    return sheet


def _shape(rng: Rng, draw: ImageDraw.ImageDraw, size: int, **ink: Any) -> None:
    reach = size * float(rng.uniform(0.05, 0.5))
    x, y = (float(value) for value in rng.uniform(0, size, 2))
    wide, high = (reach * float(value) for value in rng.uniform(0.3, 1, 2))
    which = int(rng.integers(3))
    if which == 0:
        draw.rectangle((x - wide, y - high, x + wide, y + high), **ink)
    elif which == 1:
        draw.ellipse((x - wide, y - high, x + wide, y + high), **ink)
    else:
        corners = rng.uniform(-1, 1, (int(rng.integers(3, 7)), 2)) * reach + (x, y)
        draw.polygon([(float(a), float(b)) for a, b in corners], **ink)


def _drawing(rng: Rng, size: int) -> Image.Image:
    """Lines of a pen: strokes that wander, circles, boxes, stick figures; on paper or a board."""
    light = rng.random() < 0.8
    sheet = Image.new("RGB", (size, size), "white" if light else _color(rng))
    draw = ImageDraw.Draw(sheet)
    ink = (20, 20, 20) if light and rng.random() < 0.6 else _color(rng)
    width = int(rng.integers(1, 6))
    for _ in range(int(rng.integers(1, 9))):
        if rng.random() < 0.5:
            steps = rng.standard_normal((int(rng.integers(5, 60)), 2)).cumsum(0).cumsum(0)
            reach = np.abs(steps).max() / (size * rng.uniform(0.1, 0.6))
            points = steps / reach + rng.uniform(0, size, 2)
            draw.line([(float(a), float(b)) for a, b in points], fill=ink, width=width, joint="curve")
        else:
            _shape(rng, draw, size, outline=ink, fill=_color(rng) if rng.random() < 0.2 else None, width=width)
    return sheet


def _chart(rng: Rng, size: int) -> Image.Image:
    """Bars, curves, grids, windows with buttons: what a screen shows."""
    back = 255 if rng.random() < 0.6 else int(rng.integers(15, 60))
    sheet = Image.new("RGB", (size, size), (back, back, back))
    draw = ImageDraw.Draw(sheet)
    for line in range(0, size, int(rng.integers(10, 40))):
        draw.line((0, line, size, line), fill=(160, 160, 160))
        if rng.random() < 0.5:
            draw.line((line, 0, line, size), fill=(200, 200, 200))
    count = int(rng.integers(2, 12))
    color = _color(rng)
    if rng.random() < 0.5:
        for bar, high in enumerate(rng.uniform(0.1, 0.95, count)):
            edge = size / count
            draw.rectangle((bar * edge + 2, size * (1 - float(high)), (bar + 0.7) * edge, size), fill=color)
    else:
        heights = size * (0.5 + 0.1 * rng.standard_normal(40).cumsum())
        draw.line([(size * at / 39, float(high)) for at, high in enumerate(heights)], fill=color, width=2)
    draw.text((4, 2), _line(rng)[:20], font=ImageFont.load_default(12), fill=color)
    return sheet


def _room(rng: Rng, size: int) -> Image.Image:
    """Soft blobs, edges and light of no place in particular, with a photo's blur and noise."""
    sheet = _gradient(rng, size)
    draw = ImageDraw.Draw(sheet)
    for _ in range(int(rng.integers(2, 10))):
        _shape(rng, draw, size, fill=_color(rng))
    soft = sheet.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 12))))
    grain = np.asarray(_noise(rng, size), dtype=np.float32)
    share = float(rng.uniform(0, 0.35))
    return _image((1 - share) * np.asarray(soft, dtype=np.float32) + share * grain)


def _image(pixels: np.ndarray[Any, Any]) -> Image.Image:
    return Image.fromarray(np.clip(np.broadcast_to(pixels, (*pixels.shape[:2], 3)), 0, 255).astype(np.uint8))


KINDS: dict[str, Callable[[Rng, int], Image.Image]] = {
    "plain colours": _plain,
    "gradients": _gradient,
    "noise": _noise,
    "patterns": _pattern,
    "text": _text,
    "shapes": _shapes,
    "drawings": _drawing,
    "charts": _chart,
    "blurred scenes": _room,
}
