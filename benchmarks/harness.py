"""What a benchmark is: named sides, each measured in fresh processes, and the comparisons drawn between them.

A module `benchmarks/<name>.py` ends with `BENCHMARK = Benchmark(...)`. It imports torch and other heavy packages only
inside the functions of its sides, so that listing benchmarks costs nothing.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRECISIONS = ("auto", "fp32")


class CannotMeasure(Exception):
    """Raised by a side that cannot be measured here; its sentence stands in the table in place of a number."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks of every side."""

    precision: str = "auto"  # "fp32" forbids bf16 on either side
    data_dir: Path = Path("data")  # holds flower_photos and cifar10.zip where they are there
    blocks: int | None = None  # replaces the benchmark's own number of blocks


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one side returns from one fresh process."""

    values: Mapping[str, float]  # metric -> number
    answers: list[float] = field(default_factory=list)  # outputs that must agree between the sides
    notes: Mapping[str, Any] = field(default_factory=dict)  # whatever else belongs to the raw samples; JSON only


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row of the table: `ours` held against `peer` in one metric, or an absolute number where `peer` is None.

    The ratio says how many times better ours is: ours / peer for rates, peer / ours for times. With `at_most` it is
    ours / peer and must not exceed the goal. `moonshot` reads in the same direction as the goal.
    """

    metric: str
    unit: str
    peer: str | None
    larger_is_better: bool
    at_least: float | None = None
    at_least_fp32: float | None = None  # the goal without AMX, or with --precision fp32
    at_least_cuda: float | None = None  # the goal on a CUDA GPU
    moonshot: float | None = None
    ours: str = "ours"
    at_most: float | None = None
    note: str = ""  # a few words behind the metric in the table

    def __post_init__(self) -> None:
        goals = (self.at_least, self.at_least_fp32, self.at_least_cuda)
        if self.at_most is not None and any(goal is not None for goal in goals):
            raise ValueError(f"{self.metric}: a comparison has either at_least or at_most.")
        if self.peer == self.ours:
            raise ValueError(f"{self.metric}: {self.ours} is compared with itself.")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One claim and how it is measured. `missing` maps a side to a function that says why it cannot run here."""

    name: str
    claim: str
    sides: Mapping[str, Callable[[Options], Measured]]
    comparisons: tuple[Comparison, ...]
    tolerance: float | None = None  # largest allowed difference of `answers` between the sides of a comparison
    blocks: int = 5
    long: bool = False
    timeout: float = 300.0  # seconds one side may take, its imports included
    timed: bool = True  # False where the numbers are no times or rates: a busy machine then drops no block
    missing: Mapping[str, Callable[[], str | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            raise ValueError(f"{self.name!r} is no benchmark's name: lower case, words joined by hyphens.")
        if not self.comparisons or self.blocks < 1 or self.timeout <= 0:
            raise ValueError(f"{self.name} needs a comparison, a block and some seconds.")
        named = {*self.missing, *(side for row in self.comparisons for side in sides_of(row))}
        if unknown := named - set(self.sides):
            raise ValueError(f"{self.name} has no side called {', '.join(sorted(unknown))}.")


def sides_of(comparison: Comparison) -> tuple[str, ...]:
    """The sides a comparison needs, ours first."""
    return (comparison.ours,) if comparison.peer is None else (comparison.ours, comparison.peer)
