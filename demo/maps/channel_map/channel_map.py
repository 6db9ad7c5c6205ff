"""The channel's map as a Gradio component; what moves is in the script beside it.

Value: what `channel_map_value` returns; without a photo only words.
"""

import base64
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from demo.component import WithoutStub
from demo.words.detective import CHANNEL_MAP

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parent


class ChannelMap(gr.HTML, metaclass=WithoutStub):
    """A map one can point at, and the photo with the receptive field of that place."""

    def __init__(
        self, value: dict[str, Any] | None = None, *, elem_id: str | None = "channel-map", **kwargs: Any
    ) -> None:
        fixed: dict[str, Any] = {
            "html_template": _read("channel_map.html"),
            "css_template": _read("channel_map.css"),
            "js_on_load": _read("channel_map.js"),
            "apply_default_css": False,
        }
        super().__init__(value, elem_id=elem_id, **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "object", "description": "a channel's map, the photo, and what each row and column can see"}


def channel_map_value(
    activation: "Tensor | None",
    *,
    picture: Image.Image | None = None,
    photo: Image.Image | None = None,
    side: int = 0,
    spans: Any = ((), ()),
    empty: str = "",
    language: str = "en",
) -> dict[str, Any]:
    """What the page needs to know of one channel's map [h,w]: its picture, the photo's square, its numbers, and the
    spans of `field_spans` for a square of `side` px. Without a map the sentence `empty` only."""
    words = {key: chinese if language == "zh" else english for key, (english, chinese) in CHANNEL_MAP.items()}
    if activation is None or picture is None or photo is None:
        return {"words": words, "empty": empty}
    rows, columns = spans
    peak = divmod(int(activation.nan_to_num(nan=-math.inf).argmax()), activation.shape[1])
    return {
        "words": words,
        "map": image_address(picture, "PNG"),
        "photo": image_address(photo, "JPEG", quality=88),
        "side": side,
        "rows": rows,
        "columns": columns,
        "peak": peak,
        "values": [[_rounded(value) for value in row] for row in activation.tolist()],
    }


def image_address(image: Image.Image, form: str, **options: Any) -> str:
    """The picture as a data address."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _rounded(value: float) -> float | None:
    """Four digits, which is what the page shows; JSON has neither NaN nor infinity."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
