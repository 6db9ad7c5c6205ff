"""Pixels are decoded once, kept whole, and are those of the pictures; damage of any kind is noticed or mended."""

import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from resnet_core.data import cache
from resnet_core.data.cache import PixelStore, load_pixels, shrink
from resnet_core.data.datasets import DatasetSpec, folder_dataset
from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import center_crop, draft_size, resize_short_side, to_pixels
from resnet_core.data.sources import PictureSource
from resnet_core.errors import DatasetError

FolderMaker = Callable[..., Path]
PATHS = [f"{split}/{name}/{index}.png" for split in ("train", "val") for name in ("cat", "dog") for index in range(6)]


class CountingSource:
    """Passes pictures on and remembers which."""

    def __init__(self, source: PictureSource) -> None:
        self.source = source
        self.loaded: list[str] = []

    def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
        self.loaded.append(path)
        return self.source.load(path, draft_size=draft_size)


def counted(folder: Path) -> tuple[DatasetSpec, CountingSource]:
    dataset = folder_dataset(folder, name="set")
    source = CountingSource(dataset.source)
    return replace(dataset, source=source), source


def load(dataset: DatasetSpec, root: Path, *, split: str = "train", size: int = 8, exact: bool = True) -> PixelStore:
    return load_pixels(dataset, split, size=size, exact=exact, root=root)


def same(first: PixelStore, second: PixelStore) -> bool:
    return (
        (first.paths, first.sizes, first.skipped) == (second.paths, second.sizes, second.skipped)
        and torch.equal(first.targets, second.targets)
        and all(torch.equal(first[index], second[index]) for index in range(len(first)))
    )


def test_the_store_holds_the_pictures_in_their_order(make_folder: FolderMaker, tmp_path: Path) -> None:
    dataset, _ = counted(make_folder(PATHS))
    for split in ("train", "val"):
        store = load(dataset, tmp_path / "cache", split=split)
        assert store.paths == tuple(picture.path for picture in dataset.split(split))
        assert store.targets.tolist() == [picture.class_index for picture in dataset.split(split)]
        assert store.skipped == ()
        for index, path in enumerate(store.paths):
            expected = to_pixels(resize_short_side(dataset.source.load(path), 8))
            assert torch.equal(store[index], expected)


def test_the_second_time_nothing_is_decoded(make_folder: FolderMaker, tmp_path: Path) -> None:
    folder = make_folder(PATHS)
    dataset, source = counted(folder)
    first = load(dataset, tmp_path / "cache")
    assert sorted(source.loaded) == sorted(picture.path for picture in dataset.train)
    again, source = counted(folder)
    assert same(load(again, tmp_path / "cache"), first)
    assert source.loaded == []


@pytest.mark.parametrize("change", [{"size": 9}, {"exact": False}, {"split": "val"}])
def test_another_size_kind_or_split_is_another_store(
    make_folder: FolderMaker, tmp_path: Path, change: dict[str, object]
) -> None:
    dataset, source = counted(make_folder(PATHS))
    load(dataset, tmp_path)
    source.loaded.clear()
    load(dataset, tmp_path, **change)  # type: ignore[arg-type]
    assert len(source.loaded) == 12


def test_a_changed_picture_makes_a_new_store(make_folder: FolderMaker, tmp_path: Path) -> None:
    folder = make_folder(PATHS)
    before = load(counted(folder)[0], tmp_path / "cache")
    Image.new("RGB", (20, 16), (1, 2, 3)).save(folder / "train" / "cat" / "0.png")
    after = load(counted(folder)[0], tmp_path / "cache")
    assert not torch.equal(before[0], after[0])
    assert after[0].flatten(1).unique(dim=1).flatten().tolist() == [1, 2, 3]
    assert torch.equal(before[1], after[1])


def test_bad_pictures_among_good_ones_are_listed_and_targets_still_line_up(
    make_folder: FolderMaker, tmp_path: Path
) -> None:
    folder = make_folder(PATHS)
    whole = (folder / "train/cat/1.png").read_bytes()
    bad = {"cat/0": b"", "cat/3": b"<html>", "dog/2": whole[: len(whole) // 2], "dog/5": b"\x89PNG\r\n\x1a\n"}
    for path, content in bad.items():
        (folder / "train" / f"{path}.png").write_bytes(content)
    dataset, _ = counted(folder)
    (folder / "train/dog/4.png").unlink()  # gone since it was listed
    seen: list[tuple[int, int]] = []
    root = tmp_path / "cache"
    store = load_pixels(
        dataset, "train", size=16, exact=True, root=root, progress=lambda done, total: seen.append((done, total))
    )
    assert {path for path, _ in store.skipped} == {f"train/{path}.png" for path in (*bad, "dog/4")}
    assert all(reason.endswith(".") and str(tmp_path) not in reason for _, reason in store.skipped)
    assert [path.split("/")[1] for path in store.paths] == [("cat", "dog")[index] for index in store.targets.tolist()]
    for index, path in enumerate(store.paths):
        assert torch.equal(store[index], to_pixels(read_image(folder / path)))
    assert seen == [(done, 12) for done in range(1, 13)]
    assert same(load(dataset, root, size=16), store)


def test_a_split_without_a_readable_picture_is_refused_and_tried_again(
    make_folder: FolderMaker, tmp_path: Path
) -> None:
    folder = make_folder(PATHS)
    dataset, source = counted(folder)
    (folder / "train").rename(folder / "gone")
    for _ in range(2):
        source.loaded.clear()
        with pytest.raises(DatasetError, match=r"No picture of train in “set” could be read; the first: .*not found"):
            load(dataset, tmp_path / "cache")
        assert len(source.loaded) == 12
    (folder / "gone").rename(folder / "train")
    assert len(load(dataset, tmp_path / "cache")) == 12
    assert len(list((tmp_path / "cache" / "pixels").iterdir())) == 1


def test_mapped_pixels_are_the_same_and_the_file_is_never_changed(
    make_folder: FolderMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, _ = counted(make_folder(PATHS))
    in_memory = load(dataset, tmp_path / "cache")
    monkeypatch.setattr(cache, "MEMORY_SHARE", 0.0)
    mapped = load(dataset, tmp_path / "cache")
    assert isinstance(mapped.pixels, np.memmap)
    assert not isinstance(in_memory.pixels, np.memmap)
    assert same(mapped, in_memory)
    mapped[0].zero_()
    assert same(load(dataset, tmp_path / "cache"), in_memory)


def truncate(folder: Path) -> None:
    os.truncate(folder / "pixels.u8", 100)


def lengthen(folder: Path) -> None:
    with (folder / "pixels.u8").open("ab") as opened:
        opened.write(b"x")


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        lengthen,
        lambda folder: (folder / "pixels.u8").unlink(),
        lambda folder: (folder / "index.json").unlink(),
        lambda folder: (folder / "index.json").write_text(""),
        lambda folder: (folder / "index.json").write_text("[]"),
        lambda folder: (folder / "index.json").write_text('{"kept": [], "skipped": []}'),
        lambda folder: (folder / "index.json").write_text('{"kept": [["a", 0, 8]], "skipped": []}'),
        lambda folder: (folder / "index.json").write_bytes(b"\xff\xfe\0"),
    ],
)
def test_a_damaged_store_is_built_again(
    make_folder: FolderMaker, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    dataset, source = counted(make_folder(PATHS))
    first = load(dataset, tmp_path / "cache")
    (folder,) = (tmp_path / "cache" / "pixels").iterdir()
    damage(folder)
    source.loaded.clear()
    assert same(load(dataset, tmp_path / "cache"), first)
    assert len(source.loaded) == 12
    source.loaded.clear()
    load(dataset, tmp_path / "cache")
    assert source.loaded == []
    assert list((tmp_path / "cache" / "pixels").iterdir()) == [folder]


BUILDER = """
import sys
from pathlib import Path
from resnet_core.data.cache import load_pixels
from resnet_core.data.datasets import folder_dataset
dataset = folder_dataset(Path(sys.argv[1]), name="set")
print("ready", flush=True)
sys.stdin.readline()
store = load_pixels(dataset, "train", size=8, exact=True, root=Path(sys.argv[2]))
print(len(store), int(store.pixels.astype("int64").sum()), store.targets.tolist())
"""


def test_two_processes_may_build_the_same_store_at_once(make_folder: FolderMaker, tmp_path: Path) -> None:
    folder = make_folder(f"train/{name}/{index}.png" for name in ("cat", "dog") for index in range(60))
    command = [sys.executable, "-c", BUILDER, str(folder), str(tmp_path / "cache")]
    home = Path(cache.__file__).parents[2]
    builders = [
        subprocess.Popen(command, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    answers = []
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("\n")
        builder.stdin.flush()
    for builder in builders:
        answers.append(builder.communicate(timeout=60)[0])
        assert builder.returncode == 0
    assert answers[0] == answers[1]
    assert answers[0].startswith("96 ")  # a fifth of 120 is set aside
    assert len(list((tmp_path / "cache" / "pixels").iterdir())) == 1


def test_threads_may_build_the_same_store_at_once(make_folder: FolderMaker, tmp_path: Path) -> None:
    dataset, _ = counted(make_folder(PATHS))
    stores: list[PixelStore] = []
    builders = [threading.Thread(target=lambda: stores.append(load(dataset, tmp_path / "cache"))) for _ in range(6)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert len(stores) == 6
    assert all(same(store, stores[0]) for store in stores)
    assert len(list((tmp_path / "cache" / "pixels").iterdir())) == 1


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """What a full disk does: a write beyond `size` bytes fails."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_is_a_sentence_and_leaves_nothing(make_folder: FolderMaker, tmp_path: Path) -> None:
    dataset, _ = counted(make_folder(PATHS))
    with largest_file(1000), pytest.raises(DatasetError, match=r"could not be kept .*make room on the disk"):
        load(dataset, tmp_path / "cache")
    assert list((tmp_path / "cache" / "pixels").iterdir()) == []
    assert len(load(dataset, tmp_path / "cache")) == 12


def test_a_cache_that_cannot_be_written_is_a_sentence(make_folder: FolderMaker, tmp_path: Path) -> None:
    dataset, _ = counted(make_folder(PATHS))
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "file", Path("/proc/nothing"), Path("/dev/null/x")):
        with pytest.raises(DatasetError, match="RESNET_LAB_CACHE") as caught:
            load(dataset, root)
        assert str(root) not in str(caught.value)


def test_whoever_breaks_off_the_decoding_leaves_nothing_behind(make_folder: FolderMaker, tmp_path: Path) -> None:
    dataset, _ = counted(make_folder(PATHS))

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_pixels(dataset, "train", size=8, exact=True, root=tmp_path / "cache", progress=stop)
    assert list((tmp_path / "cache" / "pixels").iterdir()) == []


def test_what_killed_builders_left_is_swept_after_a_day(make_folder: FolderMaker, tmp_path: Path) -> None:
    dataset, _ = counted(make_folder(PATHS))
    pixels = tmp_path / "cache" / "pixels"
    for name, age in (("old", 100_000), ("new", 10)):
        (pixels / f".building-{name}").mkdir(parents=True)
        past = (pixels / f".building-{name}").stat().st_mtime - age
        os.utime(pixels / f".building-{name}", (past, past))
    load(dataset, tmp_path / "cache")
    assert [path.name for path in pixels.glob(".*")] == [".building-new"]


def test_the_environment_says_where_the_store_is(
    make_folder: FolderMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "mine"))
    dataset, source = counted(make_folder(PATHS))
    load_pixels(dataset, "val", size=8, exact=True)
    (folder,) = (tmp_path / "mine" / "pixels").iterdir()
    assert json.loads((folder / "index.json").read_text())["skipped"] == []
    assert folder.stat().st_mode & 0o777 == (tmp_path / "mine").stat().st_mode & 0o777
    shutil.rmtree(tmp_path / "mine")
    load_pixels(dataset, "val", size=8, exact=True)
    assert len(source.loaded) == 24


@settings(max_examples=200, deadline=None)
@given(width=st.integers(1, 60), height=st.integers(1, 60), size=st.integers(1, 24), cut=st.integers(0, 23))
def test_shrinking_never_moves_the_central_square(width: int, height: int, size: int, cut: int) -> None:
    image = Image.frombytes("RGB", (width, height), np.random.default_rng(size).bytes(width * height * 3))
    kept = shrink(image, size, True)
    crop = max(1, size - cut)
    assert center_crop(kept, crop).tobytes() == center_crop(resize_short_side(image, size), crop).tobytes()
    assert min(kept.size) == size
    assert max(kept.size) <= 2 * size + 3


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 60), height=st.integers(1, 60), size=st.integers(1, 24))
def test_pictures_for_random_cuts_are_never_enlarged(width: int, height: int, size: int) -> None:
    kept = shrink(Image.new("RGB", (width, height)), size, False)
    assert min(kept.size) == min(width, height, size)


def test_a_large_photo_is_decoded_at_a_fraction_of_its_size(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for index in range(2):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            ramp = Image.linear_gradient("L").resize((1600, 1200))
            Image.merge("RGB", (ramp, ramp.transpose(0), ramp)).save(tmp_path / "set" / name / f"{index}.jpg")
    dataset, _ = counted(tmp_path / "set")
    store = load(dataset, tmp_path / "cache", size=56)
    fast = read_image(tmp_path / "set" / store.paths[0], draft_size=draft_size(56))
    slow = read_image(tmp_path / "set" / store.paths[0])
    assert fast.size == (200, 150)
    assert torch.equal(store[0], to_pixels(resize_short_side(fast, 56)))
    assert (store[0].int() - to_pixels(resize_short_side(slow, 56)).int()).abs().max() <= 3


def test_a_decoded_fraction_keeps_twice_the_wanted_size(tmp_path: Path) -> None:
    """At 140 px, an eighth of 1200 px would do by the letter, but lose detail that the resize still needs."""
    noise = Image.frombytes("RGB", (400, 300), np.random.default_rng(0).bytes(400 * 300 * 3))
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for index in range(2):
            noise.resize((1600, 1200)).save(tmp_path / "set" / name / f"{index}.jpg", quality=90)
    dataset, _ = counted(tmp_path / "set")
    store = load(dataset, tmp_path / "cache", size=140)
    path = tmp_path / "set" / store.paths[0]
    whole, eighth = (to_pixels(resize_short_side(read_image(path, draft_size=d), 140)).int() for d in (None, 140))
    assert (store[0].int() - whole).abs().float().mean() < 1.5
    assert (eighth - whole).abs().float().mean() > 4


def test_pictures_of_one_size_come_as_one_tensor_that_shares_the_memory(
    make_folder: FolderMaker, tmp_path: Path
) -> None:
    dataset, _ = counted(make_folder(PATHS))
    store = load(dataset, tmp_path / "cache", size=16)
    stacked = store.stacked()
    assert stacked is not None
    assert torch.equal(stacked, torch.stack([store[index] for index in range(len(store))]))
    assert stacked.data_ptr() == store.pixels.ctypes.data
    with_another = make_folder(["train/cat/odd.png"], size=(16, 20)).parent / "set"
    assert load(counted(with_another)[0], tmp_path / "other", size=16).stacked() is None


def test_pictures_slow_to_decode_are_decoded_by_several_threads_and_quick_ones_by_one(
    make_folder: FolderMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(f"train/{name}/{index}.png" for name in ("cat", "dog") for index in range(60))
    monkeypatch.setattr(cache, "default_num_threads", lambda: 4)
    used: set[int] = set()

    class Watched(CountingSource):
        def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
            used.add(threading.get_ident())
            return super().load(path, draft_size=draft_size)

    stores, threads = [], []
    for seconds in (1000.0, 0.0):
        monkeypatch.setattr(cache, "SMALL_SECONDS", seconds)
        used.clear()
        dataset = folder_dataset(folder, name="set")
        dataset = replace(dataset, source=Watched(dataset.source))
        stores.append(load(dataset, tmp_path / str(seconds)))
        threads.append(len(used))
    assert same(*stores)
    assert threads[0] == 1 < threads[1]
