"""Wrong files and impossible settings: one visible sentence each, and the page works on."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect
from visitor import Visitor


def picture(size: tuple[int, int], format: str = "PNG", mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, format)
    return stream.getvalue()


def upload(name: str, content: bytes) -> dict[str, Any]:
    kind = "image/png" if name.endswith("png") else "image/jpeg"
    return {"name": name, "mimeType": kind, "buffer": content}


def zipped(*paths: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in paths:
            archive.writestr(path, picture((8, 8)))
    return stream.getvalue()


@pytest.fixture(scope="module")
def shared_visitor(chromium: Any, app_url: str) -> Iterator[Visitor]:
    """One window that meets every mistake in turn, as one person would."""
    visitor = Visitor(chromium, app_url).open()
    yield visitor
    visitor.leave()
    assert visitor.complaints == []


@pytest.fixture
def visitor(shared_visitor: Visitor) -> Iterator[Visitor]:
    """That window, with no old message on it."""
    yield shared_visitor
    for close in reversed(shared_visitor.part(".toast-close").all()):
        close.click()
    expect(shared_visitor.part(".toast-body")).to_have_count(0)


BAD_FILES = {
    "empty": (upload("empty.jpg", b""), r"empty\.jpg is empty \(0 bytes\)"),
    "html": (upload("page.jpg", b"<!doctype html><html>hi</html>"), r"page\.jpg is not an image.*looks like HTML"),
    "cut": (upload("cut.jpg", picture((300, 300), "JPEG")[:700]), r"cut\.jpg is .*incomplete \(truncated\)"),
    "elongated": (upload("long.png", picture((1, 30_000), mode="1")), r"too elongated \(30,?000:1; limit 20:1\)"),
    "large": (upload("large.png", picture((8_000, 6_400), mode="1")), r"51\.2 megapixels; limit 50"),
    "heic": (upload("phone.jpg", b"\0\0\0\x18ftypheic" + bytes(64)), r"HEIC format not supported; export it as JPEG"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_picture_is_refused_with_its_reason_and_the_next_one_is_answered(
    visitor: Visitor, examples: list[Path], case: str
):
    file, sentence = BAD_FILES[case]
    visitor.go("Classify")
    visitor.drop("#classify-photo", file)
    expect(visitor.part(".toast-body")).to_contain_text(re.compile(sentence))
    expect(visitor.part("body")).not_to_contain_text(re.compile("Traceback|/tmp/|/root/"))
    visitor.page.get_by_label("Remove Image").first.click()
    visitor.drop("#classify-photo", examples[0])
    expect(visitor.part("#classify-answer h2")).to_be_visible()
    visitor.page.get_by_label("Remove Image").first.click()
    expect(visitor.part("#classify-answer h2")).to_have_count(0)


def test_a_picture_of_one_pixel_is_answered_with_a_note(visitor: Visitor):
    visitor.go("Classify")
    visitor.drop("#classify-photo", upload("dot.png", picture((1, 1))))
    expect(visitor.part("#classify-answer .note").filter(has_text="very small (1×1 pixels)")).to_be_visible()
    visitor.page.get_by_label("Remove Image").first.click()


def test_markup_in_a_file_name_stays_text(visitor: Visitor):
    visitor.go("Classify")
    name = "${window.hacked=1}<img src=x onerror=window.hacked=1>.png"
    visitor.drop("#classify-photo", upload(name, picture((3, 3))))
    expect(visitor.part("#classify-answer .note").filter(has_text="very small")).to_be_visible()
    assert visitor.page.evaluate("window.hacked") is None
    visitor.page.get_by_label("Remove Image").first.click()
    visitor.drop("#classify-photo", upload("<b>bold.jpg", b""))
    expect(visitor.part(".toast-body").first).to_contain_text(re.compile("<\u2060?b>bold.jpg is empty"))
    visitor.page.get_by_label("Remove Image").first.click()


def test_a_bad_picture_is_refused_in_the_feature_maps_as_well(visitor: Visitor, examples: list[Path]):
    visitor.go("Feature maps")
    visitor.drop("#maps-photo", upload("empty.jpg", b""))
    expect(visitor.part(".toast-body").first).to_contain_text("empty.jpg is empty (0 bytes)")
    visitor.page.locator("#maps-photo").get_by_label("Remove Image").click()
    visitor.drop("#maps-photo", examples[0])
    expect(visitor.part("#maps-sheet img")).to_be_visible()


SETTINGS = [
    ("#train-epochs", "0", "Epochs must be a whole number from 1"),
    ("#train-epochs", "many", "Epochs must be a whole number from 1"),
    ("#train-batch", "0", "Batch size must be a whole number from 2"),
    ("#train-rate", "-1", "Learning rate must be a number from 1e-09 to 100"),
    ("#train-rate", "nan", "Learning rate must be a number from 1e-09 to 100"),
]


@pytest.mark.parametrize(("field", "value", "sentence"), SETTINGS)
def test_an_impossible_setting_is_named_and_nothing_starts(visitor: Visitor, field: str, value: str, sentence: str):
    visitor.go("Train")
    before = visitor.part(".lb").get_attribute("data-run")
    visitor.fill(field, value)
    visitor.part("#train-start").click()
    expect(visitor.part(".toast-body")).to_contain_text(sentence)
    assert visitor.part(".lb").get_attribute("data-run") == before
    visitor.fill(field, "")


@pytest.fixture
def more_settings(visitor: Visitor) -> Visitor:
    visitor.go("Train")
    if not visitor.part("#train-folder").is_visible():
        panel = visitor.page.get_by_role("tabpanel").filter(has=visitor.part("#train-start"))
        panel.get_by_role("button").filter(has_text="More").click()
    expect(visitor.part("#train-folder")).to_be_visible()
    return visitor


def one_class(folder: Path) -> Path:
    (folder / "roses").mkdir(parents=True)
    (folder / "roses" / "a.png").write_bytes(picture((8, 8)))
    return folder


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: folder / "nowhere", "There is no data set or folder"),
        (lambda folder: folder, "no pictures|no class|has no"),
        (lambda folder: one_class(folder / "set"), "one class|two classes|at least 2"),
    ],
    ids=["missing", "empty", "one class"],
)
def test_a_folder_that_cannot_be_trained_on_is_named(more_settings: Visitor, tmp_path: Path, make: Any, sentence: str):
    more_settings.fill("#train-folder", str(make(tmp_path)))
    more_settings.part("#train-start").click()
    expect(more_settings.part(".toast-body")).to_contain_text(re.compile(sentence))
    more_settings.fill("#train-folder", "")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"not a zip at all", "not a zip|is no zip"),
        (zipped("../../evil/a.png", "../../evil/b.png"), "unsafe|outside|refused|climb"),
        (zipped("roses/a.png", "roses/b.png"), "one class|two classes|at least 2"),
    ],
    ids=["no zip", "climbs out", "one class"],
)
def test_a_zip_that_cannot_be_trained_on_is_named(more_settings: Visitor, content: bytes, sentence: str):
    more_settings.drop("#train-zip", {"name": "mine.zip", "mimeType": "application/zip", "buffer": content})
    expect(more_settings.part("#train-zip")).to_contain_text("mine")
    more_settings.part("#train-start").click()
    expect(more_settings.part(".toast-body")).to_contain_text(re.compile(sentence))
    more_settings.part("#train-zip").get_by_label(re.compile("Clear|Remove")).first.click()
