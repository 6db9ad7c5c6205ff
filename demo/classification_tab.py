"""The first tab: one photo, many photos, classes of your own, and models in and out of the app."""

import gradio as gr

from demo.classify.many.many_photos import many_photos_tab
from demo.classify.one_photo import one_photo_tab
from demo.classify.teaching.teaching_tab import teaching_tab
from demo.classify.weights.weights_tab import weights_tab
from demo.services import Services
from demo.text import label


def classification_tab(services: Services, page: gr.Blocks) -> gr.Tab:
    """Builds the tab and its four parts."""
    with gr.Tab(label("classify_tab"), id="classify") as tab, gr.Tabs(elem_id="classify-parts"):
        moved = one_photo_tab(services, page)
        many_photos_tab(services, page, moved)
        teaching_tab(services, page)
        weights_tab(services, page)
    return tab
