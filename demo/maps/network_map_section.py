"""The map of the network above the inner tabs: it follows what is looked at, and what is picked on it is looked at."""

from typing import Any

import gradio as gr

from demo.maps.looking import Looking
from demo.maps.network_map.map_drawing import make_draw
from demo.maps.network_map.network_map import NetworkMap
from demo.maps.refreshing import QUIET
from demo.sentences import failing_in_a_sentence
from demo.services import Services

LOOKED_AT = "(model, layer, block) => ({ model, layer, block })"
# the block that a layer such as layer2.0.conv1 lies in; a stage or the stem leaves the block as it was
BLOCK_OF = r"(layer, block) => [/^[^.]+\.\d+/.exec(layer || '')?.[0] ?? block]"


def network_map(services: Services, looking: Looking) -> None:
    """Builds the map into the current context."""
    start = {"model": looking.model.value, "layer": looking.layer.value, "block": ""}
    drawn = NetworkMap(make_draw(services), value=start, elem_id="network-map")

    @failing_in_a_sentence
    def choose(event: gr.EventData) -> tuple[Any, Any]:
        return picked(getattr(event, "layer", None), getattr(event, "block", None))

    drawn.choose(choose, None, [looking.layer, looking.block], queue=False, **QUIET)
    looking.layer.change(None, [looking.layer, looking.block], looking.block, js=BLOCK_OF, api_visibility="private")
    looked = [looking.model, looking.layer, looking.block]
    followed: dict[str, Any] = {"fn": None, "inputs": looked, "outputs": drawn, "js": LOOKED_AT}
    gr.on([looking.layer.change, looking.block.change], api_visibility="private", **followed)
    looking.model_opened.success(api_visibility="private", **followed)  # which gr.on does not take (gradio 6.31)


def picked(layer: object, block: object) -> tuple[Any, Any]:
    """The layer and the block that a click on the map names; what is no name changes nothing."""
    return tuple(name if isinstance(name, str) and 0 < len(name) < 100 else gr.skip() for name in (layer, block))  # type: ignore[return-value]
