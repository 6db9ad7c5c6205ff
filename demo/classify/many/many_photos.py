"""“Many”: files, a folder or a zip in, a table of answers out as they are made."""

from typing import Any

import gradio as gr

from demo.classify.many.many_table.many_feed import make_ask
from demo.classify.many.many_table.many_table import ManyTable
from demo.sentences import failing_in_a_sentence
from demo.services import Services, model_choices, refreshed_models
from demo.text import label


def many_photos_tab(services: Services, page: gr.Blocks, moved: Any) -> gr.Tab:
    """Builds the tab; the batches themselves live in `services.batches`.

    `moved` is the unseen text that holds the page's threshold."""
    with gr.Tab(label("many_tab"), id="many") as tab:
        model = gr.Dropdown(model_choices(services), value="flowers", label=label("model"), elem_id="many-model")
        table = ManyTable(make_ask(services.batches), model="flowers")
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    gr.on([model.change, moved.change], _next_batch, [model, moved], table, **quiet)
    tab.select(failing_in_a_sentence(lambda chosen: refreshed_models(services, chosen)), model, model, **quiet)
    return tab


def _next_batch(name: str, moved: Any) -> Any:
    """The batch after this one asks that model, at that threshold.

    Always both: a component that is not on view yet forgets the props that an update leaves out (gradio 6.31).
    """
    return gr.update(model=name, moved=moved)
