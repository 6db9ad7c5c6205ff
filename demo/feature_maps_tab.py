"""The third tab: every channel of any layer, for a photo and a model; one channel large; where the network looked."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import gradio as gr
import pandas as pd
from PIL import Image

from demo.examples import example_pictures
from demo.markup import empty_card, facts_card
from demo.photo import Picture, photo_input
from demo.sentences import failing_in_a_sentence
from demo.services import Services, model_choices, refreshed_models
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage

DEFAULT_LAYER = "layer1"
CHANNELS_A_PAGE = 512
HEAT_SIZE = 336  # px of the picture under a heat map; the network's own square would be a stamp
COLUMNS = ["layer", "kind", "output", "parameters", "MACs"]


@dataclass(frozen=True)
class LayerView:
    """Everything the tab shows of one layer."""

    sheet: Image.Image
    facts: str  # HTML
    channel: Image.Image
    channel_facts: str  # HTML
    heat_facts: str  # HTML
    heat: Image.Image | None  # None for a layer without places to look at
    pages: int


def look(
    services: Services, photo: ReadImage, model: str, layer: str, *, scale: str, page: int, channel: int, language: str
) -> LayerView:
    """One layer's channels for a photo. Raises ResNetLabError for an unknown layer, page or channel."""
    from resnet_core.activations.capture import capture_activations, describe_activation
    from resnet_core.activations.render import count_pages, render_channel, render_sheet

    classifier = services.classifier(model)
    inputs = classifier.checkpoint.preprocessing(photo.image)[None]
    activation = capture_activations(classifier.model, inputs, [layer])[layer][0]
    pages = count_pages(len(activation), CHANNELS_A_PAGE)
    page = min(max(1, page), pages)
    sheet = render_sheet(activation, scale=scale, page=page, limit=CHANNELS_A_PAGE)
    channel = min(max(sheet.first_channel, channel), sheet.first_channel + sheet.channels - 1)
    one = describe_activation(activation[channel : channel + 1])
    spatial = activation.ndim == 3 and activation.shape[-1] > 1
    answer = classifier.classify(photo.image, top_k=1).predictions[0].label if spatial else ""
    return LayerView(
        sheet=sheet.image,
        facts=facts_card(
            f"{layer} · {shape_words(activation, language)}", _stat_lines(activation, sheet, pages, language)
        ),
        channel=render_channel(activation, channel, scale=scale),
        channel_facts=facts_card(
            say("channel_line", language, channel=channel, layer=layer), [stats_words(one, language)]
        ),
        heat_facts=facts_card(say("heat_title", language), [say("heat_line", language, label=answer, layer=layer)])
        if spatial
        else "",
        heat=heat_picture(classifier, photo, layer) if spatial else None,
        pages=pages,
    )


def channel_under(
    services: Services, photo: ReadImage, model: str, layer: str, page: int, x: float, y: float
) -> int | None:
    """The channel shown at a point of the sheet, in its own pixels; None between two tiles."""
    from resnet_core.activations.capture import capture_activations
    from resnet_core.activations.render import channel_at, render_sheet

    classifier = services.classifier(model)
    inputs = classifier.checkpoint.preprocessing(photo.image)[None]
    activation = capture_activations(classifier.model, inputs, [layer])[layer][0]
    return channel_at(render_sheet(activation, page=page, limit=CHANNELS_A_PAGE), x, y)


def heat_picture(
    classifier: Any, photo: ReadImage, layer: str, class_index: int | None = None, against: int | None = None
) -> Image.Image:
    """Grad-CAM of the class (the answer, if None) over the square the network saw, or why it and not `against`."""
    from resnet_core.activations.contrast import contrast_map, contrast_overlay
    from resnet_core.activations.gradcam import grad_cam, overlay

    preprocessing = classifier.checkpoint.preprocessing
    inputs = preprocessing(photo.image)[None]
    square = preprocessing.square(photo.image).resize((HEAT_SIZE, HEAT_SIZE), Image.Resampling.BICUBIC)
    if class_index is None or against is None:
        return overlay(square, grad_cam(classifier.model, inputs, layer, class_index)[0])
    return contrast_overlay(square, contrast_map(classifier.model, inputs, layer, class_index, against)[0])


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


def layer_table(services: Services, model: str) -> pd.DataFrame:
    """The layers of a model that can be looked into, in the order they run, at the model's own picture size."""
    from resnet_core.activations.layers import list_layers
    from resnet_core.models.describe import describe

    classifier = services.classifier(model)
    size = classifier.checkpoint.preprocessing.crop
    rows = {row.name: row for row in describe(classifier.model, size).layers}
    names = [name for name in list_layers(classifier.model, size) if name in rows]
    return pd.DataFrame(
        [
            [
                name,
                rows[name].kind,
                "×".join(map(str, rows[name].output_shape)),
                f"{rows[name].parameters:,}",
                f"{rows[name].macs:,}",
            ]
            for name in names
        ],
        columns=COLUMNS,
    )


def feature_maps_tab(services: Services) -> gr.Tab:
    """Builds the tab."""
    with gr.Tab(label("maps_tab"), id="maps") as tab, gr.Row():
        with gr.Column(scale=9, min_width=300):
            photo = photo_input(label=label("photo"), height=220, elem_id="maps-photo")
            gr.Examples(example_pictures(services.data_dir), photo, label=label("examples"), elem_id="maps-examples")
            model = gr.Dropdown(model_choices(services), value="flowers", label=label("model"), elem_id="maps-model")
            layer = gr.Dropdown(
                [DEFAULT_LAYER], value=DEFAULT_LAYER, label=label("layer"), elem_id="maps-layer", filterable=True
            )
            with gr.Row():
                scale = gr.Radio(
                    [(label("scale_channel"), "channel"), (label("scale_shared"), "shared")],
                    value="channel",
                    label=label("scale"),
                    elem_id="maps-scale",
                )
                page = gr.Number(1, minimum=1, precision=0, label=label("page"), visible=False, elem_id="maps-page")
        with gr.Column(scale=14, min_width=300):
            facts = gr.HTML(empty_card(say("loading")), elem_id="maps-facts")
            with gr.Column(visible=False, elem_id="maps-results") as results:
                sheet = _picture("sheet", 400, "maps-sheet", format="png", buttons=["download", "fullscreen"])
                with gr.Row():
                    with gr.Column(min_width=200):
                        channel_facts = gr.HTML("", elem_id="maps-channel-facts")
                        large = _picture("channel", 240, "maps-channel-picture", format="png", buttons=["download"])
                        channel = gr.Number(0, minimum=0, precision=0, label=label("channel"), elem_id="maps-channel")
                    with gr.Column(min_width=200):
                        heat_facts = gr.HTML("", elem_id="maps-heat-facts")
                        heat = _picture("heat", 240, "maps-heat", format="png", buttons=["download"])
    with tab:
        gr.Markdown(label("layers_hint"))
        table = gr.Dataframe(
            headers=COLUMNS, interactive=False, max_height=360, show_search="filter", elem_id="maps-table"
        )
    views = Views(facts, results, sheet, channel_facts, large, heat_facts, heat, page)
    _wire(services, tab, Choices(photo, model, layer, scale, page, channel), views, table)
    return tab


class Choices(NamedTuple):
    """The components a person sets."""

    photo: Any
    model: Any
    layer: Any
    scale: Any
    page: Any
    channel: Any


class Views(NamedTuple):
    """The components that answer."""

    facts: Any
    results: Any
    sheet: Any
    channel_facts: Any
    large: Any
    heat_facts: Any
    heat: Any
    page: Any


def _picture(key: str, height: int, elem_id: str, **options: Any) -> Picture:
    return Picture(label=label(key), show_label=False, interactive=False, height=height, elem_id=elem_id, **options)


def _wire(services: Services, tab: gr.Tab, choices: Choices, views: Views, table: Any) -> None:
    @failing_in_a_sentence
    def show(
        picture: ReadImage | None, name: str, where: str, how: str, number: int, one: int, request: gr.Request
    ) -> tuple[Any, ...]:
        language = language_of(request)
        if picture is None:
            card = empty_card(say("maps_empty", language))
            return card, gr.update(visible=False), None, "", None, "", None, gr.skip()
        asked = partial(look, services, picture, name, where, scale=how, language=language)
        view = services.desk.run(partial(asked, page=int(number or 1), channel=int(one or 0)))
        pages = gr.update(visible=view.pages > 1, maximum=view.pages)
        return (
            view.facts, gr.update(visible=True), view.sheet, view.channel_facts, view.channel, view.heat_facts,
            view.heat, pages,
        )  # fmt: skip

    @failing_in_a_sentence
    def open_model(name: str, where: str) -> tuple[Any, Any]:
        rows = layer_table(services, name)
        names = rows["layer"].tolist()
        kept = where if where in names else DEFAULT_LAYER if DEFAULT_LAYER in names else names[0]
        return gr.update(choices=names, value=kept), rows

    @failing_in_a_sentence
    def clicked(picture: ReadImage | None, name: str, where: str, number: int, event: gr.SelectData) -> Any:
        if picture is None:
            return gr.skip()
        x, y = event.index
        found = services.desk.run(partial(channel_under, services, picture, name, where, int(number or 1), x, y))
        return gr.skip() if found is None else found

    def welcome(picture: ReadImage | None, request: gr.Request) -> Any:
        services.ready()
        return gr.skip() if picture else empty_card(say("maps_empty", language_of(request)))

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, **quiet}
    for component in (choices.photo, choices.layer, choices.page, choices.channel):
        component.change(show, list(choices), list(views), **heavy)
    choices.scale.input(show, list(choices), list(views), **heavy)
    # a dropdown's `input` comes twice a click (gradio 6.31), its `change` once
    opened = choices.model.change(open_model, [choices.model, choices.layer], [choices.layer, table], **heavy)
    opened.then(show, list(choices), list(views), **heavy)
    views.sheet.select(clicked, [choices.photo, choices.model, choices.layer, choices.page], choices.channel, **heavy)
    table.select(_picked_layer, None, choices.layer, queue=False, **quiet)
    tab.select(failing_in_a_sentence(welcome), choices.photo, views.facts, concurrency_limit=None, **quiet)
    tab.select(open_model, [choices.model, choices.layer], [choices.layer, table], **heavy)
    fresh = failing_in_a_sentence(partial(refreshed_models, services))
    tab.select(fresh, choices.model, choices.model, queue=False, **quiet)


def _picked_layer(event: gr.SelectData) -> Any:
    return event.row_value[0] if event.row_value else gr.skip()


def _stat_lines(activation: Any, sheet: Any, pages: int, language: str) -> list[str]:
    from resnet_core.activations.capture import describe_activation

    lines = [stats_words(describe_activation(activation), language)]
    if pages > 1:
        last = sheet.first_channel + sheet.channels - 1
        lines.append(say("page_of", language, first=sheet.first_channel, last=last, total=sheet.total))
    return lines
