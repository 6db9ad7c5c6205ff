"""How many val pictures are named rightly with and without what is switched off, told while it is counted."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from demo.maps.inside_block import Off, fitting, what_words
from demo.markup import escape
from demo.services import Services
from demo.text import say
from resnet_core.errors import ResNetLabError

if TYPE_CHECKING:
    from resnet_core.activations.switching import AccuracySoFar, ValSample


def counting_html(services: Services, model: str, off: Off, language: str) -> Iterator[str]:
    """HTML after every few pictures, at last the result; a failure is a sentence in its place.

    Other visitors' photos come in between. Whoever stops asking stops the counting.
    """
    try:
        yield from _counting(services, model, off, language)
    except ResNetLabError as problem:
        yield f'<p class="note">{escape(problem)}</p>'


def _counting(services: Services, model: str, off: Off, language: str) -> Iterator[str]:
    from resnet_core.activations.switching import compare_accuracy, val_sample

    classifier = services.classifier(model)
    off = fitting(off, classifier)
    if not off:
        yield f'<p class="note">{escape(say("blocks_nothing_off", language))}</p>'
        return
    sample = val_sample(classifier, services.data_dir, allow_paths=services.local)
    twin = services.desk.run(lambda: services.private_copies.of(classifier))
    what = what_words(off, language)
    for so_far in compare_accuracy(twin, sample, off, in_turn=services.desk.run):  # type: ignore[arg-type]
        yield _told(so_far, sample, what, language)


def _told(so_far: "AccuracySoFar", sample: "ValSample", what: str, language: str) -> str:
    before, after = so_far.before / so_far.done, so_far.after / so_far.done
    over = so_far.done == so_far.total
    values = {"total": so_far.total, "before": before, "after": after, "what": what}
    sentence = (
        say("blocks_counted", language, dataset=sample.dataset.name, **values)
        if over
        else say("blocks_counting", language, done=so_far.done, **values)
    )
    style = f"width:{100 * so_far.done / so_far.total:.0f}%"
    bar = "" if over else f'<div class="bar-track block-progress"><span class="bar" style="{style}"></span></div>'
    stand_in = f'<p class="note">{escape(say("blocks_stand_in", language))}</p>' if sample.stand_in else ""
    state = "done" if over else "counting"
    return f'<div class="block-counted" data-state="{state}"><p>{escape(sentence)}</p>{bar}{stand_in}</div>'
