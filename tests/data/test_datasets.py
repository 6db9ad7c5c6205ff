"""A data set is found by name, folder or zip, names its pictures without opening them, and never leaves its folder."""

import gc
import os
import threading
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from resnet_core.data import datasets
from resnet_core.data.datasets import (
    RENDERED_TRAIN,
    DatasetSpec,
    folder_dataset,
    list_datasets,
    load_dataset,
    rendered_flowers,
    with_rendered,
)
from resnet_core.errors import ArchiveError, DatasetError, ImageError

FolderMaker = Callable[..., Path]
FOUR = [f"{name}/{index}.png" for name in ("cat", "dog") for index in range(2)]
SPLIT = [f"{split}/{path}" for split in ("train", "val") for path in FOUR]


def zipped(folder: Path, target: Path, *, wrapper: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as opened:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                opened.write(path, wrapper + path.relative_to(folder).as_posix())
    return target


def load(path: Path, *, seed: int = 0) -> DatasetSpec:
    return load_dataset(str(path), data_dir=path.parent / "no data", seed=seed)


def names_of(dataset: DatasetSpec) -> list[tuple[str, str]]:
    return [(picture.path, dataset.class_names[picture.class_index]) for picture in dataset.train + dataset.val]


def test_folder_and_zip_are_the_same_data_set(make_folder: FolderMaker, tmp_path: Path) -> None:
    folder = make_folder(SPLIT)
    from_folder = load(folder)
    for wrapper in ("", "wrapper/", "a/b/"):
        from_zip = load(zipped(folder, tmp_path / "set.zip", wrapper=wrapper))
        assert from_zip.name == from_folder.name == "set"
        assert names_of(from_zip) == names_of(from_folder)
        for picture in from_folder.val:
            shown, expected = (each.source.load(picture.path) for each in (from_zip, from_folder))
            assert shown.tobytes() == expected.tobytes()
    assert [len(from_folder.split(split)) for split in ("train", "val")] == [4, 4]


def test_a_link_or_pipe_never_leads_outside_or_hangs(make_folder: FolderMaker, tmp_path: Path) -> None:
    folder = make_folder(FOUR)
    secret = make_folder(["private/1.png", "private/2.png"], name="outside")
    (folder / "cat" / "link.png").symlink_to(secret / "private" / "1.png")
    (folder / "cat" / "inside.png").symlink_to(folder / "dog" / "0.png")
    (folder / "cat" / "broken.png").symlink_to(folder / "gone.png")
    (folder / "cat" / "self.png").symlink_to(folder / "cat" / "self.png")
    (folder / "spy").symlink_to(secret / "private")
    (folder / "again").symlink_to(folder)
    os.mkfifo(folder / "cat" / "pipe.png")
    (folder / "cat" / "device.png").symlink_to("/dev/zero")
    outcome: list[DatasetSpec] = []
    reader = threading.Thread(target=lambda: outcome.append(load(folder)), daemon=True)
    reader.start()
    reader.join(20)
    assert outcome, "reading the folder hangs"
    found = {picture.path for picture in outcome[0].train + outcome[0].val}
    assert found == {*FOUR, "cat/inside.png"}
    assert "5 files that are no pictures were left out." in outcome[0].notes


def test_leftovers_are_ignored_and_counted(make_folder: FolderMaker, tmp_path: Path) -> None:
    junk = ["__MACOSX/cat/x.png", "cat/._0.png", "cat/.ipynb_checkpoints/0.png", ".thumbs/0.png"]
    folder = make_folder([*FOUR, *junk])
    (folder / "cat" / "notes.txt").write_text("x")
    (folder / "Thumbs.db").write_bytes(b"x")
    for dataset in (load(folder), load(zipped(folder, tmp_path / "set.zip"))):
        assert dataset.class_names == ("cat", "dog")
        assert "6 files that are no pictures were left out." in dataset.notes


def test_a_class_folder_without_a_picture_is_refused_by_name(make_folder: FolderMaker, tmp_path: Path) -> None:
    folder = make_folder(FOUR)
    (folder / "fox").mkdir()
    (folder / "fox" / "notes.txt").write_text("x")
    for path in (folder, zipped(folder, tmp_path / "set.zip")):
        with pytest.raises(DatasetError, match="class folders without a picture: fox;"):
            load(path)
    packed = tmp_path / "bare.zip"
    with zipfile.ZipFile(packed, "w") as opened:
        for path in FOUR:
            opened.write(folder / path, path)
        opened.writestr("gnu/", b"")
    with pytest.raises(DatasetError, match="class folders without a picture: gnu;"):
        load(packed)


def test_nothing_is_opened_before_it_is_asked_for(make_folder: FolderMaker) -> None:
    folder = make_folder(FOUR)
    for path in FOUR:
        (folder / path).write_bytes(b"no picture at all")
    dataset = load(folder)
    assert len(dataset.train) == len(dataset.val) == 2
    with pytest.raises(ImageError, match=r"^0\.png"):
        dataset.source.load("cat/0.png")


def test_the_fingerprint_notices_every_change(make_folder: FolderMaker) -> None:
    folder = make_folder(SPLIT)
    prints = [load(folder).fingerprint]
    assert load(folder).fingerprint == prints[0]
    Image.new("RGB", (9, 9)).save(folder / "train" / "cat" / "0.png")
    prints.append(load(folder).fingerprint)
    os.utime(folder / "train" / "cat" / "1.png", ns=(1, 1))
    prints.append(load(folder).fingerprint)
    (folder / "val" / "dog" / "1.png").rename(folder / "train" / "dog" / "9.png")
    prints.append(load(folder).fingerprint)
    (folder / "train" / "dog" / "9.png").unlink()
    prints.append(load(folder).fingerprint)
    assert len(set(prints)) == 5


def test_the_seed_decides_the_split_and_only_where_there_is_none(make_folder: FolderMaker) -> None:
    alone = make_folder([f"{name}/{index}.png" for name in ("cat", "dog") for index in range(20)], name="alone")
    assert load(alone, seed=3).fingerprint == load(alone, seed=3).fingerprint
    assert len({load(alone, seed=seed).fingerprint for seed in range(4)}) == 4
    split = make_folder(SPLIT)
    assert load(split, seed=0).fingerprint == load(split, seed=1).fingerprint


@pytest.mark.parametrize("name", ["<script>alert(1)<∕script>", "向日葵", os.fsdecode(b"caf\xe9"), "=cmd()", "a\nb"])
def test_any_class_name_can_be_loaded(make_folder: FolderMaker, name: str) -> None:
    dataset = load(make_folder([*FOUR, f"{name}/0.png", f"{name}/1.png"]))
    assert name in dataset.class_names
    for picture in dataset.train:
        assert dataset.source.load(picture.path).size == (20, 16)


@pytest.mark.parametrize(
    "name", ["", "  ", "nothing-here", "~nobody-of-that-name/x", "\0", "a" * 5000, "/dev/null", "<b>", "\ud800"]
)
def test_a_name_that_leads_nowhere_is_answered_with_the_choices(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="rendered-flowers, flower_photos, cifar10") as caught:
        load_dataset(name, data_dir=tmp_path)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", ["flower_photos", "cifar10"])
def test_a_known_data_set_that_is_absent_names_the_command(name: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"datasets get {name}"):
        load_dataset(name, data_dir=tmp_path)
    assert [(each.name, each.available) for each in list_datasets(tmp_path)] == [
        ("rendered-flowers", True),
        ("flower_photos", False),
        ("cifar10", False),
    ]


def test_no_message_holds_a_path_of_the_server(make_folder: FolderMaker, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 not really")
    for path in (make_folder(["cat/0.png"]), tmp_path / "no.zip", make_folder(["0.png"], name="loose")):
        with pytest.raises((DatasetError, ArchiveError)) as caught:
            load(path)
        assert str(tmp_path) not in str(caught.value)


def test_a_folder_that_cannot_be_listed_is_a_sentence(
    make_folder: FolderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, pattern: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    folder = make_folder(FOUR)
    monkeypatch.setattr(Path, "rglob", fail)
    with pytest.raises(DatasetError, match=r"“set” cannot be read \(Permission denied\); check"):
        folder_dataset(folder, name="set")


def test_a_zip_is_closed_with_its_data_set_and_after_a_refusal(make_folder: FolderMaker, tmp_path: Path) -> None:
    good = zipped(make_folder(FOUR), tmp_path / "good.zip")
    bad = zipped(make_folder(["cat/0.png"], name="one"), tmp_path / "bad.zip")
    opened = Path("/proc/self/fd")

    def handles() -> int:
        return sum(os.path.realpath(each) in (str(good), str(bad)) for each in opened.iterdir())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = load(good)
        assert handles() == 1
        del dataset
        with pytest.raises(DatasetError, match="only one class"):
            load(bad)
        gc.collect()
        assert handles() == 0


def test_rendered_flowers_are_always_there(tmp_path: Path) -> None:
    dataset = load_dataset("rendered-flowers", data_dir=tmp_path / "nowhere")
    assert dataset.class_names == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert Counter(picture.class_index for picture in dataset.train) == dict.fromkeys(range(5), RENDERED_TRAIN)
    assert Counter(picture.class_index for picture in dataset.val) == dict.fromkeys(range(5), 40)
    image = dataset.source.load(dataset.val[0].path)
    assert image.size == (96, 96)
    assert image.tobytes() != dataset.source.load(dataset.train[0].path).tobytes()
    assert rendered_flowers(seed=1).fingerprint != dataset.fingerprint == rendered_flowers().fingerprint


def test_no_scene_is_both_trained_and_judged() -> None:
    dataset = rendered_flowers(train=3, val=2, size=32)
    mixed = with_rendered(dataset, 2.0, size=32)
    shown = [mixed.source.load(picture.path).tobytes() for picture in mixed.train]
    judged = {mixed.source.load(picture.path).tobytes() for picture in mixed.val}
    assert len(mixed.train) == 15 + 30
    assert len(set(shown)) == 45
    assert not judged & set(shown)


def test_rendered_flowers_can_be_added_to_pictures_of_flowers(make_folder: FolderMaker) -> None:
    flowers = rendered_flowers().class_names
    folder = make_folder(f"{split}/{name}/0.png" for split in ("train", "val") for name in flowers)
    dataset = load(folder)
    mixed = with_rendered(dataset, 0.4, size=24)
    assert mixed.val == dataset.val
    assert mixed.train[:5] == dataset.train
    assert mixed.fingerprint != dataset.fingerprint
    for picture in mixed.train:
        size = mixed.source.load(picture.path).size
        assert size == ((24, 24) if picture.path.startswith("rendered/") else (20, 16))
        assert mixed.class_names[picture.class_index] in picture.path
    assert with_rendered(dataset, 0, size=24) is dataset


def test_rendered_flowers_are_not_added_to_other_things(make_folder: FolderMaker) -> None:
    with pytest.raises(DatasetError, match="same five kinds"):
        with_rendered(load(make_folder(FOUR)), 0.5, size=32)


def test_a_split_is_called_train_or_val() -> None:
    with pytest.raises(DatasetError, match="“test” is not a split; use train or val"):
        rendered_flowers().split("test")


def test_the_real_cifar10(shared_data: Path) -> None:
    dataset = load_dataset("cifar10", data_dir=shared_data)
    assert (len(dataset.class_names), len(dataset.train), len(dataset.val)) == (10, 50_000, 10_000)
    assert set(Counter(picture.class_index for picture in dataset.train).values()) == {5_000}
    assert dataset.class_names[3] == "cat"
    for picture in (*dataset.train[::9_999], *dataset.val[::4_999]):
        assert dataset.source.load(picture.path, draft_size=32).size == (32, 32)
        assert dataset.class_names[picture.class_index] in picture.path


def test_the_real_flower_photos(shared_data: Path) -> None:
    dataset = load_dataset("flower_photos", data_dir=shared_data)
    assert dataset.class_names == rendered_flowers().class_names
    assert (len(dataset.train), len(dataset.val)) == (3_291, 550)
    assert dataset.notes == ()
    assert {name for name in datasets.list_datasets(shared_data) if not name.available} == set()
