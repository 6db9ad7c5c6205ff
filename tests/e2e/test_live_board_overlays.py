"""Several runs on one board, zoom, timeline, small charts and very long runs, watched through a real Chromium."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from board_page import HOSTILE, Board, MemoryRuns, served
from playwright.sync_api import expect

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
    window = chromium.new_context(locale="en-GB", viewport={"width": 1280, "height": 1000})
    window.set_default_timeout(15_000)
    yield window
    window.close()


def compare(board: Board, *names: str) -> None:
    """Ticks runs in the list of the others."""
    board.part("compare-label").click()
    for name in names:
        board.part("runs").get_by_role("checkbox", name=name).check()
    board.page.keyboard.press("Escape")


def points(board: Board, chart: str, line: str) -> int:
    """Corners of the first line of that class."""
    drawn = board.page.locator(f"[data-chart={chart}] .lb-lines path.{line}").first.get_attribute("d")
    return drawn.count("L") + drawn.count("M")


def table(board: Board) -> dict[str, list[str]]:
    """The table below the charts: title of a row -> its cells."""
    rows = board.part("table").locator("tr").all()
    texts = [row.locator("th, td").all_text_contents() for row in rows]
    return {cells[0]: [" ".join(cell.split()) for cell in cells[1:]] for cells in texts}


def test_two_runs_are_overlaid_with_what_differs_and_stay_so_over_a_reload(app, context, runs):
    runs.three_epochs("a", seed=0, optimizer="sgd")
    runs.three_epochs("b", seed=0, optimizer="adam")
    runs.train("b", 4, best=True)
    board = Board(context, app[0])
    compare(board, "run a")
    for chart in ("loss", "accuracy"):
        names = board.page.locator(f"[data-chart={chart}] .lb-key-name")
        expect(names).to_have_text(["run b", "run a"])
        assert points(board, chart, "lb-r0:not(.lb-thin)") == 4
        assert points(board, chart, "lb-r1:not(.lb-thin)") == 3
    expect(board.part("setting")).to_have_count(1)
    found = table(board)
    assert found["optimizer"] == ["adam", "sgd"]
    assert found["best val accuracy"] == ["60.0 % (epoch 4)", "55.0 % (epoch 2)"]
    assert found["lowest val loss"] == ["0.30 (epoch 4)", "0.40 (epoch 3)"]
    assert found["training time"] == ["40 s", "30 s"]
    runs.train("a", 4)
    expect(board.part("result").nth(3)).to_contain_text("4 / 10")
    board.page.reload()
    expect(board.page.locator("[data-chart=loss] .lb-key-name")).to_have_text(["run b", "run a"])
    expect(board.part("compare-label")).to_have_text("Compare runs (1)")
    board.part("compare-label").click()
    expect(board.part("runs")).to_contain_text(HOSTILE)
    board.part("clear").click()
    expect(board.page.locator("[data-chart=loss] .lb-key-name")).to_have_text(
        ["train step", "smoothed", "train epoch", "val epoch"]
    )
    expect(board.part("differences")).to_be_hidden()
    assert board.page.evaluate("window.hacked") is None
    assert board.complaints == []


def test_python_lays_runs_over_one_another_and_one_that_vanishes_does_no_harm(app, context, runs):
    for name in ("a", "b", "c"):
        runs.three_epochs(name, seed=name)
    board = Board(context, app[0])
    laid = board.page.locator("#laid textarea, #laid input")
    laid.fill("a b")
    laid.press("Enter")
    names = board.page.locator("[data-chart=loss] .lb-key-name")
    expect(names).to_have_text(["run c", "run a", "run b"])
    expect(board.part("setting").locator("th, td")).to_have_text(["seed", "c", "a", "b"])
    del runs.runs["a"]
    expect(names).to_have_text(["run c", "run b"])
    expect(board.part("setting").locator("th, td")).to_have_text(["seed", "c", "b"])
    expect(board.part("banner")).to_be_hidden()
    assert runs.asked[-1] == "c,b"
    assert board.complaints == []


def test_a_deleted_run_gives_its_place_back_when_the_list_is_opened(app, context, runs):
    for name in ("a", "b", "c"):
        runs.three_epochs(name, seed=name)
    board = Board(context, app[0])
    compare(board, "run a", "run b")
    expect(board.part("compare-label")).to_have_text("Compare runs (2)")
    del runs.runs["a"]
    expect(board.part("compare-label")).to_have_text("Compare runs (1)")
    board.part("compare-label").click()
    expect(board.part("run-box")).to_have_count(1)
    kept = "JSON.parse(sessionStorage.getItem('resnet-lab-overlaid'))"
    board.page.wait_for_function(f"() => JSON.stringify({kept}) === '[\"b\"]'")


def test_an_overlaid_run_without_events_is_not_drawn_anew_each_second(app, context, runs):
    runs.runs["empty"] = []
    runs.three_epochs("b")
    board = Board(context, app[0])
    compare(board, "run empty")
    board.wait_for_polls(2)
    redraws = board.number("redraws")
    board.wait_for_polls(2)
    assert board.number("redraws") == redraws


def test_what_differs_is_told_in_chinese(app, context, runs):
    runs.three_epochs("a", halve_batch="no", learning_rate="0.1", dataset="yes")
    runs.three_epochs("b", halve_batch="yes", learning_rate="auto, 0.02 from epoch 5", dataset="no")
    board = Board(context, app[0])
    compare(board, "run a")
    expect(board.part("setting")).to_have_count(3)
    assert table(board)["learning rate"] == ["auto, 0.02 from epoch 5", "0.1"]
    board.page.locator("#chinese").click()
    expect(board.part("status")).to_have_text("训练中")
    found = table(board)
    assert found["内存不足时减半批次"] == ["是", "否"]
    assert found["学习率"] == ["自动，0.02（从第 5 轮起）", "0.1"]
    assert found["数据"] == ["no", "yes"]


def test_every_value_on_screen_can_be_saved_as_csv(app, context, runs):
    runs.three_epochs("a", seed=0)
    runs.three_epochs("b", seed=1)
    board = Board(context, app[0])
    compare(board, "run a")
    expect(board.page.locator("[data-chart=loss] .lb-key-name")).to_have_count(2)
    with board.page.expect_download() as saving:
        board.page.locator("[data-chart=accuracy] .lb-csv").click()
    assert saving.value.suggested_filename == "run-b-accuracy.csv"
    rows = list(csv.DictReader(io.StringIO(Path(saving.value.path()).read_text(encoding="utf-8"))))
    told = [(row["run"], row["epoch"], float(row["value"])) for row in rows if row["curve"] == "val/top1"]
    assert told == [(run, str(epoch), 0.5 + epoch / 40) for run in ("b", "a") for epoch in (1, 2, 3)]


def test_a_fork_grows_out_of_its_parent_whether_that_is_chosen_or_not(app, context, runs):
    runs.three_epochs("a")
    runs.begin("b", forked_from="a/2")
    runs.runs["b"][0]["first_step"] = 21
    for epoch in (3, 4):
        runs.train("b", epoch)
    board = Board(context, app[0])
    past = board.page.locator("[data-chart=accuracy] .lb-line.lb-past.lb-val")
    expect(past).to_have_count(1)
    assert points(board, "accuracy", "lb-past.lb-val") == 2
    assert points(board, "accuracy", "lb-val:not(.lb-past)") == 3, "from its parent's second epoch on"
    expect(board.page.locator("[data-chart=loss] .lb-mark-fork")).to_have_count(1)
    compare(board, "run a")
    expect(past).to_have_count(0)
    assert points(board, "accuracy", "lb-r1:not(.lb-thin)") == 3
    assert board.complaints == []


def test_zoom_by_keyboard_survives_news_and_another_axis(app, context, runs):
    runs.three_epochs()
    board = Board(context, app[0])
    whole = board.ticks("loss")
    board.chart("loss").focus()
    for key in ("+", "+", "Shift+ArrowLeft"):
        board.page.keyboard.press(key)
    zoomed = board.ticks("loss")
    assert zoomed != whole
    assert board.ticks("accuracy") != zoomed
    runs.train("a", 4)
    expect(board.part("progress")).to_contain_text("step 40 of 100")
    assert board.ticks("loss")[-4:] == zoomed[-4:]
    board.part("axis").select_option("step")
    expect(board.part("axis-name").first).to_have_text("step")
    assert board.part("reset").is_visible()
    board.part("axis").select_option("time")
    expect(board.part("axis-name").first).to_have_text("training time, s")
    board.part("axis").select_option("epoch")
    assert board.ticks("loss")[-4:] == zoomed[-4:], "there and back again"
    board.chart("accuracy").focus()
    board.page.keyboard.press("Escape")
    expect(board.part("reset")).to_be_hidden()
    assert board.complaints == []


def test_a_finger_zooms_too(app, chromium, runs):
    runs.three_epochs()
    phone = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    board = Board(phone, app[0])
    board.chart("loss").scroll_into_view_if_needed()
    box = board.chart("loss").bounding_box()
    hand = phone.new_cdp_session(board.page)
    touch = {"y": box["y"] + 100, "id": 1}

    def move(kind: str, x: float | None) -> None:
        spots = [] if x is None else [touch | {"x": box["x"] + x}]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    move("touchStart", 100)
    for x in (120, 160, 200):
        move("touchMove", x)
    move("touchEnd", None)
    expect(board.part("reset")).to_be_visible()
    for _ in range(2):
        move("touchStart", 150)
        move("touchEnd", None)
    expect(board.part("reset")).to_be_hidden()
    phone.close()


def test_the_timeline_tells_what_happened_by_key_and_by_pointer(app, context, runs):
    runs.three_epochs()
    runs.tell("a", "Paused", step=30)
    runs.tell("a", "Resumed", step=30)
    runs.tell("a", "Changed", epoch=4, step=30, settings={"learning_rate": 0.01})
    runs.train("a", 4)
    runs.runs["a"].append(runs.runs["a"][0] | {"first_step": 31})
    runs.tell("a", "Resumed", step=30, lost=12)
    for epoch in (4, 5):
        runs.train("a", epoch)
    board = Board(context, app[0])
    strip = board.page.locator("[data-chart=accuracy] .lb-strip")
    marks = strip.locator(".lb-mark")
    expect(marks).to_have_count(3)  # start; pause, resume, change and taken up again as one; the interruption
    strip.focus()
    tip = board.page.locator("[data-chart=accuracy] .lb-tip")
    expect(tip).to_contain_text("Interrupted; 12 steps after step 30 were lost.")
    board.page.keyboard.press("ArrowLeft")
    for words in ("Paused", "Went on", "Taken up again"):
        expect(tip).to_contain_text(f"{words} after step 30.")
    expect(tip).to_contain_text("Changed from epoch 4 on: learning_rate 0.01.")
    runs.tell("a", "Paused", step=50)
    expect(marks).to_have_count(4)
    expect(tip).to_contain_text("Paused after step 30.")
    board.page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    box = marks.first.bounding_box()
    board.page.mouse.move(box["x"] + 3, box["y"] + 3)
    expect(tip).to_contain_text("Started.")
    assert board.complaints == []


def long_run(runs: MemoryRuns, epochs: int) -> None:
    runs.begin("long", epochs=epochs)
    for epoch in range(1, epochs + 1):
        runs.train("long", epoch, best=epoch == epochs // 3)


def test_a_curve_of_ten_thousand_epochs_is_light_and_a_zoom_asks_for_more(app, context, runs):
    long_run(runs, 10_000)
    board = Board(context, app[0])
    expect(board.part("best-label").first).to_contain_text("best: epoch 3333")
    sizes: list[int] = []
    board.page.on("response", lambda reply: "component_server" in reply.url and sizes.append(len(reply.body())))
    runs.train("long", 10_001)
    expect(board.part("progress")).to_contain_text("step 100,010")
    board.wait_for_polls(1)
    assert sizes
    assert max(sizes) < 10_000
    board.chart("loss").focus()
    for _ in range(6):
        board.page.keyboard.press("+")
    fine = "document.querySelector('[data-chart=loss] .lb-lines path.lb-step').getAttribute('d').split('L')"
    board.page.wait_for_function(f"{fine}.length > 500")  # of 1,560 steps; the first look had about 20 of them
    assert max(sizes) < 80_000
    assert board.complaints == []


def test_speed_and_memory_are_shown_on_demand_and_the_browser_remembers(app, context, runs):
    runs.three_epochs()
    taken = {"memory": 1.5e9, "device_memory": None, "load": 0.5, "device_load": None}
    runs.measured["a"] = [
        {"event": "Measured", "step": step, "images_per_second": 30.0 + step} | taken for step in range(1, 31)
    ]
    board = Board(context, app[0])
    questions: list[dict[str, Any]] = []
    board.page.on(
        "request", lambda sent: "component_server" in sent.url and questions.append(json.loads(sent.post_data or "{}"))
    )
    board.wait_for_polls(1)
    assert "usage" not in str(questions[-1])
    board.part("more-label").click()
    values = {"rate": "0.10", "speed": "60.0", "memory": "1.50 GB", "load": "50 %"}
    for chart, value in values.items():
        expect(board.page.locator(f"[data-chart={chart}] .lb-key-value").first).to_have_text(
            value if chart != "rate" else re.compile("^0.10?$")
        )
    expect(board.page.locator("[data-chart=memory] .lb-key")).to_have_count(1)
    runs.measured["a"].append({"event": "Measured", "step": 30, "images_per_second": 99.0} | taken)
    expect(board.page.locator("[data-chart=speed] .lb-key-value")).to_have_text("99.0")
    board.page.reload()
    expect(board.page.locator("[data-chart=speed] .lb-key-value")).to_have_text("99.0")
    assert board.complaints == []


def test_a_page_whose_run_has_ended_asks_nothing_until_somebody_moves(app, context, runs):
    runs.three_epochs()
    runs.status = "finished"
    board = Board(context, app[0])
    board.page.wait_for_timeout(23_000)
    before = board.number("polls")
    board.page.wait_for_timeout(4_000)
    assert board.number("polls") == before
    runs.three_epochs("b")
    board.page.mouse.move(300, 300)
    board.page.mouse.move(320, 300)
    expect(board.part("title")).to_have_text("run b")


def test_a_run_that_ended_before_it_began_has_a_tidy_empty_chart(app, context, runs):
    runs.begin("a")
    runs.status = "stopped"
    board = Board(context, app[0])
    expect(board.part("title")).to_have_text("run a")
    assert board.ticks("loss") == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0", "epoch"]
    board.part("axis").select_option("step")
    assert board.ticks("loss")[0::1][-2:] == ["10", "step"]
    assert board.complaints == []
