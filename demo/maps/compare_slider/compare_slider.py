"""The slider as a Gradio component; what moves is in the script beside it.

Value: what `slider_value` returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from demo.component import WithoutStub
from demo.maps.channel_map.channel_map import image_address
from demo.words.detective import SLIDER

FOLDER = Path(__file__).parent


class CompareSlider(gr.HTML, metaclass=WithoutStub):
    """Two pictures of one size, one uncovering the other."""

    def __init__(
        self, value: dict[str, Any] | None = None, *, elem_id: str | None = "compare-slider", **kwargs: Any
    ) -> None:
        fixed: dict[str, Any] = {
            "html_template": _read("compare_slider.html"),
            "css_template": _read("compare_slider.css"),
            "js_on_load": _read("compare_slider.js"),
            "apply_default_css": False,
        }
        super().__init__(value, elem_id=elem_id, **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "object", "description": "two pictures, what each is, and notes"}


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two: its picture, what it is, and the answer behind it as a sentence."""

    picture: Image.Image
    title: str
    says: str


def slider_value(
    left: Side | None, right: Side | None, *, notes: Sequence[str] = (), empty: str = "", language: str = "en"
) -> dict[str, Any]:
    """What the page needs to know; without both sides the sentence `empty` only."""
    words = {key: chinese if language == "zh" else english for key, (english, chinese) in SLIDER.items()}
    if left is None or right is None:
        return {"words": words, "empty": empty}
    told: dict[str, Any] = {"words": words, "notes": list(notes)}
    for name, side in (("left", left), ("right", right)):
        told |= {name: image_address(side.picture, "PNG"), f"{name}Title": side.title, f"{name}Says": side.says}
    return told


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
