"""From numbers of two sides to one claim: the median ratio of blocks and a bootstrap interval around it."""

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness import Comparison

RESAMPLES = 4_000  # the 2.5 % point then wobbles by less than the spread of three blocks
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The median of some numbers and its 95 % bootstrap interval."""

    median: float
    low: float
    high: float


def better_by(comparison: Comparison, ours: float, peer: float | None) -> float:
    """The number one block contributes: ours itself without a peer, else the ratio in the comparison's direction."""
    if peer is None:
        return ours
    if comparison.larger_is_better or comparison.at_most is not None:
        return ours / peer
    return peer / ours


def bootstrap_median(numbers: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The median of `numbers` with the percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Of up to five numbers the interval spans all of them: fewer cannot support a 95 % statement, and it says so by its
    width. The same numbers give the same interval.
    """
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ValueError("An interval needs at least one number, and all of them finite.")
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(numbers, k=len(numbers))) for _ in range(resamples))
    tail = (1 - CONFIDENCE) / 2
    low, high = medians[math.floor(tail * resamples)], medians[math.ceil((1 - tail) * resamples) - 1]
    return Interval(median=statistics.median(numbers), low=low, high=high)


def disagreement(first: Sequence[float], second: Sequence[float], tolerance: float) -> tuple[float, str]:
    """The largest difference of two sides' answers, and why it is too large ("" where it is not)."""
    if not first or not second:
        return math.inf, "the sides gave no answers to compare"
    if len(first) != len(second):
        return math.inf, f"one side gave {len(first)} answers, the other {len(second)}"
    largest = max(abs(a - b) for a, b in zip(first, second, strict=True))
    if not all(map(math.isfinite, (*first, *second))):
        return math.inf, "a side answered with NaN or infinity"
    if largest > tolerance:
        return largest, f"their answers differ by {largest:.3g}, allowed is {tolerance:.3g}"
    return largest, ""
