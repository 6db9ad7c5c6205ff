"""The Layers part: every channel of a layer, one of them large, files to take away, kernels, the layers as a table."""

from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from demo.maps.dead_section import dead_section
from demo.maps.kernels_section import kernels_section
from demo.maps.layer_table import COLUMNS, layer_table
from demo.maps.layer_view import channel_under, look
from demo.maps.looking import Looking
from demo.maps.take_away_section import take_away_section
from demo.markup import empty_card
from demo.photo import Picture
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
TURNS: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, **QUIET}


class Options(NamedTuple):
    """How the sheet is drawn."""

    scale: Any
    colors: Any
    order: Any
    label: Any
    relu: Any
    page: Any


class Views(NamedTuple):
    """The components that answer."""

    facts: Any
    results: Any
    sheet: Any
    shown: Any
    channel_facts: Any
    large: Any
    page: Any


def layers_section(services: Services, looking: Looking, beside: gr.Column) -> None:
    """Builds the part into the current context, its options into the column `beside`."""
    with beside:
        options = _options()
    facts = gr.HTML(empty_card(say("loading")), elem_id="maps-facts")
    shown = gr.JSON([], visible="hidden", elem_id="maps-shown")
    with gr.Column(visible=False, elem_id="maps-results") as results:
        sheet = _picture("sheet", 300, "maps-sheet", format="png", buttons=["download", "fullscreen"])
        with gr.Row():
            large = _picture("channel", 240, "maps-channel-picture", format="png", buttons=["download"], min_width=200)
            with gr.Column(min_width=200):
                channel_facts = gr.HTML("", elem_id="maps-channel-facts")
    views = Views(facts, results, sheet, shown, channel_facts, large, options.page)
    _wire_sheet(services, looking, options, views)
    take_away_section(services, looking, options)
    kernels_section(services, looking)
    dead_section(services, looking)
    with gr.Accordion(label("maps_table"), open=True, elem_id="maps-table-part"):
        gr.Markdown(label("layers_hint"))
        table = gr.Dataframe(
            headers=COLUMNS, interactive=False, max_height=360, show_search="filter", elem_id="maps-table"
        )
    _wire_table(services, looking, table)
    _wire_classes(services, looking, options)


def _options() -> Options:
    with gr.Row():
        order = _choice("maps_order", ["index", "strength", "relevance"], "index", "maps-order")
        colors = _choice(
            "maps_colors",
            ["auto", "viridis", "cividis", "magma", "grey", ("signed", "blue-orange")],
            "auto",
            "maps-colors",
        )
    classes = gr.Dropdown(
        [(label("maps_label_answer"), "")], value="", label=label("maps_label"), visible=False, elem_id="maps-label"
    )
    with gr.Row():
        scale = gr.Dropdown(
            [(label("scale_channel"), "channel"), (label("scale_shared"), "shared")],
            value="channel",
            label=label("scale"),
            elem_id="maps-scale",
            min_width=130,
        )
        relu = _choice("maps_relu", ["given", "before", "after"], "given", "maps-relu")
    page = gr.Number(1, minimum=1, precision=0, label=label("page"), visible=False, elem_id="maps-page")
    return Options(scale, colors, order, classes, relu, page)


def _choice(key: str, values: list[Any], value: str, elem_id: str) -> gr.Dropdown:
    """A dropdown whose choices are worded under `key`_…; a pair is the word's key and the value."""
    pairs = [each if isinstance(each, tuple) else (each, each) for each in values]
    choices = [(label(f"{key}_{word}"), chosen) for word, chosen in pairs]
    return gr.Dropdown(choices, value=value, label=label(key), elem_id=elem_id, min_width=130)


def _picture(key: str, height: int, elem_id: str, **options: Any) -> Picture:
    return Picture(label=label(key), show_label=False, interactive=False, height=height, elem_id=elem_id, **options)


def _wire_sheet(services: Services, looking: Looking, options: Options, views: Views) -> None:
    """Draws whenever something changes."""

    @failing_in_a_sentence
    def show(
        picture: ReadImage | None, name: str, where: str, one: float | None, scale: str, colors: str, order: str,
        wanted: str | None, relu: str, page: float | None, request: gr.Request,
    ) -> tuple[Any, ...]:  # fmt: skip
        language = language_of(request)
        if picture is None:
            card = empty_card(say("maps_empty", language))
            return card, gr.update(visible=False), None, [], "", None, gr.skip()
        drawn: dict[str, Any] = {"scale": scale, "colors": colors, "order": order, "label": wanted or "", "relu": relu}
        asked = partial(look, services, picture, name, where, channel=int(one or 0), page=int(page or 1), **drawn)
        view = asked(language=language)
        pages = gr.update(visible=view.pages > 1, maximum=view.pages)
        large = gr.update(value=view.channel, alt_text=view.channel_alt)
        sheet = gr.update(value=view.sheet, alt_text=view.alt)
        return view.facts, gr.update(visible=True), sheet, view.shown, view.channel_facts, large, pages

    @failing_in_a_sentence
    def clicked(
        picture: ReadImage | None, name: str, where: str, number: int, shown: list[int], event: gr.SelectData
    ) -> Any:
        if picture is None:
            return gr.skip()
        x, y = event.index
        found = channel_under(services, picture, name, where, int(number or 1), x, y, shown)
        return gr.skip() if found is None else found

    def welcome(picture: ReadImage | None, request: gr.Request) -> Any:
        services.ready()
        return gr.skip() if picture else empty_card(say("maps_empty", language_of(request)))

    asked = [looking.photo, looking.model, looking.layer, looking.channel, *options]
    latest: dict[str, Any] = {"trigger_mode": "always_last", **TURNS}
    chosen = [options.scale, options.colors, options.order, options.label, options.relu]
    changes = [each.change for each in (looking.photo, looking.layer, looking.channel, options.page)]
    gr.on([*changes, *(each.input for each in chosen)], show, asked, list(views), **latest)
    looking.model_opened.success(show, asked, list(views), **latest)
    options.order.change(
        lambda order: gr.update(visible=order == "relevance"), options.order, options.label, queue=False, **QUIET
    )
    place = [looking.photo, looking.model, looking.layer, options.page, views.shown]
    views.sheet.select(clicked, place, looking.channel, **TURNS)
    looking.tab.select(failing_in_a_sentence(welcome), looking.photo, views.facts, concurrency_limit=None, **QUIET)


def _wire_table(services: Services, looking: Looking, table: Any) -> None:
    rows = failing_in_a_sentence(partial(layer_table, services))
    looking.tab.select(rows, looking.model, table, **TURNS)
    looking.model_opened.success(rows, looking.model, table, **TURNS)
    table.select(_picked_layer, None, looking.layer, queue=False, **QUIET)


def _wire_classes(services: Services, looking: Looking, options: Options) -> None:
    """The classes that relevance can be asked for are those of the model."""

    @failing_in_a_sentence
    def classes(name: str, request: gr.Request) -> Any:
        names = services.classifier(name).class_names
        answer = (say("maps_the_answer", language_of(request)), "")
        return gr.update(choices=[answer, *((each, each) for each in names)], value="")

    looking.tab.select(classes, looking.model, options.label, **TURNS)
    looking.model_opened.success(classes, looking.model, options.label, **TURNS)


def _picked_layer(event: gr.SelectData) -> Any:
    return event.row_value[0] if event.row_value else gr.skip()
