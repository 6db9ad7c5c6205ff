"""“Many” as a Gradio component: a place to drop files, and the table of their answers as they come.

Everything that moves is in the script files beside it. The prop `model` names the model that the next batch asks,
`moved` is the page's threshold as the sureness panel keeps it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.classify.many.many_job import MOST_PICTURES
from demo.component import WithoutStub
from demo.words.many import TABLE_WORDS
from resnet_core.data.image_gate import MAX_FILE_BYTES
from resnet_core.data.picture_files import ENDINGS
from resnet_core.inference.batch_report import UNSURE_BELOW

FOLDER = Path(__file__).parent
SCRIPTS = (
    "many_words.js",
    "../../dropped_files.js",
    "../../page_threshold.js",
    "many_files.js",
    "many_sending.js",
    "many_rows.js",
    "many_views.js",
    "many_table.js",
    "many_show.js",
    "many_large.js",
    "many_wiring.js",
)


def table_script() -> str:
    """The script the browser runs: the words and limits as constants, then the files in the order they build on."""
    words = {
        "en": {key: both[0] for key, both in TABLE_WORDS.items()},
        "zh": {key: both[1] for key, both in TABLE_WORDS.items()},
    }
    limits = {
        "most": MOST_PICTURES,
        "largest": MAX_FILE_BYTES,
        "endings": sorted(ENDINGS),
        "unsureBelow": UNSURE_BELOW,
    }
    constants = [f"const WORDS = {json.dumps(words)};", f"const LIMITS = {json.dumps(limits)};"]
    return "\n".join([*constants, *map(_read, SCRIPTS)])


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


class ManyTable(gr.HTML, metaclass=WithoutStub):
    """The table; `ask` is what `make_ask` gives."""

    def __init__(
        self,
        ask: Callable[[object], dict[str, Any]],
        *,
        value: str = "",
        model: str = "flowers",
        moved: str = "",
        elem_id: str | None = "many-table",
        **kwargs: Any,
    ) -> None:
        # the name must not be a parameter's, or Gradio would send the function itself to the browser
        def many_ask(question: object) -> dict[str, Any]:
            return ask(question)

        fixed: dict[str, Any] = {
            "html_template": _read("many_table.html"),
            "css_template": _read("many_table.css"),
            "js_on_load": table_script(),
            "apply_default_css": False,
        }
        asking: dict[str, Any] = {"server_functions": [many_ask], "model": model, "moved": moved}
        super().__init__(value, elem_id=elem_id, **asking, **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers; there is none."""
        return {"type": "string", "description": "always empty"}
