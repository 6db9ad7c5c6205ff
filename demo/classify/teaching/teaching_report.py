"""What a teaching gave, as a card: how good it is and how that is known, what was mistaken, what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.markup import escape
from demo.text import say
from resnet_core.data.image_gate import visible_text

if TYPE_CHECKING:
    from resnet_core.training.judging import Judgement
    from resnet_core.training.teaching import TeachingReport

CONFUSIONS = 3  # shown
LEFT_OUT = 20  # shown


def report_card(report: TeachingReport, title: str, language: str, *, refuses_unknown: bool) -> str:
    """The card; class and file names are escaped."""
    judged, names = report.judgement, tuple(report.counts)
    if judged is None:
        headline, lead = say("teaching_untold", language), say("teaching_one_burst", language)
    else:
        headline = say("teaching_about", language, share=judged.top1)
        lead = say("teaching_between", language, low=judged.low, high=judged.high, n=judged.n)
    lines = [*_how(judged, names, language), *_facts(report, title, language)]
    lines.append(say("teaching_some_unknown" if refuses_unknown else "teaching_no_unknown", language))
    lines += report.notes
    lines += [say("teaching_left_out", language, reason=reason) for _, reason in report.left_out[:LEFT_OUT]]
    if len(report.left_out) > LEFT_OUT:
        lines.append(f"… +{len(report.left_out) - LEFT_OUT:,}")
    top1 = "" if judged is None else f"{judged.top1:.4f}"
    body = "".join(f'<p class="note">{escape(line)}</p>' for line in lines)
    mistakes = "".join(f"<li>{escape(line)}</li>" for line in _mistakes(judged, names, language))
    return (
        f'<div class="answer taught" role="status" data-top1="{top1}"><p class="sureness">{escape(lead)}</p>'
        f'<h2>{escape(headline)}</h2><ul class="mistakes">{mistakes}</ul>{body}</div>'
    )


def _how(judged: Judgement | None, names: tuple[str, ...], language: str) -> list[str]:
    if judged is None:
        return []
    turns = judged.method == "cross-validation"
    lines = [say("teaching_by_turns", language, folds=judged.folds) if turns else say("teaching_by_hold_out", language)]
    if judged.groups < judged.n:
        lines.append(say("teaching_groups", language, groups=judged.groups))
    if judged.unjudged:
        shown = ", ".join(f"“{visible_text(names[index])}”" for index in judged.unjudged)
        lines.append(say("teaching_unjudged", language, names=shown))
    return lines


def _mistakes(judged: Judgement | None, names: tuple[str, ...], language: str) -> list[str]:
    if judged is None:
        return []
    rows = judged.confusions()[:CONFUSIONS]
    if not rows:
        return [say("teaching_perfect", language)]
    return [
        say(
            "teaching_mistaken",
            language,
            count=count,
            total=total,
            true=visible_text(names[true]),
            answer=visible_text(names[answer]),
        )
        for true, answer, count, total in rows
    ]


def _facts(report: TeachingReport, title: str, language: str) -> list[str]:
    pictures = sum(report.counts.values())
    return [
        say(
            "teaching_took",
            language,
            pictures=pictures,
            classes=len(report.counts),
            seconds=report.seconds,
            backbone=visible_text(report.backbone),
        ),
        say("teaching_saved", language, title=title),
    ]
