"""A measurement of many minutes in slices: it computes for at most a minute, rests, and can be taken up after a stop.

Where RESNET_LAB_BENCH_LOCK names a file, or several in the manner of PATH, they are locked during each slice, so that
others can use the machine in between; the time that counts is the sum of the slices. (Do not hold such a lock around
the benchmark itself.) What is unfinished and what is finished lies in `benchmarks` of the cache folder: started again
within `KEPT_HOURS`, a benchmark goes on from there.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

SLICE_SECONDS = 55.0
REST_SECONDS = 2.0  # between two slices, so that somebody who waits for the lock gets it
KEPT_HOURS = 48.0


class Sliceable(Protocol):
    """A training that can pause after each batch."""

    def work(self) -> Iterator[bool]:
        """Goes on to the end; true where `state` may be kept."""

    def state(self) -> dict[str, Any]:
        """Everything needed to go on: plain tensors, numbers and strings."""

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""


def work_in_slices(training: Sliceable, kept: Path, *, slice_seconds: float = SLICE_SECONDS) -> float:
    """Works to the end and returns the seconds it computed. `kept` is where it stands; it is removed at the end."""
    import torch

    seconds = 0.0
    if _is_fresh(kept):
        state = torch.load(kept, weights_only=True)
        training.restore(state["training"])
        seconds = state["seconds"]
    work = training.work()
    while True:
        with machine_lock():
            worked, may_keep, ended = _slice(work, slice_seconds)
            seconds += worked
            if ended:
                kept.unlink(missing_ok=True)
                return seconds
            if may_keep:
                _replace(kept, partial(torch.save, {"training": training.state(), "seconds": seconds}))
        time.sleep(REST_SECONDS)


def remembered(record: Path, measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What `record` holds, or else what `measure` returns, which is then kept there with the time of its end."""
    if _is_fresh(record):
        return dict(json.loads(record.read_text(encoding="utf-8")))
    found = {**measure(), "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    _replace(record, lambda path: path.write_text(json.dumps(found), encoding="utf-8"))
    return found


def place_for(name: str, identity: Mapping[str, Any], suffix: str) -> Path:
    """The file of the cache folder for this measurement of these data with these versions on this machine."""
    import platform

    import torch

    from resnet_core.files import cache_dir

    machine = [platform.node(), platform.machine(), torch.__version__, torch.get_num_threads()]
    text = json.dumps([machine, dict(identity)], sort_keys=True)
    return cache_dir() / "benchmarks" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}{suffix}"


@contextlib.contextmanager
def machine_lock() -> Iterator[None]:
    """Holds the locks that RESNET_LAB_BENCH_LOCK names, if it does and this system has such locks."""
    names = [name for name in os.environ.get("RESNET_LAB_BENCH_LOCK", "").split(os.pathsep) if name]
    try:
        import fcntl
    except ImportError:  # Windows
        names = []
    with contextlib.ExitStack() as held:
        for name in names:
            fcntl.flock(held.enter_context(open(name, "a", encoding="utf-8")), fcntl.LOCK_EX)
        yield


def _slice(work: Iterator[bool], seconds: float) -> tuple[float, bool, bool]:
    """Seconds worked, whether the state may be kept, whether all is done."""
    started = time.perf_counter()
    for may_keep in work:
        worked = time.perf_counter() - started
        if worked >= seconds:
            return worked, may_keep, False
    return time.perf_counter() - started, False, True


def _is_fresh(path: Path) -> bool:
    return path.is_file() and time.time() - path.stat().st_mtime < KEPT_HOURS * 3600


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    write(temporary)
    os.replace(temporary, path)
