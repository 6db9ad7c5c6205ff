"""“Why this answer”: what in the photo speaks for a class, why one class and not another, the nearest pictures."""

import base64
import io
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from PIL import Image

from demo.classify.nearest_section import nearest_section
from demo.classify.opened import refresh_button
from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage

SIDE = 336  # px of the photo under a map
MAP_SIDE = 112  # px of the map itself, which is smooth: the browser enlarges it
PLACES = (
    ("why_upper_left", "why_upper", "why_upper_right"),
    ("why_left", "why_middle", "why_right"),
    ("why_lower_left", "why_lower", "why_lower_right"),
)
# the strength is changed in the browser alone: the maps lie over the photo as pictures of their own
STRENGTH = "(share) => { document.body.style.setProperty('--why-strength', share / 100); return []; }"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Both maps of a photo as HTML, and what they are about."""

    html: str
    class_names: tuple[str, ...]
    wanted: str
    against: str | None  # None for a model of one class


def explain(
    services: Services, photo: ReadImage, model: str, wanted: str | None, against: str | None, language: str
) -> Explanation:
    """Why the model said `wanted` (None: its answer) and not `against` (None: the most probable other class).

    Raises ResNetLabError.
    """
    from resnet_core.activations.gradcam import square_under

    classifier = services.classifier(model)
    ranked = [prediction.label for prediction in classifier.classify(photo.image).predictions]
    wanted = wanted if wanted in ranked else ranked[0]
    others = [name for name in ranked if name != wanted]
    other = against if against in others else next(iter(others), None)
    square = _jpeg(square_under(photo.image, classifier.checkpoint.preprocessing, SIDE))
    figures = _figures(classifier, photo, square, wanted, other, language)
    return Explanation(
        html=f'<div class="why-maps">{figures}</div>', class_names=classifier.class_names, wanted=wanted, against=other
    )


def _figures(classifier: Any, photo: ReadImage, square: str, wanted: str, other: str | None, language: str) -> str:
    from resnet_core.activations.color_map import colorize
    from resnet_core.activations.contrast import contrast_layer, contrast_map, last_map, share_for, strongest_place
    from resnet_core.activations.gradcam import enlarge, grad_cam

    model, inputs = classifier.model, classifier.checkpoint.preprocessing(photo.image)[None]
    layer, index = last_map(model, inputs), classifier.class_names.index(wanted)
    heat = grad_cam(model, inputs, layer, index)[0]
    words = {"label": wanted, "other": other, "layer": layer}
    caption = say("why_heat", language, place=_place(strongest_place(heat), language), **words)
    figures = _figure(
        square,
        _png(Image.fromarray(colorize(enlarge(heat, MAP_SIDE, MAP_SIDE)))),
        say("why_heat_title", language, **words),
        caption if heat.any() else say("why_heat_none", language, **words),
        _scale("heat", say("why_little", language), say("why_much", language)),
        grey=False,
    )
    if other is None:
        return figures
    signed = contrast_map(model, inputs, layer, index, classifier.class_names.index(other))[0]
    place, share = _place(strongest_place(signed), language), f"{share_for(signed):.0%}"
    caption = say("why_contrast", language, place=place, share=share, **words)
    return figures + _figure(
        square,
        _png(contrast_layer(signed, MAP_SIDE, MAP_SIDE)),
        say("why_contrast_title", language, **words),
        caption if signed.any() else say("why_contrast_none", language, **words),
        _scale("contrast", other, wanted),
        grey=True,
    )


def _figure(square: str, layer: str, title: str, caption: str, scale: str, *, grey: bool) -> str:
    """A map over the photo, which is grey where colours mean something else, with its title, scale and caption."""
    return (
        f'<figure class="why-figure"><div class="why-picture{" why-grey" if grey else ""}"><img src="{square}" alt="">'
        f'<img class="why-layer" src="{layer}" alt="{escape(title)}"></div>'
        f"<figcaption><h3>{escape(title)}</h3>{scale}<p>{escape(caption)}</p></figcaption></figure>"
    )


def _scale(kind: str, low: str, high: str) -> str:
    return f'<div class="why-scale {kind}"><span>{escape(low)}</span><i></i><span>{escape(high)}</span></div>'


def _place(ninth: tuple[int, int], language: str) -> str:
    return say(PLACES[ninth[0]][ninth[1]], language)


def _jpeg(image: Image.Image) -> str:
    return _address(image, "JPEG", quality=88)


def _png(image: Image.Image) -> str:
    return _address(image, "PNG")


def _address(image: Image.Image, form: str, **options: Any) -> str:
    file = io.BytesIO()
    image.save(file, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def why_section(services: Services, photo: Any, model: Any) -> None:
    """Builds the section; nothing is computed before it is opened."""
    with gr.Accordion(label("why_title"), open=False, elem_id="why-section") as section:
        with gr.Row():
            wanted = gr.Dropdown([], label=label("why_for"), elem_id="why-for", min_width=140)
            against = gr.Dropdown([], label=label("why_against"), elem_id="why-against", min_width=140)
            strength = gr.Slider(0, 100, 60, step=5, label=label("why_strength"), elem_id="why-strength", min_width=200)
        maps = gr.HTML(_sentence(say("why_looking")), elem_id="why-maps")
        nearest = nearest_section(services, photo, model)
    refresh = refresh_button("why-maps")

    def show(picture: ReadImage | None, name: str, first: str | None, other: str | None, language: str) -> Any:
        if picture is None:
            return _sentence(say("why_no_photo", language)), _choice((), None), _choice((), None)
        told = services.desk.run(partial(explain, services, picture, name, first, other, language))
        return told.html, _choice(told.class_names, told.wanted), _choice(told.class_names, told.against)

    @failing_in_a_sentence
    def fresh(picture: ReadImage | None, name: str, request: gr.Request) -> Any:
        language = language_of(request)
        return *show(picture, name, None, None, language), nearest.known(picture, name, language)

    @failing_in_a_sentence
    def chosen(picture: ReadImage | None, name: str, first: str | None, other: str | None, request: gr.Request) -> Any:
        return show(picture, name, first, other, language_of(request))

    # "always_last": the photo may change while maps are made, and those of the newest must follow
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    latest: dict[str, Any] = {"trigger_mode": "always_last"}
    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, **quiet}
    outputs = [maps, wanted, against]
    gr.on([section.expand, refresh.click], fresh, [photo, model], [*outputs, nearest.pictures], **latest, **heavy)
    # `input` and `change` also come when the choices are replaced (gradio 6.31); a person's choice is a `select`
    gr.on([wanted.select, against.select], chosen, [photo, model, wanted, against], outputs, **latest, **heavy)
    strength.input(None, strength, None, js=STRENGTH, api_visibility="private")


def _choice(class_names: tuple[str, ...], value: str | None) -> Any:
    return gr.update(choices=list(class_names), value=value)


def _sentence(sentence: str) -> str:
    return f'<p class="note">{escape(sentence)}</p>'
