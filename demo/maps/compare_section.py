"""The Compare part: two models, two epochs of a run or two photos, one layer, with a slider between them."""

import math
from typing import Any, NamedTuple

import gradio as gr

from demo.maps.channel_section import NO_PROGRESS, telling
from demo.maps.compare_slider.compare_slider import CompareSlider, slider_value
from demo.maps.compare_view import Seen, compare
from demo.maps.epoch_looks import run_of
from demo.maps.looking import Looking
from demo.maps.refreshing import QUIET, refreshed_with
from demo.maps.scans import LOOKING, Scans
from demo.markup import escape
from demo.photo import photo_input
from demo.sentences import failing_in_a_sentence
from demo.services import Services, model_choices
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage
from resnet_core.errors import DatasetError, ResNetLabError

MODELS, EPOCHS, PHOTOS = "models", "epochs", "photos"


class Asked(NamedTuple):
    """The components of the part that a person sets."""

    mode: Any
    other_model: Any
    first_epoch: Any
    second_epoch: Any
    other_photo: Any


def compare_section(services: Services, looking: Looking) -> None:
    """Builds the part into the current context; nothing is computed while another part is on view."""
    with gr.Column(elem_id="compare-body"):
        asked = _build()
        slider = CompareSlider(slider_value(None, None, empty=say("compare_no_photo")), elem_id="compare-slider")
        cka_button = gr.Button(label("compare_cka"), size="sm", elem_id="compare-cka-button")
        cka = gr.HTML("", elem_id="compare-cka")
    refresh = refreshed_with(looking, "compare-body")
    _wire_slider(services, looking, asked, refresh, slider, cka_button, cka)
    _wire_cka(services, looking, asked, cka_button, cka)


def _build() -> Asked:
    mode = gr.Radio(
        [(label(f"compare_{mode}"), mode) for mode in (MODELS, EPOCHS, PHOTOS)],
        value=MODELS,
        label=label("compare_mode"),
        elem_id="compare-mode",
    )
    other_model = gr.Dropdown([], label=label("compare_other_model"), elem_id="compare-model")
    with gr.Row():
        options: dict[str, Any] = {"visible": False, "min_width": 120}
        first = gr.Dropdown([], label=label("compare_first_epoch"), elem_id="compare-first-epoch", **options)
        second = gr.Dropdown([], label=label("compare_second_epoch"), elem_id="compare-second-epoch", **options)
    photo = photo_input(label=label("compare_other_photo"), height=180, visible=False, elem_id="compare-photo")
    return Asked(mode, other_model, first, second, photo)


def _wire_slider(
    services: Services, looking: Looking, asked: Asked, refresh: Any, slider: Any, cka_button: Any, cka: Any
) -> None:
    @failing_in_a_sentence
    def show(
        picture: ReadImage | None, name: str, layer: str, mode: str, other: str | None, first: int | None,
        second: int | None, other_picture: ReadImage | None, request: gr.Request,
    ) -> tuple[Any, ...]:  # fmt: skip
        language = language_of(request)
        choices = offered(services, name, mode, other, first, second)
        updates = (
            gr.update(choices=choices.models, value=choices.model, visible=mode == MODELS),
            gr.update(choices=choices.epochs, value=choices.first, visible=mode == EPOCHS and bool(choices.epochs)),
            gr.update(choices=choices.epochs, value=choices.second, visible=mode == EPOCHS and bool(choices.epochs)),
            gr.update(visible=mode == PHOTOS),
            gr.update(visible=mode != PHOTOS),
            "",
        )
        try:
            left, right = both_sides(services, picture, name, mode, choices, other_picture, language)
            value = compare(services, left, right, layer, language)
        except ResNetLabError as error:  # such as a layer only one of them has: told where the sheets would be
            value = slider_value(None, None, empty=str(error), language=language)
        return value, *updates

    inputs = [looking.photo, looking.model, looking.layer, *asked]
    outputs = [slider, asked.other_model, asked.first_epoch, asked.second_epoch, asked.other_photo, cka_button, cka]
    events = [
        refresh.click, asked.mode.input, asked.other_model.select, asked.first_epoch.select, asked.second_epoch.select,
        asked.other_photo.change,
    ]  # fmt: skip
    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, **QUIET}
    gr.on(events, show, inputs, outputs, trigger_mode="always_last", **heavy)


class Offered(NamedTuple):
    """What there is to choose from, and what is chosen."""

    models: list[tuple[str, str]]
    model: str | None
    epochs: list[tuple[str, int]]
    first: int | None
    second: int | None


def offered(
    services: Services, name: str, mode: str, other: str | None, first: int | None, second: int | None
) -> Offered:
    """Other models, and the epochs the run of this model kept: the first and the last of them unless told otherwise."""
    models = [(title, value) for title, value in model_choices(services) if value != name]
    names = [value for _, value in models]
    run_id = run_of(name)
    kept = services.store.get(run_id).kept_epochs() if run_id and mode == EPOCHS else ()
    epochs = [(str(epoch), epoch) for epoch in kept]
    return Offered(
        models=models,
        model=other if other in names else next(iter(names), None),
        epochs=epochs,
        first=first if first in kept else next(iter(kept), None),
        second=second if second in kept else next(reversed(kept), None),
    )


def both_sides(
    services: Services,
    picture: ReadImage | None,
    name: str,
    mode: str,
    choices: Offered,
    other_picture: ReadImage | None,
    language: str,
) -> tuple[Seen, Seen]:
    """What stands on the left and on the right. Raises ResNetLabError with what is missing."""
    if picture is None:
        raise ResNetLabError(say("compare_no_photo", language))
    if mode != PHOTOS:
        first, second = both_models(services, name, mode, choices, language)
        return Seen(model=first[0], photo=picture, title=first[1]), Seen(
            model=second[0], photo=picture, title=second[1]
        )
    if other_picture is None:
        raise ResNetLabError(say("compare_no_other_photo", language))
    return (
        Seen(model=name, photo=picture, title=say("compare_left_photo", language)),
        Seen(model=name, photo=other_picture, title=say("compare_right_photo", language)),
    )


Named = tuple[str, str]  # a model's name and what to call it


def both_models(services: Services, name: str, mode: str, choices: Offered, language: str) -> tuple[Named, Named]:
    """The two models, or the two epochs of one. Raises ResNetLabError with what is missing."""
    if mode == EPOCHS:
        run_id = run_of(name)
        if run_id is None:
            raise ResNetLabError(say("detective_no_run", language))
        if choices.first is None or choices.second is None:
            raise ResNetLabError(say("detective_no_epochs", language))
        named = [(f"{run_id}/{n}", say("compare_epoch", language, epoch=n)) for n in (choices.first, choices.second)]
        return named[0], named[1]
    if choices.model is None:
        raise ResNetLabError(say("compare_no_other_model", language))
    titles = {value: title for title, value in model_choices(services)}
    return (name, titles.get(name, name)), (choices.model, titles.get(choices.model, choices.model))


def _wire_cka(services: Services, looking: Looking, asked: Asked, button: Any, cka: Any) -> None:
    scans = Scans(services)

    @failing_in_a_sentence
    def count(
        name: str, layer: str, mode: str, other: str | None, first: int | None, second: int | None,
        request: gr.Request, progress: gr.Progress = NO_PROGRESS,
    ) -> str:  # fmt: skip
        language = language_of(request)
        choices = offered(services, name, mode, other, first, second)
        models = [model for model, _ in both_models(services, name, mode, choices, language)]
        return cka_html(services, scans, models, layer, language, telling(progress, language))

    inputs = [looking.model, looking.layer, asked.mode, asked.other_model, asked.first_epoch, asked.second_epoch]
    button.click(count, inputs, cka, concurrency_id="detective", concurrency_limit=4, api_visibility="private")


def cka_html(services: Services, scans: Scans, models: list[str], layer: str, language: str, told: Any) -> str:
    """How alike two models' layers are over 100 val pictures of what the first was trained on, or of rendered flowers.

    Raises ResNetLabError.
    """
    from resnet_core.activations.likeness import CKA_PICTURES, compare_layers

    classifiers = [services.classifier(model) for model in models]
    try:
        dataset = scans.dataset(classifiers[0], "own_val")
    except DatasetError:
        dataset = scans.dataset(classifiers[0], "rendered")
    samples = [scans.pictures(each, dataset, "val", most=CKA_PICTURES, told=told) for each in classifiers]
    value = compare_layers(
        [each.model for each in classifiers],
        [layer, layer],
        samples,
        progress=lambda done, total: told(LOOKING, done, total),
        in_turn=services.desk.run,
    )
    words = {"layer": layer, "count": min(map(len, samples)), "dataset": dataset.name, "value": f"{value:.2f}"}
    key = "compare_cka_flat" if math.isnan(value) else "compare_cka_line"
    return f'<p class="detective-line">{escape(say(key, language, **words))}</p>'
