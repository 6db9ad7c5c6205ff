"""Pictures as this app keeps copies of them: as large as a training may ask for, and no larger."""

import io

from PIL import Image

KEPT_SIDE = 384  # px, the shorter one: 224 px networks train on cuts of pictures 1.6 times as large
KEPT_DRAFT = 960  # px to decode large JPEGs to, as `preprocessing.draft_size` has it
SMALL_AREA = 128 * 128  # up to here PNG costs little and loses nothing
JPEG_QUALITY = 92


def encode_kept(image: Image.Image) -> bytes:
    """The file to keep of an RGB picture: PNG where that is small anyway, else JPEG with full colour."""
    from resnet_core.data.preprocessing import resize_short_side  # here, since pages are up before torch is there

    image = resize_short_side(image, KEPT_SIDE, upscale=False)
    out = io.BytesIO()
    if image.width * image.height <= SMALL_AREA:
        image.save(out, format="PNG")
    else:
        image.save(out, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def suffix_of(content: bytes) -> str:
    """The ending of a file that `encode_kept` made."""
    return ".png" if content.startswith(b"\x89PNG") else ".jpg"


def encode_thumbnail(image: Image.Image, side: int) -> bytes:
    """A square JPEG of the picture's centre, `side` px, for a page."""
    width, height = image.size
    short = min(image.size)
    left, top = (width - short) // 2, (height - short) // 2
    square = image.resize((side, side), Image.Resampling.BOX, box=(left, top, left + short, top + short))
    out = io.BytesIO()
    square.save(out, format="JPEG", quality=80)
    return out.getvalue()
