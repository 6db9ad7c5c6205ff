"""The cache folder stays small; what is in use, or was used a moment ago, is never taken away."""

import gc
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resnet_core.data import store_limits
from resnet_core.data.cache import load_pixels
from resnet_core.data.datasets import DatasetSpec, folder_dataset
from resnet_core.data.store_limits import note_use, sweep, trim

FolderMaker = Callable[..., Path]
LONG_AGO = 100_000  # seconds


def store(folder: Path, name: str, *, age: float = LONG_AGO, size: int = 1000) -> Path:
    made = folder / name
    made.mkdir(parents=True)
    (made / "pixels.u8").write_bytes(b"x" * (size - 2))
    (made / "index.json").write_text("{}")
    past = time.time() - age
    os.utime(made / "index.json", (past, past))
    return made


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_those_used_longest_ago_go_first(tmp_path: Path) -> None:
    for index, name in enumerate("badec"):
        store(tmp_path, name, age=LONG_AGO + 10_000 * index)  # c was used longest ago
    trim(tmp_path, max_stores=3, max_bytes=10**9)
    assert left(tmp_path) == ["a", "b", "d"]
    trim(tmp_path, max_stores=3, max_bytes=10**9)
    assert left(tmp_path) == ["a", "b", "d"]


def test_bytes_count_as_well_and_no_more_goes_than_must(tmp_path: Path) -> None:
    for index, size in enumerate((400, 5000, 300, 200)):
        store(tmp_path, str(index), age=LONG_AGO - index, size=size)
    trim(tmp_path, max_stores=100, max_bytes=5500)
    assert left(tmp_path) == ["1", "2", "3"]
    trim(tmp_path, max_stores=100, max_bytes=500)
    assert left(tmp_path) == ["2", "3"]
    trim(tmp_path, max_stores=100, max_bytes=0)
    assert left(tmp_path) == []


def test_a_store_in_use_stays_until_its_pixels_are_gone(tmp_path: Path) -> None:
    folder = store(tmp_path, "mine")
    pixels = np.zeros(3, dtype=np.uint8)
    note_use(folder, pixels)
    part = pixels[1:]  # whoever keeps a part keeps the whole
    os.utime(folder / "index.json", (1, 1))
    del pixels
    trim(tmp_path, max_stores=0)
    assert left(tmp_path) == ["mine"]
    del part
    gc.collect()
    trim(tmp_path, max_stores=0)
    assert left(tmp_path) == []


def test_a_store_that_anyone_used_within_the_hour_stays(tmp_path: Path) -> None:
    store(tmp_path, "new", age=60)
    store(tmp_path, "old", age=2 * store_limits.GRACE_SECONDS)
    trim(tmp_path, max_stores=0, max_bytes=0)
    assert left(tmp_path) == ["new"]
    note_use(store(tmp_path, "opened"), np.zeros(1, dtype=np.uint8))  # by somebody who has read it and gone
    trim(tmp_path, max_stores=0, max_bytes=0)
    assert left(tmp_path) == ["new", "opened"]


def test_what_is_being_built_or_is_no_store_is_left_alone(tmp_path: Path) -> None:
    for name in (".building-abc", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pixels.u8").write_bytes(b"x")
    trim(tmp_path, max_stores=0, max_bytes=0)
    sweep(tmp_path)
    assert left(tmp_path) == [".building-abc", "notes"]


def test_what_cannot_be_removed_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(tmp_path, "mapped")  # as on Windows, where a mapped file cannot be moved

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "replace", refuse)
    trim(tmp_path, max_stores=0)
    assert (folder / "pixels.u8").exists()
    assert (folder / "index.json").exists()


def test_a_removal_that_was_killed_halfway_is_never_seen_and_swept_after_a_day(tmp_path: Path) -> None:
    half = store(tmp_path, ".leaving-1")
    trim(tmp_path, max_stores=0)
    sweep(tmp_path)
    assert left(tmp_path) == [".leaving-1"]
    os.utime(half, (1, 1))
    sweep(tmp_path)
    assert left(tmp_path) == []


def test_a_folder_that_is_not_there_has_nothing_to_remove(tmp_path: Path) -> None:
    trim(tmp_path / "none")
    sweep(tmp_path / "none")
    assert left(tmp_path) == []


def test_building_a_store_makes_room_and_opening_one_keeps_it_fresh(
    make_folder: FolderMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_limits, "MAX_STORES", 2)
    paths = [f"{split}/{name}/{index}.png" for split in ("train", "val") for name in "ab" for index in range(2)]
    dataset: DatasetSpec = folder_dataset(make_folder(paths), name="set")
    pixels = tmp_path / "cache" / "pixels"
    for size in (8, 9):
        load_pixels(dataset, "train", size=size, exact=True, root=tmp_path / "cache")
    gc.collect()
    for path in pixels.glob("*/index.json"):
        os.utime(path, (1, 1))
    load_pixels(dataset, "train", size=8, exact=True, root=tmp_path / "cache")  # used again just now
    load_pixels(dataset, "train", size=10, exact=True, root=tmp_path / "cache")
    assert sorted(name.split("-")[1] for name in left(pixels)) == ["10", "8"]
