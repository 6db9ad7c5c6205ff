"""The five kinds of flowers as meshes: what makes a daisy a daisy, whatever its color, light or pose.

    daisy       one ring of many slim round-tipped petals around a small yellow dome
    dandelion   a hundred or more thin strap florets, or the white seed clock that follows them
    roses       broad petals wrapped around each other, a golden angle apart, opening outward
    sunflowers  two rings of pointed petals around a large dark disc of spiral florets
    tulips      six petals closed to a cup, on a bare stem between long leaves

Each builder draws its own variation from the generator it is given and returns a bloom of radius about 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from resnet_core.data.flower_mesh import (
    GOLDEN_ANGLE,
    Floats,
    Mesh,
    Stops,
    cup_petals,
    dome,
    florets,
    gradient,
    grid_centers,
    joined,
    ray_petals,
    surface,
)

GREEN: Stops = ((0.0, (96, 132, 58)), (1.0, (128, 160, 74)))


@dataclass(frozen=True, slots=True)
class Palette:
    """A variety: colors of petals from base to tip, of the heart from middle to rim; its frequency."""

    petals: Stops
    heart: Stops = GREEN
    share: float = 1.0
    gone_to_seed: bool = False


@dataclass(frozen=True, slots=True)
class Bloom:
    """A flower head: its surfaces, and for seed clocks fine pale hairs as line segments [M,2,3]."""

    mesh: Mesh
    hairs: Floats | None = None
    hair_width: float = 0.0


def linear_outline(*points: tuple[float, float]) -> Callable[[Floats], Floats]:
    """Return an outline that is linear between points."""
    places, values = zip(*points, strict=True)
    return lambda t: np.interp(t, places, values)


ROUND_TIP = linear_outline((0, 0.42), (0.3, 0.78), (0.6, 1), (0.8, 0.95), (0.92, 0.68), (1, 0.22))
POINTED = linear_outline((0, 0.5), (0.25, 0.92), (0.45, 1), (0.7, 0.74), (0.9, 0.28), (1, 0.02))
STRAP = linear_outline((0, 0.4), (0.5, 0.85), (0.9, 1), (1, 0.75))


def _paint(
    rng: np.random.Generator,
    count: int,
    stops: Stops,
    detail: tuple[int, int],
    *,
    spread: float,
    vein: float,
    edge: float,
) -> Floats:
    """Return petal colors [P,U,V,3]: a gradient to the tip, brightness by petal, darker furrows and edges."""
    t, s = grid_centers(*detail)
    shade = 1.0 - edge * np.abs(s) ** 3 * np.ones_like(t)
    if detail[1] >= 4:
        shade = shade * (1.0 + vein * np.cos(3.0 * np.pi * s) * np.sin(np.pi * t))
    petals = rng.uniform(1 - spread, 1 + spread, (count, 1, 1, 1))
    return gradient(t + 0 * s, stops) * shade[..., None] * petals


def _calyx(radius: float, depth: float, detail: tuple[int, int], *, top: float = -0.01) -> Mesh:
    """Return the green cup under a head, from its stem at top - depth to radius at the petals."""
    t = np.linspace(0.0, 1.0, 4)[None, :]
    sides = 5 + 3 * detail[1]
    bowl = cup_petals(
        np.zeros(1),
        radius * (0.18 + 0.82 * t**0.55),
        depth * (t - 1.0) + top,
        np.full((1, 4), np.pi),
        across=sides,
    )
    color = gradient(np.linspace(0.2, 1.0, 3)[:, None] * np.ones(sides), GREEN)
    return surface(bowl, color * 0.6, color, rigid=0.3, lift=-0.8)


def _angles(rng: np.random.Generator, count: int, wobble: float) -> Floats:
    """Return count angles around the axis with a wobble as a share of their distance."""
    gap = 2 * np.pi / count
    return (np.arange(count) + rng.uniform(-wobble, wobble, count)) * gap + rng.uniform(0, gap)


def daisy(rng: np.random.Generator, palette: Palette, detail: tuple[int, int]) -> Bloom:
    """Return a daisy: 13 to 24 slim petals, now and then in two rings, around a small dome."""
    count, heart = int(rng.integers(13, 25)), rng.uniform(0.22, 0.3)
    rings = 2 if rng.random() < 0.35 else 1
    rise = rng.uniform(-0.25, 0.3)
    width = min(0.17, 2.3 / count) * rng.uniform(0.85, 1.1)
    parts = []
    for ring in range(rings):
        petals = ray_petals(
            _angles(rng, count, 0.2),
            length=(1 - heart * 0.7) * rng.uniform(0.88, 1.0, count) * (1 - 0.1 * ring),
            width=width, outline=ROUND_TIP, detail=detail, start=heart * 0.7, height=0.04 * ring,
            pitch=(rise + 0.25 + 0.15 * ring, rise - rng.uniform(0.0, 0.6, count)), cup=0.12,
            twist=rng.uniform(-0.3, 0.3, count),
        )  # fmt: skip
        color = _paint(rng, count, palette.petals, detail, spread=0.05, vein=0.05, edge=0.1)
        parts.append(surface(petals, color, color * 0.9, lift=0.1 * ring))
    parts.append(dome(heart, heart * 0.45, palette.heart, rings=4, sides=16 + 4 * detail[1], lift=1.0))
    dots = 24 * detail[0]
    grain = rng.uniform(0.82, 1.2, 400)[:dots]
    parts.append(
        florets(dots, heart, heart * 0.45, palette.heart, size=heart * 1.1 / dots**0.5, lift=1.1, jitter=grain)
    )
    return Bloom(joined([*parts, _calyx(heart * 0.95, 0.22, detail)]))


def sunflower(rng: np.random.Generator, palette: Palette, detail: tuple[int, int]) -> Bloom:
    """Return a sunflower: two rings of pointed petals around a disc that fills about half of the head."""
    heart = rng.uniform(0.46, 0.58)
    parts = []
    rise = rng.uniform(-0.2, 0.25)
    for ring in range(2):
        count = int(rng.integers(17, 23))
        petals = ray_petals(
            _angles(rng, count, 0.28),
            length=(1.02 - heart * 0.85) * rng.uniform(0.82, 1.05, count) * (1 - 0.1 * ring),
            width=rng.uniform(0.105, 0.135), outline=POINTED, detail=detail,
            start=heart * 0.85, height=0.03 * ring,
            pitch=(rise + 0.3 + 0.25 * ring, rise - rng.uniform(-0.3, 0.7, count)), cup=0.16,
            twist=rng.uniform(-0.5, 0.5, count),
        )  # fmt: skip
        color = _paint(rng, count, palette.petals, detail, spread=0.09, vein=0.08, edge=0.14)
        parts.append(surface(petals, color * (0.86 + 0.14 * ring), color * 0.8, lift=0.15 * ring))
    under = tuple((place, (0.6 * r, 0.6 * g, 0.6 * b)) for place, (r, g, b) in palette.heart)
    parts.append(dome(heart, heart * 0.22, under, rings=5, sides=20 + 4 * detail[1], lift=1.0))
    dots = 50 * detail[0]
    grain = rng.uniform(0.75, 1.6, 800)[:dots]
    parts.append(
        florets(dots, heart, heart * 0.22, palette.heart, size=heart * 1.1 / dots**0.5, lift=1.1, jitter=grain)
    )
    return Bloom(joined([*parts, _calyx(heart, 0.3, detail)]))


def dandelion(rng: np.random.Generator, palette: Palette, detail: tuple[int, int]) -> Bloom:
    """Return a dandelion: a yellow head, or a seed clock if the variety has gone to seed."""
    return _clock(rng, detail) if palette.gone_to_seed else _yellow_head(rng, palette, detail)


def _yellow_head(rng: np.random.Generator, palette: Palette, detail: tuple[int, int]) -> Bloom:
    """Return 170 to 220 strap florets from an upright center to a flat rim, over a dense orange middle."""
    count = int(rng.integers(170, 221))
    share = (np.arange(count) + 0.5) / count
    jitter = rng.uniform(-1, 1, (3, count))
    grid = (2, 1) if detail[0] < 6 else (4, 2)
    slope = 1.2 * (1 - share**0.7) + 0.14 * jitter[0]
    petals = ray_petals(
        np.arange(count) * GOLDEN_ANGLE + 0.15 * jitter[1],
        length=(0.3 + 0.5 * share**0.6) * (1 + 0.09 * jitter[2]),
        width=0.05, outline=STRAP, detail=grid, start=0.02 + 0.16 * share, height=0.12 * (1 - share),
        pitch=(slope + 0.25, slope - 0.2 - 0.35 * share), cup=0.1,
    )  # fmt: skip
    tint = np.interp(share, [0, 0.4, 1], [0.98, 1.0, 0.94])[:, None, None, None]
    color = _paint(rng, count, palette.petals, grid, spread=0.2, vein=0.0, edge=0.1) * tint
    bracts = ray_petals(
        _angles(rng, 14, 0.3), length=0.42, width=0.05, outline=POINTED, detail=(3, 2), start=0.1,
        height=-0.22, pitch=(0.3, rng.uniform(-1.2, 1.2, 14)),
    )  # fmt: skip
    green = gradient(np.full((3, 2), 0.6), GREEN)
    head = surface(petals, color, color * 0.92, rigid=0.5)
    middle = dome(0.36, 0.26, palette.petals[:2], rings=3, sides=14, lift=0.0)
    return Bloom(joined([head, middle, surface(bracts, green, green, lift=-0.4), _calyx(0.2, 0.3, detail)]))


def _clock(rng: np.random.Generator, detail: tuple[int, int]) -> Bloom:
    """Return a seed clock: a globe of parachutes on a brown core, sometimes with a part blown away."""
    count, rays = (70, 7) if detail[0] < 6 else (120, 12)
    n = np.arange(count) + 0.5
    height = 1 - 2 * n / count
    ring = np.sqrt(1 - height**2)
    out = np.stack([ring * np.cos(n * GOLDEN_ANGLE), ring * np.sin(n * GOLDEN_ANGLE), height], axis=-1)
    gone = rng.normal(size=3)
    kept = out @ (gone / np.linalg.norm(gone)) < (rng.uniform(0.3, 0.85) if rng.random() < 0.35 else 2.0)
    out = out[kept & (height > -0.93)]
    aside = np.cross(out, (0.31, 0.87, 0.38))
    aside = aside / np.linalg.norm(aside, axis=1, keepdims=True)
    third = np.cross(out, aside)
    turn = (np.arange(rays) * 2 * np.pi / rays)[:, None]
    spread = np.cos(turn) * aside[:, None] + np.sin(turn) * third[:, None]
    hub = np.broadcast_to(0.66 * out[:, None], spread.shape)
    tips = 0.93 * out[:, None] + 0.21 * spread
    tufts = np.stack([hub, tips], axis=2).reshape(-1, 2, 3)
    beaks = np.stack([0.2 * out, 0.66 * out], axis=1)
    seeds = ray_petals(
        n * GOLDEN_ANGLE, length=0.16, width=0.022, outline=POINTED, detail=(2, 2), start=0.1 * ring,
        height=0.1 * height, pitch=(np.arcsin(height), np.arcsin(height)),
    )[kept]  # fmt: skip
    brown = gradient(np.full((2, 2), 0.5), ((0.0, (120, 88, 56)), (1.0, (150, 116, 78))))
    core = dome(0.13, 0.12, ((0.0, (168, 160, 112)), (1.0, (120, 118, 70))), rings=3, sides=14, lift=0.0)
    mesh = joined([core, surface(seeds, brown, brown), _calyx(0.16, 0.16, detail)])
    # Fewer hairs are drawn when the head is small; their width makes up for it.
    return Bloom(mesh, np.concatenate([beaks, tufts]), hair_width=11.0 / (count * (rays + 1)))


def rose(rng: np.random.Generator, palette: Palette, detail: tuple[int, int]) -> Bloom:
    """Return a rose: 20 to 28 wrapped petals, upright in the middle and curling outward at the rim."""
    count, along, across = int(rng.integers(20, 29)), detail[0] + 1, 1 + detail[1]
    share = ((np.arange(count) + 0.5) / count)[:, None]
    t = 1.0 - np.linspace(1.0, 0.0, along + 1)[None, :] ** 1.3
    petals = _rose_petals(rng, share, t, across)
    middle = (t[:, 1:] + t[:, :-1])[..., None] / 2
    place = np.broadcast_to(0.55 * share[..., None] + 0.45 * middle, (count, along, across))
    glow = np.interp(middle, [0.0, 0.45, 0.8, 1.0], [0.3, 0.62, 0.98, 1.1])
    glow = glow * np.interp(share, [0, 0.3, 1], [0.72, 0.88, 1.0])[..., None] * rng.uniform(0.94, 1.06, (count, 1, 1))
    # Light that went from petal to petal took on their color: the depths are more saturated, not greyer.
    tone = gradient(place, palette.petals) * glow[..., None] ** np.array([0.75, 1.0, 1.3])
    under = gradient(place, palette.petals) * np.interp(middle, [0, 0.5], [0.7, 0.92])[..., None]
    sepals = ray_petals(
        _angles(rng, 5, 0.1),
        length=0.7,
        width=0.12,
        outline=POINTED,
        detail=(4, 2),
        start=0.1,
        height=-0.55,
        pitch=(0.3, -0.7),
    )
    green = gradient(np.full((4, 2), 0.4), GREEN)
    dark = tuple((place, (0.3 * r, 0.3 * g, 0.3 * b)) for place, (r, g, b) in palette.petals)
    core = dome(0.3, 0.25, dark, rings=2, sides=10, lift=-0.6)
    green_parts = [surface(sepals, green, green, lift=-1.5), _calyx(0.2, 0.2, detail, top=-0.5)]
    return Bloom(joined([surface(petals, tone, under, rigid=0.15), core, *green_parts]))


def _rose_petals(rng: np.random.Generator, share: Floats, t: Floats, across: int) -> Floats:
    """Return a rose's petals [P,U,V,3]; share [P,1] runs from inmost to outmost, t [1,U] up a petal."""
    openness = rng.uniform(0.8, 1.15)
    body = 0.03 + 0.62 * share**0.85 * openness
    curl = (0.04 + 0.42 * share**1.5 * openness) * np.clip(t - 0.55, 0, None) ** 1.4 / 0.33
    radius = body * (0.12 + 0.88 * np.sin(np.pi / 2 * np.clip(t * 1.5, 0, 1))) + curl
    top = (0.98 - 0.28 * share) * rng.uniform(0.94, 1.06, share.shape)
    height = top * t - (0.7 * share**2) * np.clip(t - 0.75, 0, None) - 0.12 * share - 0.4
    half = (1.5 - 0.66 * share) * (0.72 + 0.28 * np.sin(np.pi * t)) * np.sqrt(1.0 - 0.92 * t**6)
    angles = np.arange(len(share)) * GOLDEN_ANGLE + rng.uniform(-0.15, 0.15, len(share))
    petals = cup_petals(angles, radius, height, half, across=across, spiral=0.1)
    edge = np.linspace(-1, 1, across + 1) ** 2
    petals[..., 2] -= (0.1 + 0.1 * share[..., None]) * edge * t[..., None] ** 2
    return petals


def tulip(rng: np.random.Generator, palette: Palette, detail: tuple[int, int]) -> Bloom:
    """Return a tulip: three inner and three outer petals that close to a cup or open to a bowl."""
    along, across = 5 + int(1.8 * detail[0]), 2 + 2 * detail[1]
    x = np.linspace(0.0, 1.0, along + 1)[None, :]
    t = x - 0.09 * np.sin(2 * np.pi * x)  # denser at both ends, where the outline is round
    outer = (np.arange(6) % 2)[:, None]
    opening = rng.uniform(-0.3, 0.16) + 0.06 * outer + rng.uniform(-0.05, 0.05, (6, 1))
    belly = rng.uniform(0.5, 0.62)
    radius = belly * np.sin(np.pi * (0.008 + 0.65 * t)) ** 0.6 * (0.93 + 0.09 * outer) + opening * t**2.2
    height = (1.62 + rng.uniform(-0.08, 0.08, (6, 1))) * t ** (1.0 + 0 * outer) - 0.85
    point = rng.uniform(2.6, 5.0)
    half = 0.72 * (0.75 + 0.25 * np.sin(np.pi * t)) * np.clip(1.0 - t**point, 0, 1) ** 0.6 + 0.015
    petals = cup_petals(np.arange(6) * np.pi / 3 + rng.uniform(-0.08, 0.08, 6), radius, height, half, across=across)
    s = np.linspace(-1, 1, across + 1)
    petals[..., :2] *= (1.0 - 0.1 * s**2 * np.sin(np.pi * t)[..., None])[..., None]
    s_mid = (s[1:] + s[:-1]) / 2
    t_mid = ((t[:, 1:] + t[:, :-1]) / 2)[..., None]
    color = gradient(np.broadcast_to(t_mid, (6, along, across)) * (1 - 0.25 * s_mid**2), palette.petals)
    streaks = rng.uniform(0.95, 1.04, (6, 1, 64, 1))[:, :, :across]
    color = color * (1 - 0.22 * np.abs(s_mid) ** 3)[None, None, :, None]
    color = color * streaks * rng.uniform(0.93, 1.05, (6, 1, 1, 1)) * (0.9 + 0.1 * outer[..., None, None])
    inside = gradient(np.broadcast_to(t_mid, (6, along, across)), palette.heart)
    return Bloom(surface(petals, inside, color, rigid=0.35))
