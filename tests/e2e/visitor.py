"""A person with a browser: a window of one's own, and note of everything the browser complains about."""

import base64
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

PATIENCE = 90_000  # ms; a busy machine with two cores answers late, never wrongly
expect.set_options(timeout=PATIENCE)

LET_FALL = """(node, files) => {
  const transfer = new DataTransfer();
  for (const { name, content } of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const type = name.endsWith(".zip") ? "application/zip" : "image/png";
    transfer.items.add(new File([bytes], name, { type }));
  }
  for (const kind of ["dragover", "drop"]) {
    node.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
  }
}"""


class Visitor:
    """One window on the app."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 800}} | options)
        self.context.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda problem: self.complaints.append(f"page error: {problem}"))
        self.page.on("console", self._hear)
        self.page.on("request", self._watch)

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def _watch(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"left the machine: {request.url}")

    def open(self, query: str = "") -> "Visitor":
        """The page, once the network is there."""
        self.page.goto(self.url + query)
        expect(self.page.locator("#classify-answer .answer")).to_be_visible()
        expect(self.page.locator("#classify-answer")).not_to_contain_text("…")
        return self

    def go(self, tab: str) -> None:
        """Opens one of the three tabs by what it says."""
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def part(self, name: str) -> Any:
        """An element by its id, or a part of the live board by its class."""
        return self.page.locator(name)

    def drop(self, box: str, *files: Path | dict[str, Any]) -> None:
        """Gives files to a box as the file dialog does."""
        chosen = [file if isinstance(file, dict) else str(file) for file in files]
        self.page.locator(f"{box} input[type=file]").set_input_files(chosen)  # type: ignore[arg-type]

    def let_fall(self, place: str, *files: Path) -> None:
        """Drops files onto a place as the mouse does."""
        told = [{"name": file.name, "content": base64.b64encode(file.read_bytes()).decode()} for file in files]
        self.page.locator(place).evaluate(LET_FALL, told)

    def let_fall_from_disk(self, place: str, path: Path) -> None:
        """Drops a file or a folder as it lies on the disk: the browser's own files, which a script cannot make."""
        spot = self.page.locator(place).bounding_box()
        assert spot
        middle = {"x": spot["x"] + spot["width"] / 2, "y": spot["y"] + spot["height"] / 2}
        session = self.page.context.new_cdp_session(self.page)
        for kind in ("dragEnter", "dragOver", "drop"):
            carried = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
            session.send("Input.dispatchDragEvent", {"type": kind, **middle, "data": carried})

    def fill(self, box: str, text: str) -> None:
        """Types into a field."""
        self.page.locator(f"{box} input, {box} textarea").first.fill(text)

    def choose(self, box: str, title: str) -> None:
        """Picks from a dropdown by what it says."""
        self.page.locator(f"{box} input").click()
        self.page.get_by_role("option", name=title, exact=True).click()

    def picture_box(self, image: str) -> dict[str, float]:
        """Where the pixels of a loaded picture stand in its element, which may be wider or higher: left, top, w, h."""
        found = self.page.locator(image)
        expect(found).to_have_js_property("complete", True)  # what has no pixels yet has no size and cannot be clicked
        box: dict[str, float] = found.evaluate(
            "image => { const b = image.getBoundingClientRect(); const s = Math.min(b.width / image.naturalWidth,"
            " b.height / image.naturalHeight); return { w: image.naturalWidth * s, h: image.naturalHeight * s,"
            " left: (b.width - image.naturalWidth * s) / 2, top: (b.height - image.naturalHeight * s) / 2 }; }"
        )
        return box

    def sideways(self) -> int:
        """How many pixels the page can be scrolled sideways."""
        return int(self.page.evaluate("document.scrollingElement.scrollWidth - innerWidth"))

    def leave(self) -> None:
        self.context.close()
