"""Blocks: what is kept, dropped, repeated and refused, with sides that run in this process and a yardstick of ours."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from benchmarks import blocks
from benchmarks.blocks import Outcome, run_blocks
from benchmarks.harness import Benchmark, Options
from benchmarks.worker import measure
from tests.benchmarks.tiny import SIDES, absent, against

pytestmark = pytest.mark.filterwarnings("ignore:a side that complains")


class Stage:
    """Runs sides in place of processes and hands out yardsticks; remembers what was asked."""

    def __init__(self) -> None:
        self.yardsticks: Iterator[float] = iter(lambda: 1.0, None)
        self.asked: list[str] = []
        self.records: list[dict[str, Any]] = []

    def run(
        self,
        benchmark: Benchmark,
        *,
        seed: int = 0,
        yardsticks: Iterable[float] = (),
        seconds: float = math.inf,
        **options: Any,
    ) -> Outcome:
        if yardsticks:
            self.yardsticks = iter(yardsticks)
        keep, found = self.records.append, Options(**options)
        return run_blocks("tests.benchmarks.tiny", benchmark, found, seed=seed, keep=keep, seconds=seconds)

    def side(self, name: str, side: str, options: Options, *, timeout: float) -> dict[str, Any]:
        self.asked.append(side)
        return measure(name, side, options)

    def kinds(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["kind"] == kind]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    monkeypatch.setattr(blocks, "run_side", made.side)
    monkeypatch.setattr(blocks, "yardstick_seconds", lambda: next(made.yardsticks))
    return made


def pair(*peers: str, blocks: int = 5, **settings: Any) -> Benchmark:
    """Ours against these sides."""
    sides = {side: SIDES[side] for side in ("ours", *peers)}
    comparisons = tuple(against(peer) for peer in peers)
    return Benchmark(name="pair", claim="c", sides=sides, comparisons=comparisons, blocks=blocks, **settings)


def test_a_quiet_machine_keeps_every_block(stage: Stage) -> None:
    outcome = stage.run(pair("slower"))
    assert (len(outcome.kept), outcome.dropped) == (5, 0)
    assert outcome.kept[0] == {"ours": {"rate": 10.0, "time": 50.0}, "slower": {"rate": 4.0, "time": 125.0}}
    assert len(stage.kinds("sample")) == 10


def test_a_block_beside_a_moved_yardstick_is_dropped_and_counted(stage: Stage) -> None:
    outcome = stage.run(pair("slower"), yardsticks=[1.0, 1.05, 1.2, 1.2, 1.2, 1.1])
    assert (len(outcome.kept), outcome.dropped) == (3, 2)
    assert [record["kept"] for record in stage.kinds("yardstick")] == [True, False, True, True, False]


def test_extra_blocks_are_run_until_three_count(stage: Stage) -> None:
    outcome = stage.run(pair("slower"), yardsticks=[1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    assert (len(outcome.kept), outcome.dropped) == (3, 5)


def test_a_restless_machine_gets_twice_the_blocks_and_no_number(stage: Stage) -> None:
    outcome = stage.run(pair("slower", blocks=3), yardsticks=[1.0, 2.0] * 20)
    assert (len(outcome.kept), outcome.dropped) == (0, 6)


@pytest.mark.parametrize(("seconds", "kept"), [(0.0, 1), (-60.0, 1), (3600.0, 5)])
def test_when_the_time_is_up_one_block_that_counts_is_enough(stage: Stage, seconds: float, kept: int) -> None:
    assert len(stage.run(pair("slower"), seconds=seconds).kept) == kept


@pytest.mark.parametrize(("yardsticks", "kept", "dropped"), [([1.0, 2.0, 2.0], 1, 1), ([1.0, 2.0, 1.0, 1.0], 0, 2)])
def test_a_restless_machine_has_a_second_try_though_the_time_is_up(
    stage: Stage, yardsticks: list[float], kept: int, dropped: int
) -> None:
    outcome = stage.run(pair("slower"), yardsticks=yardsticks, seconds=0.0)
    assert (len(outcome.kept), outcome.dropped) == (kept, dropped)


def test_numbers_that_are_no_times_are_never_dropped(stage: Stage) -> None:
    outcome = stage.run(pair("slower", blocks=2, timed=False), yardsticks=[1.0, 2.0] * 20)
    assert (len(outcome.kept), outcome.dropped) == (2, 0)


def test_the_command_line_sets_the_number_of_blocks(stage: Stage) -> None:
    assert len(stage.run(pair("slower"), blocks=1).kept) == 1


def test_the_order_is_shuffled_by_the_seed(stage: Stage) -> None:
    orders = []
    for seed in (1, 1, 2, 3):
        stage.asked = []
        stage.run(pair("slower", "wrong", blocks=4), seed=seed)
        orders.append(tuple(stage.asked))
    assert orders[0] == orders[1]
    assert len(set(orders)) > 1


def test_a_failing_side_is_not_asked_again_and_the_rest_goes_on(stage: Stage) -> None:
    outcome = stage.run(pair("slower", "failing"))
    assert stage.asked.count("failing") == 1
    assert len(outcome.kept) == 5
    failing, slower = against("failing"), against("slower")
    assert outcome.problem(failing) == "failing RuntimeError: the peer's kernel is broken"
    assert outcome.problem(slower) == ""


def test_ours_is_not_measured_when_nothing_is_left_to_compare(stage: Stage) -> None:
    outcome = stage.run(pair("unwilling"))
    assert sorted(stage.asked) == ["ours", "unwilling"]
    assert outcome.problem(against("unwilling")) == "unwilling needs a GPU"


def test_a_side_that_is_not_installed_is_never_started(stage: Stage) -> None:
    outcome = stage.run(pair("absent", "slower", missing={"absent": absent}))
    assert "absent" not in stage.asked
    assert outcome.problem(against("absent")) == "absent is not installed"


def test_a_broken_installation_is_a_reason(stage: Stage) -> None:
    def broken() -> str | None:
        raise ImportError("no such file")

    outcome = stage.run(pair("slower", missing={"slower": broken}))
    assert outcome.problem(against("slower")) == "slower cannot run: no such file"
    assert stage.asked == []


def test_a_pair_with_other_answers_is_refused_with_a_sentence(stage: Stage) -> None:
    outcome = stage.run(pair("wrong", "slower", tolerance=0.01))
    sentence = "ours and wrong were not compared: their answers differ by 0.5, allowed is 0.01"
    assert outcome.problem(against("wrong")) == sentence
    assert outcome.problem(against("slower")) == ""
    assert stage.asked.count("wrong") == 1
    checked = {tuple(record["pair"]): record["refused"] for record in stage.kinds("checked")}
    assert checked[("ours", "slower")] == ""
    assert "differ by 0.5" in checked[("ours", "wrong")]


def test_without_a_tolerance_answers_are_not_compared(stage: Stage) -> None:
    assert stage.run(pair("wrong")).problem(against("wrong")) == ""
    assert stage.kinds("checked") == []


@pytest.mark.parametrize("number", [float("nan"), float("inf"), None, "3"])
def test_what_is_no_number_is_not_measured(stage: Stage, monkeypatch: pytest.MonkeyPatch, number: object) -> None:
    sample = {"values": {"rate": number}, "answers": [], "notes": {}}
    monkeypatch.setattr(blocks, "run_side", lambda *_, **__: sample)
    assert "no finite number for rate" in stage.run(pair("slower")).problem(against("slower"))


def test_every_raw_sample_carries_time_side_block_and_values(stage: Stage) -> None:
    stage.run(pair("slower", blocks=2))
    for record in stage.kinds("sample"):
        assert {"time", "load", "side", "block", "values", "answers", "notes", "seconds"} <= set(record)
