"""The live board alone in a page, fed by a run in memory and watched through a real Chromium."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from board_page import HOSTILE, Board, MemoryRuns, served
from playwright.sync_api import expect

from demo.live_board.live_board import board_script

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # Gradio's event loops
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def app() -> Iterator[tuple[str, MemoryRuns]]:
    runs = MemoryRuns()
    with served(runs) as url:
        yield url, runs


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


def test_from_empty_to_running_to_finished_without_touching_the_page(app, context, runs):
    board = Board(context, app[0])
    expect(board.part("empty")).to_have_text("No training yet. Press Start and the curves appear here.")
    runs.three_epochs()
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
    runs.three_epochs()
    runs.runs["a"].append({"event": "Warned", "time": 1.7e9, "message": HOSTILE})
    board = Board(context, app[0])
    expect(board.part("about")).to_contain_text(HOSTILE)
    expect(board.part("log").locator("li").first).to_contain_text(HOSTILE)
    assert board.root.locator("img").count() == 0
    assert board.page.evaluate("window.hacked") is None
    assert [address for address in board.addresses if not address.startswith(app[0])] == []


def test_nothing_new_redraws_nothing(app, context, runs):
    runs.three_epochs()
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
    runs.three_epochs()
    expect(heard).to_have_value("a running")
    calls = board.events_sent()
    assert calls == 2
    board.wait_for_polls(2)
    assert board.events_sent() == calls
    runs.status = "paused"
    expect(heard).to_have_value("a paused")


def test_crosshair_and_zoom_survive_new_data(app, context, runs):
    runs.three_epochs()
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
    runs.three_epochs()
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


def test_readings_by_key_are_spoken_and_those_by_pointer_are_not(app, context, runs):
    runs.three_epochs()
    board = Board(context, app[0])
    spoken = board.page.locator("[data-chart=accuracy] .lb-spoken")
    box = board.chart("accuracy").bounding_box()
    board.page.mouse.move(box["x"] + 200, box["y"] + 100)
    expect(board.part("at").nth(1)).to_contain_text("epoch")
    expect(spoken).to_have_text("")
    board.chart("accuracy").focus()
    board.page.keyboard.press("End")
    for _ in range(9):
        board.page.keyboard.press("ArrowLeft")
    board.page.keyboard.press("ArrowRight")
    expect(spoken).to_have_text(re.compile(r"epoch 2\.0 · step 20 .*, train epoch 90\.0 %, val epoch 55\.0 %"))
    expect(board.page.locator("[data-chart=loss] .lb-spoken")).to_have_text("")
    board.page.keyboard.press("Escape")
    expect(spoken).to_have_text("")


def test_a_board_stops_asking_once_nothing_comes_by_itself_and_no_axis_has_endless_ticks(chromium):
    page = chromium.new_page()
    ended = page.evaluate(f"""() => {{
        {board_script().partition("// The page: what is on screen")[0]}
        const over = (status, queued) => {{
            const store = makeStore();
            store.apply({{ cursor: 0, status, queued }});
            return store.isOver();
        }};
        const narrow = [[1, 1 + 2e-16], [2 ** 53, 2 ** 53 + 4], [3, 3], [5, 1], [NaN, 1], [0, Infinity]];
        return {{
            over: ["none", "interrupted", "finished", "stopped", "failed"].map((status) => over(status, [])),
            live: ["queued", "preparing", "running", "paused", "stopping"].map((status) => over(status, [])),
            waiting: over("interrupted", ["b"]),
            ticks: narrow.map(([low, high]) => linearTicks(low, high, 8).length),
            usual: linearTicks(0, 10, 5),
        }};
    }}""")
    page.close()
    assert ended["over"] == [True] * 5
    assert ended["live"] == [False] * 5
    assert ended["waiting"] is False
    assert max(ended["ticks"]) <= 100
    assert ended["usual"] == [0, 2, 4, 6, 8, 10]


def test_steps_lost_to_a_kill_are_told_in_the_language_of_the_page(app, context, runs):
    runs.three_epochs()
    runs.lost = 12
    board = Board(context, app[0])
    expect(board.part("progress")).to_contain_text("lost 12 steps")
    board.page.locator("#chinese").click()
    expect(board.part("progress")).to_contain_text("丢失了 12 步")


def test_a_renamed_run_gets_its_new_title_without_a_reload(app, context, runs):
    runs.three_epochs()
    board = Board(context, app[0])
    expect(board.part("title")).to_have_text("run a")
    runs.name = HOSTILE
    expect(board.part("title")).to_have_text(" ".join(HOSTILE.split()))
    redraws = board.number("redraws")
    board.wait_for_polls(2)
    assert board.number("redraws") == redraws


def test_drags_in_a_row_zoom_in_no_further_than_the_keys_do(app, context, runs):
    runs.three_epochs()
    board = Board(context, app[0])
    box = board.chart("loss").bounding_box()
    for _ in range(8):
        board.page.mouse.move(box["x"] + 200, box["y"] + 100)
        board.page.mouse.down()
        board.page.mouse.move(box["x"] + 212, box["y"] + 100, steps=2)
        board.page.mouse.up()
    expect(board.page.locator(".lb-selection")).to_have_count(0)
    assert 1 <= board.chart("loss").locator(".lb-tick").count() <= 12
    board.page.keyboard.press("Tab")
    assert board.complaints == []


def test_a_lost_connection_is_said_and_healed(app, context, runs):
    runs.three_epochs()
    board = Board(context, app[0])
    board.page.route("**/component_server/**", lambda route: route.abort())
    expect(board.part("banner")).to_have_text("Connection lost, retrying …")
    runs.train("a", 4)
    board.page.unroute("**/component_server/**")
    expect(board.part("progress")).to_contain_text("step 40 of 100", timeout=20_000)
    expect(board.part("banner")).to_be_hidden()


def test_the_value_from_python_chooses_the_run_and_an_unknown_one_is_a_sentence(app, context, runs):
    runs.three_epochs("a")
    runs.three_epochs("b")
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
    runs.three_epochs()
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
    runs.three_epochs()
    board.page.get_by_role("tab", name="Board").click()
    expect(board.part("title")).to_have_text("run a")
    assert board.page.locator("[data-chart=loss] .lb-lines path").count() >= 3


def test_ten_tabs_of_one_browser_all_stay_live(app, context, runs):
    runs.three_epochs()
    boards = [Board(context, app[0]) for _ in range(10)]
    runs.train("a", 4)
    for board in boards:
        expect(board.part("progress")).to_contain_text("step 40 of 100", timeout=20_000)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_sees_everything_without_scrolling_sideways(app, chromium, runs, theme):
    runs.three_epochs()
    phone = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    board = Board(phone, f"{app[0]}?__theme={theme}")
    expect(board.part("title")).to_have_text("run a")
    assert board.page.evaluate("document.documentElement.scrollWidth") <= 390
    loss, accuracy = board.chart("loss").bounding_box(), board.chart("accuracy").bounding_box()
    assert accuracy["y"] >= loss["y"] + loss["height"]
    assert accuracy["x"] + accuracy["width"] <= 390
    phone.close()
