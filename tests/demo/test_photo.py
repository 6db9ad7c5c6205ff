"""One way from an upload to pixels, and output pictures that are written once and whole."""

import asyncio
import os
from pathlib import Path

import gradio as gr
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from demo.photo import Photo, Picture, read_upload


@pytest.fixture
def components(tmp_path: Path) -> tuple[Photo, Picture]:
    async def build() -> tuple[Photo, Picture]:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks(analytics_enabled=False):
            return Photo(type="pil"), Picture(format="png")

    photo, picture = asyncio.run(build())
    picture.GRADIO_CACHE = str(tmp_path / "cache")
    return photo, picture


def test_a_bad_upload_raises_the_readers_sentence(components: tuple[Photo, Picture], tmp_path: Path):
    stored = tmp_path / "0123abcd.jpg"
    stored.write_bytes(b"")
    with pytest.raises(gr.Error) as raised:
        components[0].preprocess(ImageData(path=str(stored), orig_name="my photo.jpg"))
    assert raised.value.message == "my photo.jpg is empty (0 bytes)."
    assert raised.value.print_exception is False


def test_a_good_upload_becomes_an_upright_rgb_picture(tmp_path: Path):
    stored = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 30)).save(stored, exif=exif)
    read = read_upload(str(stored), "a.jpg")
    assert (read.image.size, read.image.mode) == ((30, 40), "RGB")


def test_nothing_uploaded_is_none(components: tuple[Photo, Picture]):
    assert components[0].preprocess(None) is None


def test_the_same_pixels_are_one_file_that_is_not_written_again(components: tuple[Photo, Picture]):
    picture = components[1]
    first = picture.postprocess(Image.new("RGB", (9, 9), "red"))
    path = Path(first.path)
    os.utime(path, (1, 1))
    inode = path.stat().st_ino
    assert picture.postprocess(Image.new("RGB", (9, 9), "red")).path == first.path
    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 1  # marked as used, so the sweep leaves it alone
    other = picture.postprocess(Image.new("RGB", (9, 9), "blue"))
    assert other.path != first.path
    with Image.open(other.path) as opened:
        assert opened.convert("RGB").getpixel((0, 0)) == (0, 0, 255)
    assert [name for _, _, names in os.walk(picture.GRADIO_CACHE) for name in names] == ["image.png"] * 2


def test_no_picture_stays_none(components: tuple[Photo, Picture]):
    assert components[1].postprocess(None) is None


def test_defining_the_components_writes_no_stub_beside_their_source():
    assert not list(Path(__file__).parents[2].joinpath("demo").glob("*.pyi"))
