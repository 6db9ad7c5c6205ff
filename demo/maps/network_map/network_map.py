"""The map of the network as a Gradio component; everything that moves is in the script files beside it.

Value: {"model", "layer", "block"}, what is looked at. Event: `drawn.choose(fn, …)` when a person picks a box; its
`gr.EventData` has `layer` and `block`, the latter "" for what lies in none.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.component import WithoutStub
from demo.maps.network_map.map_drawing import network_names
from demo.words.blocks import MAP_WORDS

FOLDER = Path(__file__).parent
SCRIPTS = ("map_words.js", "map_boxes.js", "map_inside.js", "network_map.js")


def map_script() -> str:
    """The script the browser runs: words and names as constants, then the files in the order they build on."""
    words = {
        language: {key: both[place] for key, both in MAP_WORDS.items()} for place, language in enumerate(("en", "zh"))
    }
    constants = [f"const WORDS = {json.dumps(words)};", f"const NETWORKS = {json.dumps(network_names())};"]
    return "\n".join([*constants, *map(_read, SCRIPTS)])


class NetworkMap(gr.HTML, metaclass=WithoutStub):
    """A network as a row of boxes; `draw` is what `make_draw` gives."""

    def __init__(
        self,
        draw: Callable[[object], dict[str, Any]],
        *,
        value: dict[str, str] | None = None,
        elem_id: str | None = "network-map",
        **kwargs: Any,
    ) -> None:
        # the name must not be a parameter's, or Gradio would send the function itself to the browser
        def draw_map(question: object) -> dict[str, Any]:
            return draw(question)

        fixed: dict[str, Any] = {
            "html_template": _read("network_map.html"),
            "css_template": _read("network_map.css"),
            "js_on_load": map_script(),
            "apply_default_css": False,
        }
        super().__init__(value or {}, elem_id=elem_id, server_functions=[draw_map], **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "object", "description": "model, layer and block that are looked at"}


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
