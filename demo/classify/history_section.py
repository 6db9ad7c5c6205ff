"""The strip of earlier answers under “One”: a click puts its photo back into the box, which asks again."""

from pathlib import Path
from typing import Any

import gradio as gr

from demo.classify.history.history import HistoryStrip, stored_again
from demo.photo import Photo
from demo.sentences import failing_in_a_sentence
from demo.text import language_of, say


def history_section(photo: Photo) -> HistoryStrip:
    """Builds the strip; give it `entry_of` each answer."""
    history = HistoryStrip()

    @failing_in_a_sentence
    def bring_back(request: gr.Request, event: gr.EventData) -> str:
        stored = stored_again(getattr(event, "path", ""), Path(photo.GRADIO_CACHE))
        if stored is None:
            raise gr.Error(say("many_photo_gone", language_of(request)), print_exception=False)
        return stored

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    history.pick(bring_back, None, photo, **quiet)
    return history
