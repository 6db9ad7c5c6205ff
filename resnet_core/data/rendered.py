"""Pictures of flowers that this project draws itself: any number, any size, the same for the same seed.

`render_flower` composes one picture: a backdrop out of focus, one to five flowers of a kind on their stems,
one light for all, and what a camera adds. The kinds are told apart by shape: they share light, backdrops and
most colors.
"""

import numpy as np
from PIL import Image, ImageDraw

from resnet_core.data.flower_backdrops import paint_backdrop
from resnet_core.data.flower_greenery import Plant, stems_and_leaves
from resnet_core.data.flower_mesh import (
    Floats,
    Light,
    Pose,
    draw_mesh,
    turned_by,
)
from resnet_core.data.flower_species import SPECIES, Species
from resnet_core.errors import ConfigError, DatasetError

CLASS_NAMES = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
RENDERED_VERSION = 1  # part of every cache key: raise it when a change alters the pictures
SIZES = (16, 1024)
OVERSAMPLING = 4
SHOULDER = 0.72  # brightness above which highlights are compressed rather than clipped
HEADROOM = 0.75  # colors are painted darker by this factor, so that white petals keep their shades
FLAT = Pose(0.0, 0.0, 1.0, np.eye(3))  # for meshes that are in pixels already


def render_flower(class_name: str, index: int, *, seed: int = 0, size: int = 96) -> Image.Image:
    """Return picture number index of a class: RGB, size x size pixels.

    The same class, index and seed give the same scene on every machine and at every size. Raises DatasetError
    for a class this set does not have, ConfigError for an index, seed or size out of range.
    """
    _check(class_name, index, seed, size)
    rng = np.random.default_rng([seed, CLASS_NAMES.index(class_name), index])
    canvas_size = size * OVERSAMPLING
    light = _light(rng)
    plants = _arrange(rng, SPECIES[class_name], canvas_size)
    shadow = [(p.pose.x / canvas_size, p.pose.y / canvas_size, p.pose.radius / canvas_size) for p in plants]
    backdrop = paint_backdrop(rng, light, shadow).resize((size, size), Image.Resampling.BICUBIC)
    canvas = backdrop.resize((canvas_size, canvas_size), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    draw_mesh(draw, stems_and_leaves(plants, SPECIES[class_name]), FLAT, light)
    for plant in plants:
        _draw_head(canvas, draw, plant, SPECIES[class_name], light)
    return _photographed(rng, canvas.reduce(OVERSAMPLING))


def _check(class_name: str, index: int, seed: int, size: int) -> None:
    """Raise unless the picture asked for exists."""
    if class_name not in CLASS_NAMES:
        known = ", ".join(CLASS_NAMES)
        raise DatasetError(f"The rendered flowers have no class {class_name!r}; choose one of {known}.")
    if index < 0 or seed < 0:
        raise ConfigError(f"Index and seed of a rendered picture start at 0, not {min(index, seed)}.")
    if not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(f"A rendered picture is {SIZES[0]} to {SIZES[1]} pixels wide, not {size}.")


def _light(rng: np.random.Generator) -> Light:
    """Return a sun from above, cool to golden, and a sky that fills its shadows."""
    side, up = rng.uniform(-0.9, 0.9), rng.uniform(0.25, 0.95)
    direction = np.array([side, up, rng.uniform(0.5, 1.1)])
    warmth, strength = rng.uniform(-0.06, 0.16), rng.uniform(0.5, 0.85)
    sun = strength * np.array([1 + warmth, 1.0, 1 - 1.2 * warmth])
    sky = (1.02 - 0.7 * strength) * np.array([0.98, 1.0, 1.04])
    return Light(direction / np.linalg.norm(direction), HEADROOM * sun, HEADROOM * sky)


def _arrange(rng: np.random.Generator, species: Species, size: int) -> list[Plant]:
    """Return one to five plants, far ones first, spread so that heads seldom hide each other."""
    count = int(rng.choice(5, p=[0.44, 0.22, 0.18, 0.09, 0.07])) + 1
    share = np.array([p.share for p in species.palettes])
    palette = species.palettes[int(rng.choice(len(share), p=share / share.sum()))]
    mixed = rng.random() < 0.3
    from_side = rng.random() < species.side_share
    low, high = species.side_tilt if from_side else species.front_tilt
    tilt = rng.uniform(low, high)
    typical = (0.36, 0.255, 0.21, 0.185, 0.165)[count - 1] * species.scale * rng.uniform(0.84, 1.16)
    spots = _spots(rng, count, typical)
    plants = []
    for x, y in spots[np.argsort(spots[:, 1])]:
        chosen = species.palettes[int(rng.integers(len(share)))] if mixed else palette
        lean = np.radians(rng.uniform(-28, 28) if from_side else rng.uniform(-65, 65))
        turn = turned_by(np.radians(np.clip(tilt + rng.uniform(-12, 12), 0, 100)), lean, rng.uniform(0, 2 * np.pi))
        foot = (x + rng.uniform(-0.18, 0.18) + 0.3 * (0.5 - x), 1.06 + rng.uniform(0, 0.1))
        pose = Pose(x * size, y * size, typical * rng.uniform(0.86, 1.1) * size, turn)
        plants.append(Plant(chosen, pose, (foot[0] * size, foot[1] * size), int(rng.integers(2**31))))
    return plants


def _spots(rng: np.random.Generator, count: int, radius: float) -> Floats:
    """Return head positions [count,2] in shares of the picture, each the loneliest of 14 tries."""
    margin = min(0.4, radius * 0.9)
    low, high = np.array([margin, margin]), np.array([1 - margin, max(0.58, 0.8 - margin)])
    spots: Floats = rng.uniform(low, high, (1, 2)) * 0.5 + np.array([[0.25, 0.24]])
    if count > 1:
        spots = rng.uniform(low, high, (1, 2))
    for _ in range(count - 1):
        tries = rng.uniform(low, high, (14, 2))
        gaps = np.linalg.norm(tries[:, None] - spots[None], axis=-1).min(axis=1)
        spots = np.concatenate([spots, tries[[int(gaps.argmax())]]])
    return spots


def _draw_head(canvas: Image.Image, draw: ImageDraw.ImageDraw, plant: Plant, species: Species, light: Light) -> None:
    """Paint the flower itself; a seed clock's hairs go behind and in front of its core."""
    pose = plant.pose
    detail = int(np.clip(pose.radius / 28 - 0.6, 2, 16)), 2 * int(np.clip(pose.radius / 72, 1, 5))
    bloom = species.build(np.random.default_rng([plant.seed, 2]), plant.palette, detail)
    if bloom.hairs is None:
        draw_mesh(draw, bloom.mesh, pose, light)
        return
    points = pose.project(bloom.hairs)
    depth = points[..., 2].mean(axis=1)
    glass = ImageDraw.Draw(canvas, "RGBA")
    white = np.clip(245 * (light.sun + light.sky), 0, 255).astype(int)
    color = int(white[0]), int(white[1]), int(white[2])
    width = pose.radius * bloom.hair_width
    _draw_hairs(glass, points[depth < 0], color, width, 70)
    draw_mesh(draw, bloom.mesh, pose, light)
    _draw_hairs(glass, points[depth >= 0], color, width, 120)


def _draw_hairs(
    glass: ImageDraw.ImageDraw, points: Floats, color: tuple[int, int, int], width: float, alpha: int
) -> None:
    """Paint translucent lines [M,2,3]; alpha makes up for rounding the width to pixels."""
    drawn = max(1, round(width))
    alpha = min(255, round(alpha * width / drawn))
    for line in points[..., :2].reshape(-1, 4).tolist():
        glass.line(line, fill=(*color, alpha), width=drawn)


def _photographed(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Return the picture as a camera gives it: exposure, white balance, contrast, vignette and noise."""
    pixels = np.asarray(image, dtype=np.float32) / 255
    size = image.width
    gain = rng.uniform(0.86, 1.16) / HEADROOM * rng.uniform(0.93, 1.07, 3)
    contrast, vignette, noise = rng.uniform(0.9, 1.12), rng.uniform(0.0, 0.4), rng.uniform(0.004, 0.018)
    across = np.linspace(-1, 1, size, dtype=np.float32) ** 2
    fall = 1 - vignette * (across[:, None] + across) / 2
    pixels = 0.5 + contrast * (pixels * gain.astype(np.float32) * fall[..., None] - 0.5)
    bright = np.maximum(pixels - SHOULDER, 0)
    pixels = np.minimum(pixels, SHOULDER) + (1 - SHOULDER) * (1 - np.exp(bright / (SHOULDER - 1)))
    pixels += np.float32(noise) * rng.standard_normal(pixels.shape, dtype=np.float32)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8))
