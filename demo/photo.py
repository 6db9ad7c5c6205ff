"""A picture input that says why a file was refused, and one way from an uploaded file to pixels."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData

from demo.component import WithoutStub
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.errors import ImageError

DRAFT_SIZE = 512  # px; larger photos are decoded at the nearest size above this


class Photo(gr.Image, metaclass=WithoutStub):
    """gr.Image hides the reason for a bad file behind the word "Error"; this one reads it as everything else here does.

    Handlers receive a `ReadImage`: the upright RGB picture and notes on how it was read.
    """

    is_template = True  # in the browser this is a plain gr.Image, not a component with files of its own

    def preprocess(self, payload: ImageData | None) -> ReadImage | None:  # type: ignore[override]
        """The picture of an upload, None when there is none. Raises gr.Error with the reader's sentence."""
        if payload is None or payload.path is None:
            return None
        return read_upload(payload.path, payload.orig_name)


def read_upload(path: str, name: str | None) -> ReadImage:
    """The picture in a file that Gradio has stored. Raises gr.Error with a sentence."""
    try:
        return read_image_with_notes(Path(path), name=name or Path(path).name, draft_size=DRAFT_SIZE)
    except ImageError as error:
        raise gr.Error(str(error), print_exception=False) from None


def photo_input(**options: Any) -> Photo:
    """The photo box all tabs share."""
    return Photo(sources=["upload", "clipboard", "webcam"], type="pil", image_mode="RGB", **options)
