"""A picture input that says why a file was refused, one way from an uploaded file to pixels, and a picture output."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import ImageData
from gradio.processing_utils import encode_pil_to_bytes, hash_bytes
from PIL import Image

from demo.component import WithoutStub
from demo.sentences import toast_text
from resnet_core.data.images import ReadImage, display_name, read_image_with_notes
from resnet_core.errors import ImageError

DRAFT_SIZE = 640  # px; larger photos are decoded at the nearest size above this: enough for 256, see `draft_size`


@dataclass(frozen=True)
class StoredPhoto(ReadImage):
    """A picture that came through the page, and where Gradio has put its file."""

    path: str
    name: str  # as the visitor's file is called


class Photo(gr.Image, metaclass=WithoutStub):
    """gr.Image hides the reason for a bad file behind the word "Error"; this one reads it as everything else here does.

    Handlers receive a `ReadImage`: the upright RGB picture and notes on how it was read.
    """

    is_template = True  # in the browser this is a plain gr.Image, not a component with files of its own

    def preprocess(self, payload: ImageData | None) -> ReadImage | None:  # type: ignore[override]
        """The picture of an upload, None when there is none. Raises gr.Error with the reader's sentence."""
        if payload is None or payload.path is None:
            return None
        photo = read_upload(payload.path, payload.orig_name)
        name = display_name(payload.orig_name or Path(payload.path).name)
        return StoredPhoto(photo.image, photo.notes, photo.format, photo.original_size, payload.path, name)


class Picture(gr.Image, metaclass=WithoutStub):
    """gr.Image writes the same pixels to the same file again for every viewer, cutting off whoever is just loading it.

    This one writes a file once, whole, and then only marks it as used.
    """

    is_template = True

    def postprocess(self, value: Any) -> Any:
        """What the browser needs to load a PIL picture; anything else as gr.Image has it."""
        if not isinstance(value, Image.Image):
            return super().postprocess(value)
        content = _encode(value, self.format)
        target = Path(self.GRADIO_CACHE) / hash_bytes(content) / f"image.{self.format}"
        if target.is_file():
            os.utime(target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f"{secrets.token_hex(6)}.part")
            temporary.write_bytes(content)
            os.replace(temporary, target)
        return ImageData(path=str(target.resolve()), orig_name=target.name)


def _encode(picture: Image.Image, form: str) -> bytes:
    if picture.mode != "P":
        return encode_pil_to_bytes(picture, form)
    from resnet_core.activations.render import encode_sheet

    return encode_sheet(picture)


def read_upload(path: str, name: str | None) -> ReadImage:
    """The picture in a file that Gradio has stored. Raises gr.Error with a sentence."""
    try:
        return read_image_with_notes(Path(path), name=name or Path(path).name, draft_size=DRAFT_SIZE)
    except ImageError as error:
        raise gr.Error(toast_text(error), print_exception=False) from None


def photo_input(**options: Any) -> Photo:
    """The photo box all tabs share."""
    return Photo(sources=["upload", "clipboard", "webcam"], type="pil", image_mode="RGB", **options)
