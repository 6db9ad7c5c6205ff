"""Stems and leaves of a rendered picture, as one mesh in pixels of its canvas."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnet_core.data.flower_mesh import Floats, Mesh, Pose, joined, ray_petals, surface
from resnet_core.data.flower_shapes import Palette
from resnet_core.data.flower_species import LeafShape, Species

STEM_STEPS = 9


@dataclass(frozen=True, slots=True)
class Plant:
    """One flower of a picture: its variety, its pose and its stem's foot in canvas pixels, its own seed."""

    palette: Palette
    pose: Pose
    foot: tuple[float, float]
    seed: int


def stems_and_leaves(plants: Sequence[Plant], species: Species) -> Mesh:
    """Return the stems from the feet to the backs of the heads, and the leaves, which cover the stems."""
    generators = [np.random.default_rng([plant.seed, 1]) for plant in plants]
    paths = np.stack([_stem_path(plant, species.depth) for plant in plants])
    radii = np.array([plant.pose.radius for plant in plants])
    greens = np.stack([_green(rng) for rng in generators])
    stems = _ribbons(paths, radii[:, None] * species.stem * np.linspace(0.8, 1.1, STEM_STEPS), greens)
    places = [min(STEM_STEPS - 1, int(place * STEM_STEPS)) for place in species.leaf.places]
    feet = paths[:, places].reshape(-1, 2)
    chance = np.stack([rng.random((len(places), 7)) for rng in generators])
    chance[:, :, 0] = np.where(chance[:, :1, 0] < 0.5, -1, 1) * (-1) ** np.arange(len(places))
    lengths, greens = np.repeat(radii, len(places)), np.repeat(greens, len(places), axis=0)
    leaves = _leaves(species.leaf, feet, lengths, greens, chance.reshape(-1, 7))
    return joined([stems, leaves])


def _green(rng: np.random.Generator) -> Floats:
    """Return a stem's green, RGB."""
    green: Floats = np.array([104.0, 142.0, 66.0]) * rng.uniform(0.8, 1.15) + rng.uniform(-10, 10, 3)
    return green


def _stem_path(plant: Plant, depth: float) -> Floats:
    """Return points [STEM_STEPS,2] of a curve from the back of the head, along its axis, to the foot."""
    neck, below = plant.pose.project(np.array([[0.0, 0.0, -depth], [0.0, 0.0, -depth - 0.9]]))[:, :2]
    foot = np.array(plant.foot)
    bend = np.array([0.6 * below[0] + 0.4 * neck[0], max(below[1], 0.5 * (neck[1] + foot[1]))])
    t = np.linspace(0.0, 1.0, STEM_STEPS)[:, None]
    path: Floats = (1 - t) ** 2 * neck + 2 * t * (1 - t) * bend + t**2 * foot
    return path


def _ribbons(paths: Floats, half_widths: Floats, colors: Floats) -> Mesh:
    """Return round stems along paths [P,N,2] with half widths [P,N] in pixels and one color [P,3] each."""
    paths = paths * (1, -1)
    along = np.gradient(paths, axis=1)
    along = along / np.maximum(np.sqrt((along**2).sum(axis=2, keepdims=True)), 1e-9)
    aside = np.stack([along[..., 1], -along[..., 0]], axis=-1)
    s = np.array([-1.0, -0.55, 0.0, 0.55, 1.0])
    flat = paths[:, :, None] + aside[:, :, None] * (s[:, None] * half_widths[..., None, None])
    bulge = 1.2 * half_widths[..., None] * np.sqrt(1.0 - 0.98 * s**2)
    paint = colors[:, None, None]
    return _layered(np.concatenate([flat, bulge[..., None]], axis=-1), paint, paint, layer=0.0)


def _layered(points: Floats, front: Floats, back: Floats, *, layer: float) -> Mesh:
    """Return a surface whose depth order depends on its layer only, and on the order of its petals within."""
    mesh = surface(points, front, back)
    anchors = np.zeros_like(mesh.anchors)
    anchors[:, 2] = layer
    return Mesh(mesh.corners, anchors, mesh.front, mesh.back)


def _leaves(shape: LeafShape, feet: Floats, radii: Floats, greens: Floats, chance: Floats) -> Mesh:
    """Return leaves that grow at feet [L,2]; chance [L,7] holds the side (-1, 1) and numbers in 0…1."""
    side, away, reach, width, rise, fall, twist = chance.T
    angles = np.pi / 2 - side * (0.12 + 0.43 * away if shape.upright else 0.7 + 0.8 * away)
    lengths = radii * (shape.length[0] + (shape.length[1] - shape.length[0]) * reach)
    size = lengths.max()
    along = 3 * shape.teeth if shape.teeth else int(np.clip(size / 20, 5, 24))
    across = 2 * int(np.clip(size / 100, 1, 5))
    slope = -0.3 + rise
    blades = ray_petals(
        angles,
        length=1.0,
        width=shape.width * (0.85 + 0.3 * width),
        outline=shape.outline,
        detail=(along, across),
        pitch=(slope, slope - 0.3 - 0.9 * fall),
        cup=0.35,
        twist=twist - 0.5,
    )
    points = blades * lengths[:, None, None, None]
    points[..., :2] += (feet * (1, -1))[:, None, None]
    tone = np.linspace(0.75, 1.08, along)[:, None] * (1.0 + 0.12 * np.abs(np.linspace(-1, 1, across)))
    paint = tone[None, :, :, None] * greens[:, None, None]
    return _layered(points, paint, paint * 0.92 + 8, layer=1.0)
