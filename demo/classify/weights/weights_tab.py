"""“Models”: bring weights from elsewhere, take a model away."""

import gradio as gr

from demo.classify.weights.adopt_panel import adopt_panel
from demo.classify.weights.export_panel import export_panel
from demo.services import Services
from demo.text import label


def weights_tab(services: Services, page: gr.Blocks) -> gr.Tab:
    """Builds this part of the first tab."""
    with gr.Tab(label("weights_tab"), id="weights") as tab:
        adopt_panel(services, page, tab)
        export_panel(services, page, tab)
    return tab
