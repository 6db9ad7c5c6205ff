"""The schedule of a run as a small picture, drawn on the server: learning rate, picture size, frozen stages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from demo.markup import escape
from demo.text import say
from resnet_core.data.images import display_name
from resnet_core.training.config import FREEZE

if TYPE_CHECKING:
    from resnet_core.training.preview import Preview  # which imports torch

WIDTH, HEIGHT = 320, 60  # px of the curve's field
LEFT, RIGHT, TOP = 44, 8, 8
BAND = 13  # px a row of stages is high


def plan_picture(planned: Preview, language: str) -> str:
    """An SVG as HTML; it scales with the column, and its title says what it shows."""
    rows = _frozen_rows(planned)
    below = TOP + HEIGHT + 16 + (len(rows) * BAND + 6 if rows else 0)
    parts = [
        _grid(planned, language),
        _sizes(planned, language),
        _rate_curve(planned),
        *(_band(planned, stage, number) for number, stage in enumerate(rows)),
    ]
    title = escape(summary(planned, language))
    return (
        f'<svg class="plan-picture" viewBox="0 0 {LEFT + WIDTH + RIGHT} {below}" role="img" aria-label="{title}">'
        f"{''.join(parts)}</svg>"
    )


def summary(planned: Preview, language: str) -> str:
    """What was picked, in one line."""
    config = planned.config
    return say(
        "plan_summary",
        language,
        data=display_name(Path(config.dataset).name),
        network=planned.network,
        size=config.image_size,
        epochs=config.epochs,
        steps=f"{planned.steps_per_epoch:,}",
        batch=config.batch_size,
        optimizer=config.optimizer,
        schedule=config.schedule,
        rate=f"{config.learning_rate:g}",
    )


def _across(planned: Preview, epochs: float) -> float:
    """Where a moment lies, in px from the left; `epochs` are those over by then."""
    return LEFT + WIDTH * epochs / len(planned.epochs)


def _rate_curve(planned: Preview) -> str:
    peak = max(rate for _, rate in planned.curve)
    points = [(_across(planned, at), TOP + HEIGHT * (1 - rate / peak)) for at, rate in planned.curve]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    base = TOP + HEIGHT
    area = f"{points[0][0]:.1f},{base} {line} {points[-1][0]:.1f},{base}"
    return f'<polygon class="plan-area" points="{area}"/><polyline class="plan-rate" points="{line}"/>'


def _grid(planned: Preview, language: str) -> str:
    peak = max(rate for _, rate in planned.curve)
    base, epochs = TOP + HEIGHT, len(planned.epochs)
    marks = [f'<line class="plan-axis" x1="{LEFT}" y1="{base}" x2="{LEFT + WIDTH}" y2="{base}"/>']
    marks += [
        text_at(LEFT - 5, TOP + 4, f"{peak:.3g}", "end"),
        text_at(LEFT - 5, base, "0", "end"),
        text_at(LEFT, base + 13, "1", "start"),
        text_at(LEFT + WIDTH, base + 13, f"{epochs} {say('plan_epochs', language)}", "end"),
    ]
    return "".join(marks)


def _sizes(planned: Preview, language: str) -> str:
    """The picture size as a dashed staircase, where it grows."""
    sizes = [epoch.image_size for epoch in planned.epochs]
    if min(sizes) == max(sizes):
        return ""
    heights = [TOP + HEIGHT * (1 - 0.9 * size / max(sizes)) for size in sizes]
    steps = [
        f"{_across(planned, at):.1f},{height:.1f}"
        for number, height in enumerate(heights)
        for at in (number, number + 1)
    ]
    first = text_at(LEFT + 3, heights[0] - 4, f"{sizes[0]} px", "start")
    last = text_at(LEFT + WIDTH - 2, heights[-1] - 3, f"{sizes[-1]} px", "end")
    return f'<polyline class="plan-size" points="{" ".join(steps)}"/>{first}{last}'


def _frozen_rows(planned: Preview) -> list[str]:
    """The stages that are frozen at some time, the first to thaw on top."""
    deepest = max(FREEZE.index(epoch.freeze) for epoch in planned.epochs)
    return list(reversed(FREEZE[1 : deepest + 1]))


def _band(planned: Preview, stage: str, row: int) -> str:
    """A row for a stage: grey while it is frozen, coloured while it learns."""
    place = FREEZE.index(stage)
    frozen = sum(FREEZE.index(epoch.freeze) >= place for epoch in planned.epochs)
    y, middle = TOP + HEIGHT + 20 + row * BAND, _across(planned, frozen)
    parts = (("plan-frozen", LEFT, middle), ("plan-learns", middle, LEFT + WIDTH))
    bars = [
        f'<rect class="{kind}" x="{start:.1f}" y="{y}" width="{end - start:.1f}" height="{BAND - 3}"/>'
        for kind, start, end in parts
        if end > start
    ]
    return "".join(bars) + text_at(LEFT - 5, y + BAND - 4, stage, "end")


def text_at(x: float, y: float, words: str, anchor: str) -> str:
    """Words in a picture; `anchor` says which end of them stands at x."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
