"""The live board without a browser: what travels, what thinning keeps, what is refused."""

import asyncio
import json
import math
import random
import re
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.live_board import live_board
from demo.live_board.board_digest import digest
from demo.live_board.board_feed import BoardRead, make_poll
from demo.live_board.board_thinning import thin_epochs, thin_steps
from demo.live_board.live_board import BOARD_STRINGS, LiveBoard, board_script
from resnet_core.errors import RunError

Event = dict[str, Any]


class FakeSource:
    """A run store in memory; the cursor is the number of events."""

    def __init__(self, **runs: list[Event]) -> None:
        self.runs = runs
        self.current = next(iter(runs), None)
        self.status = "running"
        self.detail = ""
        self.queued: tuple[str, ...] = ()
        self.name: str | None = None
        self.lost = 0

    def current_run_id(self) -> str | None:
        return self.current

    def read(self, run_id: str, after: int) -> BoardRead:
        if run_id not in self.runs:
            raise RunError("There is no run of that name. Pick another one.")
        events = self.runs[run_id]
        told = (self.status, self.detail, self.queued, self.name, self.lost)
        return BoardRead(tuple(events[after:]), len(events), *told)


def started(**changes: object) -> Event:
    facts = {"name": "first try", "model": "resnet18", "dataset": "rendered-flowers", "device": "cpu"}
    counts = {"epochs": 10, "steps_per_epoch": 32, "n_train": 1024, "n_val": 300, "notes": []}
    return {"event": "RunStarted", "time": 1e9, **facts, "precision": "float32", **counts, **changes}


def step_ended(step: int, loss: float | None = 0.5) -> Event:
    time = 1.7e9 + 0.05 * step
    epoch = 1 + step // 32
    rate = 0.0123456789
    return {
        "event": "StepEnded",
        "time": time,
        "step": step,
        "epoch": epoch,
        "loss": loss,
        "learning_rate": rate,
    }


def epoch_ended(epoch: int, *, best: bool = False, **changes: object) -> Event:
    losses = {
        "train_loss": 0.612345678,
        "val_loss": 0.581234567,
        "train_top1": 0.81234567,
        "val_top1": 0.8123,
    }
    pace = {"images_per_second": 412.345678, "seconds": 2.4831, "waited": 0.12345}
    return {"event": "EpochEnded", "time": 1.7e9, "epoch": epoch, "step": 32 * epoch, "best": best} | (
        losses | pace | changes
    )


def ask(source: FakeSource, **question: object) -> dict[str, Any]:
    return make_poll(source)({"run": None, "have": None, "cursor": 0} | question)


def size(reply: dict[str, Any]) -> int:
    return len(json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


def noisy_run(n_steps: int, n_epochs: int) -> list[Event]:
    dice = random.Random(3)
    events = [started(epochs=n_epochs, steps_per_epoch=n_steps // n_epochs)]
    for step in range(1, n_steps + 1):
        events.append(step_ended(step, 2 * math.exp(-step / n_steps) + dice.random()))
        if step % (n_steps // n_epochs) == 0:
            epoch = step * n_epochs // n_steps
            values = {key: dice.random() for key in ("train_loss", "val_loss", "train_top1", "val_top1")}
            events.append(epoch_ended(epoch, best=epoch % 9 == 0, **values))
            events.append({"event": "CheckpointSaved", "time": 1.7e9, "epoch": epoch, "kind": "best"})
    return events


# What travels


def test_no_run_yet_is_an_answer_not_an_error():
    assert ask(FakeSource()) == {"run": None, "cursor": 0, "status": "none"}


def test_the_first_reply_describes_the_whole_run():
    source = FakeSource(a=[started(), step_ended(1), step_ended(2, 0.25), epoch_ended(1, best=True)])
    reply = ask(source)
    assert (reply["run"], reply["cursor"], reply["status"], reply["reset"]) == ("a", 4, "running", True)
    assert reply["about"]["name"] == "first try"
    assert reply["about"]["steps_per_epoch"] == 32
    assert reply["steps"] == [1, 0.5, 0.0123, 2, 0.25, 0.0123]
    assert reply["epochs"] == [[1, 0.61235, 0.58123, 0.81235, 0.8123, 1, 32, 2.4831, 412.3]]
    assert [row[1] for row in reply["log"]] == ["start", "epoch"]
    assert reply["pace"] == [0.05, 412.3, 2.483, 0.123]


def test_nothing_new_is_a_cursor_and_a_status():
    source = FakeSource(a=[started(), step_ended(1)])
    assert ask(source, have="a", cursor=2) == {"cursor": 2, "status": "running"}


def test_detail_and_queue_travel_even_when_no_event_is_new():
    source = FakeSource(a=[])
    source.status, source.detail, source.queued = "preparing", "preparing data: 400 of 1,200", ("b",)
    reply = ask(source, have="a")
    assert reply == {
        "cursor": 0,
        "status": "preparing",
        "detail": "preparing data: 400 of 1,200",
        "queued": ["b"],
    }


def test_a_run_renamed_meanwhile_tells_its_new_name_to_those_who_show_the_old_one():
    source = FakeSource(a=[started()])
    source.name = "second\ntry"
    quiet = {"cursor": 1, "status": "running"}
    renamed = quiet | {"run": "a", "about": {"name": "second try"}}
    assert ask(source, have="a", cursor=1, called="first try") == renamed
    assert ask(source, have="a", cursor=1, called="second try") == quiet
    assert ask(source, have="a", cursor=1) == quiet, "a board that shows no name yet"
    source.runs["a"].append(started(epochs=20))
    told = ask(source, have="a", cursor=1, called="first try")["about"]
    assert (told["name"], told["epochs"]) == ("second try", 20)


def test_lost_steps_travel_as_a_number():
    source = FakeSource(a=[started()])
    source.lost = 12
    assert ask(source, have="a", cursor=1) == {"cursor": 1, "status": "running", "lost": 12}


def test_a_steady_update_of_20_steps_and_an_epoch_is_under_2_kb():
    events = [started(), *(step_ended(step, random.Random(step).random()) for step in range(90_000, 90_020))]
    events += [epoch_ended(1000, best=True), {"event": "CheckpointSaved", "epoch": 1000, "kind": "best"}]
    reply = ask(FakeSource(a=events), have="a", cursor=1)
    assert len(reply["steps"]) == 60
    assert size(reply) <= 2_000


def test_the_first_reply_of_a_long_run_is_under_64_kb():
    reply = ask(FakeSource(a=noisy_run(30_000, 300)))
    assert len(reply["epochs"]) == 300
    assert len(reply["steps"]) // 3 <= 1_500
    assert size(reply) <= 64_000


def test_a_flood_of_long_warnings_stays_small_and_the_newest_are_kept():
    flood = [{"event": "Warned", "time": 1.0, "message": f"warning {i} " + "x" * 5_000} for i in range(2_000)]
    reply = ask(FakeSource(a=flood))
    assert size(reply) <= 16_000
    assert reply["log"][-1][2].startswith("warning 1999 ")


def test_the_log_keeps_its_last_200_entries_in_order():
    reply = ask(FakeSource(a=[epoch_ended(epoch) for epoch in range(1, 501)]))
    assert [row[2] for row in reply["log"]] == list(range(301, 501))


# Following and starting anew


def test_another_run_starts_from_its_first_event():
    source = FakeSource(a=[started(), step_ended(1)], b=[started(), step_ended(1), step_ended(2)])
    reply = ask(source, run="b", have="a", cursor=2)
    assert (reply["run"], reply["reset"], len(reply["steps"])) == ("b", True, 6)


def test_a_newer_run_takes_over_only_where_the_newest_is_followed():
    source = FakeSource(a=[started()], b=[started()])
    source.current = "b"
    assert ask(source, have="a", cursor=1)["run"] == "b"
    assert "reset" not in ask(source, run="a", have="a", cursor=1)


def test_a_cursor_beyond_the_end_means_the_run_was_written_anew():
    reply = ask(FakeSource(a=[started(), step_ended(1)]), have="a", cursor=400)
    assert (reply["reset"], reply["cursor"], reply["steps"][:1]) == (True, 2, [1])


def test_a_viewer_whose_last_run_is_gone_is_told_to_forget_it():
    assert ask(FakeSource(), have="a", cursor=9)["reset"] is True


def test_polling_piece_by_piece_gives_the_same_points_as_one_look():
    events = noisy_run(400, 10)
    source, whole = FakeSource(a=[]), ask(FakeSource(a=events))
    steps: list[Any] = []
    epochs: list[Any] = []
    cursor, have = 0, None
    for end in range(0, len(events) + 7, 7):
        source.runs["a"] = events[:end]
        reply = ask(source, have=have, cursor=cursor)
        steps += reply.get("steps", [])
        for row in reply.get("epochs", []):  # the seconds of a reply count on from those before it
            epochs.append([*row[:7], pytest.approx((epochs[-1][7].expected if epochs else 0) + row[7]), row[8]])
        cursor, have = reply["cursor"], "a"
    assert steps == whole["steps"]
    assert epochs == whole["epochs"]


def test_steps_replayed_after_a_resume_replace_the_lost_ones():
    events = [step_ended(step, 9.0) for step in range(1, 8)] + [step_ended(step, 1.0) for step in range(5, 9)]
    steps = digest(events)["steps"]
    assert steps[0::3] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert steps[1::3] == [9, 9, 9, 9, 1, 1, 1, 1]


# Thinning

losses = st.one_of(st.none(), st.floats(-1e6, 1e6))


@given(st.lists(losses, min_size=1, max_size=900), st.integers(20, 300))
@settings(max_examples=60, deadline=None)
def test_thinned_steps_keep_ends_extremes_and_order(values: list[float | None], limit: int):
    rows = [[i + 1, value, 0.1] for i, value in enumerate(values)]
    thin = thin_steps(rows, limit)
    assert len(thin) <= max(limit, 1)
    assert thin == [row for row in rows if row in thin]
    assert (thin[0], thin[-1]) == (rows[0], rows[-1])
    present = [value for value in values if value is not None]
    if present:
        kept = [row[1] for row in thin if row[1] is not None]
        assert (min(kept), max(kept)) == (min(present), max(present))
    assert any(row[1] is None for row in thin) == (None in values)


def test_epochs_are_never_thinned_up_to_3000():
    rows = [[epoch, 0.1, 0.1, 0.1, 0.1, 0] for epoch in range(1, 3_001)]
    assert thin_epochs(rows) == rows


def test_thinned_epochs_keep_the_best_and_every_extreme():
    dice = random.Random(1)
    rows = [[epoch, *(dice.random() for _ in range(4)), int(epoch == 4_321)] for epoch in range(1, 9_001)]
    thin = thin_epochs(rows)
    assert len(thin) <= 3_000
    assert 4_321 in [row[0] for row in thin]
    for column in (1, 2, 3, 4):
        for pick in (min, max):
            assert pick(row[column] for row in rows) == pick(row[column] for row in thin)


# Bad questions and bad events

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["run", "have", "cursor"]), inner)
    ),
    max_leaves=8,
)


@given(json_values)
@settings(max_examples=150, deadline=None)
def test_any_json_gets_an_answer_and_never_an_exception(question: object):
    reply = make_poll(FakeSource(a=[started()]))(question)
    assert isinstance(reply.get("error") or reply["status"], str)


@pytest.mark.parametrize("cursor", [-1, 1.5, True, "3", None, 10**40, [0]])
def test_an_impossible_cursor_is_refused_with_a_sentence(cursor: object):
    assert ask(FakeSource(a=[started()]), cursor=cursor)["error"].endswith("Reload the page.")


@pytest.mark.parametrize("run", ["x" * 201, "a\x00b", "\u202ea", 7, ["a"], {"a": 1}])
def test_a_run_id_that_is_no_name_is_refused(run: object):
    assert "error" in ask(FakeSource(a=[started()]), run=run)


def test_an_unknown_run_gives_the_sentence_of_the_error():
    reply = ask(FakeSource(a=[]), run="nope")
    assert reply == {"error": "There is no run of that name. Pick another one."}


def test_a_broken_source_is_logged_but_its_words_stay_on_the_server(caplog: pytest.LogCaptureFixture):
    class Broken(FakeSource):
        def read(self, run_id: str, after: int) -> BoardRead:
            raise OSError("/srv/secret/runs/a")

    reply = ask(Broken(a=[]))
    assert "secret" not in reply["error"]
    assert "/srv/secret/runs/a" in caplog.text


def test_damaged_events_are_passed_over_and_the_reply_is_strict_json():
    events: list[Any] = [
        None,
        {"event": 3},
        {"event": "StepEnded"},
        {"event": "StepEnded", "step": True, "loss": 1},
        {"event": "StepEnded", "step": 1, "loss": math.nan, "learning_rate": math.inf, "time": "noon"},
        {"event": "StepEnded", "step": 2, "loss": 10**400, "learning_rate": None},
        {"event": "EpochEnded", "epoch": 1, "val_loss": -math.inf, "best": "yes", "time": math.nan},
        {"event": "Warned", "message": "half a pair \ud83d, a\nline\u202e break"},
        {"event": "RunEnded", "status": None, "reason": 5},
        started(name=None, epochs="ten", notes="not a list"),
    ]
    reply = ask(FakeSource(a=events))
    assert json.loads(json.dumps(reply, allow_nan=False).encode("utf-8")) == reply
    assert reply["steps"] == [1, None, None, 2, None, None]
    assert reply["epochs"] == [[1, None, None, None, None, 0, None, 0, None]]
    assert reply["about"]["epochs"] is None
    assert [row[2] for row in reply["log"] if row[1] == "warning"] == ["half a pair ?, a line break"]


# Words and the component


def test_both_languages_say_the_same_things_with_the_same_blanks():
    english, chinese = BOARD_STRINGS["en"], BOARD_STRINGS["zh"]
    assert english.keys() == chinese.keys()
    for key in english:
        blanks = [sorted(re.findall(r"\{(\w+)\}", words[key])) for words in (english, chinese)]
        assert blanks[0] == blanks[1], key


def test_every_word_the_script_asks_for_exists():
    script = "\n".join(path.read_text() for path in sorted(live_board.FOLDER.glob("*.js")))
    asked = set(re.findall(r'say\("([\w.]+)"', script))
    statuses = [
        "queued",
        "preparing",
        "running",
        "paused",
        "stopping",
        "finished",
        "stopped",
        "failed",
        "interrupted",
    ]
    asked |= {f"status.{status}" for status in statuses}
    assert len(asked) > 40
    assert asked <= BOARD_STRINGS["en"].keys()


def test_no_data_reaches_the_page_as_markup_or_from_elsewhere():
    script = board_script()
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "EventSource", "fetch("):
        assert forbidden not in script
    assert re.findall(r"https?://[^\"]+", script) == ["http://www.w3.org/2000/svg"]
    template = "".join((live_board.FOLDER / name).read_text() for name in ("live_board.html", "live_board.css"))
    assert not re.search(r"https?:|url\(|\$\{|\{\{|`|\\", template)


def test_defining_the_component_writes_no_stub_beside_the_source():
    assert not list(Path(live_board.FOLDER).glob("*.pyi"))


def test_the_component_sends_nothing_but_json_to_the_browser_and_offers_its_event():
    async def build() -> tuple[gr.Blocks, LiveBoard]:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page:
            board = LiveBoard(poll=make_poll(FakeSource()))
            board.statechange(lambda: None, queue=False)
        return page, board

    page, board = asyncio.run(build())
    config = board.get_config()
    json.dumps(config, default=lambda value: pytest.fail(f"cannot be sent: {value!r}"))
    assert config["props"] == {"language": "", "strings": {}, "overlays": []}
    assert [target[1] for fn in page.fns.values() for target in fn.targets] == ["statechange"]
