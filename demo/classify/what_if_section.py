"""“What if …”: the photo with a brush; the component beside it does the rest (demo/what_if)."""

from typing import Any

import gradio as gr

from demo.classify.opened import refresh_button
from demo.classify.what_if.what_if import WhatIf, what_if_value
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage


def what_if_section(services: Services, photo: Any, model: Any, moved: Any) -> None:
    """Builds the section; nothing is computed and no photo travels before it is opened.

    `moved` is the unseen text that holds the page's threshold."""
    with gr.Accordion(label("what_if_title"), open=False, elem_id="what-if-section") as section:
        brush = WhatIf(elem_id="what-if")
    refresh = refresh_button("what-if")

    @failing_in_a_sentence
    def show(picture: ReadImage | None, name: str, request: gr.Request) -> dict[str, Any]:
        if picture is None:
            return what_if_value(None, name, (), language_of(request))
        classifier = services.classifier(name)
        seen = classifier.checkpoint.preprocessing.resize
        stamp = services.stamp_of(classifier)
        return what_if_value(picture, name, classifier.class_names, language_of(request), seen=seen, stamp=stamp)

    moved.change(
        failing_in_a_sentence(lambda text: gr.update(moved=text)),
        moved,
        brush,
        queue=False,
        api_visibility="private",
        show_progress="hidden",
    )
    gr.on(
        [section.expand, refresh.click],
        show,
        [photo, model],
        brush,
        concurrency_id=HEAVY,
        concurrency_limit=2,
        api_visibility="private",
        show_progress="hidden",
        trigger_mode="always_last",  # a press for the next photo counts, too, while the last one travels
    )
