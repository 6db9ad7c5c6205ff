"""A benchmark of the tests: sides that answer at once, fail, die, hang or answer wrongly."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark, CannotMeasure, Comparison, Measured, Options


def steady(options: Options) -> Measured:
    """10 items a second in 50 ms; tells its process and whether torch was loaded before it began."""
    notes = {"pid": os.getpid(), "torch": "torch" in sys.modules, "data_dir": str(options.data_dir)}
    return Measured(values={"rate": 10.0, "time": 50.0}, answers=[0.25, 0.75], notes=notes)


def slower(_: Options) -> Measured:
    warnings.warn("a side that complains", UserWarning, stacklevel=1)
    print("a side that talks")
    return Measured(values={"rate": 4.0, "time": 125.0}, answers=[0.2501, 0.7499])


def wrong(_: Options) -> Measured:
    return Measured(values={"rate": 1.0, "time": 1.0}, answers=[0.75, 0.25])


def failing(_: Options) -> Measured:
    raise RuntimeError("the peer's kernel\nis broken")


def unwilling(_: Options) -> Measured:
    raise CannotMeasure("needs a GPU")


def dying(_: Options) -> Measured:
    if os.name == "nt":
        os._exit(9)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def hanging(options: Options) -> Measured:
    """Writes its process id, then sleeps far beyond any limit."""
    (Path(options.data_dir) / "hanging.pid").write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(600)
    raise AssertionError("unreachable")


def absent() -> str | None:
    return "is not installed"


def present() -> str | None:
    return None


def against(peer: str | None, metric: str = "rate", *, ours: str = "ours", **goals: Any) -> Comparison:
    larger = metric == "rate"
    return Comparison(metric=metric, unit="items/s", ours=ours, peer=peer, larger_is_better=larger, **goals)


SIDES = {
    "ours": steady,
    "slower": slower,
    "wrong": wrong,
    "failing": failing,
    "unwilling": unwilling,
    "dying": dying,
    "hanging": hanging,
    "absent": steady,
}

BENCHMARK = Benchmark(
    name="tiny",
    claim="Ours answers more often than a slower side.",
    sides=SIDES,
    comparisons=(
        against("slower", at_least=2.0),
        against("slower", "time", at_least=5.0),
        *(against(side) for side in ("wrong", "failing", "unwilling", "dying", "hanging", "absent")),
        against(None, "time", at_most=60.0),
    ),
    tolerance=0.01,
    blocks=1,
    timeout=20.0,
    missing={"absent": absent, "slower": present},
)
