"""The deletion curves as a drawing of their own: text follows the page's colours, so it reads in light and dark."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from demo.markup import escape
from demo.text import say

if TYPE_CHECKING:
    from resnet_core.activations.deletion import Deletion

WIDTH, HEIGHT = 420, 190  # of the drawing's own units; the page scales it
LEFT, RIGHT, TOP, BOTTOM = 40, 24, 10, 34
MAP_COLOR, RANDOM_COLOR = "#D55E00", "#777777"


def deletion_chart(deletion: "Deletion", language: str) -> str:
    """How much of the class is left while the photo is covered: by the map, and in random orders."""
    marks = "".join(_mark(share) for share in (0.0, 0.5, 1.0))
    random = "".join(_line(deletion.shares, curve, RANDOM_COLOR, "1.2", "0.55") for curve in deletion.by_chance)
    by_map = _line(deletion.shares, deletion.by_map, MAP_COLOR, "2.6", "1")
    axis = escape(say("where_deletion_axis", language))
    names = [(MAP_COLOR, "where_deletion_map"), (RANDOM_COLOR, "where_deletion_random")]
    legend = "".join(
        f'<span><i style="background:{color}"></i>{escape(say(key, language))}</span>' for color, key in names
    )
    return (
        f'<svg class="trust-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(say("where_deletion", language))}">{marks}{random}{by_map}'
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 2}" text-anchor="middle">{axis}</text></svg>'
        f'<div class="trust-legend">{legend}</div>'
    )


def _place(share: float, value: float) -> tuple[float, float]:
    return LEFT + share * (WIDTH - LEFT - RIGHT), TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)


def _mark(share: float) -> str:
    """A level of the class's probability and a share of the photo, each with its number."""
    left, level = _place(0, share)
    right, _ = _place(1, share)
    below, floor = _place(share, 0)
    return (
        f'<line x1="{left}" x2="{right}" y1="{level:.1f}" y2="{level:.1f}"/>'
        f'<text x="{left - 6}" y="{level + 4:.1f}" text-anchor="end">{share:.0%}</text>'
        f'<text x="{below:.1f}" y="{floor + 15:.1f}" text-anchor="middle">{share:.0%}</text>'
    )


def _line(shares: Sequence[float], values: Sequence[float], color: str, width: str, opacity: str) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(*pair) for pair in zip(shares, values, strict=True)))
    return f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="{width}" opacity="{opacity}"/>'
