"""The what-if brush as a Gradio component; everything that moves is in the script files beside it.

Value: what `what_if_value` returns for a photo. The page sends each edited picture to `POST api/classify` by itself
(demo/direct.py): one request at a time, the newest picture wins.
"""

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from demo.component import WithoutStub
from demo.markup import class_color
from demo.words.why import WHAT_IF
from resnet_core.data.images import ReadImage

FOLDER = Path(__file__).parent
SCRIPTS = (
    "../page_threshold.js",
    "../per_cent.js",
    "what_if_picture.js",
    "what_if_asking.js",
    "what_if_answer.js",
    "what_if.js",
)
LARGEST_SIDE = 512  # px; a PNG of it takes a browser about 30 ms …
LONGEST_SIDE = 1536  # … a long photo may be as long, so that its shorter side keeps …
SHORTER = 2.0  # … so many times what the network looks at
LARGEST_PNG = 400_000  # bytes; larger pictures go to the browser as JPEG of quality 95
COLORED = 100  # classes beyond these are drawn in the accent colour


class WhatIf(gr.HTML, metaclass=WithoutStub):
    """A photo to play with and its bars; `moved` is the page's threshold as the sureness panel keeps it."""

    def __init__(
        self, value: dict[str, Any] | None = None, *, moved: str = "", elem_id: str | None = "what-if", **kwargs: Any
    ) -> None:
        fixed: dict[str, Any] = {
            "html_template": _read("what_if.html"),
            "css_template": _read("what_if.css"),
            "js_on_load": what_if_script(),
            "apply_default_css": False,
        }
        super().__init__(value, elem_id=elem_id, moved=moved, **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "object", "description": "a photo, the model that is asked, and the words to show"}


def what_if_script() -> str:
    """The script the browser runs: the files in the order they build on."""
    return "\n".join(map(_read, SCRIPTS))


def what_if_value(
    photo: ReadImage | None,
    model: str,
    class_names: tuple[str, ...],
    language: str,
    *,
    seen: int = 0,
    stamp: float = 0.0,
) -> dict[str, Any]:
    """What the page needs to know; without a photo only its words. `seen`: px of the shorter side that is looked at;
    `stamp`: when the model's file was written, since a run puts its next epoch under the same name."""
    words = {key: chinese if language == "zh" else english for key, (english, chinese) in WHAT_IF.items()}
    told: dict[str, Any] = {"words": words}
    if photo is None:
        return told
    colors = {name: class_color(index) for index, name in enumerate(class_names[:COLORED])}
    picture = picture_address(photo.image, seen=seen)
    return {**told, "picture": picture, "model": model, "stamp": stamp, "colors": colors}


def picture_address(image: Image.Image, *, seen: int = 0) -> str:
    """The picture as a data address: exact where that is not too long, else made smaller.

    At most 512 px wide and high, or as much more as a long picture needs to be looked at with `seen` px.
    """
    longest = max(LARGEST_SIDE, min(LONGEST_SIDE, round(SHORTER * seen * max(image.size) / min(image.size))))
    small = image.copy()
    small.thumbnail((longest, longest), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "PNG", compress_level=3)
    kind = "png"
    if file.tell() > LARGEST_PNG:
        file, kind = io.BytesIO(), "jpeg"
        small.save(file, "JPEG", quality=95, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
