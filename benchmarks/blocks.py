"""Runs a benchmark in blocks: yardstick, every side once in random order in fresh processes, yardstick again."""

import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import Benchmark, Comparison, Options, sides_of
from benchmarks.processes import run_side
from benchmarks.ratios import disagreement
from benchmarks.yardstick import MAX_MOVE, moved, yardstick_seconds

ENOUGH = 3  # kept blocks; with fewer, up to as many blocks as planned are added
TRIES = 2  # blocks that are run whatever the time, as long as none counts

Record = dict[str, Any]
Keep = Callable[[Record], None]


@dataclass
class Outcome:
    """All that blocks have shown so far; `kept` maps side -> metric -> number for each block that counts."""

    kept: list[dict[str, dict[str, float]]] = field(default_factory=list)
    dropped: int = 0
    reasons: dict[str, str] = field(default_factory=dict)  # side -> why it could not be measured
    refused: dict[tuple[str, ...], str] = field(default_factory=dict)  # pair of sides -> how their answers differ
    notes: dict[str, dict[str, Any]] = field(default_factory=dict)  # side -> its notes of the last block

    def problem(self, comparison: Comparison) -> str:
        """Why this comparison has no number, "" where nothing speaks against one."""
        pair = sides_of(comparison)
        if found := next((f"{side} {self.reasons[side]}" for side in pair if side in self.reasons), ""):
            return found
        return self.refused.get(pair, "")


def run_blocks(
    name: str, benchmark: Benchmark, options: Options, *, seed: int, keep: Keep, seconds: float = math.inf
) -> Outcome:
    """Measures the benchmark; `keep` receives every raw sample as it comes. `name` is what a worker finds it by.

    Once a block counts, or two did not, no other is begun that would probably end later than `seconds` from now.
    """
    started = time.monotonic()
    outcome = Outcome(reasons=dict(_missing(benchmark)))
    shuffle = random.Random(seed)
    planned = options.blocks or benchmark.blocks
    before = yardstick_seconds()
    for block in range(1, 2 * planned + 1):
        if block > planned and len(outcome.kept) >= min(ENOUGH, planned):
            break
        spent = time.monotonic() - started
        if (outcome.kept or block > TRIES) and spent + spent / (block - 1) > seconds:
            break
        sides = _needed(benchmark, outcome)
        if not sides:
            break
        shuffle.shuffle(sides)
        _say(f"{benchmark.name}: block {block} of {planned}, {', '.join(sides)}")
        samples = _run_sides(name, benchmark, options, sides=sides, block=block, keep=keep)
        _check(benchmark, outcome, samples, keep=keep)
        after = yardstick_seconds()
        steady = moved(before, after) <= MAX_MOVE or not benchmark.timed
        keep({"kind": "yardstick", "block": block, "before": before, "after": after, "kept": steady, **_moment()})
        _count(outcome, samples, steady=steady)
        before = after
    return outcome


def _missing(benchmark: Benchmark) -> Iterator[tuple[str, str]]:
    for side, why in benchmark.missing.items():
        try:
            reason = why()
        except Exception as error:  # a broken installation is a reason like any other
            reason = f"cannot run: {error}"
        if reason:
            yield side, reason


def _needed(benchmark: Benchmark, outcome: Outcome) -> list[str]:
    """The sides that some comparison can still use, in the declared order."""
    open_rows = [row for row in benchmark.comparisons if not outcome.problem(row)]
    wanted = {side for row in open_rows for side in sides_of(row)}
    return [side for side in benchmark.sides if side in wanted]


def _run_sides(
    name: str, benchmark: Benchmark, options: Options, *, sides: list[str], block: int, keep: Keep
) -> dict[str, Record]:
    samples = {}
    for side in sides:
        moment, started = _moment(), time.perf_counter()
        samples[side] = run_side(name, side, options, timeout=benchmark.timeout)
        seconds = round(time.perf_counter() - started, 3)
        keep({"kind": "sample", "block": block, "side": side, **samples[side], "seconds": seconds, **moment})
    return samples


def _check(benchmark: Benchmark, outcome: Outcome, samples: dict[str, Record], *, keep: Keep) -> None:
    """Notes failed sides, then compares the answers of every pair: a pair that disagrees is not held against time."""
    for side, sample in samples.items():
        if failed := sample.get("failed") or _unfit(sample["values"]):
            outcome.reasons[side] = failed
            _say(f"{benchmark.name}: {side} {failed}")
    if benchmark.tolerance is None:
        return
    for pair in dict.fromkeys(sides_of(row) for row in benchmark.comparisons if row.peer is not None):
        if any(side not in samples or side in outcome.reasons for side in pair):
            continue
        answers = [samples[side]["answers"] for side in pair]
        largest, why = disagreement(answers[0], answers[1], benchmark.tolerance)
        shown = largest if math.isfinite(largest) else None
        keep({"kind": "checked", "pair": pair, "answers": len(answers[0]), "largest_difference": shown, "refused": why})
        if why:
            outcome.refused[pair] = f"{pair[0]} and {pair[1]} were not compared: {why}"
            _say(f"{benchmark.name}: {outcome.refused[pair]}")


def _unfit(values: dict[str, Any]) -> str:
    bad = [
        metric for metric, number in values.items() if not isinstance(number, int | float) or not math.isfinite(number)
    ]
    return f"gave no finite number for {', '.join(bad)}" if bad else ""


def _count(outcome: Outcome, samples: dict[str, Record], *, steady: bool) -> None:
    if not steady:
        outcome.dropped += 1
        return
    outcome.kept.append({side: sample["values"] for side, sample in samples.items() if "values" in sample})
    outcome.notes.update({side: sample["notes"] for side, sample in samples.items() if "notes" in sample})


def _moment() -> Record:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "load": load}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
