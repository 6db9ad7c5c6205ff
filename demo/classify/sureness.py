"""How sure an answer is, in words and numbers, and the threshold below which there is none, with what it costs.

Everything comes from the checkpoint: reliability bins among its metrics, curves beside its unknown score. The threshold
on the page is the visitor's own; a model's is what its file says.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.text import label, language_of, say

if TYPE_CHECKING:
    from demo.services import Services
    from resnet_core.inference.classifier import Classification
    from resnet_core.training.checkpoint import Checkpoint

LEAST_IN_A_BIN = 20  # pictures; from fewer nothing is claimed
BINS = 10
EDGE, LEFT, BELOW, BESIDE = 200, 50, 36, 20  # px of the diagram's square, and of the room for words around it

Row = tuple[float, float, int]  # how sure, how often right, how many pictures


def at_threshold(result: "Classification", checkpoint: "Checkpoint", threshold: float | None) -> "Classification":
    """The same answer, refused or not at the page's threshold in [0, 1]; without one it stays as it is."""
    if threshold is None or checkpoint.unknown_threshold is None:
        return result
    return replace(result, unknown=score_of(result) < threshold)


def score_of(result: "Classification") -> float:
    """How known the picture looks, in [0, 1]."""
    return result.predictions[0].probability if result.score is None else result.score


def score_words(result: "Classification", checkpoint: "Checkpoint", language: str, threshold: float | None) -> str:
    """How known the picture looks and where refusing begins; empty for a model that never refuses."""
    if checkpoint.unknown_threshold is None:
        return ""
    limit = checkpoint.unknown_threshold if threshold is None else threshold
    return say("sure_score", language, score=_of_100(score_of(result), limit), threshold=f"{limit * 100:.0f}")


def _of_100(score: float, limit: float) -> str:
    """A whole number, or as many digits as it takes to stay on its side of the limit."""
    rough = round(score * 100)
    return str(rough) if (rough < round(limit * 100)) == (score < limit) else f"{score * 100:.2f}"


def reliable_words(checkpoint: "Checkpoint", result: "Classification", language: str) -> str:
    """How often answers about as sure as this one are right, if enough val pictures tell; else nothing."""
    place = bin_of(result.predictions[0].probability)
    row = next((row for row in reliability_rows(checkpoint) if bin_of(row[0]) == place), None)
    if row is None or row[2] < LEAST_IN_A_BIN:
        return ""
    about = {"low": place * 100 // BINS, "high": (place + 1) * 100 // BINS}  # the bin's edges, in %
    if row[1] >= 1:
        return say("sure_right_always", language, of=row[2], **about)
    times, out_of = as_times(row[1])
    return say("sure_right", language, times=times, of=out_of, **about)


def as_times(share: float) -> tuple[int, int]:
    """9 times out of 10, 19 out of 20, 99 out of 100: the coarsest that is not "always" and errs by 2.5 % at most."""
    for out_of in (10, 20, 100):
        times = round(share * out_of)
        if times < out_of and abs(times / out_of - share) <= 0.025:
            return times, out_of
    return min(99, round(share * 100)), 100


def bin_of(sureness: float) -> int:
    """Which bin of the reliability diagram a sureness falls into; a bin holds its upper edge."""
    return max(0, min(BINS - 1, -int(-sureness * BINS // 1) - 1))


def reliability_rows(checkpoint: "Checkpoint") -> list[Row]:
    """The bins kept in the checkpoint's metrics; none where they are missing or were tampered with."""
    rows: list[Row] = []
    kept = checkpoint.metrics.get("reliability")
    for bin in kept if isinstance(kept, list) else []:
        try:
            said, right, count = float(bin[0]), float(bin[1]), int(bin[2])
        except (TypeError, ValueError, IndexError, KeyError, OverflowError):
            return []
        if not (0 <= said <= 1 and 0 <= right <= 1 and count > 0):
            return []
        rows.append((said, right, count))
    return rows[:BINS]


def cost_words(checkpoint: "Checkpoint", threshold: float, language: str) -> str:
    """What refusing below the threshold in [0, 1] costs, from the checkpoint's curves."""
    if checkpoint.unknown_threshold is None:
        return say("sure_never", language)
    score = checkpoint.unknown
    if score is None or score.known is None:
        return say("sure_cost_missing", language)
    refused = per_cent(score.known.share_below(threshold))
    if score.others is None:
        return say("sure_cost_known", language, refused=refused)
    return say("sure_cost", language, refused=refused, through=per_cent(1 - score.others.share_below(threshold)))


def per_cent(share: float) -> str:
    """Whole per cent; "under 1%" and "over 99%" rather than a nothing or an all that is none."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def diagram_card(checkpoint: "Checkpoint", language: str) -> str:
    """The reliability diagram with its heading and how to read it."""
    rows = reliability_rows(checkpoint)
    if not rows:
        return f'<div class="sure-card"><p class="note">{escape(say("sure_no_diagram", language))}</p></div>'
    count = sum(row[2] for row in rows)
    off = sum(abs(said - right) * n for said, right, n in rows) / count
    held_out = checkpoint.metrics.get("val_ece_held_out")
    off = float(held_out) if isinstance(held_out, int | float) else off
    lines = [say("sure_off", language, count=f"{count:,}", off=f"{off * 100:.1f}"), say("sure_hint", language)]
    notes = "".join(f'<p class="note">{escape(line)}</p>' for line in lines)
    title = escape(say("sure_title", language))
    return f'<div class="sure-card"><h3>{title}</h3>{_diagram(rows, language)}{notes}</div>'


def _diagram(rows: list[Row], language: str) -> str:
    """An SVG that a screen reader reads as its dots."""
    told = [
        say("sure_dot", language, said=per_cent(said), right=per_cent(right), count=count)
        for said, right, count in rows
    ]
    most = max(count for _, _, count in rows)
    dots = "".join(
        f'<circle class="sure-dot" cx="{said * EDGE:.1f}" cy="{(1 - right) * EDGE:.1f}" '
        f'r="{3 + 8 * (count / most) ** 0.5:.1f}"><title>{escape(words)}</title></circle>'
        for (said, right, count), words in zip(rows, told, strict=True)
    )
    summary = f"{say('sure_title', language)} {'; '.join(told)}"
    ticks = "".join(_tick(share) for share in (0, 0.5, 1))
    wide, high = LEFT + EDGE + BESIDE, 12 + EDGE + BELOW
    return (
        f'<svg class="sure-diagram" viewBox="{-LEFT} -12 {wide} {high}" role="img" aria-label="{escape(summary)}">'
        f'<rect class="sure-frame" width="{EDGE}" height="{EDGE}"/>'
        f'<line class="sure-ideal" x1="0" y1="{EDGE}" x2="{EDGE}" y2="0"/>{ticks}{dots}'
        f'<text class="sure-axis" x="{EDGE / 2}" y="{EDGE + 29}">{escape(say("sure_axis_said", language))}</text>'
        f'<text class="sure-axis" transform="translate({12 - LEFT} {EDGE / 2}) rotate(-90)">'
        f"{escape(say('sure_axis_right', language))}</text></svg>"
    )


def _tick(share: float) -> str:
    """The same number on both axes."""
    at = share * EDGE
    return (
        f'<text class="sure-tick" x="{at}" y="{EDGE + 13}">{share:.0%}</text>'
        f'<text class="sure-tick sure-tick-left" x="-4" y="{EDGE - at + 3}">{share:.0%}</text>'
    )


@dataclass(frozen=True, kw_only=True)
class SurenessPanel:
    """The elements of the panel; `moved` goes into the handlers that answer photos.

    It is an unseen text "70@flowers": the visitor's threshold and whose it is. A gr.State would keep a connection open.
    """

    threshold: Any
    moved: Any
    cost: Any
    diagram: Any
    reset: Any


def page_threshold(moved: Any, model: str) -> float | None:
    """The visitor's threshold in [0, 1] for that model, as the page keeps it; None: the model's own."""
    number, at, whose = moved.partition("@") if isinstance(moved, str) else ("", "", "")
    try:
        return as_share(float(number)) if at and whose == model else None
    except ValueError:
        return None


def sureness_panel() -> SurenessPanel:
    """Builds the panel, folded, inside whatever is open."""
    with gr.Accordion(label("sure_panel"), open=False, elem_id="sure-panel"):
        threshold = gr.Slider(
            0,
            100,
            50,
            step=1,
            label=label("sure_threshold"),
            info=label("sure_threshold_info"),
            buttons=[],
            elem_id="sure-threshold",
        )
        cost = gr.HTML("", elem_id="sure-cost")
        reset = gr.Button(label("sure_reset"), size="sm", elem_id="sure-reset")
        diagram = gr.HTML("", elem_id="sure-diagram")
    moved = gr.Textbox("", visible="hidden", elem_id="sure-moved")
    return SurenessPanel(threshold=threshold, moved=moved, cost=cost, diagram=diagram, reset=reset)


def connect_sureness(
    panel: SurenessPanel, services: "Services", page: gr.Blocks, model: Any, learned: Any
) -> tuple[Any, ...]:
    """Wires the panel; the events after which the verdict on the photo is to be shown anew. `learned` is the event of a
    followed model that has learned more.

    A threshold belongs to the model it was set for: another model brings its own.
    """

    @failing_in_a_sentence
    def introduce(name: str, request: gr.Request) -> tuple[Any, str, str, str]:
        checkpoint, language = services.classifier(name).checkpoint, language_of(request)
        own = checkpoint.unknown_threshold
        share = 0.0 if own is None else own
        slider = gr.update(value=round(share * 100, 1), visible=own is not None)
        return slider, "", _note(cost_words(checkpoint, share, language)), diagram_card(checkpoint, language)

    @failing_in_a_sentence
    def weigh(name: str, threshold: float, request: gr.Request) -> tuple[str, str]:
        checkpoint = services.classifier(name).checkpoint
        share = as_share(threshold)
        return f"{share * 100:g}@{name}", _note(cost_words(checkpoint, share, language_of(request)))

    @failing_in_a_sentence
    def measure(name: str, moved: Any, request: gr.Request) -> tuple[str, str]:
        checkpoint, language = services.classifier(name).checkpoint, language_of(request)
        share = page_threshold(moved, name)
        share = (checkpoint.unknown_threshold or 0.0) if share is None else share
        return _note(cost_words(checkpoint, share, language)), diagram_card(checkpoint, language)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    shown = [panel.threshold, panel.moved, panel.cost, panel.diagram]
    page.load(introduce, model, shown, **quiet)
    model.change(introduce, model, shown, **quiet)
    learned(measure, [model, panel.moved], [panel.cost, panel.diagram], **quiet)
    weighed = [panel.moved, panel.cost]
    return (
        panel.reset.click(introduce, model, shown, **quiet),
        panel.threshold.input(weigh, [model, panel.threshold], weighed, trigger_mode="always_last", **quiet),
    )


def as_share(threshold: Any) -> float:
    """The slider's number from 0 to 100 as a threshold in [0, 1]; anything else counts as its nearest end."""
    number = float(threshold) if isinstance(threshold, int | float) else 0.0
    return min(1.0, max(0.0, number / 100)) if number == number else 0.0


def _note(sentence: str) -> str:
    return f'<p class="note" role="status">{escape(sentence)}</p>'
