"""Several runs on one board, marks on its time axis, very long runs, and what a board asks now and then."""

import csv
import dataclasses
import io
import json
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.live_board import live_board
from demo.live_board.board_asks import MAX_LINES
from demo.live_board.board_feed import BoardLine, BoardRead, make_poll
from demo.live_board.board_setting_names import SETTING_NAMES
from demo.live_board.live_board import BOARD_STRINGS
from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.differences import NOT_COMPARED

Event = dict[str, Any]
Reply = dict[str, Any]


class Runs:
    """A run store in memory; the cursor is the number of events."""

    def __init__(self, **runs: list[Event]) -> None:
        self.runs = runs
        self.measured: dict[str, list[Event]] = {}

    def current_run_id(self) -> str | None:
        return next(iter(self.runs), None)

    def read(self, run_id: str, after: int) -> BoardRead:
        if run_id not in self.runs:
            raise RunError("There is no run of that name. Pick another one.")
        return BoardRead(tuple(self.runs[run_id][after:]), len(self.runs[run_id]), "running")

    def read_usage(self, run_id: str, after: int) -> Sequence[Event]:
        return self.measured.get(run_id, [])[after:]

    def board_lines(self) -> list[BoardLine]:
        return [BoardLine(run_id, "", "running", "resnet18", "flowers", 0.51234) for run_id in self.runs]

    def differences(self, run_ids: Sequence[str]) -> list[tuple[str, str, list[str | None]]]:
        return [("seed", "Seed", [None, *run_ids[1:]])]


def started(**changes: object) -> Event:
    counts = {"epochs": 10, "steps_per_epoch": 10, "n_train": 320, "n_val": 80}
    return {"event": "RunStarted", "time": 1.7e9, "name": "a run", "first_step": 1, "settings": {}} | counts | changes


def step(number: int, loss: float | None = 0.5) -> Event:
    rate = {"learning_rate": 0.1}
    return {
        "event": "StepEnded",
        "time": 1.7e9 + number,
        "step": number,
        "epoch": 1 + number // 10,
        "loss": loss,
    } | rate


def epoch(number: int, *, steps: int = 10, **changes: object) -> Event:
    measured = {"train_loss": 0.6, "val_loss": 0.5, "train_top1": 0.8, "val_top1": 0.7, "seconds": 2.5, "best": False}
    at = {"event": "EpochEnded", "time": 1.7e9, "epoch": number, "step": steps * number, "images_per_second": 128.0}
    return at | measured | changes


def event(name: str, **fields: object) -> Event:
    return {"event": name, "time": 1.7e9, **fields}


def ask(source: Runs, **question: object) -> Reply:
    return make_poll(source)(question)


def size(reply: Reply) -> int:
    return len(json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode())


# Runs laid over another


def test_each_overlaid_run_is_told_from_its_own_cursor_and_only_what_is_new():
    source = Runs(a=[started(), step(1)], b=[started(name="b"), step(1), step(2)], c=[started(), epoch(1)])
    over = [{"run": "b", "cursor": 0}, {"run": "c", "cursor": 1}]
    first, second = ask(source, run="a", have="a", cursor=2, over=over)["over"]
    assert (first["run"], first["reset"], first["steps"]) == ("b", True, [1, 0.5, 0.1, 2, 0.5, 0.1])
    assert (second["cursor"], [row[0] for row in second["epochs"]]) == (2, [1])
    assert "reset" not in second
    seen = [{"run": "b", "cursor": 3}, {"run": "c", "cursor": 2}]
    quiet = ask(source, run="a", have="a", cursor=2, over=seen)
    assert quiet["over"] == [{"cursor": 3, "status": "running"}, {"cursor": 2, "status": "running"}]
    assert size(quiet) < 200


def test_an_overlaid_run_that_is_gone_gets_a_sentence_and_spoils_nothing_else():
    source = Runs(a=[started()], b=[started(), step(1)])
    reply = ask(source, over=[{"run": "gone", "cursor": 3}, {"run": "b", "cursor": 0}, {"cursor": 0}, 7])
    assert reply["over"][0] == {"error": "There is no run of that name. Pick another one."}
    assert reply["over"][1]["steps"] == [1, 0.5, 0.1]
    assert [set(each) for each in reply["over"][2:]] == [{"error"}, {"error"}]
    assert reply["run"] == "a"


def test_an_overlaid_run_written_anew_starts_over():
    reply = ask(Runs(a=[started()], b=[started(), step(1)]), over=[{"run": "b", "cursor": 50}])
    assert (reply["over"][0]["reset"], reply["over"][0]["cursor"]) == (True, 2)


def test_an_overlaid_run_without_events_is_told_once():
    source = Runs(a=[started()], b=[])
    assert ask(source, over=[{"run": "b", "cursor": 0}])["over"] == [
        {"cursor": 0, "status": "running", "reset": True, "run": "b"}
    ]
    assert ask(source, over=[{"run": "b", "have": "b", "cursor": 0}])["over"] == [{"cursor": 0, "status": "running"}]
    assert ask(source, over=[{"run": "b", "have": "a", "cursor": 0}])["over"][0]["reset"] is True


def test_the_log_of_an_overlaid_run_stays_at_home_and_so_many_runs_are_enough():
    source = Runs(a=[started()], b=[started(), *map(epoch, range(1, 300))])
    over = ask(source, over=[{"run": "b", "cursor": 0}] * 40)["over"]
    assert len(over) == 16
    assert "log" not in over[0]
    assert "epochs" in over[0]


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("20260101-run/3", ["20260101-run", 3]),
        ("a/b/12", ["a/b", 12]),
        *((bad, None) for bad in ("", "run", "/3", "run/", "run/-1", "run/x", "run/³", "run/" + "9" * 30, 7, None)),
    ],
)
def test_a_fork_tells_where_it_left_its_parent(origin: object, told: object):
    reply = ask(Runs(a=[started(settings={"forked_from": origin})]))
    assert reply["about"].get("forked_from") == told


# Marks on the time axis


def marks(*events: Event) -> list[list[Any]]:
    return [[mark[0], mark[1], *mark[3:]] for mark in ask(Runs(a=list(events))).get("marks", [])]


def test_every_kind_of_thing_that_happens_gets_its_mark_at_its_step():
    assert marks(
        started(),
        step(7),
        event("Paused", step=7),
        event("Resumed", step=7),
        epoch(1),
        event("CheckpointSaved", kind="best", epoch=1, step=10),
        event("CheckpointSaved", kind="last", epoch=1, step=10),
        event("Changed", epoch=2, step=10, settings={"learning_rate": 0.01}),
        epoch(2),
        event("CheckpointSaved", kind="last", epoch=2, step=20),
        event("RunEnded", status="finished", reason="All 2 epochs are done."),
    ) == [
        ["start", 0],
        ["pause", 7],
        ["resume", 7, 0],
        ["best", 10, 1],
        ["change", 10, 2, "learning_rate 0.01"],
        ["last", 20, 2],
        ["end", 20, "finished", "All 2 epochs are done."],
    ]


def test_a_run_taken_up_again_tells_what_was_lost_and_whether_it_had_ended():
    killed = marks(started(), step(57), started(first_step=51), event("Resumed", step=50, lost=8), step(51))
    assert killed == [["start", 0], ["again", 50, 57, 0], ["resume", 50, 8]]
    stopped = marks(started(), step(5), event("RunEnded", status="stopped"), started(first_step=6), step(6))
    assert stopped[-1] == ["again", 5, 5, 1]


def test_a_halved_batch_begins_the_run_anew_but_is_no_interruption():
    halved = event("Changed", epoch=2, step=10, settings={"batch_size": 16})
    assert marks(started(), epoch(1), halved, started(first_step=11))[1:] == [["change", 10, 2, "batch_size 16"]]


def test_what_one_reply_cannot_know_of_the_time_before_is_left_to_the_browser():
    source = Runs(a=[started(), step(57), started(first_step=51)])
    assert ask(source, run="a", have="a", cursor=2)["marks"] == [["again", 50, 1_700_000_000, None, None]]


def test_a_fork_begins_in_the_middle_and_is_not_taken_for_an_interruption():
    assert marks(started(first_step=31)) == [["again", 30, None, None]]


def test_ten_thousand_epochs_leave_few_marks_and_the_newest_checkpoints():
    events = [started()]
    for number in range(1, 10_001):
        kind = "best" if number % 50 == 0 else "last"
        events += [epoch(number), event("CheckpointSaved", kind=kind, epoch=number, step=10 * number)]
    told = marks(*events)
    assert len(told) <= 50
    assert ["best", 100_000, 10_000] in told
    assert [mark for mark in told if mark[0] == "last"] == [["last", 99_990, 9_999]]


def test_marks_of_damaged_events_are_passed_over():
    odd = [event("Paused"), event("Changed", settings="x"), event("CheckpointSaved", kind=["best"]), event("RunEnded")]
    reply = ask(Runs(a=odd))
    assert json.loads(json.dumps(reply, allow_nan=False)) == reply
    assert [mark[0] for mark in reply["marks"]] == ["pause", "change", "end"]


# Very long runs


@pytest.fixture(scope="module")
def long_run() -> list[Event]:
    """10,000 epochs of ten reported steps; extremes and the best epoch are single points."""
    dice = random.Random(5)
    events = [started(epochs=10_000)]
    for number in range(1, 10_001):
        events += [step(10 * number - 9 + i, 1 + dice.random()) for i in range(10)]
        values = {key: dice.uniform(0.3, 0.7) for key in ("train_loss", "val_loss", "train_top1", "val_top1")}
        events.append(epoch(number, **values))
    events[11 * 4_321]["best"] = True
    events[11 * 4_321]["val_top1"] = 0.9
    events[11 * 7_000 - 3]["loss"] = 40.0
    return events


def test_the_first_look_at_a_very_long_run_is_bounded_and_keeps_best_and_extremes(long_run: list[Event]):
    reply = ask(Runs(a=long_run))
    assert size(reply) < 300_000
    assert reply["thinned"] == 1
    assert [row[0] for row in reply["epochs"] if row[5]] == [4_321]
    assert max(row[4] for row in reply["epochs"]) == 0.9
    assert 40 in reply["steps"][1::3]
    assert reply["epochs"][-1][7] == 25_000, "training seconds count over what was left out, too"


def test_an_update_of_a_very_long_run_is_far_below_10_kb(long_run: list[Event]):
    new = [*(step(100_000 + i) for i in range(1, 101)), epoch(10_001)]
    source = Runs(a=[*long_run, *new])
    over = [{"run": "a", "cursor": len(long_run) + 80}] * 7
    reply = ask(source, run="a", have="a", cursor=len(long_run), usage=0)
    assert len(reply["steps"]) == 300
    assert size(reply) < 3_000
    assert size(ask(source, run="a", have="a", cursor=len(long_run) + 91, over=over)) < 10_000


def test_a_part_is_finer_than_the_whole_and_a_small_one_is_complete(long_run: list[Event]):
    source = Runs(a=long_run)
    whole = ask(source)
    within = [number for number in whole["steps"][0::3] if 20_000 <= number <= 30_000]
    wide = ask(source, want="part", run="a", **{"from": 20_000, "to": 30_000})
    assert len(wide["steps"]) / 3 > 2 * len(within)
    assert wide["thinned"] == 1
    narrow = ask(source, want="part", run="a", **{"from": 20_001, "to": 20_500})
    assert narrow["steps"][0::3] == list(range(20_001, 20_501))
    assert [row[0] for row in narrow["epochs"]] == list(range(2_001, 2_051))
    assert narrow["thinned"] == 0
    assert narrow["epochs"][0][7] == 2_001 * 2.5
    assert size(wide) < 80_000


# What was measured


def measured(number: int, **changes: object) -> Event:
    taken = {"memory": 1_500_000_000, "device_memory": None, "load": 0.51234, "device_load": None}
    return {"event": "Measured", "step": number, "images_per_second": 410.26} | taken | changes


def test_measurements_travel_only_when_asked_for_and_from_their_own_line_on():
    source = Runs(a=[started(), step(1)])
    source.measured["a"] = [measured(1), measured(2)]
    assert "usage" not in ask(source)
    first = ask(source, usage=99)
    row = [410.3, 1.5, None, 0.512, None]
    assert first["usage"] == {"cursor": 2, "rows": [1, *row, 2, *row]}, "a fresh run is told from its first line"
    assert "usage" not in ask(source, run="a", have="a", cursor=2, usage=2)
    source.measured["a"].append(measured(3, device_memory=2e9, device_load=1))
    assert ask(source, run="a", have="a", cursor=2, usage=2)["usage"]["rows"] == [3, 410.3, 1.5, 2, 0.512, 1]
    over = ask(source, run="a", have="a", cursor=2, over=[{"run": "a", "cursor": 2, "usage": 1}])["over"]
    assert over[0]["usage"]["cursor"] == 3


def test_a_long_list_of_measurements_is_thinned_and_keeps_its_extremes():
    source = Runs(a=[started()])
    source.measured["a"] = [measured(i, memory=1e9 + (i == 3_000) * 5e9) for i in range(1, 9_001)]
    rows = ask(source, usage=0)["usage"]["rows"]
    assert len(rows) <= 600 * 6
    assert 6 in rows[2::6]


def test_damaged_measurements_are_passed_over():
    source = Runs(a=[started()])
    source.measured["a"] = [{}, measured(0), measured(1, memory="much", load=math.nan, images_per_second=math.inf)]
    assert ask(source, usage=0)["usage"] == {"cursor": 3, "rows": [1, None, None, None, None, None]}


# Lists, differences, CSV


def test_the_list_of_runs_and_their_differences():
    source = Runs(a=[started()], b=[started()])
    line = {"run": "a", "name": "a", "status": "running", "about": "resnet18 · flowers", "best": 0.51234}
    assert ask(source, want="runs")["runs"][0] == line
    found = ask(source, want="differences", runs=["a", "b", "a"])
    assert found == {"runs": ["a", "b"], "rows": [["seed", "Seed", [None, "b"]]]}
    assert ask(source, want="differences", runs=["a"])["rows"] == []


def read(reply: Reply) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(reply["csv"])))


def test_the_csv_has_every_value_exactly_and_what_a_resume_replaced_only_once():
    events = [started(), step(1, 1 / 3), step(2, None), step(3, 9.0), step(3, 0.25), epoch(1, val_loss=2 / 3)]
    source = Runs(a=events, **{"=b": [epoch(2)]})
    source.measured["a"] = [measured(3)]
    rows = read(ask(source, want="csv", runs=["a", "=b"], curves=["train/step_loss", "val/loss", "memory_bytes", "x"]))
    assert [tuple(row.values()) for row in rows] == [
        ("a", "train/step_loss", "1", "1", "0.3333333333333333"),
        ("a", "train/step_loss", "2", "1", ""),
        ("a", "train/step_loss", "3", "1", "0.25"),
        ("a", "val/loss", "10", "1", "0.6666666666666666"),
        ("a", "memory_bytes", "3", "", "1500000000"),
        ("'=b", "val/loss", "20", "2", "0.5"),
    ]


def test_the_csv_of_a_very_long_run_leaves_nothing_out(long_run: list[Event]):
    rows = read(ask(Runs(a=long_run), want="csv", runs=["a"], curves=["train/step_loss"]))
    assert len(rows) == 100_000
    assert max(float(row["value"]) for row in rows) == 40.0


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["a", "", "x" * 300, "val/loss"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["run", "cursor", "usage"]), inner),
    max_leaves=6,
)
keys = st.sampled_from(["run", "have", "cursor", "usage", "over", "runs", "curves", "from", "to"])
wants = st.sampled_from([None, "part", "runs", "differences", "csv", "everything"]) | json_values


@given(wants, st.dictionaries(keys, json_values))
@settings(max_examples=200, deadline=None)
def test_any_question_gets_an_answer_and_never_an_exception(want: object, rest: dict[str, object]):
    reply = make_poll(Runs(a=[started(), step(1), epoch(1)]))({**rest, "want": want})
    assert isinstance(reply, dict)
    assert reply.get("error", "x") not in ("", "The run could not be read just now. The page keeps trying.")
    json.dumps(reply, allow_nan=False)


# Words


def test_every_word_that_is_chosen_by_a_kind_exists():
    script = "\n".join(path.read_text(encoding="utf-8") for path in sorted(live_board.FOLDER.glob("*.js")))
    kinds = re.search(r"const KINDS = \[(.*)\]", script)
    assert kinds
    told = set(re.findall(r'"(\w+)"', kinds[1])) - {"end"}
    keys = {f"mark.{kind}" for kind in told | {"finished", "stopped", "failed"}}
    keys |= {f"choice.{axis}" for axis in ("epoch", "step", "time")} | {"axis.epoch", "axis.step"}
    keys |= {f"axis.time.{unit}" for unit in ("s", "min", "h")}
    keys |= {f"chart.{key}" for key in ("rate", "speed", "memory", "load")}
    keys |= set(re.findall(r'word: "([\w.]+)"', script))
    keys |= {f"result.{key}" for key in re.findall(r'\[named\("(\w+)"\), each', script)}
    assert len(keys) > 30
    assert keys <= BOARD_STRINGS["en"].keys()


def test_the_settings_that_are_compared_have_names_and_no_others():
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    assert set(SETTING_NAMES) == known - set(NOT_COMPARED)


def test_the_page_knows_how_long_the_list_of_runs_can_be():
    script = (Path(live_board.FOLDER) / "live_board_overlay.js").read_text(encoding="utf-8")
    told = re.search(r"const MOST_LISTED = (\d+);", script)
    assert told
    assert int(told[1]) == MAX_LINES


def test_no_script_of_the_board_is_too_long_to_read():
    for path in Path(live_board.FOLDER).glob("*.js"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 250, path.name
