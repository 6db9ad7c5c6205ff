"""A visitor teaches two classes from CIFAR pictures and asks; with a camera, a burst arrives as one group."""

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright
from visitor import Visitor

CLASSES = ("airplane", "frog")
EACH, ASKED = 20, 3


@pytest.fixture(scope="module")
def cifar(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """A few pictures of two classes, taken out of the zip."""
    packed = shared_data / "cifar10.zip"
    if not packed.is_file():
        pytest.skip("needs cifar10.zip: set RESNET_LAB_DATA to the folder that holds it")
    folder = tmp_path_factory.mktemp("cifar")
    found: dict[str, list[Path]] = {}
    with zipfile.ZipFile(packed) as opened:
        for name in CLASSES:
            (folder / name).mkdir()
            members = sorted(m for m in opened.namelist() if f"train/{name}/" in m and m.endswith(".jpg"))
            for member in members[: EACH + ASKED]:
                target = folder / name / Path(member).name
                target.write_bytes(opened.read(member))
                found.setdefault(name, []).append(target)
    return found


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Any]:
    """A browser whose camera always shows a moving test picture."""
    switches = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=switches)
        yield browser
        browser.close()


def open_part(visitor: Visitor) -> Any:
    """The board, ready."""
    visitor.go("Teach")
    board = visitor.part("#teach-board .tb")
    expect(board).to_have_attribute("data-ready", "yes")
    return board


def add_class(visitor: Visitor, name: str) -> Any:
    """Types a name, presses Add, and gives the new card."""
    cards = visitor.part("#teach-board .tb-class")
    before = cards.count()
    visitor.part("#teach-board .tb-new-name").fill(name)
    visitor.part("#teach-board .tb-add").click()
    expect(cards).to_have_count(before + 1)
    return cards.nth(before)


def test_two_classes_of_cifar_pictures_are_taught_and_told_apart(
    visit: Callable[..., Visitor], cifar: dict[str, list[Path]]
):
    visitor = visit()
    board = open_part(visitor)
    visitor.part("#teach-start").click()
    expect(visitor.page.get_by_text("There are no classes yet")).to_be_visible()
    for name in CLASSES:
        card = add_class(visitor, name)
        card.locator(".tb-files").set_input_files([str(path) for path in cifar[name][:EACH]])
        expect(card).to_have_attribute("data-count", str(EACH))
        expect(card.locator(".tb-thumb img[src^='data:image/jpeg']")).to_have_count(EACH)
    card.locator(".tb-files").set_input_files({"name": "no.jpg", "mimeType": "image/jpeg", "buffer": b"GIF8"})
    expect(visitor.part("#teach-board .tb-said")).to_contain_text("no.jpg is not an image")
    visitor.page.reload()
    board = open_part(visitor)
    expect(board).to_have_attribute("data-pictures", str(2 * EACH))

    other = visit()
    expect(open_part(other)).to_have_attribute("data-classes", "0")

    visitor.fill("#teach-name", "planes and frogs")
    visitor.part("#teach-start").click()
    report = visitor.part("#teach-report")
    expect(report).to_contain_text("right")
    expect(report).to_contain_text("Most likely between")
    expect(report).to_contain_text("40 pictures of 2 classes")
    right = 0
    for name in CLASSES:
        for path in cifar[name][EACH : EACH + ASKED]:
            visitor.drop("#teach-photo", path)
            card = visitor.part("#teach-answer")
            expect(card.locator(".bar-label")).to_have_count(2)
            right += card.locator(".bar-label").first.inner_text() == name  # the most probable comes first
            visitor.part("#teach-photo").get_by_label("Remove Image").click()
            expect(card.locator(".bar-label")).to_have_count(0)
    assert right >= 4
    visitor.page.reload()
    open_part(visitor)
    visitor.drop("#teach-photo", path)
    expect(card.locator(".bar-label")).to_have_count(2)  # the model is there again, as the classes are
    visitor.go("One")
    visitor.choose("#classify-model", "planes and frogs")


def test_a_folder_and_a_dropped_zip_fill_classes_and_bursts(
    visit: Callable[..., Visitor], examples: list[Path], tmp_path: Path
):
    for number, place in enumerate(("cat/monday", "cat/tuesday", "dog", "dog")):
        target = tmp_path / "pets" / place / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(examples[number].read_bytes())
    (tmp_path / "pets" / "notes.txt").write_text("no picture")
    visitor = visit()
    board = open_part(visitor)
    visitor.part("#teach-board .tb-folder").set_input_files(tmp_path / "pets")
    expect(board).to_have_attribute("data-pictures", "4")
    cards = visitor.part("#teach-board .tb-class")
    assert cards.locator(".tb-name").evaluate_all("inputs => inputs.map(input => input.value)") == ["cat", "dog"]
    expect(cards.nth(0)).to_have_attribute("data-bursts", "2")
    expect(cards.nth(1)).to_have_attribute("data-bursts", "0")
    expect(visitor.part("#teach-board .tb-said")).to_contain_text("1 files of the folder are no pictures")

    with zipfile.ZipFile(tmp_path / "more.zip", "w") as packed:
        for number in range(4):
            packed.write(examples[number], f"more/{('fish', 'bird')[number % 2]}/{number}.png")
    visitor.let_fall("#teach-board .tb", tmp_path / "more.zip")
    expect(board).to_have_attribute("data-classes", "4")
    visitor.let_fall("#teach-board .tb", examples[0])
    expect(visitor.part("#teach-board .tb-said")).to_contain_text("Drop pictures onto the card of their class")
    visitor.let_fall("#teach-board .tb-class >> nth=0", examples[3])
    expect(board).to_have_attribute("data-pictures", "9")


ENDLESS_FOLDER = """() => {
  const folder = { isDirectory: true, createReader: () => {
    const rest = [folder];
    return { readEntries: (found) => found(rest.splice(0)) };
  } };
  DataTransferItem.prototype.webkitGetAsEntry = () => folder;
}"""


def test_what_is_too_much_is_said_before_it_is_sent(
    visit: Callable[..., Visitor], examples: list[Path], tmp_path: Path
):
    visitor = visit()
    board = open_part(visitor)
    said = visitor.part("#teach-board .tb-said")
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as packed:
        for number in range(51):
            packed.write(examples[0], f"many/{number}/{number}.png")
    visitor.let_fall("#teach-board .tb", tmp_path / "many.zip")
    expect(said).to_contain_text("there would be 51 classes, and 50 are the limit here")
    expect(board).to_have_attribute("data-classes", "0")
    visitor.page.evaluate("Object.defineProperty(Blob.prototype, 'size', { get: () => 3e9 })")
    visitor.let_fall("#teach-board .tb", tmp_path / "many.zip")
    expect(said).to_contain_text("many.zip is larger than 2 GB")
    visitor.page.evaluate(ENDLESS_FOLDER)
    visitor.let_fall("#teach-board .tb", tmp_path / "many.zip")
    expect(said).to_contain_text("at most 8 folders deep")


def test_a_burst_of_the_camera_arrives_as_one_group_and_the_camera_asks(
    visit: Callable[..., Visitor], examples: list[Path]
):
    visitor = visit()
    open_part(visitor)
    for name in ("left", "right"):
        card = add_class(visitor, name)
        card.locator(".tb-camera").click()
        record = card.locator(".tb-record")
        expect(record).to_be_visible()
        for count in ("1 burst", "2 bursts"):
            record.hover()
            visitor.page.mouse.down()
            expect(card.locator(".tb-recorded")).to_contain_text(re.compile(r"[4-9]|\d\d"))
            visitor.page.mouse.up()
            expect(card.locator(".tb-count")).to_contain_text(count)
        expect(card).to_have_attribute("data-bursts", "2")
        assert int(card.get_attribute("data-count")) >= 8
        card.locator(".tb-camera").click()
        expect(card.locator(".tb-stage")).to_be_hidden()
    # the camera shows both classes the same film, frame by frame if it comes to that: one picture tells them apart
    held = int(card.get_attribute("data-count"))
    card.locator(".tb-files").set_input_files(str(examples[0]))
    expect(card).to_have_attribute("data-count", str(held + 1))
    visitor.part("#teach-start").click()
    expect(visitor.part("#teach-report .taught")).to_contain_text("burst")
    visitor.part("#teach-camera .ca-toggle").click()
    expect(visitor.part("#teach-camera .ca-bars li")).to_have_count(2)
    expect(visitor.part("#teach-camera .ca")).to_have_attribute("data-answers", re.compile(r"[3-9]|\d\d"))
    visitor.page.evaluate("scrollTo(0, 0)")  # where the tabs are, and the camera's picture is not
    visitor.page.wait_for_timeout(300)
    visitor.go("Train")
    stage = visitor.part("#teach-camera .ca-stage")
    expect(stage).to_have_js_property("hidden", True)  # who does not look is not filmed
    visitor.go("Classify")
    expect(stage).to_be_hidden()


def test_without_a_camera_the_board_says_so(visit: Callable[..., Visitor]):
    visitor = visit()
    visitor.page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    visitor.page.reload()
    open_part(visitor)
    card = add_class(visitor, "<img src=x onerror=alert(1)>${1+1}")
    expect(card.locator(".tb-name")).to_have_value("<img src=x onerror=alert(1)>${1+1}")
    card.locator(".tb-camera").click()
    expect(visitor.part("#teach-board .tb-said")).to_contain_text(
        "Browsers give the camera only to pages of this machine"
    )
    visitor.page.set_viewport_size({"width": 390, "height": 800})
    assert visitor.sideways() <= 0


ASKS_FIRST = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
window.asked = [];
window.opened = [];
navigator.mediaDevices.getUserMedia = async (wanted) => {
  await new Promise((resolve) => window.asked.push(resolve));
  const stream = await open(wanted);
  window.opened.push(stream);
  return stream;
};
"""


def test_a_camera_closed_before_it_was_allowed_is_let_go(visit: Callable[..., Visitor]):
    visitor = visit()
    page = visitor.page
    page.add_init_script(ASKS_FIRST)
    page.reload()
    open_part(visitor)
    card = add_class(visitor, "cats")
    for _ in range(2):
        card.locator(".tb-camera").click()
    card.locator(".tb-camera").click()
    page.wait_for_function("window.asked.length === 2")
    page.evaluate("window.asked[0]()")
    page.wait_for_function("window.opened[0]?.getTracks().every((track) => track.readyState === 'ended')")
    expect(card.locator(".tb-stage")).to_be_hidden()
    page.evaluate("window.asked[1]()")
    expect(card.locator(".tb-record")).to_be_visible()
    assert page.evaluate("window.opened[1].getTracks().every((track) => track.readyState === 'live')")
    card.locator(".tb-camera").click()
    page.wait_for_function("window.opened[1].getTracks().every((track) => track.readyState === 'ended')")
    expect(visitor.part("#teach-board .tb-problem")).to_be_hidden()
