"""Uploads get a place of their own, once, under our names; what Gradio forgets is swept."""

import os
import zipfile
from pathlib import Path

import pytest

from demo.uploads import KEEP_SECONDS, PARTIAL_SECONDS, keep_upload, sweep
from resnet_core.errors import ArchiveError

NOW = 1_800_000_000.0


def make_zip(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("roses/a.png", text)
    return path


def test_a_zip_is_kept_below_the_data_folder_with_all_its_bytes(tmp_path: Path):
    uploaded = make_zip(tmp_path / "in" / "my flowers.zip")
    kept = keep_upload(uploaded, tmp_path / "data")
    assert kept.parent == tmp_path / "data" / "uploads"
    assert kept.name.startswith("my-flowers-")
    assert kept.read_bytes() == uploaded.read_bytes()
    assert uploaded.exists()
    assert os.listdir(kept.parent) == [kept.name]


def test_the_same_content_is_kept_once_and_another_beside_it(tmp_path: Path):
    first = keep_upload(make_zip(tmp_path / "a" / "set.zip"), tmp_path / "data")
    again = keep_upload(make_zip(tmp_path / "b" / "set.zip"), tmp_path / "data")
    other = keep_upload(make_zip(tmp_path / "c" / "set.zip", "other"), tmp_path / "data")
    assert (first == again, first == other) == (again.read_bytes() == first.read_bytes(), False)
    assert first.stem.rpartition("-")[0] == other.stem.rpartition("-")[0] == "set"


@pytest.mark.parametrize(
    "name", ["..zip.zip", "…/x.zip".replace("/", "_"), "<b>.zip", "\u202egpj.zip", "'$(x)'.zip", "花.zip", "-.zip"]
)
def test_whatever_a_zip_is_called_it_is_stored_under_a_plain_name(tmp_path: Path, name: str):
    kept = keep_upload(make_zip(tmp_path / "in" / name), tmp_path / "data")
    assert kept.parent == tmp_path / "data" / "uploads"
    stem = kept.name.removesuffix(".zip")
    assert all(character.isalnum() or character == "-" for character in stem)
    assert len(kept.name) <= 60


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_what_is_no_zip_is_refused_and_leaves_nothing(tmp_path: Path, content: bytes):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(content)
    with pytest.raises(ArchiveError):
        keep_upload(bad, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def aged(path: Path, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    os.utime(path, (NOW - seconds, NOW - seconds))
    return path


def test_old_uploads_and_partial_ones_go_and_the_rest_stays(tmp_path: Path):
    gone = [
        aged(tmp_path / "a" / "photo.jpg", KEEP_SECONDS + 1),
        aged(tmp_path / "b" / "tmpabc123", PARTIAL_SECONDS + 1),
        aged(tmp_path / "c" / "x.part", PARTIAL_SECONDS + 1),
    ]
    stays = [
        aged(tmp_path / "d" / "photo.jpg", KEEP_SECONDS - 60),
        aged(tmp_path / "d" / "tmpfresh", PARTIAL_SECONDS - 60),
        aged(tmp_path / "e" / "photo.jpg", PARTIAL_SECONDS + 1),
    ]
    assert sweep(tmp_path, now=NOW) == len(gone)
    assert [path.exists() for path in gone] == [False] * 3
    assert [path.exists() for path in stays] == [True] * 3


def test_empty_folders_go_once_they_are_old_and_the_folder_itself_stays(tmp_path: Path):
    root = tmp_path / "gradio"
    for name, age in (("old", PARTIAL_SECONDS + 1), ("young", 10.0)):
        (root / name).mkdir(parents=True)
        os.utime(root / name, (NOW - age, NOW - age))
    assert sweep(root, now=NOW) == 0
    assert sorted(os.listdir(root)) == ["young"]
    assert sweep(tmp_path / "nowhere", now=NOW) == 0


def test_a_link_is_swept_and_not_what_it_leads_to(tmp_path: Path):
    treasure = aged(tmp_path / "elsewhere" / "keep.txt", 10 * KEEP_SECONDS)
    (tmp_path / "gradio").mkdir()
    (tmp_path / "gradio" / "link").symlink_to(treasure.parent, target_is_directory=True)
    sweep(tmp_path / "gradio", now=NOW)
    assert treasure.exists()
