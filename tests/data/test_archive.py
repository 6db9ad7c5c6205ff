"""A zip is read in place or refused in one sentence that names the entries; nothing is ever written."""

import io
import os
import random
import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnet_core.data import archive
from resnet_core.data.archive import Archive, ArchiveMember, open_archive
from resnet_core.data.images import read_image
from resnet_core.errors import ArchiveError

DATA = Path(os.environ.get("RESNET_LAB_DATA") or Path(__file__).parents[3] / "shared" / "data")
NOISE = random.Random(0).randbytes(5_000)


def make_zip(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    """Return the sentence; opening must fail, change nothing beside the file and leave no file open."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(ArchiveError) as caught:
        open_archive(path)
    assert sorted(path.parent.rglob("*")) == before
    sentence = str(caught.value)
    assert sentence.startswith(path.name)
    assert str(path.parent) not in sentence
    return sentence


def test_members_are_read_as_they_were_written(tmp_path: Path) -> None:
    entries = {"set/train/cat/1.jpg": NOISE, "set/train/dog/1.jpg": NOISE[::-1], "set/val/cat/ü 🌻.jpg": b""}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with open_archive(make_zip(tmp_path / "set.zip", entries, method)) as opened:
            assert {member.path: opened.read(member) for member in opened.members} == entries
            assert [(m.size, m.crc) for m in opened.members] == [(len(c), zlib.crc32(c)) for c in entries.values()]
            assert opened.ignored == ()
            assert opened.name == "set.zip"


def test_files_of_the_system_are_ignored_and_shown(tmp_path: Path) -> None:
    junk = [
        "__MACOSX/set/._1.jpg",
        "set/.DS_Store",
        "set/cat/._1.jpg",
        "set/.ipynb_checkpoints/1.jpg",
        "set/cat/Thumbs.db",
        ".hidden/1.jpg",
    ]
    kept = ["set/cat/1.jpg", "set/cat/a.b..jpg", "set/__MACOSX_not/1.jpg"]
    path = make_zip(tmp_path / "set.zip", dict.fromkeys([*junk, "set/", "set/empty/", *kept], b"x"))
    with open_archive(path) as opened:
        assert [member.path for member in opened.members] == kept
        assert list(opened.ignored) == junk


def test_paths_of_windows_and_of_careless_programs_are_put_in_order(tmp_path: Path) -> None:
    with open_archive(make_zip(tmp_path / "set.zip", {"set\\cat\\1.jpg": b"a", "./set//dog/./2.jpg": b"b"})) as opened:
        assert [member.path for member in opened.members] == ["set/cat/1.jpg", "set/dog/2.jpg"]
        assert [opened.read(member) for member in opened.members] == [b"a", b"b"]


# ---- not a usable zip


@pytest.mark.parametrize("content", [b"<html></html>", b"Rar!\x1a\x07\x01\0" + bytes(90), NOISE, b"P"])
def test_other_files_are_not_zips(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(content)
    assert refusal(path) == "set.zip is not a zip archive; pack the folder as .zip and try again."


def test_empty_file_and_empty_zip_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.zip"
    empty.touch()
    assert refusal(empty) == "empty.zip is empty (0 bytes)."
    assert "holds no files" in refusal(make_zip(tmp_path / "none.zip", {}))
    assert "holds no files" in refusal(make_zip(tmp_path / "system.zip", {"a/": b"", "__MACOSX/._a": b"x"}))


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_cut_zip_is_called_truncated(tmp_path: Path, share: float) -> None:
    path = make_zip(tmp_path / "set.zip", {f"cat/{number}.jpg": NOISE for number in range(9)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert refusal(path) == "set.zip is damaged or incomplete (truncated); copy it again."


def test_a_zip_without_its_beginning_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {f"cat/{number}.jpg": NOISE for number in range(9)})
    path.write_bytes(path.read_bytes()[7_000:])
    assert "set.zip" in refusal(path)


def test_an_encrypted_zip_is_named(tmp_path: Path) -> None:
    path = rewritten(make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE}), lambda entry: set_field(entry, 8, "<H", 1))
    assert refusal(path) == ("set.zip is refused, it has encrypted entries (pack it without a password): cat/1.jpg.")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_may_ask_for_gigabytes_are_refused(tmp_path: Path, method: int) -> None:
    assert "unusual compression" in refusal(make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE}, method))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_devices_folders_and_missing_files_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "folder.zip").mkdir()
    sentences: list[str] = []
    paths = [tmp_path / name for name in ("pipe.zip", "folder.zip", "gone.zip", "bad\0.zip", "n" * 300)]

    def read_all() -> None:
        for path in [*paths, Path("/dev/zero")]:
            with pytest.raises(ArchiveError) as caught:
                open_archive(path)
            sentences.append(str(caught.value))

    reader = threading.Thread(target=read_all, daemon=True)
    reader.start()
    reader.join(10)
    assert sentences[0] == "pipe.zip is not a regular file; choose a .zip file."
    assert sentences[1] == "folder.zip is a folder; choose a .zip file."
    assert sentences[2] == "gone.zip was not found; check the name and the folder."
    assert len(sentences) == 6
    assert not any(str(tmp_path) in sentence for sentence in sentences)


# ---- hostile zips


@pytest.mark.parametrize(
    "name",
    [
        "../../x.jpg",
        "a/../../x.jpg",
        "/etc/x.jpg",
        "C:\\x.jpg",
        "c:/x.jpg",
        "a\\..\\..\\x.jpg",
        "\\\\host\\x",
        "..",
        "a/..",
    ],
)
def test_paths_that_lead_outside_refuse_the_whole_zip(tmp_path: Path, name: str) -> None:
    sentence = refusal(make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE, name: NOISE}))
    assert sentence == f"set.zip is refused, it has unsafe paths: {name}."


def test_an_unsafe_path_hides_neither_in_system_files_nor_in_folders(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE, "__MACOSX/../../x": b"", "../folder/": b""})
    assert refusal(path).endswith("unsafe paths: __MACOSX/../../x, ../folder/.")


def test_many_unsafe_entries_are_counted_and_cleaned_for_display(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {f"../{number}\u202e\x1b.jpg": b"" for number in range(1200)})
    assert refusal(path).endswith("unsafe paths: ../0.jpg, ../1.jpg, ../2.jpg and 1,197 more.")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_special_files_are_refused(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("cat/1.jpg", NOISE)
        entry = zipfile.ZipInfo("cat/link.jpg")
        entry.create_system = 3
        entry.external_attr = (kind | 0o777) << 16
        packed.writestr(entry, "/etc/passwd")
    assert refusal(path).endswith("links or special files: cat/link.jpg.")


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    bomb = make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE, "cat/0.jpg": bytes(9_000_000)}, zipfile.ZIP_DEFLATED)
    assert refusal(bomb).endswith("files that grow more than 100:1 when unpacked: cat/0.jpg.")
    with open_archive(make_zip(tmp_path / "flat.zip", {"a/0.bmp": bytes(900_000)}, zipfile.ZIP_DEFLATED)) as opened:
        assert opened.read(opened.members[0]) == bytes(900_000)


def test_a_member_over_the_limit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 4_000_000)
    path = make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE, "cat/large.tif": bytes(4_000_001)})
    assert refusal(path).endswith("files over 4 MB: cat/large.tif.")


def test_the_declared_sum_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "set.zip", {f"cat/{number}.jpg": NOISE for number in range(50)})
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 249_999 + 40_000)
    with open_archive(path):
        pass
    lying = rewritten(path, lambda entry: set_field(entry, 24, "<I", 40_000_000))  # 50 × 40 MB, just 250 kB here
    monkeypatch.undo()
    assert refusal(lying).startswith("set.zip is refused, it has files that grow")
    lying = rewritten(path, lambda entry: set_field(entry, 24, "<I", 40_000_001))
    assert refusal(lying) == "set.zip unpacks to 2.0 GB; limit 2. Split or shrink the pictures."


def test_a_zip_of_too_many_bytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with path.open("wb") as stream:
        stream.truncate(archive.MAX_TOTAL_BYTES + 1)  # sparse: takes no space
    assert refusal(path) == "set.zip is larger than 2 GB; split or shrink the pictures."


def test_too_many_entries_are_refused_before_an_object_is_made_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = archive.MAX_ENTRIES + 1
    path = tmp_path / "set.zip"
    path.write_bytes(bare_directory(count))

    def no_object(*args: object, **kwargs: object) -> None:
        raise AssertionError("an entry was parsed")

    monkeypatch.setattr(zipfile, "ZipInfo", no_object)
    assert refusal(path) == "set.zip has more than 200,000 entries, the limit; split it."


def bare_directory(count: int) -> bytes:
    """A ZIP64 file that is nothing but its directory, with as many entries named "a"."""
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<H", 1) + bytes(16) + b"a"
    size = len(entry) * count
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, size, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return entry * count + record + locator + end


def test_depth_and_length_of_names_are_limited(tmp_path: Path) -> None:
    deep = "/".join("d" * 200) + "/1.jpg"
    assert "files more than 6 folders deep: d/d/d/d" in refusal(make_zip(tmp_path / "deep.zip", {deep: b""}))
    long = make_zip(tmp_path / "long.zip", {"cat/" + "n" * 300 + ".jpg": b""})
    assert "names longer than 255 bytes: cat/nnn" in refusal(long)
    wide = make_zip(tmp_path / "wide.zip", {"cat/" + "🌻" * 64: b""})  # 64 characters, 256 bytes
    assert "names longer than 255 bytes" in refusal(wide)
    limits = {"/".join("abcdef") + "/1.jpg": b"a", "cat/" + "n" * 255: b"b", "cat/" + "🌻" * 63: b"c"}
    with open_archive(make_zip(tmp_path / "fits.zip", limits)) as opened:
        assert len(opened.members) == 3


def test_overlapping_entries_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE, "cat/2.jpg": NOISE})
    assert "overlapping entries" in refusal(rewritten(path, lambda entry: set_field(entry, 42, "<I", 0)))
    path = make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE, "cat/2.jpg": NOISE})
    grown = rewritten(path, lambda entry: set_field(entry, 20, "<I", 6_000))  # reaches into the next, the directory
    assert "overlapping entries: cat/1.jpg, cat/2.jpg" in refusal(grown)


def set_field(entry: bytearray, at: int, layout: str, value: int) -> None:
    struct.pack_into(layout, entry, at, value)


def rewritten(path: Path, change: Callable[[bytearray], None]) -> Path:
    """Apply a change to every entry of the zip's directory (offsets as in APPNOTE 4.3.12)."""
    content = path.read_bytes()
    pieces = content.split(b"PK\x01\x02")
    for number, piece in enumerate(pieces[1:], start=1):
        entry = bytearray(b"PK\x01\x02" + piece)
        change(entry)
        pieces[number] = bytes(entry)
    path.write_bytes(b"".join(pieces))
    return path


def test_a_directory_that_lies_about_a_size_is_found_out_when_reading(tmp_path: Path) -> None:
    for declared in (4_000, 6_000, 0, 900_000):
        path = make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE}, zipfile.ZIP_DEFLATED)
        lying = rewritten(path, lambda entry, size=declared: set_field(entry, 24, "<I", size))
        found_out = pytest.raises(ArchiveError, match=r"^cat/1.jpg in set.zip is damaged or incomplete")
        with open_archive(lying) as opened, found_out:
            opened.read(opened.members[0])


def test_a_stream_that_gives_more_than_declared_is_stopped() -> None:
    class FarTooLong(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            self.given += size
            return bytes(size if self.given < 50_000_000 else 0)

    stream = FarTooLong()
    with pytest.raises(OverflowError):
        archive._read_counted(stream, 3_000_000)
    assert stream.given < 3_600_000


def test_a_damaged_member_is_named_and_the_others_stay_readable(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE, "cat/2.jpg": NOISE})
    content = bytearray(path.read_bytes())
    content[1_000] ^= 1
    path.write_bytes(content)
    with open_archive(path) as opened:
        with pytest.raises(ArchiveError, match=r"^cat/1.jpg in set.zip is damaged or incomplete; pack or copy"):
            opened.read(opened.members[0])
        assert opened.read(opened.members[1]) == NOISE


def test_names_that_are_no_utf8_are_read_as_cp437_or_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"cat/QQ.jpg": NOISE})
    path.write_bytes(path.read_bytes().replace(b"QQ", b"\xff\x81"))
    with open_archive(path) as opened:
        assert [member.path for member in opened.members] == ["cat/\xa0ü.jpg"]
        assert opened.read(opened.members[0]) == NOISE
    path = make_zip(tmp_path / "set.zip", {"cat/üQ.jpg": NOISE})  # declared to be UTF-8
    path.write_bytes(path.read_bytes().replace("üQ".encode(), b"\xff\xff\xff"))
    assert "damaged" in refusal(path)


def test_of_two_entries_with_one_name_the_later_is_read(tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("cat/1.jpg", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr("cat/1.jpg", b"new")
    with open_archive(path) as opened:
        assert [opened.read(member) for member in opened.members] == [b"new"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    entries = {f"cat/{number}.jpg": NOISE[: 200 * number] for number in range(5)}
    return make_zip(tmp_path_factory.mktemp("zip") / "x.zip", entries, zipfile.ZIP_DEFLATED).read_bytes()


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(1, 1 << 16), st.integers(0, 255)), max_size=5),
    cut=st.integers(0, 60),
)
def test_any_damage_is_an_archive_error_or_the_true_bytes(
    tmp_path: Path, sample: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(sample)
    for back, value in changes:  # counted from the end, where the directory is
        content[-(back % len(content))] = value
    path = tmp_path / "x.zip"
    path.write_bytes(content[: len(content) - cut // 10])
    try:
        with open_archive(path) as opened:
            for member in opened.members:
                assert zlib.crc32(opened.read(member)) == member.crc
    except ArchiveError as error:
        sentence = str(error)
        assert "x.zip" in sentence


# ---- use


def test_threads_share_one_archive(tmp_path: Path) -> None:
    entries = {f"cat/{number}.jpg": NOISE[number:] for number in range(200)}
    with open_archive(make_zip(tmp_path / "set.zip", entries, zipfile.ZIP_DEFLATED)) as opened:
        wanted = list(opened.members) * 5
        with ThreadPoolExecutor(8) as pool:
            for member, content in zip(wanted, pool.map(opened.read, wanted), strict=True):
                assert content == entries[member.path]


def test_after_closing_reading_is_refused_and_closing_again_is_fine(tmp_path: Path) -> None:
    opened: Archive = open_archive(make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE}))
    opened.close()
    opened.close()
    with pytest.raises(ArchiveError, match=r"^set.zip is already closed; open it again.$"):
        opened.read(opened.members[0])


def test_a_member_of_another_zip_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "set.zip", {"cat/1.jpg": NOISE})
    with open_archive(path) as opened, pytest.raises(ArchiveError, match=r"^dog/1.jpg is not in set.zip"):
        opened.read(ArchiveMember("dog/1.jpg", 3, 0))


def test_all_of_cifar10_is_readable() -> None:
    path = DATA / "cifar10.zip"
    if not path.is_file():
        pytest.skip("needs cifar10.zip: set RESNET_LAB_DATA to the folder that holds it")
    with open_archive(path) as opened:
        assert len(opened.members) == 60_000
        assert sum(len(opened.read(member)) for member in opened.members) == sum(m.size for m in opened.members)
        for member in opened.members[::3_000]:
            assert read_image(opened.read(member), name=member.path).size == (32, 32)
