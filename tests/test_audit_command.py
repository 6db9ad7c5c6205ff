"""`audit`: a report for people or machines; it was made, whatever it found, or one sentence says why not."""

import json
import os
import random
from pathlib import Path

import pytest
from PIL import Image

from resnet_core.cli import main


def write(root: Path, path: str, look: str, size: tuple[int, int] = (40, 32)) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", size, random.Random(look).randbytes(size[0] * size[1] * 3)).save(target)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            for index in range(2):
                write(tmp_path / "pets", f"{split}/{name}/{index}.png", f"{split}{name}{index}")
    return tmp_path / "pets"


@pytest.fixture
def faulty(sound: Path) -> Path:
    write(sound, "val/cat/seen.png", "traincat0")
    write(sound, "train/dog/cat.png", "traincat1")
    write(sound, "train/dog/icon.png", "icon", (9, 8))
    for index in range(10, 19):
        write(sound, f"train/dog/{index}.png", "one dog")
    for index in range(7):
        (sound / f"train/cat/cut{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return sound


def test_people_read_a_sentence_a_kind_with_the_first_paths(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--dataset", str(faulty)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines() == [
        "“pets” has 22 train and 5 val pictures of 2 classes.",
        "Corrupt: 7 found. Trainings leave out what cannot be read; copy these again, or remove them.",
        *(f"  train/cat/cut{i}.png is incomplete (truncated); copy it again." for i in range(5)),
        "  … and 2 more; --json tells all.",
        "Duplicate: 1 found. A picture that lies in its class more than once counts double; keep one file of each.",
        "  " + " = ".join(f"train/dog/{i}.png" for i in range(10, 15)) + " and 4 more",
        "Leaked: 1 found. What is in train and in val makes the accuracy look better than it is; remove it from one "
        "of them.",
        "  train/cat/0.png = val/cat/seen.png",
        "Mislabelled: 1 found. A picture in folders of different classes is right in one at most; keep it there and "
        "remove the others.",
        "  train/cat/1.png = train/dog/cat.png",
        "Tiny: 1 found. With a side below 32 px a network for photos has next to nothing to look at; take larger "
        "ones, or remove them.",
        "  train/dog/icon.png (9×8 px)",
        "Imbalanced: “dog” has 13 training pictures and “cat” 2, 6.5 to 1. Add pictures of the rare classes, or train "
        "with «--sampling balanced».",
    ]


def test_a_sound_data_set_is_told_to_be_so(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--dataset", str(sound)]) == 0
    head, *kinds = capsys.readouterr().out.splitlines()
    assert "4 train and 4 val pictures of 2 classes" in head
    assert len(kinds) == 6
    assert all(": nothing found" in line for line in kinds)


def test_machines_get_everything_in_one_object(faulty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--dataset", str(faulty), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["pictures"] == {"train": 22, "val": 5}
    assert [each["path"] for each in report["corrupt"]] == [f"train/cat/cut{i}.png" for i in range(7)]
    assert report["duplicate"] == [[f"train/dog/{i}.png" for i in range(10, 19)]]
    assert report["leaked"] == [["train/cat/0.png", "val/cat/seen.png"]]
    assert report["mislabelled"] == [["train/cat/1.png", "train/dog/cat.png"]]
    assert report["tiny"] == [{"path": "train/dog/icon.png", "width": 9, "height": 8}]
    assert report["imbalanced"] == {
        "counts": {"cat": {"train": 2, "val": 3}, "dog": {"train": 13, "val": 2}},
        "ratio": 6.5,
        "is_imbalanced": True,
    }


def test_what_was_decided_about_the_folders_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Cat", "cat"):
        for index in range(2):
            write(tmp_path / "twins", f"{name}/{index}.png", f"{name}{index}", (20, 20))
    assert main(["audit", "--dataset", str(tmp_path / "twins")]) == 0
    told = capsys.readouterr().out
    assert "this is a data set of small pictures" in told
    assert "Note: The classes Cat and cat differ only in capitals or accents" in told
    assert "Note: There is no val folder" in told


def test_a_class_of_which_nothing_can_be_read_is_named(sound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(2):
        (sound / f"train/dog/{index}.png").write_bytes(b"")
    assert main(["audit", "--dataset", str(sound)]) == 0
    told = capsys.readouterr().out
    assert "the class “dog” has no training picture that can be read" in told
    assert "  train/dog/0.png is empty (0 bytes).\n" in told
    assert main(["audit", "--dataset", str(sound), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["imbalanced"]["ratio"] is None


def test_odd_names_are_shown_as_harmless_text_and_kept_for_machines(
    sound: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsdecode(b"\xff\x1b[31m\n\xe2\x80\xae.png")
    write(sound, f"train/cat/{odd}", "traincat0")
    assert main(["audit", "--dataset", str(sound)]) == 0
    told = capsys.readouterr().out
    assert "  train/cat/0.png = train/cat/\N{REPLACEMENT CHARACTER}[31m .png\n" in told
    assert not set("\x1b\u202e") & set(told)
    assert main(["audit", "--dataset", str(sound), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["duplicate"] == [["train/cat/0.png", f"train/cat/{odd}"]]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ([], 2, "--dataset"),
        (["--dataset", "no-such-data"], 1, "There is no data set or folder “no-such-data”"),
        (["--dataset", "flower_photos"], 1, "not in the data folder"),
        (["--dataset", "/dev/null"], 1, "There is no data set or folder"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(
    arguments: list[str], code: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        left = main(["audit", *arguments, "--data-dir", str(tmp_path), "--json"])
    except SystemExit as leaving:
        left = int(leaving.code or 0)
    told = capsys.readouterr()
    assert (left, told.out, len(told.err.splitlines())) == (code, "", 1)
    assert sentence in told.err
