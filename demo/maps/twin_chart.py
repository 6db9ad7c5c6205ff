"""A small still chart of a few lines, as SVG; words come through `escape`."""

import math
from collections.abc import Mapping, Sequence

from demo.markup import CLASS_COLORS, escape

WIDTH, HEIGHT = 340, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 22  # px around the frame
TICKS = 4
MOST_DOTS = 40

Points = Sequence[tuple[float, float]]


def line_chart(title: str, series: Mapping[str, Points], *, logarithmic: bool = False, share: bool = False) -> str:
    """A titled figure; x are whole numbers, y on a logarithmic scale if asked for, as per cent with `share`."""
    shown = {name: _finite(points, logarithmic) for name, points in series.items()}
    shown = {name: points for name, points in shown.items() if points}
    if not shown:
        return f'<figure class="twin-chart"><h3>{escape(title)}</h3></figure>'
    xs = [x for points in shown.values() for x, _ in points]
    ys = [_scaled(y, logarithmic) for points in shown.values() for _, y in points]
    x_range, y_range = _span(min(xs), max(xs)), (0.0, 1.0) if share else _span(min(ys), max(ys))
    parts = [_grid(x_range, y_range, logarithmic, share)]
    legend = []
    for number, name in enumerate(series):  # who has no points here still keeps their colour
        if name not in shown:
            continue
        points = shown[name]
        color, style = CLASS_COLORS[(0, 4)[number % 2]], ("solid", "dashed")[number % 2]
        places = [_place(x, _scaled(y, logarithmic), x_range, y_range) for x, y in points]
        parts.append(_line(places, color, style))
        legend.append(f'<span><i style="border-top:3px {style} {color}"></i>{escape(name)}</span>')
    ends = ((name, *(_said(points[end][1], share) for end in (0, -1))) for name, points in shown.items())
    told = escape(f"{title}. " + "; ".join(f"{name}: {first} … {last}" for name, first, last in ends))
    return (
        f'<figure class="twin-chart"><h3>{escape(title)}</h3>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{told}">{"".join(parts)}</svg>'
        f"<figcaption>{''.join(legend)}</figcaption></figure>"
    )


def _finite(points: Points, logarithmic: bool) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not logarithmic)]


def _scaled(value: float, logarithmic: bool) -> float:
    return math.log10(value) if logarithmic else value


def _span(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _place(x: float, y: float, x_range: tuple[float, float], y_range: tuple[float, float]) -> tuple[float, float]:
    across = (x - x_range[0]) / (x_range[1] - x_range[0])
    up = (y - y_range[0]) / (y_range[1] - y_range[0])
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def _line(places: Sequence[tuple[float, float]], color: str, style: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = ' stroke-dasharray="6 4"' if style == "dashed" else ""
    marked = places if len(places) <= MOST_DOTS else ()
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{color}"/>' for x, y in marked)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>{dots}'


def _grid(x_range: tuple[float, float], y_range: tuple[float, float], logarithmic: bool, share: bool) -> str:
    parts = []
    for step in range(TICKS + 1):
        level = y_range[0] + (y_range[1] - y_range[0]) * step / TICKS
        _, y = _place(x_range[0], level, x_range, y_range)
        words = _said(10**level if logarithmic else level, share)
        parts.append(f'<path class="twin-grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="twin-tick" x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{words}</text>')
    for value in sorted({math.ceil(x_range[0]), round(sum(x_range) / 2), math.floor(x_range[1])}):
        x, _ = _place(value, y_range[0], x_range, y_range)
        parts.append(f'<text class="twin-tick" x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{value}</text>')
    return "".join(parts)


def _said(value: float, share: bool) -> str:
    return f"{value:.0%}" if share else f"{value:.2g}"
