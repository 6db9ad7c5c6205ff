"""What is said of a layer's activation: shape, statistics, dead channels, histogram, the scale of the colours."""

import math
from typing import Any

from demo.markup import escape
from demo.text import say

NAMED = 12  # dead channels that are listed
HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT = 200, 56  # px


def shape_words(activation: Any, language: str) -> str:
    """ "128 channels of 14×14" and the like."""
    if activation.ndim == 1:
        return say("vector", language, channels=len(activation))
    channels, height, width = activation.shape
    return say("shape", language, channels=channels, height=height, width=width)


def stats_words(stats: Any, language: str) -> str:
    """Mean, spread, range and zeros in a line."""
    return say(
        "stats",
        language,
        mean=stats.mean,
        std=stats.std,
        minimum=stats.minimum,
        maximum=stats.maximum,
        zero=stats.zero_share,
    )


def title_words(layer: str, side: str, language: str) -> str:
    """The layer's name, and the side of the ReLU where that was chosen."""
    return layer if side == "given" else say(f"maps_{side}", language, layer=layer)


def side_words(layer: str, asked: str, side: str, beside: str, language: str) -> list[str]:
    """Where the numbers come from when it is not simply the layer's output."""
    if asked != side:
        return [say("maps_relu_none", language, layer=layer)]
    if side == "after" and beside == "follows":
        return [say("maps_after_computed", language, layer=layer)]
    return [say("maps_before_how", language, layer=layer)] if side == "before" and beside == "ends" else []


def dead_words(dead: Any, language: str) -> list[str]:
    """How many channels are dead on the photo, and which; nothing where being dead has no meaning."""
    if dead is None:
        return []
    which = dead.nonzero().flatten().tolist()
    if not which:
        return [say("maps_alive", language)]
    return [say("maps_dead_photo", language, count=len(which), total=len(dead), which=listed(which))]


def field_words(field: tuple[int, int] | None, size: int, language: str) -> list[str]:
    """How much of the photo a place sees."""
    if field is None:
        return []
    key = "maps_field_all" if min(field) > size else "maps_field"
    return [say(key, language, height=field[0], width=field[1], size=size)]


def listed(channels: list[int]) -> str:
    """The first of some channels, by number."""
    return ", ".join(map(str, channels[:NAMED])) + (" …" if len(channels) > NAMED else "")


def facts_html(title: str, lines: list[str], beside: str = "") -> str:
    """A heading and a few lines, and something beside them."""
    body = "".join(f'<p class="note">{escape(line)}</p>' for line in lines)
    return f'<div class="facts maps-facts"><div><h3>{escape(title)}</h3>{body}</div>{beside}</div>'


def histogram_svg(activation: Any, language: str) -> str:
    """Bars of how many numbers lie where, zero marked, as HTML."""
    from resnet_core.activations.statistics import histogram

    found = histogram(activation)
    bins, most = len(found.counts), max(found.counts)
    width = HISTOGRAM_WIDTH / bins
    step = (found.high - found.low) / bins
    bars = ""
    for place, count in enumerate(found.counts):
        height = HISTOGRAM_HEIGHT * math.log1p(count) / math.log1p(most) if count else 0.0
        low = found.low + place * step
        told = escape(say("maps_histogram_bar", language, low=low, high=low + step, count=f"{count:,}"))
        bars += (
            f'<rect x="{place * width:.2f}" y="{HISTOGRAM_HEIGHT - height:.2f}" width="{width - 0.6:.2f}" '
            f'height="{height:.2f}"><title>{told}</title></rect>'
        )
    zero = ""
    if found.low < 0 < found.high:
        x = HISTOGRAM_WIDTH * -found.low / (found.high - found.low)
        zero = f'<line x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="{HISTOGRAM_HEIGHT}"/>'
    told = say("maps_histogram", language, count=f"{sum(found.counts):,}", low=found.low, high=found.high)
    return (
        f'<figure class="maps-histogram"><svg viewBox="0 0 {HISTOGRAM_WIDTH} {HISTOGRAM_HEIGHT}" role="img" '
        f'aria-label="{escape(told)}" preserveAspectRatio="none">{bars}{zero}</svg>'
        f"<figcaption><span>{found.low:.3g}</span><span>{found.high:.3g}</span></figcaption></figure>"
    )


def scale_html(activation: Any, scale: str, colors: str, language: str) -> str:
    """The colours from the least to the largest number, and what those are."""
    from resnet_core.activations.color_map import COLOR_MAPS, SIGNED
    from resnet_core.activations.stretching import as_maps, color_range

    maps = as_maps(activation)
    low, high = (bound.flatten() for bound in color_range(maps, scale, colors))
    if len(low) == 1:
        first, last = f"{float(low[0]):.3g}", f"{float(high[0]):.3g}"
    elif colors in SIGNED:
        first, last = say("maps_scale_below", language), say("maps_scale_above", language)
    else:
        first, last = say("maps_scale_own_low", language), say("maps_scale_own_high", language)
    gradient = ", ".join(COLOR_MAPS[colors])
    return (
        f'<div class="maps-scale"><span>{escape(first)}</span><i style="background:linear-gradient(90deg, {gradient})">'
        f"</i><span>{escape(last)}</span></div>"
    )
