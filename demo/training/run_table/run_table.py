"""The table of runs as a Gradio component; everything that moves is in the script files beside it.

Value: anything; a new one makes a table on screen ask for news. Events: `table.showrun(fn, …)` when somebody wants to
see a run (its `gr.EventData` has `run_id`), `table.runschanged(fn, …)` after a rename, a deletion or an undo, and
`table.comparison(fn, …)` when two to eight runs are to be compared (`run_ids`).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.component import WithoutStub
from demo.words.runs import TABLE_WORDS
from resnet_core.training.differences import FEWEST, MOST
from resnet_core.training.run_notes import MAX_NAME, MAX_NOTE
from resnet_core.training.run_search import LONGEST

FOLDER = Path(__file__).parent
SCRIPTS = (
    "run_words.js",
    "run_rows.js",
    "run_line.js",
    "run_edit.js",
    "run_file.js",
    "run_table.js",
    "run_wiring.js",
)


def table_script() -> str:
    """The script the browser runs: words and limits as constants, then the files in the order they build on."""
    words = {language: {key: both[at] for key, both in TABLE_WORDS.items()} for at, language in enumerate(("en", "zh"))}
    limits = {"fewest": FEWEST, "most": MOST, "search": LONGEST, "name": MAX_NAME, "note": MAX_NOTE}
    constants = [f"const WORDS = {json.dumps(words)};", f"const LIMITS = {json.dumps(limits)};"]
    return "\n".join([*constants, *map(_read, SCRIPTS)])


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


class RunTable(gr.HTML, metaclass=WithoutStub):
    """The table; `ask` is what `make_table_ask` gives."""

    def __init__(
        self,
        ask: Callable[[object], dict[str, Any]],
        *,
        value: str = "",
        elem_id: str | None = "run-table",
        **kwargs: Any,
    ) -> None:
        # the name must not be a parameter's, or Gradio would send the function itself to the browser
        def runs_ask(question: object) -> dict[str, Any]:
            return ask(question)

        fixed: dict[str, Any] = {
            "html_template": _read("run_table.html"),
            "css_template": _read("run_table.css"),
            "js_on_load": table_script(),
            "apply_default_css": False,
        }
        super().__init__(value, elem_id=elem_id, server_functions=[runs_ask], **(kwargs | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "string", "description": "anything; a new value makes the table ask for news"}
