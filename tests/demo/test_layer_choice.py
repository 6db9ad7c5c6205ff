"""Opening a model offers its layers and leaves a choice that fits alone: a click meanwhile must stand."""

import asyncio

import gradio as gr

from demo.feature_maps_tab import feature_maps_tab
from demo.services import Services


def test_a_layer_that_fits_is_not_written_again(services: Services):
    async def made() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page, gr.Tabs():
            feature_maps_tab(services)
        return page

    functions = asyncio.run(made()).fns.values()
    open_model = next(each.fn for each in functions if each.fn is not None and each.fn.__name__ == "open_model")
    kept = open_model("flowers", "layer2")
    assert "layer2" in kept["choices"]
    assert "value" not in kept
    assert open_model("flowers", "no such layer")["value"] == "layer1"
