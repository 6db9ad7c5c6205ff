"""Small curved surfaces, lit and painted: the geometry under every rendered flower.

A petal is a grid of points in space. The grid becomes flat quads; they are turned towards the viewer, lit by
one sun and a sky, sorted from far to near and drawn with Pillow. Lengths are in units of the flower's radius;
x points right, y up and z to the viewer. Colors are float RGB from 0 to 255.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import ImageDraw

Floats = npt.NDArray[np.float64]
Color = tuple[float, float, float]
Stops = Sequence[tuple[float, Color]]

GOLDEN_ANGLE = np.pi * (3.0 - 5.0**0.5)


@dataclass(frozen=True, slots=True)
class Mesh:
    """Quads: corners [Q,4,3], anchors [Q,3] for the depth order, front and back colors [Q,3]."""

    corners: Floats
    anchors: Floats
    front: Floats
    back: Floats


@dataclass(frozen=True, slots=True)
class Light:
    """A sun and an even sky as RGB factors; direction [3] is the unit vector to the sun."""

    direction: Floats
    sun: Floats
    sky: Floats


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a mesh stands in the picture: center and radius in pixels, turn [3,3] as a rotation matrix."""

    x: float
    y: float
    radius: float
    turn: Floats

    def project(self, points: Floats) -> Floats:
        """Return points [...,3] in pixels of the picture; z stays in units of the radius."""
        turned = points @ self.turn.T
        return turned * (self.radius, -self.radius, 1.0) + (self.x, self.y, 0.0)


def turned_by(tilt: float, roll: float, spin: float = 0.0) -> Floats:
    """Return the rotation [3,3] that spins a flower about its axis, tilts that up and rolls it on screen.

    All angles are radians. Tilt 0 looks into the flower, tilt pi/2 looks at it from the side.
    """
    a, b, c = np.cos([spin, tilt, roll])
    d, e, f = np.sin([spin, tilt, roll])
    spun = np.array([[a, -d, 0], [d, a, 0], [0, 0, 1]])
    tilted = np.array([[1, 0, 0], [0, b, e], [0, -e, b]])
    rolled = np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    turn: Floats = rolled @ tilted @ spun
    return turn


def gradient(position: Floats, stops: Stops) -> Floats:
    """Return the colors [...,3] at positions [...] between color stops."""
    places = [place for place, _ in stops]
    return np.stack([np.interp(position, places, [color[k] for _, color in stops]) for k in range(3)], axis=-1)


def grid_centers(along: int, across: int) -> tuple[Floats, Floats]:
    """Return t [U,1] in 0…1 and s [1,V] in -1…1 at the centers of a petal's quads."""
    t, s = petal_grid(along, across)
    return (t[1:] + t[:-1])[:, None] / 2, (s[1:] + s[:-1])[None, :] / 2


@lru_cache
def petal_grid(along: int, across: int) -> tuple[Floats, Floats]:
    """Return the grid lines t [along+1] and s [across+1]; t is denser at the round tip."""
    return 1.0 - np.linspace(1.0, 0.0, along + 1) ** 1.35, np.linspace(-1.0, 1.0, across + 1)


def surface(points: Floats, front: Floats, back: Floats, *, rigid: float = 0.9, lift: float = 0.0) -> Mesh:
    """Return the quads of petals given as points [P,U,V,3] and face colors that broadcast to [P,U-1,V-1,3].

    rigid 1 keeps each petal whole in the depth order, 0 sorts every quad alone; lift moves the order along
    the axis.
    """
    corners = np.stack([points[:, :-1, :-1], points[:, 1:, :-1], points[:, 1:, 1:], points[:, :-1, 1:]], axis=-2)
    shape = corners.shape[:3]
    middles = corners.mean(axis=-2)
    anchors = (1 - rigid) * middles + rigid * middles.mean(axis=(1, 2), keepdims=True) + (0.0, 0.0, lift)
    paint = [np.broadcast_to(color, (*shape, 3)).reshape(-1, 3) for color in (front, back)]
    return Mesh(corners.reshape(-1, 4, 3), anchors.reshape(-1, 3), *paint)


def joined(meshes: Sequence[Mesh]) -> Mesh:
    """Return all quads as one mesh, so that their depth order is shared."""
    return Mesh(
        np.concatenate([mesh.corners for mesh in meshes]),
        np.concatenate([mesh.anchors for mesh in meshes]),
        np.concatenate([mesh.front for mesh in meshes]),
        np.concatenate([mesh.back for mesh in meshes]),
    )


def ray_petals(
    angles: Floats,
    *,
    length: Floats | float,
    width: Floats | float,
    outline: Callable[[Floats], Floats],
    detail: tuple[int, int],
    start: Floats | float = 0.0,
    height: Floats | float = 0.0,
    pitch: tuple[Floats | float, Floats | float] = (0.0, 0.0),
    cup: float = 0.0,
    twist: Floats | float = 0.0,
) -> Floats:
    """Return petals [P,U,V,3] that leave the axis like rays at angles [P].

    start and height say where a petal begins; pitch is its slope in radians at base and tip; cup lifts the
    edges, twist raises one of them; outline maps t in 0…1 to a share of the half width.
    """
    t, s = petal_grid(*detail)
    ones = np.ones(len(angles))
    base, tip = (np.multiply(slope, ones)[:, None] for slope in pitch)
    slopes = base + (tip - base) * (t[1:] + t[:-1]) / 2
    step = np.diff(t) * np.multiply(length, ones)[:, None]
    zero = np.zeros((len(angles), 1))
    reach = np.concatenate([zero, np.cumsum(np.cos(slopes) * step, axis=1)], axis=1)
    rise = np.concatenate([zero, np.cumsum(np.sin(slopes) * step, axis=1)], axis=1)
    half = np.multiply(width, ones)[:, None] * outline(t)
    radius = (reach + np.multiply(start, ones)[:, None])[..., None]
    side = half[..., None] * s
    z = (rise + np.multiply(height, ones)[:, None])[..., None] + cup * np.abs(side) ** 1.5 / 0.3
    z = z + np.multiply(twist, ones)[:, None, None] * side
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    return np.stack([radius * cos - side * sin, radius * sin + side * cos, z], axis=-1)


def cup_petals(
    angles: Floats, radius: Floats, height: Floats, half_angle: Floats, *, across: int, spiral: float = 0.0
) -> Floats:
    """Return petals [P,U,V,3] that wrap around the axis: radius, height and half_angle (radians) are [P,U].

    spiral draws one edge of each petal inward and the other outward, as in a rose.
    """
    s = np.linspace(-1.0, 1.0, across + 1)
    turn = angles[:, None, None] + half_angle[..., None] * s
    reach = radius[..., None] * (1.0 + spiral * s)
    z = np.broadcast_to(height[..., None], reach.shape)
    return np.stack([reach * np.cos(turn), reach * np.sin(turn), z], axis=-1)


def dome(radius: float, height: float, stops: Stops, *, rings: int, sides: int, lift: float) -> Mesh:
    """Return a round cap on the axis whose color runs along its radius; lift places it above the petals."""
    share = np.linspace(0.02, 1.0, rings + 1)[:, None]
    turn = np.linspace(0.0, 2 * np.pi, sides + 1)[None, :]
    z = np.broadcast_to(height * np.sqrt(np.clip(1.02 - share**2, 0, None)), (rings + 1, sides + 1))
    points = np.stack([radius * share * np.cos(turn), radius * share * np.sin(turn), z], axis=-1)[None]
    color = gradient((share[1:] + share[:-1]) / 2, stops)
    # Points run outward and counterclockwise, so the front face is the outer one.
    return surface(points, color, color, rigid=0.0, lift=lift)


def florets(
    count: int,
    radius: float,
    height: float,
    stops: Stops,
    *,
    size: float,
    lift: float,
    jitter: Floats,
    inner: float = 0.0,
) -> Mesh:
    """Return a sunflower spiral of small diamonds on a dome: the n-th sits at n golden angles (Vogel 1979).

    jitter [count] scales each floret's brightness; inner leaves a bare middle, as a share of the radius.
    """
    share = np.sqrt(np.linspace(inner**2, 0.97, count))
    turn = np.arange(count) * GOLDEN_ANGLE
    z = height * np.sqrt(1.02 - share**2) + 0.012
    outward = np.stack([np.cos(turn), np.sin(turn), -height / radius * share], axis=-1)
    aside = np.stack([-np.sin(turn), np.cos(turn), np.zeros(count)], axis=-1)
    middle = np.stack([radius * share * np.cos(turn), radius * share * np.sin(turn), z], axis=-1)
    half = size * (0.65 + 0.35 * share)[:, None]
    corners = np.stack(
        [middle - half * outward, middle - half * aside, middle + half * outward, middle + half * aside],
        axis=1,
    )
    color = gradient(share, stops) * jitter[:, None]
    return Mesh(corners, middle + np.array([0.0, 0.0, lift]), color, color)


def lit_colors(mesh: Mesh, pose: Pose, light: Light) -> Floats:
    """Return the visible color [Q,3] of every quad: Lambert's cosine, light through petals, and the sky."""
    corners = mesh.corners @ pose.turn.T
    ax, ay, az = (corners[:, 2] - corners[:, 0]).T
    bx, by, bz = (corners[:, 3] - corners[:, 1]).T
    normal = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    facing = normal[2] >= 0
    normal *= np.where(facing, 1.0, -1.0) / np.maximum(np.sqrt((normal**2).sum(axis=0)), 1e-12)
    cosine = light.direction @ normal
    brightness = np.maximum(cosine, -0.42 * cosine) * 0.85 + 0.15
    skyward = 0.85 + 0.15 * normal[1]
    shade = brightness[:, None] * light.sun + skyward[:, None] * light.sky
    shown: Floats = np.where(facing[:, None], mesh.front, mesh.back) * shade
    return shown


def draw_mesh(draw: ImageDraw.ImageDraw, mesh: Mesh, pose: Pose, light: Light) -> None:
    """Paint a mesh from far to near."""
    order = np.argsort(mesh.anchors @ pose.turn[2], kind="stable")
    screen = pose.project(mesh.corners[order])[..., :2].reshape(-1, 8)
    colors = np.clip(lit_colors(mesh, pose, light)[order], 0, 255).astype(np.uint8)
    for quad, color in zip(screen.tolist(), map(tuple, colors.tolist()), strict=True):
        draw.polygon(quad, fill=color)
