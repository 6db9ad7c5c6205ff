"""Many photos at once in a real browser: dropped, answered, sorted, looked at, downloaded, cancelled; and the strip."""

import csv
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.data.rendered import CLASS_NAMES, render_flower

STRANGE_NAMES = [
    "<img src=x onerror=window.hacked=1>.png",
    "${window.hacked=2}{{x}}.png",
    "=HYPERLINK(1).png",
    "\u202egnp.exe.png",
    "🌼 новый 花.png",
    "two\nlines.png",
    "x" * 300 + ".png",
]
COLUMNS = {"file": ".mt-col-file .mt-name", "probability": ".mt-col-probability", "answer": ".mt-col-answer"}


# the reply to the first group is lost; the second group reaches nobody at first
LOSE_SOME = """() => {
    const send = XMLHttpRequest.prototype.send;
    let seen = 0;
    XMLHttpRequest.prototype.send = function (body) {
        if (body instanceof Blob) seen += 1;
        if (body instanceof Blob && seen === 1) this.onload = this.onerror;
        if (body instanceof Blob && seen === 3) { setTimeout(this.onerror, 10); return undefined; }
        return send.call(this, body);
    };
}"""
STOP_AFTER_THREE = """() => {
    const send = XMLHttpRequest.prototype.send;
    let seen = 0;
    XMLHttpRequest.prototype.send = function (body) {
        if (body instanceof Blob) seen += 1;
        return body instanceof Blob && seen > 3 ? undefined : send.call(this, body);
    };
}"""


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def flowers() -> list[bytes]:
    """28 rendered flowers."""
    return [png(render_flower(CLASS_NAMES[index % 5], index, size=96)) for index in range(28)]


def upload(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": content}


@pytest.fixture
def many(visitor: Visitor) -> Visitor:
    visitor.go("Many")
    expect(visitor.part(".mt-pick-files")).to_be_visible()
    return visitor


def wait_for_rows(visitor: Visitor, rows: int) -> None:
    expect(visitor.part(".mt")).to_have_attribute("data-state", "ended")
    expect(visitor.part(".mt")).to_have_attribute("data-rows", str(rows))


def column(visitor: Visitor, key: str) -> list[str]:
    """The texts of a column of the table, from top to bottom."""
    return [text.strip() for text in visitor.part(f".mt-rows {COLUMNS[key]}").all_text_contents()]


def sort_by(visitor: Visitor, key: str) -> None:
    visitor.part(f"th[data-key={key}] button").click()


def download(visitor: Visitor) -> list[dict[str, str]]:
    with visitor.page.expect_download() as coming:
        visitor.part(".mt-csv").click()
    content = Path(coming.value.path()).read_bytes()
    assert re.fullmatch(r"answers-\d{4}-\d\d-\d\d-\d{4}\.csv", coming.value.suggested_filename)
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_a_dropped_folder_is_walked_to_its_end(many: Visitor, flowers: list[bytes], tmp_path: Path):
    garden = tmp_path / "garden"
    for number, place in enumerate(("roses", "roses/monday", "tulips")):
        (garden / place).mkdir(parents=True, exist_ok=True)
        (garden / place / f"{number}.png").write_bytes(flowers[number])
    (garden / "notes.txt").write_text("no picture")
    many.let_fall_from_disk(".mt-drop", garden)
    wait_for_rows(many, 3)
    assert sorted(column(many, "file")) == ["garden/roses/0.png", "garden/roses/monday/1.png", "garden/tulips/2.png"]
    expect(many.part(".mt-left-out")).to_have_text("1 other files were left out.")
    expect(many.part(".mt-judged")).to_contain_text("of 2 answers agree")


def test_thirty_photos_two_of_them_broken_are_answered_sorted_looked_at_and_downloaded(
    many: Visitor, flowers: list[bytes]
):
    names = [*STRANGE_NAMES, *(f"flower {number}.png" for number in range(28 - len(STRANGE_NAMES)))]
    files = [upload(name, content) for name, content in zip(names, flowers, strict=True)]
    files[4:4] = [upload("empty.jpg", b""), upload("half.png", flowers[0][:200])]
    many.part(".mt-files").set_input_files(files)
    wait_for_rows(many, 30)
    expect(many.part(".mt-progress")).to_have_text("30 pictures answered")
    assert many.part(".mt-row").count() == 30
    assert many.part(".mt-row.mt-broken").count() == 2
    shown = column(many, "file")
    assert shown[0] == STRANGE_NAMES[0]
    assert shown[4:6] == ["empty.jpg", "half.png"]
    assert "two lines.png" in shown
    assert not [name for name in shown if "\u202e" in name]
    reasons = many.part(".mt-row.mt-broken .mt-col-remark").all_text_contents()
    assert reasons[0] == "empty.jpg is empty (0 bytes)."
    assert "half.png is" in reasons[1]
    counts = [int(text) for text in many.part(".mt-counts .mt-bar-number").all_text_contents()]
    assert (sum(counts), counts[-1]) == (30, 2)

    sort_by(many, "probability")
    shares = [float(text.rstrip(" %")) for text in column(many, "probability")[:28]]
    assert shares == sorted(shares, reverse=True)
    assert column(many, "probability")[28:] == ["–", "–"]
    sort_by(many, "file")
    expect(many.part("th[data-key=file]")).to_have_attribute("aria-sort", "ascending")
    numbered = [name for name in column(many, "file") if name.startswith("flower")]
    assert numbered == [f"flower {number}.png" for number in range(len(numbered))]  # 2 before 10

    many.part(".mt-filter").select_option("broken")
    expect(many.part(".mt-row")).to_have_count(2)
    many.part(".mt-filter").select_option("all")

    rows = download(many)
    assert len(rows) == 30
    assert [row["file"] for row in rows][:3] == [names[0], names[1], f"'{names[2]}"]
    assert "x" * 300 + ".png" in [row["file"] for row in rows]
    for row in rows:
        shares = [float(row[f"p({name})"] or "nan") for name in CLASS_NAMES]
        if row["reason"]:
            assert row["answer"] == ""
        else:
            assert sum(shares) == pytest.approx(1, abs=1e-4)
            assert row["probability"] == row[f"p({row['answer']})"]
    assert sum(bool(row["reason"]) for row in rows) == 2

    many.part(".mt-row:not(.mt-broken) .mt-thumb").first.click()
    expect(many.part(".mt-large")).to_be_visible()
    expect(many.part(".mt-large .mt-bars li")).to_have_count(5)
    many.page.keyboard.press("Escape")
    expect(many.part(".mt-large")).to_be_hidden()
    assert many.page.evaluate("window.hacked") is None

    many.page.reload()
    many.go("Many")
    wait_for_rows(many, 30)
    many.page.set_viewport_size({"width": 390, "height": 800})
    assert many.sideways() <= 0


def test_a_larger_batch_is_cancelled_and_keeps_its_rows(many: Visitor, flowers: list[bytes]):
    many.part(".mt-files").set_input_files([upload(f"{number}.png", flowers[number % 28]) for number in range(900)])
    expect(many.part(".mt-row").first).to_be_visible()
    expect(many.part(".mt-progress")).to_have_text(re.compile(r"^\d+ of 900 · \d+ photos/s · (\d+ min )?\d+ s left$"))
    many.part(".mt-cancel").click()
    expect(many.part(".mt-progress")).to_have_text(re.compile(r"^Cancelled after \d+ pictures$"))
    kept = int(re.findall(r"\d+", many.part(".mt-progress").inner_text())[0])
    assert 0 < kept < 900
    wait_for_rows(many, kept)
    assert len(download(many)) == kept
    expect(many.part(".mt-pick-files")).to_be_enabled()


def test_a_lost_connection_loses_and_doubles_no_picture(many: Visitor, flowers: list[bytes]):
    many.page.evaluate(LOSE_SOME)
    many.part(".mt-files").set_input_files([upload(f"{number}.png", flowers[number]) for number in range(20)])
    wait_for_rows(many, 20)
    assert column(many, "file") == [f"{number}.png" for number in range(20)]
    expect(many.part(".mt-banner")).to_be_hidden()


def test_a_reload_while_sending_ends_the_batch_with_what_came(many: Visitor, flowers: list[bytes]):
    many.page.evaluate(STOP_AFTER_THREE)
    many.part(".mt-files").set_input_files([upload(f"{number}.png", flowers[number % 28]) for number in range(40)])
    expect(many.part(".mt-count").first).to_be_visible()
    many.page.evaluate("() => { window.kept = document.querySelector('.mt-count'); window.kept.focus(); }")
    expect(many.part(".mt")).to_have_attribute("data-rows", "24")
    many.page.wait_for_timeout(700)  # two further questions for news
    assert many.page.evaluate("() => window.kept.isConnected && document.activeElement === window.kept")
    expect(many.part(".mt-spoken")).to_have_text(re.compile(r"^\d+ of 40"))
    expect(many.part(".mt")).to_have_attribute("data-state", "running")
    many.page.reload()
    many.go("Many")
    wait_for_rows(many, 24)
    expect(many.part(".mt-spoken")).to_have_text("24 pictures answered")


def test_a_folder_and_a_zip_named_after_classes_are_compared_with_the_answers(
    many: Visitor, flowers: list[bytes], tmp_path: Path
):
    garden = tmp_path / "garden"
    for number, content in enumerate(flowers[:10]):
        (garden / CLASS_NAMES[number % 5]).mkdir(parents=True, exist_ok=True)
        (garden / CLASS_NAMES[number % 5] / f"{number}.png").write_bytes(content)
    (garden / "notes.txt").write_text("x")
    many.part(".mt-folder").set_input_files(str(garden))
    wait_for_rows(many, 10)
    expect(many.part(".mt-judged")).to_have_text(re.compile(r"named after classes: \d+ of 10 answers agree"))
    expect(many.part(".mt-left-out")).to_have_text("1 other files were left out.")
    many.part(".mt-details summary").click()
    assert many.part(".mt-confusion tr").count() == 6
    assert "garden/daisy/0.png" in column(many, "file")

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for number, content in enumerate(flowers[:4]):
            packed.writestr(f"tulips/{number}.png", content)
    zipped = {"name": "tulips.zip", "mimeType": "application/zip", "buffer": stream.getvalue()}
    many.part(".mt-files").set_input_files([zipped])
    wait_for_rows(many, 4)
    many.part(".mt-row .mt-thumb").first.click()
    expect(many.part(".mt-large-picture")).to_be_visible()
    many.part(".mt-close").click()
    many.part(".mt-files").set_input_files([{**zipped, "buffer": b"no zip at all"}])
    expect(many.part(".mt-banner")).to_have_text(re.compile(r"^tulips\.zip is not a zip archive; pack the folder"))


def test_earlier_answers_stay_in_the_tab_come_back_and_are_cleared(
    visitor: Visitor, visit: Callable[..., Visitor], examples: list[Path]
):
    for picture in examples[:2]:
        visitor.drop("#classify-photo", picture)
        expect(visitor.part("#classify-answer h2")).to_be_visible()
        visitor.page.get_by_label("Remove Image").first.click()
        expect(visitor.part("#classify-answer h2")).to_have_count(0)
    expect(visitor.part(".hs-entry")).to_have_count(2)
    told = visitor.part(".hs-entry").last.get_attribute("title") or ""
    visitor.part(".hs-entry").last.click()
    expect(visitor.part("#classify-photo img")).to_be_visible()
    expect(visitor.part("#classify-answer h2")).to_be_visible()
    if "not known" not in told:
        expect(visitor.part("#classify-answer h2")).to_have_text(told.split(" · ")[0])
    expect(visitor.part(".hs-entry")).to_have_count(2)  # the same photo with the same model is one entry
    expect(visit().part(".hs-entry")).to_have_count(0)  # nobody else sees it
    visitor.page.reload()
    expect(visitor.part(".hs-entry")).to_have_count(2)
    visitor.part(".hs-clear").click()
    expect(visitor.part(".hs")).to_be_hidden()
    assert visitor.page.evaluate("sessionStorage.getItem('resnet-lab-history')") is None
