"""The shelf of models on the page: what was adopted or taught, and a way to remove it."""

from typing import Any

import gradio as gr

from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from resnet_core.inference.shelf import shelf_of

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def shelf_choices(services: Services) -> list[tuple[str, str]]:
    """(title, name) of the models on the shelf."""
    return [(f"{entry.title} · {entry.detail}", entry.name) for entry in shelf_of(services.store).list()]


def shelf_list(services: Services, page: gr.Blocks, tab: gr.Tab) -> tuple[Any, Any]:
    """The models there are, each removable; the list and the note that stands there while there are none."""
    entries = shelf_choices(services)
    listed = gr.Radio(entries, label=label("adopt_shelf"), visible=bool(entries), elem_id="shelf-list")
    empty = gr.HTML(_nothing("en"), visible=not entries, elem_id="shelf-empty")
    remove = gr.Button(label("adopt_remove"), size="sm", visible=False, elem_id="shelf-remove")
    with gr.Row(visible=False, elem_id="shelf-question") as question:
        sure = gr.Button("", variant="stop", size="sm", min_width=160, elem_id="shelf-sure")
        keep = gr.Button(label("adopt_keep"), size="sm", min_width=120, elem_id="shelf-keep")

    @failing_in_a_sentence
    def ask(name: str | None, request: gr.Request) -> Any:
        title = next((entry.title for entry in shelf_of(services.store).list() if entry.name == name), None)
        if title is None:
            return gr.skip(), gr.skip()
        return gr.update(visible=True), gr.update(value=say("adopt_sure", language_of(request), title=title))

    @failing_in_a_sentence
    def remove_it(name: str | None, request: gr.Request) -> Any:
        if name:
            services.store.check_writable()
            shelf_of(services.store).remove(name)
        return *shown_shelf(services, language_of(request)), gr.update(visible=False), gr.update(visible=False)

    def refresh(request: gr.Request) -> Any:
        return *shown_shelf(services, language_of(request)), gr.update(visible=False), gr.update(visible=False)

    views = [listed, empty, remove, question]
    listed.input(lambda: (gr.update(visible=True), gr.update(visible=False)), None, views[2:], queue=False, **QUIET)
    remove.click(ask, listed, [question, sure], queue=False, **QUIET)
    sure.click(remove_it, listed, views, queue=False, **QUIET)
    keep.click(lambda: gr.update(visible=False), None, question, queue=False, **QUIET)
    tab.select(refresh, None, views, queue=False, **QUIET)
    page.load(refresh, None, views, queue=False, **QUIET)
    return listed, empty


def shown_shelf(services: Services, language: str) -> tuple[Any, Any]:
    """Updates for the list and its note."""
    entries = shelf_choices(services)
    return (
        gr.update(choices=entries, value=None, visible=bool(entries)),
        gr.update(value=_nothing(language), visible=not entries),
    )


def _nothing(language: str) -> str:
    return f'<p class="note">{say("adopt_shelf_empty", language)}</p>'
