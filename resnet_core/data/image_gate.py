"""What a picture from outside must pass before a decoder sees it: size, magic bytes, structure, limits.

All failures are `ImageError`s whose message begins with the name as `display_name` cleans it.
"""

import math
import os
import re
import stat
import unicodedata
import zlib

from PIL import features

from resnet_core.errors import ImageError

MAX_PIXELS = 50_000_000  # 150 MB as RGB; the largest phone photos have about 50 megapixels
MAX_ASPECT = 20  # `Resize(256)` of a 312-byte 1×60000 PNG asks for 15 GB
MAX_FILE_BYTES = 100_000_000
MAX_JPEG_SCANS = 100  # ordinary progressive JPEGs have about 10; each scan costs a pass over all pixels
MAX_JPEG_FILL = 4096  # bytes between two parts of a header
MAX_PARTS = 50_000  # PNG chunks or JPEG markers; a 100 MB PNG of ordinary chunks has 12,000
MAX_NAME_LENGTH = 80

SUPPORTED = "use JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or PPM"

_READABLE = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"RIFF.{4}WEBP", "WEBP"),
    (rb"GIF8[79]a", "GIF"),
    (rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0{3}", "BMP"),
    (rb"II\*\0|MM\0\*|II\+\0|MM\0\+", "TIFF"),
    (rb".{4}ftypavi[fs]|.{4}ftyp(?:mif1|msf1).{4,64}?avi[fs]", "AVIF"),
    (rb"P[1-6f]\s", "PPM"),
)
_UNREADABLE = (
    (rb".{4}ftyp(?:hei[cmxs]|hev[cmxs]|mif1|msf1)", "HEIC"),
    (rb"8BPS", "PSD"),
    (rb"icns", "ICNS"),
    (rb"BLP[12]", "BLP"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS"),
    (rb"\0\0[\x01\x02]\0", "ICO"),
    (rb"DDS ", "DDS"),
    (rb"\0{3}\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\xff\x0a|\0{3}\x0cJXL ", "JPEG XL"),
    (rb"qoif", "QOI"),
)
_NOT_IMAGES = (
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive"),
    (rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!", "a compressed archive"),
    (rb".{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI ", "a video"),
    (rb"MZ|\x7fELF|\xcf\xfa\xed\xfe", "a program"),
    (rb"\x80[\x02-\x05]", "a Python pickle"),
    (rb"\s*<\?xml", "XML"),
)
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.S)
_SVG = re.compile(rb"\s*(?:<\?xml|<!--|<!doctype svg|<svg).{0,2000}?<svg|\s*<svg", re.S | re.I)
_HTML = re.compile(rb"\s*(?:<!--.{0,1000}?-->\s*)?<(?:!doctype html|html|head|body|script|title|div|p)\b", re.S | re.I)


def display_name(raw: object) -> str:
    """Return the base name as text safe to show: no control or direction marks, at most 80 characters.

    It is not escaped for HTML; that is the page's duty.
    """
    shown = visible_text(re.split(r"[/\\]", str(raw).rstrip("/\\"))[-1])
    return shown if shown.strip(". \u200c\u200d") else "unnamed"


def visible_text(raw: str, limit: int = MAX_NAME_LENGTH) -> str:
    """Return one line of at most `limit` characters, without control characters and direction marks."""
    text = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", raw)  # bytes that were no UTF-8
    kept = "".join(c for c in text if c.isspace() or c in "\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf"))
    kept = " ".join(kept.split())
    return kept if len(kept) <= limit else f"{kept[: limit - 16]}…{kept[-15:]}"


def name_of(source: object) -> object:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    own = getattr(source, "name", None)  # a stream opened by descriptor has a number there
    return own if isinstance(own, str) else "The picture"


def read_bytes(source: object, shown: str) -> bytes:
    """Return the whole content, at most `MAX_FILE_BYTES`, and never wait for a pipe or device."""
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
    elif isinstance(source, str | os.PathLike):
        content = _read_file(os.fspath(source), shown)
    else:
        content = _read_stream(source, shown)
    if len(content) > MAX_FILE_BYTES:
        raise _too_heavy(shown)
    if not content:
        raise ImageError(f"{shown} is empty (0 bytes).")
    return content


def _read_file(path: str | bytes, shown: str) -> bytes:
    try:
        _require_regular(os.stat(path), shown)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as stream:
            _require_regular(os.fstat(stream.fileno()), shown)  # it may have been swapped since
            return stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise ImageError(f"{shown} was not found; check the name and the folder.") from error
    except PermissionError as error:
        raise ImageError(f"{shown} may not be read; change its permissions or copy it elsewhere.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"{shown} cannot be opened; check its name and the disk.") from error


def _require_regular(status: os.stat_result, shown: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{shown} is a folder; choose one picture in it.")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{shown} is not a regular file but a pipe or device; choose a picture file.")
    if status.st_size > MAX_FILE_BYTES:
        raise _too_heavy(shown)


def _read_stream(source: object, shown: str) -> bytes:
    read = getattr(source, "read", None)
    if read is None:
        raise ImageError(f"{shown} is not a picture file; give a path, bytes or an open binary file.")
    parts, total = [], 0
    while total <= MAX_FILE_BYTES and (part := read(1 << 20)):
        if not isinstance(part, bytes):
            raise ImageError(f"{shown} was opened as text; open it in binary mode.")
        parts.append(part)
        total += len(part)
    return b"".join(parts)


def _too_heavy(shown: str) -> ImageError:
    limit = MAX_FILE_BYTES // 1_000_000
    return ImageError(f"{shown} is larger than {limit} MB, the limit for a picture; make it smaller first.")


def sniff_format(head: bytes, shown: str) -> str:
    """Return the format the first bytes announce; raise with advice for anything that cannot be read."""
    head = head.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of a text file
    for pattern, format in _READABLE:
        if re.match(pattern, head, re.S):
            if format in ("WEBP", "AVIF") and not features.check(format.lower()):
                raise ImageError(f"{shown}: this computer's Pillow was built without {format}; use JPEG or PNG.")
            return format
    for pattern, format in _UNREADABLE:
        if re.match(pattern, head, re.S):
            raise _unsupported(shown, format)
    if _SVG.match(head):
        raise _unsupported(shown, "SVG")
    kind = "HTML" if _HTML.match(head) else _kind_of_other(head)
    looks = f" (looks like {kind})" if kind else ""
    raise ImageError(f"{shown} is not an image this app can read{looks}; {SUPPORTED}.")


def _unsupported(shown: str, format: str) -> ImageError:
    advice = {
        "HEIC": "export it as JPEG, or on the iPhone choose Settings > Camera > Formats > Most Compatible",
        "SVG": "this is a drawing; export it as PNG",
        "PSD": "export it as JPEG or PNG",
        "EPS": "export it as PNG",
    }
    return ImageError(f"{shown}: {format} format not supported; {advice.get(format, SUPPORTED)}.")


def _kind_of_other(head: bytes) -> str:
    for pattern, kind in _NOT_IMAGES:
        if re.match(pattern, head, re.S):
            return kind
    is_text = not re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\xff]", head)
    return "text" if is_text else ""


def check_structure(content: bytes, format: str, shown: str) -> None:
    """Refuse what the decoder would notice too late: changed PNG bytes, countless scans, huge canvases."""
    if format == "PNG":
        _check_png_chunks(content)
    elif format == "JPEG":
        _check_jpeg_markers(content, shown)
    elif format == "WEBP" and content[12:16] == b"VP8X":  # the decoder reserves the canvas before Pillow looks
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        check_size(width, height, shown)


def _check_png_chunks(content: bytes) -> None:
    """Compare every chunk's CRC; Pillow skips those of the pixels, so a flipped byte could pass unseen."""
    at = 8
    view = memoryview(content)
    for _ in range(MAX_PARTS):
        if at + 12 > len(content):
            raise EOFError("truncated before IEND")
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if end + 4 > len(content):
            raise EOFError("truncated chunk")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise SyntaxError("wrong checksum")
        if content[at + 4 : at + 8] == b"IEND":
            return
        at = end + 4
    raise SyntaxError("too many chunks")


def _check_jpeg_markers(content: bytes, shown: str) -> None:
    """Walk the first JPEG in the bytes (cameras append previews and videos) and count its scans.

    Without this, 100 MB of fill bytes keep Pillow's header loop busy for most of a minute.
    """
    scans, at = 0, 2
    for _ in range(MAX_PARTS):
        found = _JPEG_MARKER.search(content, at, len(content) if scans else at + MAX_JPEG_FILL)
        if scans == 0 and (found is None or found[1] == b"\xd9"):
            raise EOFError("truncated before the first scan")
        if found is None or found[1] == b"\xd9":
            return
        scans += found[1] == b"\xda"
        if scans > MAX_JPEG_SCANS:
            raise ImageError(f"{shown} has more than {MAX_JPEG_SCANS} scans, as hostile files do; save it anew.")
        at = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
    raise SyntaxError("too many markers")


def check_size(width: int, height: int, shown: str) -> None:
    if min(width, height) < 1:
        raise SyntaxError("no pixels")
    if width * height > MAX_PIXELS:
        megapixels = math.ceil(width * height / 100_000) / 10
        raise ImageError(
            f"{shown} has {megapixels:,g} megapixels; limit {MAX_PIXELS // 1_000_000}. Make it smaller first."
        )
    ratio = max(width, height) / min(width, height)
    if ratio > MAX_ASPECT:
        shown_ratio = f"{math.ceil(ratio * 10) / 10:.1f}".removesuffix(".0")
        raise ImageError(f"{shown} is too elongated ({shown_ratio}:1; limit {MAX_ASPECT}:1). Crop it first.")
