"""What a person is looking at on the Feature maps tab: the components all its sections share and follow."""

from typing import Any, NamedTuple

import gradio as gr

DEFAULT_LAYER = "layer1"


class Looking(NamedTuple):
    """Shared components. Whoever sets `layer`, `block` or `channel` makes the others follow by their `.change`.

    Another model has other layers, so sections follow `model_opened.success(…)`, which comes when `layer` fits it, and
    not `model.change`, which comes before.
    """

    photo: Any  # Photo: handlers receive a ReadImage or None
    model: Any  # Dropdown of names of models
    layer: Any  # Dropdown of names of layers
    block: Any  # hidden Textbox: a block's name such as layer2.1, "" for none
    channel: Any  # Number, from 0
    page_tabs: gr.Tabs  # the inner tabs: gr.update(selected="layers" | "block" | "channel" | "where" | "compare")
    tab: gr.Tab  # the Feature maps tab itself: `.select` comes whenever it is opened
    model_opened: Any  # the event after another model was chosen
