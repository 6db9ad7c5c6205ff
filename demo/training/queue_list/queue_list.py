"""The list of waiting runs, each with buttons to move it and to take it out.

Value: `queue_rows` as JSON. Event: `listed.act(fn, …)`; its `gr.EventData` has `run_id` and `place`, the place the run
shall have (1 is the next), 0 for: out of the queue.
"""

import json
from pathlib import Path
from typing import Any

import gradio as gr

from demo.component import WithoutStub
from demo.words.branches import QUEUE_WORDS

FOLDER = Path(__file__).parent


class QueueList(gr.HTML, metaclass=WithoutStub):
    """Waiting runs in their order; what is pressed is told, and a new value shows what became of it."""

    def __init__(self, *, value: str = "[]", elem_id: str | None = "queue-list", **options: Any) -> None:
        words = {tag: {key: both[place] for key, both in QUEUE_WORDS.items()} for place, tag in enumerate(("en", "zh"))}
        fixed: dict[str, Any] = {
            "html_template": _read("queue_list.html"),
            "css_template": _read("queue_list.css"),
            "js_on_load": f"const WORDS = {json.dumps(words)};\n{_read('queue_list.js')}",
            "apply_default_css": False,
        }
        super().__init__(value, elem_id=elem_id, **(options | fixed))

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers."""
        return {"type": "string", "description": "the waiting runs as JSON"}


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
