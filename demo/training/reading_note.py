"""The line above the curves of an app that only reads, because another one has the runs folder."""

import gradio as gr
from gradio.context import Context

from demo.markup import escape
from demo.services import Services
from demo.text import language_of, say


def reading_note(services: Services) -> None:
    """Builds the line; it goes once this app may write. An app that has the folder has none."""
    if not services.reads_only:
        return

    def told(request: gr.Request) -> str:
        if not services.reads_only:
            return ""
        return f'<p class="only-reads" role="status">{escape(say("only_reads", language_of(request)))}</p>'

    note = gr.HTML(elem_id="only-reads")
    page = Context.root_block
    assert page is not None
    page.load(told, None, note, api_visibility="private", show_progress="hidden", queue=False)
