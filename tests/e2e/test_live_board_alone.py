"""The live board alone in a page, fed by a run in memory and watched through a real Chromium."""

import asyncio
import gc
import re
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
from playwright.sync_api import expect

from demo.live_board.board_feed import BoardRead, make_poll
from demo.live_board.live_board import LiveBoard
from resnet_core.errors import RunError

HOSTILE = '<img src=x onerror="window.hacked=1"> ${window.hacked=2} {{value}} `'

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # Gradio's event loops
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
Event = dict[str, Any]


class MemoryRuns:
    """Runs in memory that a test lets grow."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.runs: dict[str, list[Event]] = {}
        self.status = "running"
        self.detail = ""

    def current_run_id(self) -> str | None:
        return list(self.runs)[-1] if self.runs else None

    def read(self, run_id: str, after: int) -> BoardRead:
        if run_id not in self.runs:
            raise RunError("There is no run of that name. Pick another one.")
        events = self.runs[run_id]
        return BoardRead(tuple(events[after:]), len(events), self.status, self.detail)

    def begin(self, run_id: str, *, epochs: int = 10, steps_per_epoch: int = 10) -> None:
        facts = {"name": f"run {run_id}", "model": "resnet18", "dataset": HOSTILE, "device": "cpu"}
        counts = {"epochs": epochs, "steps_per_epoch": steps_per_epoch, "n_train": 320, "n_val": 80}
        start = {"event": "RunStarted", "time": 1.7e9, "precision": "float32", "notes": [HOSTILE]}
        self.runs[run_id] = [start | facts | counts]

    def train(self, run_id: str, epoch: int, *, steps_per_epoch: int = 10, best: bool = False) -> None:
        for step in range((epoch - 1) * steps_per_epoch + 1, epoch * steps_per_epoch + 1):
            loss = 2.0 / step**0.5
            self.runs[run_id].append(
                {"event": "StepEnded", "time": 1.7e9 + step, "step": step, "loss": loss, "learning_rate": 0.1}
            )
        values = {
            "train_loss": 1 / epoch,
            "val_loss": 1.2 / epoch,
            "train_top1": 0.9,
            "val_top1": 0.5 + epoch / 40,
        }
        pace = {"images_per_second": 32.0, "seconds": 10.0, "best": best}
        self.runs[run_id].append({"event": "EpochEnded", "time": 1.7e9, "epoch": epoch} | values | pace)


async def tiny_app(runs: MemoryRuns) -> gr.Blocks:
    """Async because outside a running loop Gradio opens two event loops and never closes them."""

    def said(event: gr.EventData) -> str:
        return f"{event.run_id} {event.status}"

    with gr.Blocks(analytics_enabled=False) as page:
        with gr.Tab("Board"):
            board = LiveBoard(poll=make_poll(runs))
        with gr.Tab("Elsewhere"):
            gr.Markdown("nothing here")
        status = gr.Textbox(elem_id="heard")
        wish = gr.Textbox(elem_id="wish")
        chinese = gr.Button("chinese", elem_id="chinese")
        board.statechange(said, outputs=status, queue=False, show_progress="hidden")
        wish.submit(lambda run: run, wish, board, queue=False, show_progress="hidden")
        chinese.click(lambda: gr.update(language="zh"), outputs=board, queue=False, show_progress="hidden")
    return page


@pytest.fixture(scope="module")
def app() -> Iterator[tuple[str, MemoryRuns]]:
    runs = MemoryRuns()
    page = asyncio.run(tiny_app(runs))
    _, url, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, run_history=False
    )
    yield url, runs
    page.close()
    asyncio.set_event_loop(None)  # what Gradio leaves open is then reported here, where it is expected,
    gc.collect()  # and not in a later test


class Board:
    """The page as a test sees it, and what the browser said meanwhile."""

    def __init__(self, context: Any, url: str) -> None:
        self.complaints: list[str] = []
        self.addresses: list[str] = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        self.page.on("request", lambda request: self.addresses.append(request.url))
        self.page.goto(url)
        self.root = self.page.locator(".lb")
        expect(self.root).to_have_attribute("data-polls", re.compile("[1-9]"), timeout=20_000)

    def part(self, name: str) -> Any:
        return self.page.locator(f".lb-{name}")

    def number(self, name: str) -> int:
        return int(self.root.get_attribute(f"data-{name}"))

    def wait_for_polls(self, more: int) -> None:
        enough = f"Number(document.querySelector('.lb').dataset.polls) >= {self.number('polls') + more}"
        self.page.wait_for_function(f"() => {enough}")

    def events_sent(self) -> int:
        return len([address for address in self.addresses if address.endswith(("/run/predict", "/queue/join"))])

    def chart(self, name: str) -> Any:
        return self.page.locator(f"[data-chart={name}] .lb-svg")


@pytest.fixture
def runs(app: tuple[str, MemoryRuns]) -> MemoryRuns:
    app[1].clear()
    return app[1]


@pytest.fixture
def context(app: tuple[str, MemoryRuns], chromium: Any, runs: MemoryRuns) -> Iterator[Any]:
    window = chromium.new_context(locale="en-GB", viewport={"width": 1280, "height": 900})
    window.set_default_timeout(15_000)
    yield window
    window.close()


def three_epochs(runs: MemoryRuns, run_id: str = "a") -> None:
    runs.begin(run_id)
    for epoch in (1, 2, 3):
        runs.train(run_id, epoch, best=epoch == 2)


def test_from_empty_to_running_to_finished_without_touching_the_page(app, context, runs):
    board = Board(context, app[0])
    expect(board.part("empty")).to_have_text("No training yet. Press Start and the curves appear here.")
    three_epochs(runs)
    expect(board.part("title")).to_have_text("run a")
    expect(board.part("status")).to_have_text("running")
    expect(board.part("progress")).to_have_text("epoch 3 of 10 · step 30 of 100 · 32 images/s · about 1 min 10 s left")
    expect(board.part("best")).to_have_text("Best so far: epoch 2, val accuracy 55.0 %")
    expect(board.part("best-label").first).to_have_text("best: epoch 2, 55.0 %")
    expect(board.part("best-ring")).to_have_count(2)
    expect(board.part("log").locator("li").first).to_contain_text("Epoch 3: train loss 0.33, val loss 0.40")
    expect(board.chart("loss")).to_have_attribute("aria-label", re.compile("Loss, epoch 3: train 0.33, val 0.40"))
    assert board.page.locator("[data-chart=loss] .lb-line.lb-val").last.get_attribute("d").count("L") == 2
    runs.status = "finished"
    runs.runs["a"].append({"event": "RunEnded", "time": 1.7e9, "status": "finished", "reason": "All done."})
    expect(board.part("status")).to_have_text("finished")
    expect(board.part("log").locator("li").first).to_contain_text("Finished. All done.")
    assert board.complaints == []


def test_text_from_a_run_is_only_ever_text_and_nothing_leaves_the_machine(app, context, runs):
    three_epochs(runs)
    runs.runs["a"].append({"event": "Warned", "time": 1.7e9, "message": HOSTILE})
    board = Board(context, app[0])
    expect(board.part("about")).to_contain_text(HOSTILE)
    expect(board.part("log").locator("li").first).to_contain_text(HOSTILE)
    assert board.root.locator("img").count() == 0
    assert board.page.evaluate("window.hacked") is None
    assert [address for address in board.addresses if not address.startswith(app[0])] == []


def test_nothing_new_redraws_nothing(app, context, runs):
    three_epochs(runs)
    board = Board(context, app[0])
    before = board.number("redraws")
    board.page.evaluate("document.querySelector('.lb-lines path').dataset.mark = 'same'")
    board.wait_for_polls(2)
    assert board.number("redraws") == before
    assert board.page.locator("[data-mark=same]").count() == 1
    runs.train("a", 4)
    expect(board.root).to_have_attribute("data-redraws", str(before + 1))


def test_python_hears_every_change_of_state_once(app, context, runs):
    board = Board(context, app[0])
    heard = board.page.locator("#heard textarea, #heard input")
    expect(heard).to_have_value("None none")
    three_epochs(runs)
    expect(heard).to_have_value("a running")
    calls = board.events_sent()
    assert calls == 2
    board.wait_for_polls(2)
    assert board.events_sent() == calls
    runs.status = "paused"
    expect(heard).to_have_value("a paused")


def test_crosshair_and_zoom_survive_new_data(app, context, runs):
    three_epochs(runs)
    board = Board(context, app[0])
    box = board.chart("loss").bounding_box()
    left, middle, y = box["x"] + 150, box["x"] + box["width"] / 2, box["y"] + 100
    board.page.mouse.move(left, y)
    board.page.mouse.down()
    board.page.mouse.move(middle, y, steps=4)
    board.page.mouse.up()
    expect(board.part("reset")).to_be_visible()
    expect(board.part("at").first).to_contain_text("learning rate 0.1")
    ticks = board.chart("loss").locator(".lb-grid text").all_text_contents()
    reading = board.part("at").first.inner_text()
    runs.train("a", 4)
    expect(board.part("progress")).to_contain_text("step 40 of 100")
    assert board.part("crosshair").count() == 2
    assert board.part("at").first.inner_text() == reading
    assert board.chart("loss").locator(".lb-grid text").all_text_contents() == ticks
    board.page.mouse.dblclick(middle, y)
    expect(board.part("reset")).to_be_hidden()
    assert board.chart("loss").locator(".lb-grid text").all_text_contents() != ticks


def test_keyboard_reads_values_epoch_by_epoch_and_switches_work(app, context, runs):
    three_epochs(runs)
    board = Board(context, app[0])
    board.chart("accuracy").focus()
    board.page.keyboard.press("ArrowLeft")
    board.page.keyboard.press("ArrowLeft")
    expect(board.part("at").first).to_contain_text("epoch 2.0 · step 20")
    expect(board.page.locator("[data-chart=accuracy] .lb-key-value").last).to_have_text("55.0 %")
    board.page.keyboard.press("Escape")
    expect(board.part("at").first).to_have_text("")
    linear = board.chart("loss").locator(".lb-grid text").all_text_contents()
    board.part("log-scale").check()
    assert board.chart("loss").locator(".lb-grid text").all_text_contents() != linear
    expect(board.page.locator("[data-chart=loss] .lb-key")).to_have_count(4)
    board.part("smoothing").fill("0")
    expect(board.page.locator("[data-chart=loss] .lb-key")).to_have_count(3)


def test_a_lost_connection_is_said_and_healed(app, context, runs):
    three_epochs(runs)
    board = Board(context, app[0])
    board.page.route("**/component_server/**", lambda route: route.abort())
    expect(board.part("banner")).to_have_text("Connection lost, retrying …")
    runs.train("a", 4)
    board.page.unroute("**/component_server/**")
    expect(board.part("progress")).to_contain_text("step 40 of 100", timeout=20_000)
    expect(board.part("banner")).to_be_hidden()


def test_the_value_from_python_chooses_the_run_and_an_unknown_one_is_a_sentence(app, context, runs):
    three_epochs(runs, "a")
    three_epochs(runs, "b")
    board = Board(context, app[0])
    expect(board.part("title")).to_have_text("run b")
    wish = board.page.locator("#wish textarea, #wish input")
    for run, title in (("a", "run a"), ("", "run b")):
        wish.fill(run)
        wish.press("Enter")
        expect(board.part("title")).to_have_text(title)
    wish.fill("nope")
    wish.press("Enter")
    expect(board.part("banner")).to_have_text("There is no run of that name. Pick another one.")
    assert board.complaints == []


def test_the_language_follows_python_and_the_browser(app, context, chromium, runs):
    three_epochs(runs)
    board = Board(context, app[0])
    board.page.locator("#chinese").click()
    expect(board.part("status")).to_have_text("训练中")
    expect(board.part("title")).to_have_text("run a")
    visitor = chromium.new_context(locale="zh-CN")
    expect(Board(visitor, app[0]).part("log-title")).to_have_text("过程记录")
    visitor.close()


def test_a_board_that_is_not_on_screen_asks_nothing(app, context, runs):
    board = Board(context, app[0])
    board.page.get_by_role("tab", name="Elsewhere").click()
    board.page.wait_for_timeout(300)
    before = board.number("polls")
    board.page.wait_for_timeout(2_500)
    assert board.number("polls") == before
    three_epochs(runs)
    board.page.get_by_role("tab", name="Board").click()
    expect(board.part("title")).to_have_text("run a")
    assert board.page.locator("[data-chart=loss] .lb-lines path").count() >= 3


def test_ten_tabs_of_one_browser_all_stay_live(app, context, runs):
    three_epochs(runs)
    boards = [Board(context, app[0]) for _ in range(10)]
    runs.train("a", 4)
    for board in boards:
        expect(board.part("progress")).to_contain_text("step 40 of 100", timeout=20_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_sees_everything_without_scrolling_sideways(app, chromium, runs, theme):
    three_epochs(runs)
    phone = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    board = Board(phone, f"{app[0]}?__theme={theme}")
    expect(board.part("title")).to_have_text("run a")
    assert board.page.evaluate("document.documentElement.scrollWidth") <= 390
    loss, accuracy = board.chart("loss").bounding_box(), board.chart("accuracy").bounding_box()
    assert accuracy["y"] >= loss["y"] + loss["height"]
    assert accuracy["x"] + accuracy["width"] <= 390
    phone.close()
