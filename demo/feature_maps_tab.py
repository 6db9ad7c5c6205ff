"""The third tab: look inside the network. On the left photo, model, layer and channel, on the right what they show.

Each part of the right side is a section of its own in demo/maps/; they share `Looking` and follow one another by it.
"""

from functools import partial
from typing import Any

import gradio as gr

from demo.examples import example_pictures
from demo.follow_banner.follow_choice import follow_banner, keep_choices_fresh, model_choice, told
from demo.maps.block_section import block_section
from demo.maps.channel_section import channel_section
from demo.maps.compare_section import compare_section
from demo.maps.layer_table import layer_names
from demo.maps.layers_section import layers_section
from demo.maps.looking import DEFAULT_LAYER, Looking
from demo.maps.network_map_section import network_map
from demo.maps.where_section import where_section
from demo.photo import photo_input
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label
from demo.turns import HEAVY


def feature_maps_tab(services: Services) -> gr.Tab:
    """Builds the tab."""
    with gr.Tab(label("maps_tab"), id="maps") as tab, gr.Row():
        with gr.Column(scale=9, min_width=300, elem_id="maps-side"):
            photo = photo_input(label=label("photo"), height=160, elem_id="maps-photo")
            gr.Examples(example_pictures(services.data_dir), photo, label=label("examples"), elem_id="maps-examples")
            choice = model_choice(services, "maps-model")
            model = choice.model
            with gr.Row():
                layer = gr.Dropdown(
                    [DEFAULT_LAYER],
                    value=DEFAULT_LAYER,
                    label=label("layer"),
                    elem_id="maps-layer",
                    filterable=True,
                    scale=3,
                    min_width=150,
                )
                channel = gr.Number(
                    0, minimum=0, precision=0, label=label("channel"), elem_id="maps-channel", min_width=90
                )
            block = gr.Textbox("", visible="hidden", elem_id="maps-block")
            options = gr.Column()
        with gr.Column(scale=14, min_width=300):
            banner = follow_banner(services, "maps-follow")
            overview = gr.Column(elem_id="maps-overview")
            with gr.Tabs(elem_id="maps-tabs") as page_tabs:
                layers_part = gr.Tab(label("maps_part_layers"), id="layers")
                block_part = gr.Tab(label("maps_part_block"), id="block")
                channel_part = gr.Tab(label("maps_part_channel"), id="channel")
                where_part = gr.Tab(label("maps_part_where"), id="where")
                compare_part = gr.Tab(label("maps_part_compare"), id="compare")
    opened = _follow_model(services, tab, model, layer, banner)
    keep_choices_fresh(services, tab, choice)
    looking = Looking(photo, model, layer, block, channel, page_tabs, tab, opened)
    with overview:
        network_map(services, looking)
    with layers_part:
        layers_section(services, looking, options)
    with block_part:
        block_section(services, looking)
    with channel_part:
        channel_section(services, looking)
    with where_part:
        where_section(services, looking)
    with compare_part:
        compare_section(services, looking)
    return tab


def _follow_model(services: Services, tab: gr.Tab, model: Any, layer: Any, banner: Any) -> Any:
    """Another model, or a newer epoch of the one that is followed: the layers fit it, and the banner says which."""

    @failing_in_a_sentence
    def open_model(name: str, where: str) -> Any:
        names = layer_names(services, name)
        if where in names:  # no value: meanwhile somebody may have clicked another layer, which must stand
            return gr.update(choices=names)
        return gr.update(choices=names, value=DEFAULT_LAYER if DEFAULT_LAYER in names else names[0])

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, **quiet}
    # a dropdown's `input` comes twice a click (gradio 6.31), its `change` once
    opened = gr.on([model.change, banner.tick], open_model, [model, layer], layer, **heavy)
    opened.success(failing_in_a_sentence(partial(told, services)), model, banner, queue=False, **quiet)
    tab.select(open_model, [model, layer], layer, **heavy)
    return opened
