"""Whatever is thrown at `read_image`, it returns an upright RGB picture or one sentence that says why not."""

import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from resnet_core.data import image_gate
from resnet_core.data.images import display_name, read_image, read_image_with_notes
from resnet_core.errors import ImageError

DATA = Path(os.environ.get("RESNET_LAB_DATA") or Path(__file__).parents[3] / "shared" / "data")


def scene(width: int = 48, height: int = 32) -> Image.Image:
    """A smooth picture without any symmetry."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = columns * 255 / (width - 1), rows * 255 / (height - 1)
    return Image.fromarray(np.stack([red, green, (red + 3 * green) / 4], axis=2).astype(np.uint8))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=format, **options)
    return stream.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, color: int, pixels: bytes, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def refusal(source: Any, name: str | None = "photo.jpg") -> str:
    with pytest.raises(ImageError) as caught:
        read_image(source, name=name)
    return str(caught.value)


def difference(image: Image.Image, expected: Image.Image) -> float:
    """The largest difference of any channel of any pixel."""
    assert image.mode == "RGB"
    assert image.size == expected.size
    return float(np.abs(np.asarray(image, dtype=float) - np.asarray(expected, dtype=float)).max())


# ---- what cannot be read is refused in one sentence


def test_an_empty_file_is_called_empty() -> None:
    assert refusal(b"") == "photo.jpg is empty (0 bytes)."


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML"),
        (b"\xef\xbb\xbf  <HTML><head>", "HTML"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"PK\x03\x04" + bytes(40), "a zip archive"),
        (b"\x1f\x8b\x08" + bytes(40), "a compressed archive"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "a video"),
        (b"MZ" + bytes(60), "a program"),
        (b"\x80\x04\x95" + bytes(40), "a Python pickle"),
        (b"only a line of text", "text"),
    ],
)
def test_other_kinds_of_files_are_named(content: bytes, kind: str) -> None:
    assert refusal(content).startswith(f"photo.jpg is not an image this app can read (looks like {kind})")


def test_unknown_bytes_are_refused_without_a_guess() -> None:
    assert refusal(bytes(range(7, 90))).startswith("photo.jpg is not an image this app can read; use JPEG")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "PPM"])
def test_half_a_file_is_incomplete_and_never_guessed_at(format: str) -> None:
    content = saved(scene(200, 160), format)
    assert refusal(content[: len(content) // 2]).endswith("incomplete (truncated); copy it again.")


def test_half_a_jpeg_has_the_exact_sentence() -> None:
    content = saved(scene(200, 160), "JPEG")
    assert refusal(content[: len(content) // 2]) == "photo.jpg is incomplete (truncated); copy it again."


def test_every_flipped_byte_of_a_png_is_noticed() -> None:
    content = saved(scene(9, 7), "PNG")
    for at in range(8, len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 0x10
        assert "photo.jpg" in refusal(bytes(flipped)), at


def test_a_huge_header_is_refused_by_its_pixels() -> None:
    assert refusal(png(30000, 30000, 8, 2, b"")) == ("photo.jpg has 900 megapixels; limit 50. Make it smaller first.")


def test_just_over_the_limit_never_reads_as_the_limit() -> None:
    assert "has 50.1 megapixels; limit 50" in refusal(png(10_000, 5_001, 8, 0, b""))


def test_an_elongated_picture_is_refused_before_any_resize() -> None:
    content = png(1, 60000, 1, 0, zlib.compress(bytes(120_000)))
    assert refusal(content) == "photo.jpg is too elongated (60000:1; limit 20:1). Crop it first."


def test_the_aspect_limit_itself_is_allowed() -> None:
    assert read_image(saved(Image.new("RGB", (400, 20)), "PNG")).size == (400, 20)
    assert "too elongated (20.1:1" in refusal(saved(Image.new("RGB", (401, 20)), "PNG"))


def test_an_oversized_webp_canvas_is_refused_before_the_decoder_reserves_it() -> None:
    canvas = bytes(4) + (16_000_000 - 1).to_bytes(3, "little") + (16_000_000 - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas
    assert "megapixels; limit 50" in refusal(b"RIFF" + struct.pack("<I", len(body)) + body)


BOMB = """
import resource, sys
from resnet_core.data.images import read_image, ImageError
read_image(open(sys.argv[2], "rb").read())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(sys.argv[1])
except ImageError as error:
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before} {error}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in other units elsewhere")
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_a_pixel_bomb_costs_no_memory(tmp_path: Path, format: str) -> None:
    bomb, small = tmp_path / "bomb.png", tmp_path / "small.png"
    small.write_bytes(saved(scene(), "PNG"))
    if format == "PNG":
        bomb.write_bytes(png(13000, 13000, 1, 0, zlib.compress(bytes(13000 * 1626))))
    elif format == "TIFF":
        Image.new("1", (13000, 13000)).save(bomb, format="TIFF", compression="group4")
    else:
        bomb.write_bytes(lossless_webp_header(16383, 16383))
    command = [sys.executable, "-c", BOMB, str(bomb), str(small)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=60
    )
    grown, sentence = done.stdout.split(" ", 1)
    assert "megapixels; limit 50" in sentence
    assert int(grown) < 50_000  # kB


def lossless_webp_header(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    stream = b"\x2f" + struct.pack("<I", bits) + bytes(64)
    body = b"WEBPVP8L" + struct.pack("<I", len(stream)) + stream + b"\0" * (len(stream) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("magic", "format"),
    [
        (b"BLP2", "BLP"),
        (b"icns", "ICNS"),
        (b"%!PS-Adobe-3.0 EPSF", "EPS"),
        (b"8BPS", "PSD"),
        (b"\0\0\1\0", "ICO"),
    ],
)
def test_unsupported_formats_are_named(magic: bytes, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*args: object, **kwargs: object) -> None:
        raise AssertionError("a program was started")  # Ghostscript, for EPS

    monkeypatch.setattr(subprocess, "Popen", no_process)
    sentence = refusal(magic.ljust(284, b"\0"))
    assert sentence.startswith(f"photo.jpg: {format} format not supported; ")
    assert "JPEG" in sentence or "PNG" in sentence


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"hevc"])
def test_an_iphone_photo_is_named_with_advice(brand: bytes) -> None:
    sentence = refusal(b"\0\0\0\x18ftyp" + brand + bytes(64), "IMG_0001.HEIC")
    assert sentence.startswith("IMG_0001.HEIC: HEIC format not supported; export it as JPEG")
    assert "Most Compatible" in sentence


@pytest.mark.parametrize("prefix", [b"", b'<?xml version="1.0"?>\n', b"<!-- drawn by hand -->"])
def test_svg_is_named(prefix: bytes) -> None:
    sentence = refusal(prefix + b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', "a.svg")
    assert sentence.startswith("a.svg: SVG format not supported")


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    content = saved(scene(64, 64), "JPEG", progressive=True)
    last_scan = content[content.rindex(b"\xff\xda") : -2]
    bomb = content[:-2] + last_scan * 200 + b"\xff\xd9"
    assert "more than 100 scans" in refusal(bomb)
    assert read_image(content + last_scan * 200).size == (64, 64)  # after its end they do not count


@pytest.mark.parametrize("fill", [b"\xff" * 2, b"\xff\0", b"\xff\xd9", b"\xff\xe0\0\2", b"\xff\xda\0\2"])
def test_a_jpeg_of_nothing_but_markers_costs_no_time(fill: bytes) -> None:
    beginning = saved(scene(), "JPEG")[:20]
    started = time.process_time()
    assert "photo.jpg" in refusal(beginning + fill * (99_000_000 // len(fill)))
    assert time.process_time() - started < 3  # Pillow's own loop: 45 s


def test_a_png_of_countless_chunks_costs_no_time() -> None:
    content = saved(scene(), "PNG")
    started = time.process_time()
    assert "damaged" in refusal(content[:33] + png_chunk(b"teXt", b"") * 8_000_000 + content[33:])
    assert time.process_time() - started < 3


# ---- what can be read is read correctly


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_upright_picture(format: str, orientation: int) -> None:
    upright = np.asarray(scene())
    turned = np.swapaxes(upright, 0, 1)
    stored = {  # EXIF 2.32, table of the orientation tag, written with NumPy instead of Pillow
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: turned,
        6: np.rot90(upright, 1),
        7: np.rot90(turned, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    content = saved(Image.fromarray(np.ascontiguousarray(stored)), format, exif=exif, **options)
    read = read_image_with_notes(content)
    assert difference(read.image, scene()) == 0
    assert read.original_size == (48, 32)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_is_as_upright_as_pillow_makes_it_also_when_drafted(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(scene(640, 400), "JPEG", exif=exif, quality=95)
    upright = (640, 400) if orientation < 5 else (400, 640)
    read = read_image_with_notes(content, draft_size=90)
    assert read.original_size == upright == read_image(content).size
    assert read.image.size == (upright[0] // 4, upright[1] // 4)
    assert difference(read.image, read_image(content).resize(read.image.size, Image.Resampling.BOX)) < 12


@pytest.mark.filterwarnings("ignore")  # as in production, where Pillow's complaint is no error
def test_broken_exif_does_not_cost_the_picture() -> None:
    content = saved(scene(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 20)
    assert read_image(content).size == (48, 32)


def test_cmyk_is_read_in_the_right_colors() -> None:
    content = saved(scene().convert("CMYK"), "JPEG", quality=100, subsampling=0)
    assert difference(read_image(content), scene()) <= 6


def test_lab_is_read_in_the_right_colors() -> None:
    to_lab = ImageCms.profileToProfile(
        scene(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert to_lab is not None
    assert np.abs(np.asarray(read_image(saved(to_lab, "TIFF")), float) - np.asarray(scene(), float)).mean() < 2


def test_palette_and_bilevel_pictures_keep_their_colors() -> None:
    palette = scene().quantize(64)
    assert difference(read_image(saved(palette, "PNG")), palette.convert("RGB")) == 0
    bilevel = scene().convert("1")
    assert difference(read_image(saved(bilevel, "PNG")), bilevel.convert("RGB")) == 0


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_transparency_shows_white_and_not_the_hidden_color(format: str) -> None:
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
    image.paste((0, 0, 200, 255), (0, 0, 20, 40))
    image.paste((0, 0, 0, 127), (0, 0, 20, 10))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    read = read_image(saved(image, format, **options))
    assert [read.getpixel(at) for at in ((30, 30), (10, 30), (10, 5))] == [
        (255, 255, 255),
        (0, 0, 200),
        (128, 128, 128),
    ]


def test_transparency_of_grey_and_palette_pictures_shows_white() -> None:
    grey_alpha = Image.merge("LA", (Image.new("L", (40, 40), 0), Image.new("L", (40, 40), 0)))
    keyed = Image.new("L", (40, 40), 7)
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    rgb = Image.new("RGB", (40, 40), (1, 2, 3))
    contents = [
        saved(grey_alpha, "PNG"),
        saved(keyed, "PNG", transparency=7),
        saved(palette, "PNG", transparency=1),
        saved(palette, "PNG", transparency=b"\xff\x00"),
        saved(palette, "GIF", transparency=1),
        saved(rgb, "PNG", transparency=(1, 2, 3)),
    ]
    for content in contents:
        assert read_image(content).getcolors() == [(1600, (255, 255, 255))]


def test_sixteen_bits_are_scaled_to_the_eight_bit_picture_and_say_so() -> None:
    grey = scene().convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    for content in (saved(wide, "PNG"), saved(wide, "TIFF"), saved(wide, "PPM")):
        read = read_image_with_notes(content, name="x.png")
        assert difference(read.image, grey.convert("RGB")) == 0
        assert read.notes == ("x.png: 16-bit picture: brightness scaled from 0–65535 to 0–255.",)


def test_a_twelve_bit_camera_is_not_shown_black() -> None:
    read = read_image_with_notes(saved(Image.fromarray(np.full((40, 40), 4000, np.uint16)), "TIFF"))
    assert read.image.getpixel((0, 0)) == (249, 249, 249)  # 4000 / 4095
    assert "0–4095" in read.notes[0]


def test_eight_bits_in_a_larger_container_are_left_alone() -> None:
    grey = scene().convert("L")
    read = read_image_with_notes(saved(Image.fromarray(np.asarray(grey).astype(np.uint16)), "PNG"))
    assert difference(read.image, grey.convert("RGB")) == 0
    assert read.notes == ()


@pytest.mark.parametrize("scale", [1 / 255, 1.0, 1e-6, 1e6, -1 / 255])
def test_floating_point_pictures_are_scaled_by_their_range(scale: float) -> None:
    grey = scene().convert("L")
    values = np.asarray(grey).astype(np.float32) * np.float32(scale)
    read = read_image_with_notes(saved(Image.fromarray(values), "TIFF"))
    span = np.asarray(grey, float) - (0 if scale > 0 else 255)
    low, high = (0, 255) if scale > 0 else (np.asarray(grey).min(), np.asarray(grey).max())
    expected = np.abs(span) if scale > 0 else 255 * (high - np.asarray(grey, float)) / (high - low)
    if scale in (1e-6, 1e6):  # neither 0–1 nor 0–255: lowest to highest
        expected = (expected - expected.min()) * 255 / np.ptp(expected)
    assert np.abs(np.asarray(read.image, float)[:, :, 0] - expected).max() <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_do_not_spoil_the_rest(bad: float) -> None:
    values = np.linspace(0, 1, 1600, dtype=np.float32).reshape(40, 40)
    values[0, 0] = bad
    pixels = np.asarray(read_image(saved(Image.fromarray(values), "TIFF")))
    assert abs(int(pixels[20, 20, 0]) - 131) <= 1
    assert np.asarray(read_image(saved(Image.fromarray(np.full((40, 40), bad, np.float32)), "TIFF"))).max() == 0


def test_sixteen_bit_color_with_a_transparent_color_is_read() -> None:
    row = b"\0" + struct.pack(">HHH", 65535, 256, 0) * 40
    key = png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 65535))
    read = read_image(png(40, 40, 16, 2, zlib.compress(row * 40), extra=key))
    assert read.getpixel((3, 3)) == (255, 1, 0)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_only_the_first_frame_of_an_animation_is_used(format: str) -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "lime", "blue")]
    content = saved(frames[0], format, save_all=True, append_images=frames[1:], duration=100)
    read = read_image_with_notes(content, name="dance.gif")
    assert difference(read.image, frames[0]) <= 3
    assert read.notes == ("dance.gif: animated: only the first frame is used.",)


def test_only_the_first_page_of_a_tiff_is_used() -> None:
    pages = [scene(), Image.new("RGB", (60, 60))]
    read = read_image_with_notes(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), name="scan.tif")
    assert difference(read.image, scene()) == 0
    assert read.notes == ("scan.tif: several pages: only the first page is used.",)


def test_a_camera_file_of_two_pictures_is_a_plain_jpeg() -> None:
    read = read_image_with_notes(saved(scene(), "MPO", save_all=True, append_images=[scene(96, 64)]))
    assert (read.format, read.image.size, read.notes) == ("JPEG", (48, 32), ())


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM"])
def test_each_supported_format_is_read_whatever_it_is_called(format: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(scene(), format))
    read = read_image_with_notes(path)
    assert (read.format, read.notes, read.original_size) == (format, (), (48, 32))
    assert np.abs(np.asarray(read.image, float) - np.asarray(scene(), float)).mean() < 8
    with path.open("rb") as stream:
        assert difference(read_image(stream), read.image) == 0
    assert difference(read_image(str(path)), read.image) == 0


def test_one_pixel_is_read_with_a_note() -> None:
    read = read_image_with_notes(saved(Image.new("RGB", (1, 1), "red"), "PNG"), name="dot.png")
    assert read.image.getpixel((0, 0)) == (255, 0, 0)
    assert read.notes == ("dot.png: very small (1×1 pixels): the answer may mean little.",)


@settings(deadline=None, max_examples=60)
@given(st.integers(40, 700), st.integers(40, 700), st.integers(-3, 400))
def test_a_draft_is_never_below_the_size_asked_for(width: int, height: int, asked: int) -> None:
    read = read_image_with_notes(saved(Image.new("RGB", (width, height)), "JPEG"), draft_size=asked)
    assert min(read.image.size) >= min(asked, width, height)
    assert min(read.image.size) < 2 * max(asked, 1) or min(read.image.size) * 8 < min(width, height) + 8
    assert read.original_size == (width, height)


# ---- sources and names


class Endless(io.RawIOBase):
    """A stream that never ends, and counts."""

    given = 0

    def read(self, size: int = -1) -> bytes:
        self.given += size
        return bytes(size)


def test_an_endless_stream_is_cut_off_at_the_limit() -> None:
    stream = Endless()
    assert refusal(stream) == "photo.jpg is larger than 100 MB, the limit for a picture; make it smaller first."
    assert stream.given <= image_gate.MAX_FILE_BYTES + (1 << 20)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    with path.open("wb") as stream:
        stream.truncate(500_000_000)  # sparse: takes no space
    assert refusal(path, None).startswith("large.tif is larger than 100 MB")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_devices_and_folders_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    sentences: list[str] = []
    paths = (tmp_path / "pipe.jpg", Path("/dev/zero"), tmp_path)
    reader = threading.Thread(target=lambda: sentences.extend(refusal(p, None) for p in paths), daemon=True)
    reader.start()
    reader.join(10)
    assert [sentence.split(";")[0] for sentence in sentences] == [
        "pipe.jpg is not a regular file but a pipe or device",
        "zero is not a regular file but a pipe or device",
        f"{tmp_path.name} is a folder",
    ]


@pytest.mark.parametrize("source", ["/srv/secret/gone.jpg", "bad\0name.jpg", "/srv/" + "n" * 5000, "", 7, None])
def test_sources_that_cannot_be_opened_are_one_sentence_without_a_path(source: Any) -> None:
    sentence = refusal(source, None)
    assert "/" not in sentence
    assert len(sentence) < 250


def test_a_text_stream_and_a_failing_stream_are_refused() -> None:
    class Failing(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("the network is gone: /mnt/secret")

    assert "binary" in refusal(io.StringIO("words"))
    assert "secret" not in refusal(Failing())


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.png", "cat.png"),
        ("a\0b.jpg", "ab.jpg"),
        ("two\nlines.jpg", "two lines.jpg"),
        ("cod\u202egpj.exe", "codgpj.exe"),
        ("🌻👩‍🌾.jpg", "🌻👩‍🌾.jpg"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("\udcff.jpg", "\N{REPLACEMENT CHARACTER}.jpg"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("\u202e\u2066", "unnamed"),
    ],
)
def test_names_are_shown_as_harmless_text(raw: str, shown: str) -> None:
    assert display_name(raw) == shown
    assert refusal(b"", raw) == f"{shown} is empty (0 bytes)."


def test_a_long_name_keeps_its_ending() -> None:
    shown = display_name("n" * 300 + ".jpeg")
    assert len(shown) == 80
    assert shown.endswith("nn.jpeg")


@given(st.text(st.characters(exclude_categories=())))
def test_any_name_becomes_one_short_line_that_can_be_written(raw: str) -> None:
    shown = display_name(raw)
    assert 0 < len(shown) <= 80
    assert len(shown.splitlines()) == 1
    assert shown.isprintable() or any(c in shown for c in "\u200c\u200d") or not shown.isascii()
    assert not any(c in shown for c in "/\\\x00\x1b\x7f\u202e\u2066\ufeff")
    assert shown.encode("utf-8")
    assert display_name(shown) == shown


# ---- damage of any kind, and many threads


SAMPLES = {
    "PNG": saved(scene(), "PNG"),
    "PNG palette": saved(scene().quantize(16), "PNG", transparency=3),
    "JPEG": saved(scene(), "JPEG", exif=Image.Exif().tobytes() or b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "JPEG progressive": saved(scene(), "JPEG", progressive=True),
    "GIF": saved(scene(), "GIF", save_all=True, append_images=[scene().rotate(90)]),
    "WEBP": saved(scene(), "WEBP"),
    "WEBP lossless": saved(scene(), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "TIFF": saved(scene(), "TIFF"),
    "TIFF lzw": saved(scene(), "TIFF", compression="tiff_lzw"),
    "TIFF float": saved(Image.fromarray(np.ones((9, 9), np.float32)), "TIFF"),
    "BMP": saved(scene(), "BMP"),
    "AVIF": saved(scene(), "AVIF"),
    "PPM": saved(scene(), "PPM"),
}


def judge(content: bytes) -> str:
    """Read as in production, where Pillow's warnings are no errors; return what happened."""
    try:
        image = read_image(content, name="x")
    except ImageError as error:
        sentence = str(error)
    else:
        assert image.mode == "RGB"
        assert image.getpixel((0, 0)) is not None
        return "read"
    assert sentence.startswith("x")
    assert len(sentence) < 200
    return "refused"


@pytest.mark.filterwarnings("ignore")
@settings(deadline=None, max_examples=600)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=6),
)
def test_changed_bytes_give_a_picture_or_a_sentence(sample: str, changes: list[tuple[int, int]]) -> None:
    content = bytearray(SAMPLES[sample])
    for at, value in changes:
        content[at % len(content)] = value
    assert judge(bytes(content)) in ("read", "refused")


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 1 << 20), st.binary(max_size=40))
def test_cut_files_give_a_picture_or_a_sentence_also_with_warnings_as_errors(
    sample: str, length: int, tail: bytes
) -> None:
    content = SAMPLES[sample]
    assert judge(content[: length % len(content)] + tail) in ("read", "refused")


@given(st.binary(max_size=200), st.sampled_from([sample[:16] for sample in SAMPLES.values()]))
def test_garbage_after_a_true_beginning_is_a_sentence(garbage: bytes, beginning: bytes) -> None:
    assert judge(beginning + garbage) in ("read", "refused")


def test_any_unexpected_exception_becomes_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (
        MemoryError(),
        SyntaxError("x"),
        struct.error("x"),
        Image.DecompressionBombError("x"),
        UserWarning(),
    ):

        def failing(content: bytes, shown: str, draft_size: int | None, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("resnet_core.data.images._decode", failing)
        assert refusal(SAMPLES["PNG"]).startswith("photo.jpg ")


def test_ctrl_c_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(content: bytes, shown: str, draft_size: int | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("resnet_core.data.images._decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_image(SAMPLES["PNG"])


def test_many_threads_read_at_once_and_change_nothing_global() -> None:
    before = (list(warnings.filters), Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    contents = [sample[:cut] for sample in SAMPLES.values() for cut in (len(sample), len(sample) // 2)] * 8
    expected = [judge(content) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(judge, contents)) == expected
    assert set(expected) == {"read", "refused"}
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == before


def test_real_photos_are_read_exactly_as_pillow_reads_them() -> None:
    photos = sorted((DATA / "flower_photos" / "val").glob("*/*.jpg"))[::10]
    if not photos:
        pytest.skip("needs flower_photos: set RESNET_LAB_DATA to the folder that holds it")
    for photo in photos:
        with Image.open(photo) as opened:
            assert difference(read_image(photo), opened.convert("RGB")) == 0
