"""What the Where part shows: a heat map over the photo, two classes told apart, and whether the map may be trusted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from demo.maps.channel_map.channel_map import image_address
from demo.maps.trust_chart import deletion_chart
from demo.markup import escape
from demo.services import Services
from demo.text import say
from resnet_core.data.images import ReadImage

if TYPE_CHECKING:
    from resnet_core.activations.trust import TrustTest

SIDE = 336  # px of the photo under a map
MAP_SIDE = 112  # px of the map itself, which is smooth: the browser enlarges it
STEP_SIDE = 80  # px of a map of the random-weights row


@dataclass(frozen=True, kw_only=True)
class WhereLook:
    """The maps of a photo as HTML, and what they are about."""

    html: str
    class_names: tuple[str, ...]
    wanted: str
    against: str | None


def look_where(
    services: Services,
    photo: ReadImage,
    model: str,
    layer: str,
    *,
    method: str,
    wanted: str | None,
    against: str | None,
    language: str,
) -> WhereLook:
    """Where the network looked for `wanted` (None: its answer), and beside it why not `against`, if one is named.

    Only the passes of the network are done at the desk. Raises ResNetLabError.
    """
    from resnet_core.activations.gradcam import square_under
    from resnet_core.activations.heat import heat_map

    classifier = services.classifier(model)
    names = classifier.class_names
    if wanted not in names:
        wanted = services.classify(model, photo.image, top_k=1).predictions[0].label
    other = against if against in names and against != wanted else None
    inputs, index = classifier.checkpoint.preprocessing(photo.image)[None], names.index(wanted)
    square = image_address(square_under(photo.image, classifier.checkpoint.preprocessing, SIDE), "JPEG", quality=88)
    found = heat_map(classifier.model, inputs, layer, index, method=method, in_turn=services.desk.run)
    figures = _heat_figure(square, found, wanted, layer, language)
    if other is not None:
        figures += _contrast_figure(services, classifier, inputs, square, layer, wanted, other, language)
    return WhereLook(html=f'<div class="why-maps">{figures}</div>', class_names=names, wanted=wanted, against=other)


def _heat_figure(square: str, found: Any, wanted: str, layer: str, language: str) -> str:
    words = {"label": wanted, "layer": layer}
    captions = [say("where_heat" if found.heat.any() else "where_empty", language, **words)]
    if found.channels:
        captions.append(say("where_used", language, used=found.used, channels=found.channels))
    scale = _scale("heat", say("where_little", language), say("where_much", language))
    return _figure(
        square, heat_address(found.heat, MAP_SIDE), say("where_heat_title", language, **words), captions, scale
    )


def _contrast_figure(
    services: Services,
    classifier: Any,
    inputs: Any,
    square: str,
    layer: str,
    wanted: str,
    other: str,
    language: str,
) -> str:
    from resnet_core.activations.contrast import contrast_layer, contrast_map

    names = classifier.class_names
    asked = partial(contrast_map, classifier.model, inputs, layer, names.index(wanted), names.index(other))
    signed = services.desk.run(asked)[0]
    words = {"label": wanted, "other": other, "layer": layer}
    return _figure(
        square,
        image_address(contrast_layer(signed, MAP_SIDE, MAP_SIDE), "PNG"),
        say("where_contrast_title", language, **words),
        [say("where_contrast", language, **words)],
        _scale("contrast", other, wanted),
        grey=True,
    )


def heat_address(heat: Any, side: int) -> str:
    """A heat map as a picture of its own."""
    from resnet_core.activations.color_map import colorize
    from resnet_core.activations.gradcam import enlarge

    return image_address(Image.fromarray(colorize(enlarge(heat, side, side))), "PNG")


def _figure(square: str, layer: str, title: str, captions: list[str], scale: str, *, grey: bool = False) -> str:
    lines = "".join(f"<p>{escape(caption)}</p>" for caption in captions)
    return (
        f'<figure class="why-figure"><div class="why-picture{" why-grey" if grey else ""}"><img src="{square}" alt="">'
        f'<img class="why-layer" src="{layer}" alt="{escape(title)}"></div>'
        f"<figcaption><h3>{escape(title)}</h3>{scale}{lines}</figcaption></figure>"
    )


def _scale(kind: str, low: str, high: str) -> str:
    return f'<div class="why-scale {kind}"><span>{escape(low)}</span><i></i><span>{escape(high)}</span></div>'


def trust_html(
    services: Services,
    photo: ReadImage,
    model: str,
    layer: str,
    *,
    method: str,
    wanted: str | None,
    language: str,
    stopped: Callable[[], bool] | None = None,
) -> str:
    """The verdict on a map, what it looks like with random weights, and the photo being covered.

    Only the passes of the networks are done at the desk. Raises ResNetLabError, WorkStopped once `stopped()` is true.
    """
    from resnet_core.activations.heat import trust_heat

    classifier = services.classifier(model)
    names = classifier.class_names
    if wanted not in names:
        wanted = services.classify(model, photo.image, top_k=1).predictions[0].label
    inputs = classifier.checkpoint.preprocessing(photo.image)[None]
    index, turns = names.index(wanted), services.desk.run
    test = trust_heat(classifier.model, inputs, layer, index, method=method, in_turn=turns, stopped=stopped)
    return (
        f'<div class="trust">{_verdict_html(test, wanted, language)}{_cascade_html(test, language)}'
        f"{_deletion_html(test, wanted, language)}</div>"
    )


def verdict_words(test: "TrustTest", wanted: str, language: str) -> tuple[str, list[str]]:
    """The verdict, and its reasons as sentences."""
    words = {"label": wanted, "likeness": f"{test.steps[-1].likeness:.2f}" if test.steps else "–"}
    if test.verdict.trusted:
        return say("where_trusted", language), [say("where_why_trusted", language, **words)]
    reasons = [say(f"where_reason_{reason}", language, **words) for reason in test.verdict.reasons]
    return say("where_distrusted", language), reasons


def _verdict_html(test: "TrustTest", wanted: str, language: str) -> str:
    verdict, reasons = verdict_words(test, wanted, language)
    lines = "".join(f"<p>{escape(reason)}</p>" for reason in reasons)
    kind = "passed" if test.verdict.trusted else "failed"
    return f'<div class="trust-verdict trust-{kind}" role="status"><h3>{escape(verdict)}</h3>{lines}</div>'


def _cascade_html(test: "TrustTest", language: str) -> str:
    from resnet_core.activations.trust import DRAWS

    first = test.steps[0].part if test.steps else ""
    figures = _small(heat_address(test.heat, STEP_SIDE), say("where_original", language), "")
    for step in test.steps:
        part = step.part if step.part == first else say("where_and_above", language, part=step.part)
        figures += _small(heat_address(step.heat, STEP_SIDE), part, f"{step.likeness:.2f}")
    how = say("where_cascade_how", language, draws=DRAWS)
    return (
        f"<h4>{escape(say('where_cascade', language))}</h4>"
        f'<div class="trust-steps">{figures}</div><p class="note">{escape(how)}</p>'
    )


def _small(address: str, words: str, number: str) -> str:
    strong = f" <b>{number}</b>" if number else ""
    return f'<figure><img src="{address}" alt=""><figcaption>{escape(words)}{strong}</figcaption></figure>'


def _deletion_html(test: "TrustTest", wanted: str, language: str) -> str:
    deletion = test.deletion
    how = say(
        "where_deletion_how",
        language,
        label=wanted,
        area=f"{deletion.area:.2f}",
        chance=f"{deletion.chance_mean:.2f}",
        spread=f"{deletion.chance_spread:.2f}",
        orders=len(deletion.chance_areas),
    )
    return (
        f"<h4>{escape(say('where_deletion', language))}</h4>{deletion_chart(deletion, language)}"
        f'<p class="note">{escape(how)}</p>'
    )
