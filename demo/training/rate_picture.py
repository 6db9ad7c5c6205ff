"""The curve of a learning-rate scan as a small picture, drawn on the server."""

import math

from demo.markup import escape
from demo.text import say
from demo.training.plan_picture import HEIGHT, LEFT, RIGHT, TOP, WIDTH, text_at


def scan_picture(rates: tuple[float, ...], losses: tuple[float, ...], suggested: float | None, language: str) -> str:
    """Loss against learning rate, the latter logarithmic, with the suggestion marked; an SVG as HTML."""
    if len(rates) < 2:
        return ""
    low, high = math.log10(rates[0]), math.log10(rates[-1])
    floor, ceiling = min(losses), min(max(losses), losses[0] * 1.6)

    def across(rate: float) -> float:
        return LEFT + WIDTH * (math.log10(rate) - low) / (high - low)

    def up(loss: float) -> float:
        return TOP + HEIGHT * (1 - min(1.0, (loss - floor) / max(1e-9, ceiling - floor)))

    line = " ".join(f"{across(rate):.1f},{up(loss):.1f}" for rate, loss in zip(rates, losses, strict=True))
    base = TOP + HEIGHT
    decades = range(math.ceil(low), math.floor(high) + 1)
    ticks = "".join(_tick(across(10.0**decade), decade) for decade in decades)
    mark = "" if suggested is None else _mark(across(suggested), f"{suggested:.2g}")
    title = escape(f"{say('find_loss', language)} / {say('find_rate', language)}")
    return (
        f'<svg class="plan-picture" viewBox="0 0 {LEFT + WIDTH + RIGHT} {base + 32}" role="img" aria-label="{title}">'
        f'<line class="plan-axis" x1="{LEFT}" y1="{base}" x2="{LEFT + WIDTH}" y2="{base}"/>{ticks}'
        f'<polyline class="plan-rate" points="{line}"/>{mark}'
        f"{text_at(LEFT - 5, TOP + 4, f'{ceiling:.2f}', 'end')}{text_at(LEFT - 5, base, f'{floor:.2f}', 'end')}"
        f"{text_at(LEFT + WIDTH, base + 28, say('find_rate', language), 'end')}</svg>"
    )


def _tick(x: float, decade: int) -> str:
    base = TOP + HEIGHT
    line = f'<line class="plan-tick" x1="{x:.1f}" y1="{base}" x2="{x:.1f}" y2="{base + 3}"/>'
    return line + text_at(x, base + 14, f"1e{decade}", "middle")


def _mark(x: float, words: str) -> str:
    """The line at the suggestion, its words on the side where there is room."""
    left = x > LEFT + WIDTH - 60
    line = f'<line class="plan-mark" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + HEIGHT}"/>'
    return line + text_at(x - 4 if left else x + 4, TOP + 8, words, "end" if left else "start")
