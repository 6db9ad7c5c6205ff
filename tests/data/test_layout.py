"""People's folders and zips are understood as they meant them, and what was decided is said."""

import os
from collections.abc import Iterable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from resnet_core.data.layout import Layout, arrange, class_of, is_hidden
from resnet_core.errors import DatasetError

FOUR = ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"]
SPLIT = ["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/2.jpg", "val/dog/2.jpg"]


def found(paths: Iterable[str], *, seed: int = 0, folders: Iterable[str] = ()) -> Layout:
    return arrange({path: f"stamp of {path}" for path in paths}, name="set", seed=seed, folders=folders)


def refusal(paths: Iterable[str]) -> str:
    with pytest.raises(DatasetError) as caught:
        found(paths)
    return str(caught.value)


@pytest.mark.parametrize("wrapper", ["", "wrapper/", "my pictures/set 1/", "train/", "Training/"])
def test_class_folders_alone_are_classes_in_or_out_of_a_wrapper(wrapper: str) -> None:
    layout = found(wrapper + path for path in FOUR)
    assert layout.class_names == ("cat", "dog")
    assert len(layout.splits["train"]) == len(layout.splits["val"]) == 2
    assert any("no val folder" in note for note in layout.notes)


@pytest.mark.parametrize("wrapper", ["", "wrapper/", "a/b/c/"])
@pytest.mark.parametrize(("train", "val"), [("train", "val"), ("Train", "VALID"), ("training", "validation")])
def test_train_and_val_are_splits_not_classes(wrapper: str, train: str, val: str) -> None:
    paths = [wrapper + path.replace("train/", f"{train}/").replace("val/", f"{val}/") for path in SPLIT]
    layout = found(paths)
    assert layout.class_names == ("cat", "dog")
    assert [len(layout.splits[split]) for split in ("train", "val")] == [2, 2]
    assert {class_of(path) for path in layout.splits["val"]} == {"cat", "dog"}
    assert layout.prefix == wrapper
    assert [note for note in layout.notes if "found inside" not in note] == []
    assert bool(layout.notes) == bool(wrapper)


@pytest.mark.parametrize("loose", ["cover.jpg", "wrapper.jpg"])
@pytest.mark.parametrize("inner", [FOUR, SPLIT])
def test_a_loose_picture_does_not_make_its_wrapper_a_class(inner: list[str], loose: str) -> None:
    layout = found([f"wrapper/{path}" for path in [*inner, loose]])
    assert layout.class_names == ("cat", "dog")
    assert any(note.startswith("1 pictures outside") for note in layout.notes)
    assert loose not in {path for paths in layout.splits.values() for path in paths}


def test_a_test_folder_is_left_out_and_said() -> None:
    layout = found([*SPLIT, "test/cat/9.jpg", "cover.jpg"], folders=["train", "train/cat", "test", "test/cat"])
    assert layout.class_names == ("cat", "dog")
    assert layout.notes == ("2 pictures outside the class folders of train and val were left out.",)


def test_pictures_in_sub_folders_belong_to_the_class_above() -> None:
    layout = found(["cat/a/1.jpg", "cat/b/2.jpg", "dog/1.jpg", "dog/c/d/2.jpg"])
    assert layout.class_names == ("cat", "dog")


def test_a_class_may_be_called_train() -> None:
    layout = found(["train/1.jpg", "train/2.jpg", "car/1.jpg", "car/2.jpg"])
    assert layout.class_names == ("car", "train")


def test_a_val_folder_alone_is_split_anew() -> None:
    layout = found([f"val/{path}" for path in FOUR])
    assert layout.class_names == ("cat", "dog")
    assert len(layout.splits["train"]) == 2


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([], "holds no pictures"),
        (["1.jpg", "2.jpg"], "no class folders"),
        (["cat/1.jpg", "cat/2.jpg"], "only one class (“cat”)"),
        (["w/cat/1.jpg", "w/cat/2.jpg"], "only one class (“cat”)"),
        (["cat/1.jpg", "cat/more/2.jpg"], "only one class (“cat”)"),
        (["train/cat/1.jpg", "val/cat/1.jpg"], "only one class (“cat”)"),
        (["cat/1.jpg", "dog/1.jpg"], "too few pictures"),
        ([*SPLIT, "val/eel/1.jpg"], "no training pictures of eel"),
        ([*SPLIT, "val/Cat/1.jpg"], "no training pictures of Cat"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_with_the_reason(paths: list[str], words: str) -> None:
    sentence = refusal(paths)
    assert words in sentence
    assert sentence.startswith("“set” ")
    assert sentence.endswith(".")


def test_empty_class_folders_are_refused_by_name() -> None:
    folders = ["cat", "dog", ".ipynb_checkpoints", "__MACOSX", "cat/sub"]
    assert found(FOUR, folders=folders).class_names == ("cat", "dog")
    with pytest.raises(DatasetError, match="class folders without a picture: eel; add pictures or remove"):
        found(FOUR, folders=[*folders, "eel"])
    inside = ["w", "w/train", "w/train/cat", "w/train/<b>ox", "w/val/cat", "w/val/dog"]
    with pytest.raises(DatasetError, match="without a picture: <b>ox;"):
        found((f"w/{path}" for path in SPLIT), folders=inside)


def test_classes_that_look_alike_are_kept_apart_and_named() -> None:
    accents = ["caf\u00e9/1.jpg", "caf\u00e9/2.jpg", "cafe\u0301/1.jpg", "cafe\u0301/2.jpg"]
    layout = found([*FOUR, "Cat/1.jpg", "Cat/2.jpg", *accents])
    assert len(layout.class_names) == 5
    twins = [note for note in layout.notes if "differ only in" in note]
    assert len(twins) == 2
    assert any("Cat and cat" in note for note in twins)
    assert not any("differ only in" in note for note in found(FOUR).notes)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "向日葵", "=1+1", os.fsdecode(b"caf\xe9"), "a\u202eb", " "]
)
def test_any_class_name_is_taken_as_it_is(name: str) -> None:
    name = name.replace("/", "∕")
    layout = found([*FOUR, f"{name}/1.jpg", f"{name}/2.jpg"])
    assert name in layout.class_names
    assert {class_of(path) for path in layout.splits["val"]} == set(layout.class_names)


@pytest.mark.parametrize(
    "path", ["__MACOSX/cat/1.jpg", "cat/._1.jpg", "cat/.ipynb_checkpoints/1.jpg", ".git/x", "cat/Thumbs.db", "a/../b"]
)
def test_what_systems_leave_behind_is_hidden(path: str) -> None:
    assert is_hidden(path)
    assert not is_hidden(path.replace(".", "_").replace("__MACOSX", "mac").replace("Thumbs_db", "x"))


@given(
    counts=st.dictionaries(st.text("abcdé", min_size=1, max_size=3), st.integers(1, 40), min_size=2),
    seed=st.integers(0, 5),
)
def test_the_split_is_stratified_complete_and_repeatable(counts: dict[str, int], seed: int) -> None:
    assume(max(counts.values()) > 1)
    paths = [f"{name}/{index}.jpg" for name, count in counts.items() for index in range(count)]
    layout = found(paths, seed=seed)
    assert sorted(layout.splits["train"] + layout.splits["val"]) == sorted(paths)
    for name, count in counts.items():
        set_aside = sum(class_of(path) == name for path in layout.splits["val"])
        assert set_aside == (max(1, round(count / 5)) if count > 1 else 0)
    assert found(reversed(paths), seed=seed) == layout


def test_another_seed_sets_other_pictures_aside() -> None:
    paths = [f"{name}/{index}.jpg" for name in ("cat", "dog") for index in range(40)]
    assert set(found(paths, seed=0).splits["val"]) != set(found(paths, seed=1).splits["val"])
    cats = {path.split("/")[1] for path in found(paths).splits["val"] if path.startswith("cat")}
    dogs = {path.split("/")[1] for path in found(paths).splits["val"] if path.startswith("dog")}
    assert cats != dogs


def test_stamps_stay_with_their_pictures() -> None:
    layout = found(f"w/{path}" for path in FOUR)
    assert layout.stamps == {path: f"stamp of w/{path}" for path in FOUR}
