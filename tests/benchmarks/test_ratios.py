"""The claim is computed the right way round: direction, interval, goals, verdicts, refusals."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.blocks import Outcome
from benchmarks.harness import Benchmark, Comparison, Options
from benchmarks.machine import Machine
from benchmarks.ratios import better_by, bootstrap_median, disagreement
from benchmarks.rows import Row, goal_of, make_row
from benchmarks.yardstick import moved
from tests.benchmarks.tiny import against, steady

positive = st.floats(min_value=1e-3, max_value=1e6)


def machine(*flags: str, gpu: str | None = None) -> Machine:
    return Machine(
        processor="a processor",
        cores=2,
        physical_cores=2,
        memory_gb=8.0,
        flags=list(flags),
        capability="AVX2",
        gpu=gpu,
        system="Linux x86_64",
        python="3.11",
        torch="2.15",
        torchvision="0.29",
        torch_threads=2,
    )


def row_of(comparison: Comparison, pairs: list[tuple[float, float]], **extra: object) -> Row:
    kept = [{"ours": {comparison.metric: a}, "slower": {comparison.metric: b}} for a, b in pairs]
    return make_row(comparison, Outcome(kept=kept, **extra), machine(), Options())  # type: ignore[arg-type]


def test_a_ratio_says_how_many_times_better_ours_is() -> None:
    rate = Comparison(metric="m", unit="images/s", peer="other", larger_is_better=True)
    time = Comparison(metric="m", unit="s", peer="other", larger_is_better=False)
    assert better_by(rate, 30.0, 10.0) == 3.0
    assert better_by(time, 10.0, 30.0) == 3.0


@pytest.mark.parametrize("larger", [True, False])
def test_at_most_is_always_ours_over_the_peer(larger: bool) -> None:
    comparison = Comparison(metric="m", unit="s", peer="other", larger_is_better=larger, at_most=1.3)
    assert better_by(comparison, 13.0, 10.0) == pytest.approx(1.3)


def test_without_a_peer_the_number_itself_counts() -> None:
    assert better_by(Comparison(metric="m", unit="s", peer=None, larger_is_better=False), 7.0, None) == 7.0


@given(positive, positive)
def test_being_better_is_a_ratio_above_one(ours: float, peer: float) -> None:
    rate = Comparison(metric="m", unit="images/s", peer="other", larger_is_better=True)
    time = Comparison(metric="m", unit="s", peer="other", larger_is_better=False)
    if ours != peer:
        assert (better_by(rate, ours, peer) > 1) == (ours > peer)
        assert (better_by(time, ours, peer) > 1) == (ours < peer)
    assert better_by(rate, ours, peer) * better_by(time, ours, peer) == pytest.approx(1)


@given(st.lists(positive, min_size=1, max_size=9), st.integers(0, 2**31))
def test_the_interval_holds_the_median_and_stays_within_the_numbers(numbers: list[float], seed: int) -> None:
    interval = bootstrap_median(numbers, resamples=200, seed=seed)
    assert interval.median == statistics.median(numbers)
    assert min(numbers) <= interval.low <= interval.median <= interval.high <= max(numbers)


@given(st.lists(positive, min_size=1, max_size=9), st.integers(-10, 10))
def test_the_interval_scales_with_its_unit(numbers: list[float], power: int) -> None:
    plain, scaled = (bootstrap_median([one * factor for one in numbers], resamples=200) for factor in (1, 2.0**power))
    assert scaled.low == pytest.approx(plain.low * 2.0**power)
    assert scaled.high == pytest.approx(plain.high * 2.0**power)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_few_blocks_give_the_widest_interval_there_is(count: int) -> None:
    numbers = [float(number) for number in range(1, count + 1)]
    interval = bootstrap_median(numbers)
    assert (interval.low, interval.high) == (1.0, float(count))


def test_more_blocks_narrow_the_interval() -> None:
    draw = random.Random(1)
    numbers = [draw.gauss(3, 0.3) for _ in range(100)]
    few, many = bootstrap_median(numbers[:7]), bootstrap_median(numbers)
    assert many.high - many.low < (few.high - few.low) / 1.5


def test_the_interval_covers_a_known_ratio_as_often_as_it_says() -> None:
    draw, covered, trials = random.Random(0), 0, 300
    for _ in range(trials):
        interval = bootstrap_median([2 * draw.lognormvariate(0, 0.05) for _ in range(9)], resamples=300)
        covered += interval.low <= 2 <= interval.high
    assert 0.90 <= covered / trials <= 0.995


@pytest.mark.parametrize("numbers", [[], [1.0, math.nan], [math.inf]])
def test_what_is_no_number_has_no_interval(numbers: list[float]) -> None:
    with pytest.raises(ValueError):
        bootstrap_median(numbers)


def test_answers_within_the_tolerance_agree() -> None:
    largest, why = disagreement([0.2, 0.8], [0.21, 0.79], 0.02)
    assert why == ""
    assert largest == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ([0.2, 0.8], [0.8, 0.2], "their answers differ by 0.6, allowed is 0.02"),
        ([0.2, 0.8], [0.2], "one side gave 2 answers, the other 1"),
        ([], [], "the sides gave no answers to compare"),
        ([0.2], [], "the sides gave no answers to compare"),
        ([math.nan, 0.2], [0.2, 0.2], "a side answered with NaN or infinity"),
        ([0.2, math.nan], [0.2, math.nan], "a side answered with NaN or infinity"),
        ([math.inf], [math.inf], "a side answered with NaN or infinity"),
    ],
)
def test_unequal_answers_are_refused_with_the_reason(first: list[float], second: list[float], sentence: str) -> None:
    assert disagreement(first, second, 0.02)[1] == sentence


@given(positive, positive)
def test_the_yardstick_moves_alike_in_both_directions(before: float, after: float) -> None:
    assert moved(before, after) == moved(after, before) >= 0
    assert moved(before, before * 1.1) == pytest.approx(0.1)


def test_a_row_claims_the_lower_bound() -> None:
    row = row_of(against("slower", at_least=2.0), [(20, 10), (30, 10), (40, 10)])
    assert (row.low, row.median, row.high) == (2.0, 3.0, 4.0)
    assert (row.claim, row.verdict, row.kept) == (2.0, "meets", 3)
    assert row_of(against("slower", at_least=2.1), [(20, 10), (30, 10), (40, 10)]).verdict == "misses"


def test_a_row_with_at_most_claims_the_upper_bound() -> None:
    pairs = [(11.0, 10.0), (12.0, 10.0), (13.0, 10.0)]
    row = row_of(against("slower", "time", at_most=1.25), pairs)
    assert (row.claim, row.verdict, row.goal_is) == (1.3, "misses", "at most")
    assert row_of(against("slower", "time", at_most=1.3, moonshot=1.05), pairs).moonshot_reached is False
    assert row_of(against("slower", "time", at_most=1.5, moonshot=1.4), pairs).moonshot_reached is True


def test_an_absolute_time_claims_its_upper_bound_and_a_share_its_lower() -> None:
    pairs = [(0.3, 0.0), (0.4, 0.0), (0.5, 0.0)]
    assert row_of(against(None, "time", at_most=0.45), pairs).claim == 0.5
    assert row_of(against(None, "rate", at_least=0.3), pairs).verdict == "meets"


def test_each_ratio_is_of_one_block() -> None:
    """The machine halves its speed between blocks: both sides feel it, the ratio does not."""
    row = row_of(against("slower"), [(20, 10), (10, 5), (40, 20)])
    assert (row.low, row.high) == (2.0, 2.0)
    assert (row.ours, row.theirs) == (20, 10)


def test_a_row_without_blocks_says_so_and_has_no_number() -> None:
    row = row_of(against("slower", at_least=1.0), [], dropped=10)
    assert (row.verdict, row.median, row.claim) == ("not measured", None, None)
    assert "10 blocks were dropped" in row.reason


def test_a_missing_metric_and_a_zero_are_reasons_not_numbers() -> None:
    outcome = Outcome(kept=[{"ours": {"time": 1.0, "rate": 0.0}, "slower": {"rate": 3.0}}])
    rows = [make_row(against("slower", metric), outcome, machine(), Options()) for metric in ("time", "rate")]
    assert [row.verdict for row in rows] == ["not measured"] * 2
    assert rows[0].reason == "slower gave no number for time"
    assert "not positive" in rows[1].reason


@pytest.mark.parametrize(
    ("flags", "gpu", "precision", "goal"),
    [
        (["amx_bf16"], None, "auto", 3.0),
        (["amx_bf16"], None, "fp32", 1.25),
        (["avx2"], None, "auto", 1.25),
        (["amx_bf16"], "a GPU", "auto", 4.0),
    ],
)
def test_the_goal_follows_the_machine(flags: list[str], gpu: str | None, precision: str, goal: float) -> None:
    comparison = against("slower", at_least=3.0, at_least_fp32=1.25, at_least_cuda=4.0)
    assert goal_of(comparison, machine(*flags, gpu=gpu), Options(precision=precision)) == goal


def test_one_goal_holds_everywhere_where_no_other_is_named() -> None:
    for place in (machine(), machine("amx_bf16"), machine(gpu="a GPU")):
        assert goal_of(against("slower", at_least=3.0), place, Options(precision="fp32")) == 3.0
        assert goal_of(against("slower", at_most=1.3), place, Options()) == 1.3


def test_a_benchmark_that_cannot_work_is_refused_when_it_is_written() -> None:
    good = {"name": "tiny", "claim": "c", "sides": {"ours": steady, "slower": steady}}
    Benchmark(**good, comparisons=(against("slower"),))  # type: ignore[arg-type]
    for wrong in (
        {"comparisons": (against("unknown"),)},
        {"comparisons": ()},
        {"comparisons": (against("slower"),), "missing": {"unknown": lambda: None}},
        {"comparisons": (against("slower"),), "blocks": 0},
        {"comparisons": (against("slower"),), "name": "Two words"},
    ):
        with pytest.raises(ValueError):
            Benchmark(**(good | wrong))
    with pytest.raises(ValueError):
        against("slower", at_least=1.0, at_most=2.0)
    with pytest.raises(ValueError):
        against("ours")
