"""The strip of earlier answers under “One”: a click puts its photo back into the box and its model into the dropdown,
which asks again."""

from pathlib import Path
from typing import Any

import gradio as gr

from demo.classify.history.history import HistoryStrip, stored_again
from demo.follow_banner.follow_choice import ModelChoice, refreshed
from demo.photo import Photo
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import language_of, say


def history_section(services: Services, photo: Photo, choice: ModelChoice) -> HistoryStrip:
    """Builds the strip; give it `entry_of` each answer."""
    history = HistoryStrip()

    @failing_in_a_sentence
    def bring_back(kept: bool, request: gr.Request, event: gr.EventData) -> tuple[str, Any]:
        language = language_of(request)
        stored = stored_again(getattr(event, "path", ""), Path(photo.GRADIO_CACHE))
        if stored is None:
            raise gr.Error(say("many_photo_gone", language), print_exception=False)
        return stored, chosen_again(services, getattr(event, "asked", None), bool(kept), language)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    history.pick(bring_back, choice.kept, [photo, choice.model], **quiet)
    return history


def chosen_again(services: Services, asked: object, kept: bool, language: str) -> Any:
    """The update of the dropdown to the model that gave an answer; none where that is no longer listed."""
    if not isinstance(asked, str):
        return gr.skip()
    listed = refreshed(services, asked, kept, language)
    return gr.skip() if "value" in listed else {**listed, "value": asked}
