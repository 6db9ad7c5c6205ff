"""The weights of the chosen layer: colour kernels of the first one, and the chosen channel's kernels as numbers."""

from functools import partial
from typing import Any

import gradio as gr

from demo.classify.opened import pressing, refresh_button
from demo.maps.looking import Looking
from demo.markup import escape
from demo.photo import Picture
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.errors import ModelError

KERNELS_A_PAGE = 512  # as `kernel_sheet` draws them
NUMBERS_A_PAGE = 64  # weights of a linear layer in one table


def kernels_section(services: Services, looking: Looking) -> None:
    """Builds the section; nothing is drawn before it is opened, then it follows layer and channel."""
    with gr.Accordion(label("maps_kernels"), open=False, elem_id="maps-kernels") as section:
        told = gr.HTML("", elem_id="maps-kernels-facts")
        picture = Picture(
            label=label("maps_kernel_picture"),
            show_label=False,
            interactive=False,
            format="png",
            height=260,
            visible=False,
            buttons=["download", "fullscreen"],
            elem_id="maps-kernels-picture",
        )
        incoming = gr.Number(0, minimum=0, precision=0, label=label("maps_incoming"), elem_id="maps-incoming")
        numbers = gr.HTML("", elem_id="maps-kernels-numbers")
    refresh = refresh_button("maps-kernels-facts")

    @failing_in_a_sentence
    def show(name: str, layer: str, channel: float | None, place: float | None, request: gr.Request) -> Any:
        view = kernel_view(services, name, layer, int(channel or 0), int(place or 0), language_of(request))
        shown = gr.update(visible=view["picture"] is not None, value=view["picture"], alt_text=view["told"])
        steps = gr.update(visible=view["places"] > 1, maximum=max(0, view["places"] - 1))
        return f'<p class="note">{escape(view["told"])}</p>', shown, steps, view["numbers"]

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    latest: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, "trigger_mode": "always_last", **quiet}
    asked = [looking.model, looking.layer, looking.channel, incoming]
    gr.on([section.expand, refresh.click, incoming.input], show, asked, [told, picture, incoming, numbers], **latest)
    for moment in (looking.layer.change, looking.channel.change, looking.model_opened.success):
        moment(None, None, None, js=pressing("maps-kernels-facts"), api_visibility="private")


def kernel_view(services: Services, model: str, layer: str, channel: int, place: int, language: str) -> dict[str, Any]:
    """A sentence, a picture or None, a table of numbers as HTML, and how many tables there are to page through.

    A channel or place that the layer lacks becomes the nearest; of more than 512 kernels those are drawn that the place
    is among.
    """
    classifier = services.classifier(model)
    return services.desk.run(partial(_view, classifier.model, layer, channel, place, language))


def _view(network: Any, layer: str, channel: int, place: int, language: str) -> dict[str, Any]:
    from resnet_core.activations.kernels import has_color_kernels, incoming_channels, kernel_layer, kernel_sheet

    try:
        module = kernel_layer(network, layer)
    except ModelError:
        return {"told": say("maps_kernel_none", language, layer=layer), "picture": None, "numbers": "", "places": 0}
    channel, incoming = min(max(0, channel), len(module.weight) - 1), incoming_channels(network, layer)
    flat = module.weight.ndim != 4
    places = -(-incoming // NUMBERS_A_PAGE) if flat else incoming
    place = min(max(0, place), places - 1)
    words = {"layer": layer, "channel": channel}
    if has_color_kernels(network, layer):
        count, _, height, width = module.weight.shape
        told = say("maps_kernel_colors", language, count=count, height=height, width=width, **words)
        picture = kernel_sheet(network, layer)
    else:
        told = say("maps_kernel_incoming", language, count=incoming, **words)
        first = place * (NUMBERS_A_PAGE if flat else 1) // KERNELS_A_PAGE * KERNELS_A_PAGE
        picture = kernel_sheet(network, layer, channel, page=first // KERNELS_A_PAGE + 1)
        if incoming > KERNELS_A_PAGE:
            last = min(first + KERNELS_A_PAGE, incoming) - 1
            told += " " + say("maps_kernel_shown", language, first=first, last=last)
    numbers = _table(network, layer, channel, place, language)
    return {"told": told, "picture": picture, "numbers": numbers, "places": places}


def _table(network: Any, layer: str, channel: int, place: int, language: str) -> str:
    """The numbers of one kernel, or one page of a linear layer's weights, eight a row."""
    from resnet_core.activations.kernels import incoming_channels, kernel_layer, kernel_numbers

    module, count = kernel_layer(network, layer), incoming_channels(network, layer)
    if module.weight.ndim == 4:
        rows = kernel_numbers(network, layer, channel, place).tolist()
        title = say("maps_kernel_numbers", language, channel=channel, incoming=place, count=count)
    else:
        first = place * NUMBERS_A_PAGE
        weights = kernel_numbers(network, layer, channel)[first : first + NUMBERS_A_PAGE].tolist()
        rows = [weights[start : start + 8] for start in range(0, len(weights), 8)]
        last = first + len(weights) - 1
        title = say("maps_kernel_row", language, channel=channel, first=first, last=last, count=count)
    if module.bias is not None:
        title += " " + say("maps_kernel_bias", language, bias=float(module.bias[channel].detach()))
    body = "".join("<tr>" + "".join(f"<td>{number:+.4f}</td>" for number in row) + "</tr>" for row in rows)
    return f'<p class="note">{escape(title)}</p><div class="maps-numbers"><table>{body}</table></div>'
