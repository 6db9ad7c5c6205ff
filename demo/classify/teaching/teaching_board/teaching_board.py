"""The two components of “Teach”; everything that moves is in the script files beside them.

`TeachingBoard` has one event: `board.arrive(fn, …)`, once its page is there; the `gr.EventData` has `session`.
`CameraAnswer`'s value is the name of the model to ask, "" for none.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.classify.teaching.teaching_board.classroom import MAX_CLASSES, MAX_PICTURES
from demo.component import WithoutStub
from demo.markup import CLASS_COLORS
from demo.words.teaching import BOARD
from resnet_core.data.archive import MAX_TOTAL_BYTES

FOLDER = Path(__file__).parent
BOARD_SCRIPTS = (
    "board_words.js",
    "camera.js",
    "board_wire.js",
    "board_card.js",
    "../../dropped_files.js",
    "board_folders.js",
    "teaching_board.js",
)
CAMERA_SCRIPTS = ("board_words.js", "camera.js", "camera_answer.js")

Answering = Callable[[object], dict[str, Any]]


def script(names: tuple[str, ...]) -> str:
    """The script the browser runs: constants, then the files in the order they build on."""
    strings = {tag: {key: words[place] for key, words in BOARD.items()} for place, tag in enumerate(("en", "zh"))}
    limits = {"MOST_CLASSES": MAX_CLASSES, "MOST_PICTURES": MAX_PICTURES, "MOST_ZIP_BYTES": MAX_TOTAL_BYTES}
    constants = {"STRINGS": strings, "COLORS": CLASS_COLORS, **limits}
    given = [f"const {name} = {json.dumps(value)};" for name, value in constants.items()]
    return "\n".join([*given, *map(_read, names)])


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


class TeachingBoard(gr.HTML, metaclass=WithoutStub):
    """Classes, pictures and bursts; what the browser asks is answered by `answering`."""

    def __init__(self, answering: Answering, *, elem_id: str | None = "teach-board", **options: Any) -> None:
        def teaching_board(request: object) -> dict[str, Any]:
            return answering(request)

        fixed: dict[str, Any] = {
            "html_template": _read("teaching_board.html"),
            "css_template": _read("teaching_board.css"),
            "js_on_load": script(BOARD_SCRIPTS),
            "apply_default_css": False,
        }
        super().__init__("", elem_id=elem_id, server_functions=[teaching_board], **(options | fixed))


class CameraAnswer(gr.HTML, metaclass=WithoutStub):
    """The camera's picture and what the model makes of it, a few times a second."""

    def __init__(self, answering: Answering, *, elem_id: str | None = "teach-camera", **options: Any) -> None:
        def camera_answer(request: object) -> dict[str, Any]:
            return answering(request)

        fixed: dict[str, Any] = {
            "html_template": _read("camera_answer.html"),
            "css_template": _read("teaching_board.css"),
            "js_on_load": script(CAMERA_SCRIPTS),
            "apply_default_css": False,
        }
        super().__init__("", elem_id=elem_id, server_functions=[camera_answer], **(options | fixed))
