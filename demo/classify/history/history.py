"""The strip of a browser tab's earlier answers: kept in the page only, a click brings photo and model back.

Value: the newest entry as JSON, see `entry_of`. Event: `strip.pick(fn, …)`; its `gr.EventData` has `path`, the place
in Gradio's folder that the browser had from its own upload, and `asked`, the name of the model.
"""

import base64
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.classify.many.many_answers import small_jpeg
from demo.component import WithoutStub
from demo.photo import StoredPhoto
from demo.words.many import HISTORY_WORDS
from resnet_core.data.picture_files import shown_name

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classification

FOLDER = Path(__file__).parent
SIDE = 128  # px of the small picture; about 4 kB


def entry_of(photo: Any, result: "Classification", model: str) -> str:
    """The entry of an answer as JSON; empty for a photo that has no place to come back from."""
    if not isinstance(photo, StoredPhoto):
        return ""
    best = result.predictions[0]
    return json.dumps(
        {
            "path": photo.path,
            "thumb": base64.b64encode(small_jpeg(photo.image, SIDE)).decode("ascii"),
            "label": shown_name(best.label),
            "share": best.probability,  # not rounded: 0.99996 is no certainty
            "unknown": result.unknown,
            "model": shown_name(model),
            "asked": model,
            "at": time.time(),  # so that the same answer once more is news to the browser
        }
    )


def stored_again(path: object, folder: Path) -> str | None:
    """The path when a file still lies there, inside Gradio's own folder; None for anything else."""
    try:
        stored = Path(str(path)).resolve()
        inside = stored.is_relative_to(folder.resolve()) and stored.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return str(stored) if inside else None


class HistoryStrip(gr.HTML, metaclass=WithoutStub):
    """Thumbnails of the last answers; the server keeps nothing of them."""

    def __init__(self, *, value: str = "", elem_id: str | None = "classify-history", **kwargs: Any) -> None:
        words = {
            language: {key: both[place] for key, both in HISTORY_WORDS.items()}
            for place, language in enumerate(("en", "zh"))
        }
        fixed: dict[str, Any] = {
            "html_template": _read("history.html"),
            "css_template": _read("history.css"),
            "js_on_load": f"const WORDS = {json.dumps(words)};\n{_read('../per_cent.js')}\n{_read('history.js')}",
            "apply_default_css": False,
        }
        super().__init__(value, elem_id=elem_id, **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "string", "description": "the newest answer as JSON"}


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
