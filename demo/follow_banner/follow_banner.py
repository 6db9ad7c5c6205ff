"""The banner above an answer: which epoch of which run this is, and whether it is still training.

Value: `Followed.to_json()` of the model that answered, None for a model of no run. While it is on screen and its run
goes on it asks for the newest epoch; `banner.tick(fn, …)` comes when there is one, and whoever answers again sets
the value anew. (The name is one of Gradio's own, as `gr.on` takes no others.)
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.component import WithoutStub
from demo.words.runs import BANNER_WORDS

FOLDER = Path(__file__).parent


class FollowBanner(gr.HTML, metaclass=WithoutStub):
    """The banner; `ask` is what `make_follow_ask` gives."""

    def __init__(
        self,
        ask: Callable[[object], dict[str, Any]],
        *,
        value: dict[str, Any] | None = None,
        elem_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        # the name must not be a parameter's, or Gradio would send the function itself to the browser
        def follow_news(model: object) -> dict[str, Any]:
            return ask(model)

        words = {lang: {key: both[at] for key, both in BANNER_WORDS.items()} for at, lang in enumerate(("en", "zh"))}
        fixed: dict[str, Any] = {
            "html_template": _read("follow_banner.html"),
            "css_template": _read("follow_banner.css"),
            "js_on_load": f"const WORDS = {json.dumps(words)};\n{_read('follow_banner.js')}",
            "apply_default_css": False,
        }
        super().__init__(value, elem_id=elem_id, server_functions=[follow_news], **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "object", "description": "which epoch of which run answered"}


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
