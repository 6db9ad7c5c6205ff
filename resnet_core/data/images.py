"""The one door for pictures: any file, bytes or stream becomes an upright RGB image or an `ImageError`.

`image_gate` judges name, file size, magic bytes and header limits; only then are pixels decoded, here.
Only Pillow decodes: torchvision's PNG decoder crashes the whole process on damaged files.
The decoder is chosen from the magic bytes and called directly, not through `Image.open`. So nothing outside
the list below is ever tried (no Ghostscript), a camera's MPO file is read as the JPEG it starts with, and
the size is judged by us instead of by Pillow's process-wide limit, whose warnings could only be tamed by
switching the warning filters of every thread. No global state of Pillow or Python is changed, so any number
of threads may read at once.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from resnet_core.data.image_gate import (
    check_size,
    check_structure,
    display_name,
    name_of,
    read_bytes,
    sniff_format,
)
from resnet_core.errors import ImageError

__all__ = ["VERY_SMALL_SIDE", "ReadImage", "display_name", "read_image", "read_image_with_notes"]

VERY_SMALL_SIDE = 32  # pixels; below this a network made for photos has next to nothing to look at

_DECODERS: dict[str, Callable[[BinaryIO], ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
    "TIFF": TiffImageFile,
    "AVIF": AvifImageFile,
    "PPM": PpmImageFile,
}

_UPRIGHT = {  # EXIF 2.32, tag 0x0112
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ReadImage:
    """A picture ready for use, with what a person should know about how it was read."""

    image: Image.Image  # mode RGB, loaded, upright
    notes: tuple[str, ...]  # whole sentences, each begins with the picture's name
    format: str  # "JPEG", "PNG", …: what the bytes are, whatever the file is called
    original_size: tuple[int, int]  # width, height in pixels as seen upright, before any draft reduction


def read_image(
    source: str | Path | bytes | BinaryIO, *, name: str | None = None, draft_size: int | None = None
) -> Image.Image:
    """Return the picture as a loaded, upright RGB image; see `read_image_with_notes`."""
    return read_image_with_notes(source, name=name, draft_size=draft_size).image


def read_image_with_notes(
    source: str | Path | bytes | BinaryIO, *, name: str | None = None, draft_size: int | None = None
) -> ReadImage:
    """Return the first frame as upright RGB (alpha over white), with notes on what was changed.

    `name` is shown in messages (default: the file's own). With `draft_size` a large JPEG is decoded at 1/2,
    1/4 or 1/8 of its size, as long as the shorter side keeps at least that many pixels (28 instead of 92 ms
    for a phone photo).

    Raises `ImageError`, whatever is wrong; its message begins with the display name.
    """
    shown = display_name(name_of(source) if name is None else name)
    try:
        content = read_bytes(source, shown)
        return _decode(content, shown, draft_size)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError(f"{shown} needs more memory than there is; make it smaller first.") from error
    except Exception as error:  # Pillow raises over a dozen types on damaged files, SyntaxError among them
        raise _damaged(shown, error) from error


def _damaged(shown: str, error: Exception) -> ImageError:
    words = str(error)
    cut = isinstance(error, EOFError) or "truncated" in words or "unexpected end" in words.lower()
    return ImageError(f"{shown} is {'' if cut else 'damaged or '}incomplete (truncated); copy it again.")


def _decode(content: bytes, shown: str, draft_size: int | None) -> ReadImage:
    format = sniff_format(content[:4096], shown)
    check_structure(content, format, shown)
    opened = _DECODERS[format](io.BytesIO(content))
    width, height = opened.size
    check_size(width, height, shown)
    if draft_size is not None and isinstance(opened, JpegImageFile):
        opened.draft(None, (max(1, draft_size), max(1, draft_size)))
    opened.load()
    check_size(*opened.size, shown)
    image, note = _to_rgb(opened)
    image, turned = _turn_upright(image, opened)
    if turned or (format == "TIFF" and opened.size == (height, width)):  # Pillow turns a TIFF itself while loading
        width, height = height, width
    notes = [note] if note else []
    if min(width, height) < VERY_SMALL_SIDE:
        notes.append(f"very small ({width}×{height} pixels): the answer may mean little.")
    if _has_more(opened):
        kind = "several pages: only the first page" if format == "TIFF" else "animated: only the first frame"
        notes.append(f"{kind} is used.")
    return ReadImage(image, tuple(f"{shown}: {each}" for each in notes), format, (width, height))


def _to_rgb(image: Image.Image) -> tuple[Image.Image, str]:
    """Return the picture in mode RGB and a note where its brightness had to be scaled."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _scale_brightness(image)
    if image.mode == "LAB":
        to_srgb = ImageCms.profileToProfile(
            image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        assert to_srgb is not None  # only an in-place conversion returns nothing
        return to_srgb, ""
    if image.has_transparency_data:
        return _over_white(image), ""
    return image.convert("RGB"), ""


def _over_white(image: Image.Image) -> Image.Image:
    clear = image.convert("RGBA")
    canvas = Image.new("RGB", clear.size, "white")
    canvas.paste(clear, mask=clear.getchannel("A"))
    return canvas


def _scale_brightness(image: Image.Image) -> tuple[Image.Image, str]:
    """Map more than 8 bits of grey to 0–255; plain conversion would clip everything above 255 to white.

    The range is that of the kind of data (8, 10, 12, 14 or 16 bits; 0–1 for floats), so that a dark photo
    stays dark; where the values fit none of these, or fill less than a quarter, their own lowest and highest.
    """
    tops = (1, 255, 65535) if image.mode == "F" else (255, 1023, 4095, 16383, 65535)
    if image.mode.startswith("I;"):
        image = image.convert("I")
    values = np.asarray(image, dtype=np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, values.min(where=finite, initial=np.inf) if finite.any() else 0)
    low, high = float(values.min()), float(values.max())
    top = next((top for top in tops if high <= top), 0)
    if low >= 0 and 0 < top <= 4 * high:
        low, high = 0.0, float(top)
    span = (high - low) or 1.0
    grey = Image.fromarray(((values - low) * (255 / span) + 0.5).clip(0, 255).astype(np.uint8))
    if (low, high) == (0, 255):  # eight bits in a larger container
        return grey.convert("RGB"), ""
    kind = "floating-point" if image.mode == "F" else "16-bit" if 0 <= low < high <= 65535 else "32-bit"
    return grey.convert("RGB"), f"{kind} picture: brightness scaled from {low:g}–{high:g} to 0–255."


def _turn_upright(image: Image.Image, opened: Image.Image) -> tuple[Image.Image, bool]:
    """Undo the camera's rotation; also tell whether width and height changed places."""
    try:
        orientation = opened.getexif().get(0x0112)
    except Exception:  # damaged metadata is no reason to refuse good pixels
        return image, False
    if not isinstance(orientation, int) or orientation not in _UPRIGHT:
        return image, False
    return image.transpose(_UPRIGHT[orientation]), orientation >= 5


def _has_more(opened: Image.Image) -> bool:
    try:
        opened.seek(1)
    except Exception:  # EOFError when there is no second frame; anything else means it cannot be read
        return False
    return True
