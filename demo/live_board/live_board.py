"""The live training board as a Gradio component; everything that moves is in the script files beside it.

Value: the run id to follow, "" for the newest. `gr.update(overlays=[run id, …])` lays up to seven other runs over it.
Event: `board.statechange(fn, …)` whenever the run on screen or its status changes; its `gr.EventData` has `run_id` and
`status` ("none" while there is no run).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.component import WithoutStub
from demo.live_board.board_feed import BoardRead, BoardSource, make_poll
from demo.live_board.board_strings import BOARD_STRINGS

__all__ = ["BOARD_STRINGS", "BoardRead", "BoardSource", "LiveBoard", "board_script", "make_poll"]

FOLDER = Path(__file__).parent
SCRIPTS = (  # in the order they build on one another
    "live_board_scale.js",
    "live_board_words.js",
    "live_board_axis.js",
    "live_board_store.js",
    "live_board_polling.js",
    "live_board_draw.js",
    "live_board_zoom.js",
    "live_board_timeline.js",
    "live_board_chart.js",
    "live_board_series.js",
    "live_board_small.js",
    "live_board_overlay.js",
    "live_board_table.js",
    "live_board_head.js",
    "live_board.js",
)


def board_script() -> str:
    """The script the browser runs: the words as one constant, then the files in the order they build on."""
    words = json.dumps(BOARD_STRINGS, ensure_ascii=True)
    return "\n".join([f"const STRINGS = {words};", *map(_read, SCRIPTS)])


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


class LiveBoard(gr.HTML, metaclass=WithoutStub):
    """Curves, progress and log of one training, redrawn in the browser from `poll`'s replies.

    `strings` replaces words of `BOARD_STRINGS` in the same shape; `language` is "en" or "zh", empty means the
    page's own; `overlays` are ids of runs to lay over the one followed. The words also live in the script, as an
    update sends only the props it names.
    """

    def __init__(
        self,
        poll: Callable[[object], dict[str, Any]],
        *,
        value: str = "",
        language: str = "",
        strings: dict[str, dict[str, str]] | None = None,
        overlays: list[str] | None = None,
        elem_id: str | None = "live-board",
        **kwargs: Any,
    ) -> None:
        # `server_functions` become attributes under their name and that name must not be a parameter's,
        # or Gradio would try to send the function itself to the browser as configuration.
        def board_news(request: object) -> dict[str, Any]:
            return poll(request)

        fixed: dict[str, Any] = {
            "html_template": _read("live_board.html"),
            "css_template": _read("live_board.css"),
            "js_on_load": board_script(),
            "apply_default_css": False,
        }
        super().__init__(
            value,
            elem_id=elem_id,
            server_functions=[board_news],
            language=language,
            strings=strings or {},
            overlays=overlays or [],
            **(kwargs | fixed),
        )

    def api_info(self) -> dict[str, Any]:
        """The type of the value for API readers: a run id."""
        return {"type": "string", "description": "run id to follow, empty for the newest"}
