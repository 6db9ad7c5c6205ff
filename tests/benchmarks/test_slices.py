"""Long measurements rest between slices, are taken up after a stop, and count only the seconds they worked."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import slices
from benchmarks.cifar import BENCHMARK as CIFAR
from benchmarks.cifar import ours_to_the_mark
from benchmarks.harness import CannotMeasure, Options
from benchmarks.slices import machine_lock, place_for, remembered, work_in_slices
from benchmarks.time_to_accuracy import UntilAccurate, tutorial, until_reached
from benchmarks.tutorials import flower_folder
from resnet_core.data.datasets import load_dataset
from resnet_core.training.presets import make_config

TRY_LOCK = "import fcntl, sys; fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNET_LAB_BENCH_LOCK", raising=False)
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(slices, "REST_SECONDS", 0.0)


class Counting:
    """Work of `length` pauses; every second one may be kept, and at `dies` it dies."""

    def __init__(self, length: int, *, dies: int | None = None, pause: float = 0.0) -> None:
        self.length, self.dies, self.pause = length, dies, pause
        self.done, self.worked = 0, 0

    def work(self) -> Iterator[bool]:
        while self.done < self.length:
            if self.done == self.dies:
                raise KeyboardInterrupt
            time.sleep(self.pause)
            self.done += 1
            self.worked += 1
            yield self.done % 2 == 0

    def state(self) -> dict[str, Any]:
        return {"done": self.done}

    def restore(self, state: dict[str, Any]) -> None:
        self.done = state["done"]


def test_all_work_is_done_and_nothing_is_left_behind(tmp_path: Path) -> None:
    work = Counting(7)
    assert work_in_slices(work, tmp_path / "kept.pt", slice_seconds=0.0) > 0
    assert work.done == 7
    assert list(tmp_path.iterdir()) == []


def test_after_a_stop_it_goes_on_from_the_last_state_that_could_be_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept.pt"
    with pytest.raises(KeyboardInterrupt):
        work_in_slices(Counting(9, dies=7, pause=0.01), kept, slice_seconds=0.0)
    again = Counting(9)
    seconds = work_in_slices(again, kept, slice_seconds=0.0)
    assert (again.done, again.worked) == (9, 3), "six of seven steps were kept"
    assert seconds >= 6 * 0.01, "what was worked before the stop counts"
    assert not kept.exists()


def test_rests_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "REST_SECONDS", 0.2)
    started = time.perf_counter()
    seconds = work_in_slices(Counting(3), tmp_path / "kept.pt", slice_seconds=0.0)
    assert seconds < time.perf_counter() - started - 3 * 0.2 + 0.05


def test_what_was_left_long_ago_is_not_taken_up(tmp_path: Path) -> None:
    kept = tmp_path / "kept.pt"
    with pytest.raises(KeyboardInterrupt):
        work_in_slices(Counting(9, dies=7), kept, slice_seconds=0.0)
    old = time.time() - slices.KEPT_HOURS * 3600 - 60
    os.utime(kept, (old, old))
    again = Counting(9)
    work_in_slices(again, kept, slice_seconds=0.0)
    assert again.worked == 9


@pytest.mark.skipif(os.name == "nt", reason="no such locks there")
def test_others_get_the_machine_between_slices_and_not_during_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = [str(tmp_path / name) for name in ("one", "two")]
    monkeypatch.setenv("RESNET_LAB_BENCH_LOCK", os.pathsep.join(locks))

    def free() -> list[bool]:
        tries = [subprocess.run([sys.executable, "-c", TRY_LOCK, lock], capture_output=True) for lock in locks]
        return [tried.returncode == 0 for tried in tries]

    with machine_lock():
        assert free() == [False, False]
    assert free() == [True, True]


def test_a_finished_measurement_is_not_repeated(tmp_path: Path) -> None:
    calls: list[int] = []

    def measure() -> dict[str, float]:
        calls.append(1)
        return {"seconds": 12.5}

    record = tmp_path / "deep" / "record.json"
    first, second = remembered(record, measure), remembered(record, measure)
    assert first == second
    assert (first["seconds"], len(calls)) == (12.5, 1)
    assert "ended" in first


def test_a_failed_measurement_is_not_remembered(tmp_path: Path) -> None:
    def fail() -> dict[str, float]:
        raise CannotMeasure("broke")

    with pytest.raises(CannotMeasure):
        remembered(tmp_path / "record.json", fail)
    assert remembered(tmp_path / "record.json", lambda: {"seconds": 1.0})["seconds"] == 1.0


def test_other_data_or_settings_have_another_place() -> None:
    places = [place_for("t1", {"data": data}, ".pt") for data in ("a", "b", "a")]
    assert places[0] == places[2] != places[1]


def training(tmp_path: Path, target: float) -> UntilAccurate:
    def begin() -> tuple[Any, Any]:
        config = make_config(
            dataset=str(tmp_path), model="resnet18", width=8, image_size=32, epochs=2, batch_size=8, precision="fp32"
        )
        return config, load_dataset(str(tmp_path), data_dir=tmp_path)

    return UntilAccurate(begin, target)


def test_our_training_stops_at_the_first_epoch_that_is_good_enough(tmp_path: Path) -> None:
    with flower_folder(tmp_path / "none", per_class=4) as (folder, _):
        easy, impossible = training(folder, 0.0), training(folder, 1.1)
        assert work_in_slices(easy, tmp_path / "kept.pt") > 0
        work_in_slices(impossible, tmp_path / "kept.pt")
    assert (easy.reached, len(easy.curve)) == (True, 1)
    assert (impossible.reached, len(impossible.curve)) == (False, 2)


def test_a_training_that_breaks_off_is_no_time(tmp_path: Path) -> None:
    with flower_folder(tmp_path / "none", per_class=4) as (folder, _):
        broken = training(folder, 0.5)
        begin = broken._begin
        broken._begin = lambda: (begin()[0].replace(learning_rate=1e-9, init_from=str(tmp_path / "absent")), begin()[1])
        with pytest.raises(CannotMeasure, match="ended early"):
            work_in_slices(broken, tmp_path / "kept.pt")


def test_the_claim_is_the_slowest_seed_and_a_seed_that_fails_voids_it() -> None:
    runs = [{"seconds": s, "seed": seed, "reached": True, "curve": [0.7]} for seed, s in enumerate((9.0, 12.0, 10.0))]
    assert until_reached(runs, 0.6).values == {"slowest seed": 12.0, "median seed": 10.0}
    runs[1] |= {"reached": False, "curve": [0.51, 0.5523]}
    with pytest.raises(CannotMeasure, match=r"55\.2% with seed 1, below 60\.0%"):
        until_reached(runs, 0.6)


def test_without_data_or_hours_it_is_said_and_not_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Options(data_dir=tmp_path)
    with pytest.raises(CannotMeasure, match="flower photos"):
        tutorial(nothing)
    with pytest.raises(CannotMeasure, match="CIFAR-10"):
        CIFAR.sides["T2"](nothing)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(CannotMeasure, match="was not measured"):
        ours_to_the_mark(nothing)
    assert "not on PyPI" in str(CIFAR.missing["airbench"]())
