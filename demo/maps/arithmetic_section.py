"""The arithmetic behind one number of the shown channel: pick a place of its map, and see the sum that gave it."""

from functools import partial
from typing import Any

import gradio as gr
from PIL import ImageDraw

from demo.maps.looking import Looking
from demo.maps.refreshing import QUIET, refreshed_with
from demo.maps.worked_sum import WorkedSum, work_out
from demo.markup import escape
from demo.photo import Picture
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage

MAP_SIDE = 280  # px, about, of the map to click on
FRAME = "#d55e00"


def arithmetic_section(services: Services, looking: Looking) -> None:
    """Builds the section, closed; nothing is computed before it is opened."""
    with gr.Accordion(label("arithmetic_title"), open=False, elem_id="arithmetic-section") as section, gr.Row():
        with gr.Column(scale=3, min_width=240):
            picture = Picture(
                label=label("arithmetic_map"),
                interactive=False,
                height=MAP_SIDE + 30,
                format="png",
                buttons=[],
                elem_id="arithmetic-map",
            )
            with gr.Row():
                row = _count("arithmetic_row", 0, "arithmetic-row")
                column = _count("arithmetic_column", 0, "arithmetic-column")
            page = _count("arithmetic_page", 1, "arithmetic-page", visible=False)
        with gr.Column(scale=7, min_width=300):
            worked = gr.HTML("", elem_id="arithmetic-worked")
    _wire(services, looking, section, (picture, row, column, page, worked))


def _count(key: str, value: int, elem_id: str, **options: Any) -> gr.Number:
    return gr.Number(value, minimum=value, precision=0, label=label(key), elem_id=elem_id, min_width=80, **options)


def _wire(services: Services, looking: Looking, section: Any, parts: tuple[Any, ...]) -> None:
    picture, row, column, page, worked = parts

    @failing_in_a_sentence
    def show(
        photo: ReadImage | None, model: str, layer: str, channel: int, at: int, across: int, number: int,
        request: gr.Request,
    ) -> tuple[Any, ...]:  # fmt: skip
        language = language_of(request)
        if photo is None:
            nothing = f'<p class="note">{escape(say("arithmetic_no_photo", language))}</p>'
            return None, gr.skip(), gr.skip(), gr.update(visible=False), nothing
        place = (int(channel or 0), int(at or 0), int(across or 0))
        found = services.desk.run(partial(work_out, services, photo, model, layer, place, int(number or 1), language))
        pages = gr.update(visible=found.pages > 1, maximum=found.pages)
        return map_picture(found), found.place[1], found.place[2], pages, found.html

    @failing_in_a_sentence
    def clicked(photo: ReadImage | None, model: str, layer: str, event: gr.SelectData) -> tuple[Any, Any]:
        if photo is None:
            return gr.skip(), gr.skip()
        services.ready()
        activation = services.desk.run(
            lambda: services.activations.get(services.classifier(model), photo.image, [layer])[layer]
        )
        return place_at(tuple(activation.shape), *event.index)

    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, **QUIET}
    refresh = refreshed_with(looking, "arithmetic-worked", channel=True)
    place = [looking.photo, looking.model, looking.layer]
    gr.on(
        [section.expand, refresh.click, row.change, column.change, page.change],
        show,
        [*place, looking.channel, row, column, page],
        [picture, row, column, page, worked],
        trigger_mode="always_last",
        **heavy,
    )
    picture.select(clicked, place, [row, column], **heavy)


def scale_of(shape: tuple[int, ...]) -> int:
    """How many px of the picture a place of a map gets."""
    return max(1, MAP_SIDE // max(shape[-2:])) if len(shape) == 3 else MAP_SIDE


def place_at(shape: tuple[int, ...], x: float, y: float) -> tuple[int, int]:
    """The row and column at a point of the picture, in px."""
    if len(shape) != 3:
        return 0, 0
    scale = scale_of(shape)
    return min(max(0, int(y // scale)), shape[1] - 1), min(max(0, int(x // scale)), shape[2] - 1)


def map_picture(found: WorkedSum) -> Any:
    """The channel's map with the place framed."""
    from resnet_core.activations.render import render_channel

    shape, (channel, row, column) = tuple(found.activation.shape), found.place
    scale = scale_of(shape)
    size = scale * max(shape[-2:]) if len(shape) == 3 else scale
    image = render_channel(found.activation, channel, size=size).convert("RGB")
    if len(shape) == 3:
        frame = max(2, min(4, scale // 4))
        left, top = column * scale, row * scale
        box = (left - frame, top - frame, left + scale + frame - 1, top + scale + frame - 1)
        ImageDraw.Draw(image).rectangle(box, outline=FRAME, width=frame)
    return image
