"""`python -m benchmarks [NAME …]`: measures the named benchmarks, or all short ones, and prints the table."""

import argparse
import math
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from benchmarks.blocks import run_blocks
from benchmarks.harness import PRECISIONS, Options
from benchmarks.lock import only_run
from benchmarks.machine import Machine, ask_machine
from benchmarks.registry import NAMES, load_benchmark
from benchmarks.results import FOLDER, Results
from benchmarks.rows import make_row

SHORT_MINUTES = 15.0  # all short ones together; a block each takes about ten on two cores


def main(arguments: list[str] | None = None) -> int:
    """0 when something was measured, whether it meets its goal or not; 1 when nothing could be."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in NAMES and "." not in name]:
        parser.error(f"there is no benchmark called {', '.join(unknown)}; --list shows them all")
    if asked.list:
        for name in NAMES:
            benchmark = load_benchmark(name)
            print(f"{name:<18} {'long ' if benchmark.long else '     '} {benchmark.claim}")
        return 0
    signal.signal(signal.SIGTERM, _stop)
    names = asked.names or [name for name in NAMES if load_benchmark(name).long == asked.long]
    options = Options(precision=asked.precision, data_dir=asked.data_dir, blocks=asked.blocks)
    seed = random.randrange(2**31) if asked.seed is None else asked.seed
    results = Results(asked.results)
    with only_run():
        machine = ask_machine()
        print(machine.sentence(), file=sys.stderr)
        measured = []
        for name, seconds in zip(names, shares(len(names), minutes(asked)), strict=True):
            measured.append(run_one(name, options, machine, results, seed=seed, seconds=seconds))
    print(results.table([load_benchmark(name).name for name in names]))
    return 0 if any(measured) else 1


def minutes(asked: argparse.Namespace) -> float:
    """How long the whole may take: as asked; else all short ones a quarter of an hour, what is named any time."""
    if asked.minutes is not None:
        return float(asked.minutes)
    return math.inf if asked.names or asked.long or asked.blocks else SHORT_MINUTES


def shares(count: int, total_minutes: float) -> Iterator[float]:
    """Seconds for each of so many benchmarks; what one leaves over or takes too long changes those after it."""
    until = time.monotonic() + 60 * total_minutes
    for left in range(count, 0, -1):
        yield (until - time.monotonic()) / left


def run_one(
    name: str, options: Options, machine: Machine, results: Results, *, seed: int, seconds: float = math.inf
) -> bool:
    """Measures one benchmark and keeps its result; whether any of its rows got a number."""
    benchmark, started = load_benchmark(name), time.time()
    run = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    about = {"when": time.strftime("%Y-%m-%d %H:%M"), "precision": options.precision, "load": load, "seed": seed}
    results.keep(benchmark, run, {"kind": "run", **about, "machine": machine.sentence()})
    outcome = run_blocks(
        name, benchmark, options, seed=seed, seconds=seconds, keep=lambda record: results.keep(benchmark, run, record)
    )
    rows = [make_row(comparison, outcome, machine, options) for comparison in benchmark.comparisons]
    took = round(time.time() - started)
    results.write(benchmark, rows, machine, **about, run=run, seconds=took, notes=outcome.notes)
    return any(row.verdict != "not measured" for row in rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="all short benchmarks where none is named")
    parser.add_argument("--list", action="store_true", help="show the benchmarks and what they claim")
    parser.add_argument("--long", action="store_true", help="run the long ones in place of the short ones")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto", help="fp32 forbids bf16 on both sides")
    parser.add_argument("--blocks", type=_positive, help="blocks a benchmark; each has its own number without it")
    parser.add_argument("--minutes", type=_duration, help="for all together; 15 where none is named, else no limit")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="holds flower_photos and cifar10.zip")
    parser.add_argument("--results", type=Path, default=FOLDER, help="where samples, rows and the table go")
    parser.add_argument("--seed", type=int, help="of the order of the sides; drawn and recorded without it")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least one block is needed")
    return number


def _duration(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("minutes above zero are needed")
    return number


def _stop(*_: object) -> NoReturn:
    raise SystemExit(143)  # runs every `finally`: the side that runs now is ended too


if __name__ == "__main__":
    sys.exit(main())
