"""What a path stands for: a picture, all pictures of a folder, all pictures of a zip."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from resnet_core.data.archive import open_archive
from resnet_core.data.picture_files import PictureFile, find_pictures, pictures_of_zip, shown_name
from resnet_core.errors import ArchiveError, ImageError

PATHS = ["roses/2.png", "roses/1.png", "a.jpg", "deep/er/z.webp"]


@pytest.fixture
def folder(make_folder: Callable[..., Path]) -> Path:
    made = make_folder(PATHS)
    for other in ("notes.txt", ".hidden.png", "Thumbs.db", "__MACOSX/._a.jpg", ".git/x.png"):
        (made / other).parent.mkdir(exist_ok=True)
        (made / other).write_bytes(b"x")
    return made


def test_a_folder_is_all_its_pictures_sorted_and_nothing_else(folder: Path) -> None:
    found = find_pictures(folder)
    names = [os.path.relpath(file.name, folder).replace(os.sep, "/") for file in found.pictures]
    assert names == ["a.jpg", "deep/er/z.webp", "roses/1.png", "roses/2.png"]
    assert found.ignored == 3  # hidden folders are not even looked into
    assert [file.read().image.size for file in found.pictures] == [(20, 16)] * 4


def test_a_zip_is_all_its_pictures_read_in_place(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "set.ZIP"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (*PATHS, "notes.txt", "__MACOSX/._a.jpg", "x/.DS_Store"):
            archive.writestr(path, (folder / path).read_bytes() if (folder / path).is_file() else b"x")
    found = find_pictures(packed)
    assert [file.name for file in found.pictures] == [f"{packed}/{path}" for path in sorted(PATHS)]
    assert found.ignored == 3
    inside = {path: (folder / path).read_bytes() for path in PATHS}
    for file, path in zip(found.pictures, sorted(PATHS), strict=True):
        assert callable(file.content)
        assert file.content() == inside[path]
    found.close()
    with pytest.raises(ImageError, match="already closed"):
        found.pictures[0].read()


def test_a_named_file_is_one_picture_whatever_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("only words")
    (only,) = find_pictures(tmp_path / "notes.txt").pictures
    with pytest.raises(ImageError, match=r"notes\.txt is not an image this app can read"):
        only.read()
    (missing,) = find_pictures(tmp_path / "nowhere.zip").pictures
    with pytest.raises(ImageError, match="was not found"):
        missing.read()


def test_a_folder_or_zip_without_pictures_is_named(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(ImageError, match=r"^bare holds no pictures; choose another folder or zip\.$"):
        find_pictures(tmp_path / "bare")
    with zipfile.ZipFile(tmp_path / "words.zip", "w") as archive:
        archive.writestr("notes.txt", "x")
    with pytest.raises(ImageError, match=r"^words\.zip holds no pictures"):
        find_pictures(tmp_path / "words.zip")
    (tmp_path / "no.zip").write_bytes(b"no zip at all")
    with pytest.raises(ArchiveError, match=r"^no\.zip is not a zip archive"):
        find_pictures(tmp_path / "no.zip")


def test_a_damaged_place_in_a_zip_is_a_sentence_of_its_picture_only(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in ("a.jpg", "roses/1.png"):
            archive.write(folder / path, path)
    content = bytearray(packed.read_bytes())
    content[60:64] = b"!!!!"
    packed.write_bytes(bytes(content))
    with open_archive(packed, name="mine.zip") as archive:
        broken, good = pictures_of_zip(archive).pictures
        with pytest.raises(ImageError, match=r"a\.jpg in mine\.zip is damaged or incomplete"):
            broken.read()
        assert good.read().image.size == (20, 16)


def test_names_are_one_line_of_text() -> None:
    assert shown_name("a/b\n\u202ec\x00.jpg") == "a/b c.jpg"
    assert shown_name("../../x.jpg") == "../../x.jpg"
    assert len(shown_name("x" * 300)) == 80
    assert len(shown_name("x" * 300, 1000)) == 300
    assert shown_name("\x00") == "unnamed"
    with pytest.raises(ImageError, match=r"^evil\.jpg is empty"):
        PictureFile(name="../../evil\x00.jpg", content=b"").read()
