"""From blocks to rows: each comparison as the median of its blocks' ratios, an interval, a goal and a verdict."""

import statistics
from dataclasses import dataclass, replace

from benchmarks.blocks import Outcome
from benchmarks.harness import Comparison, Options
from benchmarks.machine import Machine
from benchmarks.ratios import better_by, bootstrap_median


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. Numbers are None where nothing was measured; `reason` then says why."""

    metric: str
    unit: str
    side: str
    peer: str | None
    ours: float | None = None  # medians over the kept blocks, in `unit`
    theirs: float | None = None
    median: float | None = None  # the ratio, or ours again where there is no peer
    low: float | None = None
    high: float | None = None
    claim: float | None = None  # the end of the interval that favours ours least
    goal: float | None = None
    moonshot: float | None = None
    goal_is: str  # "at least" or "at most"
    verdict: str  # "meets", "misses", "no goal" or "not measured"
    moonshot_reached: bool = False
    reason: str = ""
    note: str = ""
    kept: int = 0
    dropped: int = 0


def make_row(comparison: Comparison, outcome: Outcome, machine: Machine, options: Options) -> Row:
    """The row of one comparison after all blocks."""
    upper, goal = _upper_bound_counts(comparison), goal_of(comparison, machine, options)
    pairs, reason = _pairs(comparison, outcome)
    empty = Row(
        metric=comparison.metric,
        unit=comparison.unit,
        side=comparison.ours,
        peer=comparison.peer,
        note=comparison.note,
        goal=goal,
        moonshot=comparison.moonshot,
        goal_is="at most" if upper else "at least",
        verdict="not measured",
        reason=reason,
        dropped=outcome.dropped,
    )
    if reason:
        return empty
    interval = bootstrap_median([better_by(comparison, ours, theirs) for ours, theirs in pairs])
    peers = [theirs for _, theirs in pairs if theirs is not None]
    claim = interval.high if upper else interval.low
    return replace(
        empty,
        ours=statistics.median(ours for ours, _ in pairs),
        theirs=statistics.median(peers) if peers else None,
        median=interval.median,
        low=interval.low,
        high=interval.high,
        claim=claim,
        verdict=_verdict(claim, goal, upper=upper),
        moonshot_reached=_verdict(claim, comparison.moonshot, upper=upper) == "meets",
        kept=len(pairs),
    )


def goal_of(comparison: Comparison, machine: Machine, options: Options) -> float | None:
    """The goal that holds on this machine at this precision."""
    if comparison.at_most is not None:
        return comparison.at_most
    if machine.gpu is not None and comparison.at_least_cuda is not None:
        return comparison.at_least_cuda
    if comparison.at_least_fp32 is not None and (options.precision == "fp32" or not machine.amx):
        return comparison.at_least_fp32
    return comparison.at_least


def _upper_bound_counts(comparison: Comparison) -> bool:
    """Whether small is good in this row: the claim is then the upper end of the interval."""
    return comparison.at_most is not None or (comparison.peer is None and not comparison.larger_is_better)


def _pairs(comparison: Comparison, outcome: Outcome) -> tuple[list[tuple[float, float | None]], str]:
    """Ours and the peer's number in every kept block, or the reason why there are none."""
    if reason := outcome.problem(comparison):
        return [], reason
    if not outcome.kept:
        return [], f"the machine was not steady: all {outcome.dropped} blocks were dropped"
    pairs: list[tuple[float, float | None]] = []
    for block in outcome.kept:
        numbers: list[float] = []
        for side in (comparison.ours, comparison.peer):
            if side is None:
                continue
            if comparison.metric not in block.get(side, {}):
                return [], f"{side} gave no number for {comparison.metric}"
            numbers.append(block[side][comparison.metric])
        if comparison.peer is not None and min(numbers) <= 0:
            return [], f"{comparison.metric} is not positive on both sides, which leaves no ratio"
        pairs.append((numbers[0], numbers[1] if len(numbers) > 1 else None))
    return pairs, ""


def _verdict(claim: float, goal: float | None, *, upper: bool) -> str:
    if goal is None:
        return "no goal"
    return "meets" if (claim <= goal if upper else claim >= goal) else "misses"
