"""The findings about weights from elsewhere as a card: a sentence, then a compact table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.markup import escape
from demo.text import say
from resnet_core.data.image_gate import visible_text

if TYPE_CHECKING:
    from resnet_core.inference.inspector import Inspection

SHOWN_NAMES = 6


def findings_card(inspection: Inspection, language: str) -> str:
    """What the file is, as HTML."""
    rows = "".join(
        f"<tr><th scope='row'>{escape(head)}</th><td>{escape(text)}</td></tr>"
        for head, text in _rows(inspection, language)
    )
    fit = inspection.fit
    if inspection.problem or fit is None:
        title, sentence = say("adopt_refused", language), inspection.problem or ""
    else:
        key = "adopt_ours" if inspection.form == "ours" else "adopt_fits"
        title, sentence = fit.title, say(key, language, file=inspection.file_name, title=fit.title, tensors=fit.matched)
    return (
        f'<div class="answer findings" role="status"><h2>{escape(title)}</h2><p>{escape(sentence)}</p>'
        f"<table>{rows}</table></div>"
    )


def refused_card(sentence: str, language: str) -> str:
    """Why a file was not even opened."""
    title = escape(say("adopt_refused", language))
    return f'<div class="answer findings" role="status"><h2>{title}</h2><p>{escape(sentence)}</p></div>'


def adopted_card(title: str, language: str) -> str:
    """The good news."""
    return (
        f'<div class="answer findings" role="status"><h2>{escape(say("adopt_done", language, title=title))}</h2>'
        f"<p>{escape(say('adopt_done_line', language))}</p></div>"
    )


def _rows(inspection: Inspection, language: str) -> list[tuple[str, str]]:
    rows = []
    fit = inspection.fit
    if fit is not None and not fit.complete:
        counts = {"shapes": len(fit.other_shape), "missing": len(fit.missing), "unexpected": len(fit.unexpected)}
        rows.append((say("adopt_row_network", language), say("adopt_nearest", language, title=fit.title)))
        rows.append((say("adopt_row_match", language), say("adopt_match", language, matched=fit.matched, **counts)))
    elif fit is not None and len(inspection.fits) > 1:
        others = ", ".join(other.title for other in inspection.fits[1:])
        rows.append((say("adopt_row_network", language), say("adopt_or", language, title=fit.title, others=others)))
    rows.append((say("adopt_row_classes", language), _classes(inspection, language)))
    rows.append((say("adopt_row_weights", language), _weights(inspection, language)))
    if fit is not None:
        rows.append((say("adopt_row_names", language), _names(inspection, language)))
        how = inspection.preprocessing.describe()
        pictures = say("adopt_guess", language, how=how) if inspection.guessed else how
        rows.append((say("adopt_row_pictures", language), pictures))
    if inspection.left_out:
        names = _some(inspection.left_out)
        text = say("adopt_left_out", language, count=len(inspection.left_out), names=names)
        rows.append((say("adopt_row_left_out", language), text))
    return rows


def _classes(inspection: Inspection, language: str) -> str:
    if inspection.num_classes is None:
        return say("adopt_no_head", language)
    key = f"adopt_names_{inspection.class_names_from}"
    return say(key, language, count=f"{inspection.num_classes:,}", names=_some(inspection.class_names))


def _weights(inspection: Inspection, language: str) -> str:
    what = say(
        "adopt_weights", language, parameters=f"{inspection.parameters:,}", precision=inspection.precision or "–"
    )
    return say("adopt_under", language, what=what, where=inspection.wrapper) if inspection.wrapper else what


def _names(inspection: Inspection, language: str) -> str:
    names = say(f"adopt_from_{inspection.convention}", language)
    return say("adopt_prefix", language, names=names, prefix=inspection.prefix) if inspection.prefix else names


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(visible_text, names[:SHOWN_NAMES]))
    return f"{shown} …" if len(names) > SHOWN_NAMES else shown
