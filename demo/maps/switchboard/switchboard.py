"""The blocks of a network as bars ‖F(x)‖ / ‖x‖ with two switches each; what moves is in the script beside it.

Value: `board_value(…)`. Events: `board.choose(fn, …)` with `block` for a click on a bar, `board.switch(fn, …)` with
`off`, JSON of {block: "branch" or "skip"}, whenever a switch was touched.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demo.component import WithoutStub
from demo.words.blocks import SWITCH_WORDS

FOLDER = Path(__file__).parent


class Switchboard(gr.HTML, metaclass=WithoutStub):
    """A bar and two switches a block."""

    def __init__(
        self, value: dict[str, Any] | None = None, *, elem_id: str | None = "block-switches", **kwargs: Any
    ) -> None:
        words = {
            language: {key: both[place] for key, both in SWITCH_WORDS.items()}
            for place, language in enumerate(("en", "zh"))
        }
        fixed: dict[str, Any] = {
            "html_template": _read("switchboard.html"),
            "css_template": _read("switchboard.css"),
            "js_on_load": f"const WORDS = {json.dumps(words)};\n{_read('switchboard.js')}",
            "apply_default_css": False,
        }
        super().__init__(value or {}, elem_id=elem_id, **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "object", "description": "blocks with their shares, the chosen one, what is switched off"}


def board_value(
    model: str, blocks: Sequence[str], ratios: Mapping[str, float], chosen: str, off: Mapping[str, str]
) -> dict[str, Any]:
    """What the page needs to know: all blocks in order, and of those with a skip how much they change their input."""
    told = [{"name": name, "ratio": _number(ratios.get(name))} for name in blocks]
    return {"model": model, "blocks": told, "chosen": chosen, "off": dict(off)}


def _number(ratio: float | None) -> float | None:
    """None for a plain block; a number that JSON knows, also where nothing came in."""
    return None if ratio is None else round(min(ratio, 1e6), 4)


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
