"""The Block part: what a residual block adds to its input, and how the network does without some branches or skips."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from demo.maps.counting import counting_html
from demo.maps.inside_block import PARTS, BlockView, look_inside, read_off
from demo.maps.looking import Looking
from demo.maps.refreshing import QUIET, pressing_soon, refreshed_with
from demo.maps.switchboard.switchboard import Switchboard
from demo.maps.twin_section import twin_section
from demo.markup import empty_card
from demo.photo import Picture
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage

SHEET_HEIGHT = 190  # px
LONGEST_OFF = 200_000  # characters of what is switched off; 540 blocks take 15,000


class Views(NamedTuple):
    """The components that answer."""

    board: Any
    figures: Any
    sheets: tuple[Any, ...]  # in the order of PARTS
    answer: Any

    @property
    def all(self) -> list[Any]:
        """In the order in which `show` returns them."""
        return [self.board, self.figures, *self.sheets, self.answer]


def block_section(services: Services, looking: Looking) -> None:
    """Builds the part into the current context."""
    off = gr.Textbox("{}", visible="hidden", elem_id="block-off")
    figures = gr.HTML(empty_card(say("blocks_no_photo")), elem_id="block-figures")
    with gr.Row(elem_id="block-sheets"):
        sheets = tuple(_sheet(name) for name in PARTS)
    scale = gr.Radio(
        [(label("blocks_scale_shared"), "shared"), (label("blocks_scale_channel"), "channel")],
        value="shared",
        label=label("blocks_scale"),
        show_label=False,
        container=False,
        elem_id="block-scale",
    )
    board = Switchboard()
    answer = gr.HTML("", elem_id="block-answer")
    _wire(services, looking, Views(board, figures, sheets, answer), off, scale)
    _counting(services, looking, off)
    twin_section(services, looking)


def _sheet(name: str) -> Picture:
    return Picture(
        label=label(f"blocks_{name}"),
        show_label=False,
        interactive=False,
        height=SHEET_HEIGHT,
        format="png",
        buttons=["download", "fullscreen"],
        elem_id=f"block-sheet-{name}",
        min_width=150,
    )


def _wire(services: Services, looking: Looking, views: Views, off: Any, scale: Any) -> None:
    @failing_in_a_sentence
    def show(
        photo: ReadImage | None, model: str, block: str, channel: int, switched: str, how: str, request: gr.Request
    ) -> list[Any]:
        language = language_of(request)
        if photo is None:
            nothing = BlockView(board={}, figures=empty_card(say("blocks_no_photo", language)), sheets={}, answer="")
            return _shown(nothing)
        copies = services.private_copies
        asked = partial(look_inside, services, copies, photo, model, block=block or "", channel=int(channel or 0))
        return _shown(asked(off=read_off(switched), shared=how == "shared", language=language))

    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, **QUIET}
    refresh = refreshed_with(looking, "block-figures", channel=True)
    looking.block.change(None, None, None, js=pressing_soon("block-figures"), api_visibility="private")
    seen = [looking.photo, looking.model, looking.block, looking.channel, off, scale]
    gr.on([refresh.click, scale.input, off.change], show, seen, views.all, trigger_mode="always_last", **heavy)
    views.board.switch(_switched, None, off, queue=False, **QUIET)
    views.board.choose(_chosen, None, [looking.block, looking.layer], queue=False, **QUIET)

    @failing_in_a_sentence
    def clicked(photo: ReadImage | None, model: str, block: str, channel: int, event: gr.SelectData) -> Any:
        found = channel_under(services, model, block, int(channel or 0), *event.index) if photo else None
        return gr.skip() if found is None else found

    for sheet in views.sheets:
        sheet.select(clicked, seen[:4], looking.channel, **heavy)


def _shown(view: BlockView) -> list[Any]:
    sheets = [gr.update(value=view.sheets.get(name), visible=name in view.sheets) for name in PARTS]
    return [view.board, view.figures, *sheets, view.answer]


def _switched(event: gr.EventData) -> Any:
    told = getattr(event, "off", "")
    return json.dumps(read_off(told)) if isinstance(told, str) and len(told) <= LONGEST_OFF else gr.skip()


def _chosen(event: gr.EventData) -> Any:
    told = getattr(event, "block", "")
    return (told, told) if isinstance(told, str) and 0 < len(told) < 100 else (gr.skip(), gr.skip())


def channel_under(services: Services, model: str, block: str, channel: int, x: float, y: float) -> int | None:
    """The channel at a point, in px, of the sheets on which `channel` stands; None between two maps."""
    from resnet_core.activations.block_pictures import channel_at, page_of
    from resnet_core.activations.residual import list_blocks
    from resnet_core.models.describe import describe

    classifier = services.classifier(model)
    blocks = list_blocks(classifier.model)
    chosen = block if block in blocks else blocks[0]
    rows = {row.name: row for row in describe(classifier.model, classifier.checkpoint.preprocessing.crop).layers}
    shape = rows[chosen].output_shape
    return channel_at(shape, page_of(min(max(0, channel), shape[0] - 1)), x, y)


def _counting(services: Services, looking: Looking, off: Any) -> None:
    """The accuracy with and without, on request."""
    with gr.Row(elem_id="block-count-row"):
        start = gr.Button(label("blocks_count"), size="sm", elem_id="block-count", min_width=120)
        cancel = gr.Button(label("blocks_cancel"), size="sm", visible=False, elem_id="block-cancel", min_width=120)
    counted = gr.HTML("", elem_id="block-counted")

    @failing_in_a_sentence
    def begin(request: gr.Request) -> tuple[Any, Any, str]:
        waiting = say("blocks_reading", language_of(request))
        return gr.update(interactive=False), gr.update(visible=True), f'<p class="note">{waiting}</p>'

    def count(model: str, switched: str, request: gr.Request) -> Iterator[str]:
        yield from counting_html(services, model, read_off(switched), language_of(request))

    @failing_in_a_sentence
    def end() -> tuple[Any, Any]:
        return gr.update(interactive=True), gr.update(visible=False)

    def stopped(request: gr.Request) -> tuple[Any, Any, str]:
        return *end(), f'<p class="note">{say("blocks_cancelled", language_of(request))}</p>'

    begun = start.click(begin, None, [start, cancel, counted], queue=False, **QUIET)
    running = begun.then(count, [looking.model, off], counted, concurrency_id="counting", concurrency_limit=2, **QUIET)
    running.then(end, None, [start, cancel], queue=False, **QUIET)
    cancel.click(stopped, None, [start, cancel, counted], cancels=[running], queue=False, **QUIET)
