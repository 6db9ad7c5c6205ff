"""A download is whole or a sentence, goes on where it broke off, and its archive cannot write elsewhere."""

import contextlib
import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from resnet_core.data import download as download_module
from resnet_core.data.datasets import load_dataset
from resnet_core.data.download import Download, download_dataset, fetch, get_flower_photos
from resnet_core.errors import DatasetError

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several chunks
FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


class Server:
    """A real HTTP server on this machine whose faults can be chosen."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.ranges = True  # else it always starts over
        self.cut_after: int | None = None  # bytes of a body after which the line goes dead
        self.announced: int | None = None  # Content-Length, where it lies
        self.chunked = False
        self.garbage = b""  # sent instead of HTTP
        self.status = 200
        self.asked: list[str | None] = []
        self.url = ""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wanted: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.wanted
        wanted.asked.append(self.headers.get("Range"))
        self.close_connection = True
        if wanted.garbage:
            self.wfile.write(wanted.garbage)
            return
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(match[1]) if match and wanted.ranges else 0
        body = wanted.content[start:]
        self.send_response(wanted.status if wanted.status != 200 else 206 if start else 200)
        if wanted.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(wanted.announced or len(body)))
        self.end_headers()
        sent = body if wanted.cut_after is None else body[: wanted.cut_after]
        with contextlib.suppress(OSError):
            if wanted.chunked:
                self.wfile.write(f"{len(body):x}\r\n".encode() + sent)
            else:
                self.wfile.write(sent)


@pytest.fixture
def server() -> Iterator[Server]:
    wanted = Server()
    running = ThreadingHTTPServer(("127.0.0.1", 0), type("AnswerAsWanted", (Answer,), {"wanted": wanted}))
    wanted.url = f"http://127.0.0.1:{running.server_address[1]}/file"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield wanted
    running.shutdown()
    running.server_close()
    thread.join()


def described(server: Server, content: bytes = CONTENT) -> Download:
    return Download(url=server.url, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def refusal(download: Download, part: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        fetch(download, part)
    sentence = str(caught.value)
    assert "try again" in sentence
    assert sentence.endswith(".")
    assert str(part.parent) not in sentence
    return sentence


def test_a_file_arrives_whole_and_tells_its_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    part = fetch(described(server), tmp_path / "x.part", lambda done, total: seen.append((done, total)))
    assert part.read_bytes() == CONTENT
    assert server.asked == [None]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_whole_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT)
    assert fetch(described(server), tmp_path / "x.part").read_bytes() == CONTENT
    assert server.asked == []


def test_a_cut_connection_is_resumed_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    server.cut_after = 1_300_000
    assert "broke off after 1 MB" in refusal(described(server), part)
    assert part.read_bytes() == CONTENT[:1_300_000]
    server.cut_after = None
    seen: list[int] = []
    assert fetch(described(server), part, lambda done, _: seen.append(done)).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1300000-"]
    assert seen[0] > 1_300_000


def test_a_line_that_drops_again_and_again_gets_there_in_the_end(server: Server, tmp_path: Path) -> None:
    server.cut_after = 1_100_000
    for _ in range(2):
        refusal(described(server), tmp_path / "x.part")
    assert fetch(described(server), tmp_path / "x.part").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "x.part").write_bytes(CONTENT[:1000])
    assert fetch(described(server), tmp_path / "x.part").read_bytes() == CONTENT


def test_a_wrong_checksum_is_deleted_and_the_next_try_is_clean(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"!"
    assert "wrong checksum" in refusal(described(server), tmp_path / "x.part")
    assert list(tmp_path.iterdir()) == []
    server.content = CONTENT
    assert fetch(described(server), tmp_path / "x.part").read_bytes() == CONTENT


def test_remains_of_another_file_do_not_spoil_the_next_but_one_try(server: Server, tmp_path: Path) -> None:
    for remains in (b"other" * 100, CONTENT + b"more"):
        (tmp_path / "x.part").write_bytes(remains)
        assert "wrong checksum" in refusal(described(server), tmp_path / "x.part")
        assert fetch(described(server), tmp_path / "x.part").read_bytes() == CONTENT


def test_more_than_announced_is_stopped_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT * 20
    download = described(server, CONTENT)
    largest = 0

    def watch(done: int, total: int) -> None:
        nonlocal largest
        largest = max(largest, (tmp_path / "x.part").stat().st_size)

    with pytest.raises(DatasetError, match="longer than it should be"):
        fetch(download, tmp_path / "x.part", watch)
    assert largest <= len(CONTENT)
    assert list(tmp_path.iterdir()) == []
    server.content = CONTENT
    assert fetch(download, tmp_path / "x.part").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 404},
        {"status": 503},
        {"garbage": b"\0\1\2 this is no HTTP\r\n\r\n"},
        {"garbage": b"HTTP/1.1 abc\r\n\r\n"},
        {"chunked": True, "cut_after": 500},
        {"announced": 2 * len(CONTENT), "cut_after": 500},
        {"content": b""},
    ],
    ids=str,
)
def test_a_faulty_server_is_a_sentence(server: Server, tmp_path: Path, fault: dict[str, Any]) -> None:
    vars(server).update(fault)
    assert "The download" in refusal(described(server), tmp_path / "x.part")


def test_no_network_is_a_sentence_and_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(b"kept")
    nobody = Download(url="http://127.0.0.1:9/x", bytes=100, sha256="")
    assert "connection to the internet" in refusal(nobody, tmp_path / "x.part")
    assert (tmp_path / "x.part").read_bytes() == b"kept"


def test_a_silent_server_is_given_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT", 0.2)
    stuck = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler, bind_and_activate=False)
    stuck.server_bind()
    stuck.server_activate()  # it accepts and never answers
    url = f"http://127.0.0.1:{stuck.server_address[1]}/x"
    assert "timed out" in refusal(Download(url=url, bytes=100, sha256=""), tmp_path / "x.part")
    stuck.server_close()


def jpeg(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(stream, format="JPEG")
    return stream.getvalue()


def tar_of(members: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as opened:
        for info in extra:
            opened.addfile(info)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def photos() -> dict[str, bytes]:
    return {f"flower_photos/{name}/{index}.jpg": jpeg(40 * index) for name in FLOWERS for index in range(5)}


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_flower_photos_are_laid_out_as_a_data_set(server: Server, tmp_path: Path) -> None:
    server.content = tar_of({**photos(), "flower_photos/LICENSE.txt": b"CC BY"})
    target = get_flower_photos(tmp_path, download=described(server, server.content))
    assert target == tmp_path / "flower_photos"
    assert tree(tmp_path) == tree_of_split(tmp_path)
    dataset = load_dataset("flower_photos", data_dir=tmp_path)
    assert dataset.class_names == FLOWERS
    assert (len(dataset.train), len(dataset.val)) == (20, 5)
    assert dataset.source.load(dataset.train[0].path).size == (8, 8)
    assert target.stat().st_mode & 0o777 == (target / "train").stat().st_mode & 0o777
    assert get_flower_photos(tmp_path, download=described(server, b"other")) == target
    assert len(server.asked) == 1


def tree_of_split(folder: Path) -> list[str]:
    names = [path for path in tree(folder) if re.fullmatch(r"flower_photos/(train|val)/\w+/\d\.jpg", path)]
    assert len(names) == len({tuple(name.split("/")[2:]) for name in names}) == 25
    return names


def test_the_split_is_the_same_everywhere(server: Server, tmp_path: Path) -> None:
    trees = []
    for number, members in enumerate((photos(), dict(reversed(photos().items())))):
        server.content = tar_of(members)
        (tmp_path / str(number)).mkdir()
        get_flower_photos(tmp_path / str(number), download=described(server, server.content))
        trees.append(tree(tmp_path / str(number)))
    assert trees[0] == trees[1]


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


@pytest.mark.parametrize("wrapper", ["flower_photos/", ""])
def test_no_member_of_an_archive_can_write_elsewhere(server: Server, tmp_path: Path, wrapper: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.jpg").write_bytes(b"kept")
    data = tmp_path / "deep" / "data"
    data.mkdir(parents=True)
    evil = {
        "../../outside/a.jpg": b"evil",
        "flower_photos/../../../outside/b.jpg": b"evil",
        f"{outside}/c.jpg": b"evil",
        f"/{outside}/d.jpg": b"evil",
        "..\\..\\outside\\e.jpg": b"evil",
        "C:/f.jpg": b"evil",
        f"{wrapper}link/g.jpg": b"evil",
        f"{wrapper}daisy/kept.jpg": b"evil",
        f"{wrapper}daisy/./../../../../outside/h.jpg": b"evil",
    }
    links = (
        special(f"{wrapper}link", tarfile.SYMTYPE, str(outside)),
        special(f"{wrapper}daisy/kept.jpg", tarfile.SYMTYPE, str(outside / "kept.jpg")),
        special(f"{wrapper}roses/hard.jpg", tarfile.LNKTYPE, "/etc/hostname"),
        special(f"{wrapper}roses/pipe.jpg", tarfile.FIFOTYPE),
        special(f"{wrapper}roses/device.jpg", tarfile.CHRTYPE),
    )
    good = {name.replace("flower_photos/", wrapper): content for name, content in photos().items()}
    server.content = tar_of({**evil, **good}, links)
    with contextlib.suppress(DatasetError):
        get_flower_photos(data, download=described(server, server.content))
    assert tree(outside) == ["kept.jpg"]
    assert (outside / "kept.jpg").read_bytes() == b"kept"
    assert {path.split("/")[0] for path in tree(tmp_path)} == {"deep", "outside"}
    assert [path.name for path in data.iterdir()] == ["flower_photos"]
    assert not [path for path in data.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]
    assert {path.split("/")[2] for path in tree(data)} <= {*FLOWERS, "link"}


def test_an_unpacking_that_fails_leaves_no_half_data_set(server: Server, tmp_path: Path) -> None:
    server.content = tar_of({"flower_photos/daisy/1.jpg": b"x", "flower_photos/daisy/2.jpg": b"x"})
    with pytest.raises(DatasetError, match="only one class"):
        get_flower_photos(tmp_path, download=described(server, server.content))
    assert [path.name for path in tmp_path.iterdir()] == ["flower_photos.tgz.part"]


def test_an_unknown_name_and_an_unusable_folder_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="“mnist” cannot be downloaded; use flower_photos or cifar10"):
        download_dataset("mnist", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DatasetError, match="could not be stored in the data folder") as caught:
            download_dataset("flower_photos", folder)
        assert str(tmp_path) not in str(caught.value)


class TinyCifar(list[tuple[Image.Image, int]]):
    """What torchvision's CIFAR10 gives, with three pictures a class."""

    classes = ("airplane", "automobile", "bird")

    def __init__(self, root: str, *, train: bool, download: bool) -> None:
        assert download
        (Path(root) / "leftover").write_bytes(b"x")
        super().__init__((Image.new("RGB", (32, 32), (i, 9 * train, 0)), i % 3) for i in range(9))


def test_cifar10_becomes_a_zip_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(datasets=SimpleNamespace(CIFAR10=TinyCifar))
    monkeypatch.setattr(download_module, "import_torchvision", lambda: fake)
    path = download_dataset("cifar10", tmp_path)
    assert tree(tmp_path) == ["cifar10.zip"]
    dataset = load_dataset("cifar10", data_dir=tmp_path)
    assert dataset.class_names == TinyCifar.classes
    assert (len(dataset.train), len(dataset.val)) == (9, 9)
    first = next(picture for picture in dataset.train if picture.path.endswith("00004.png"))
    assert dataset.class_names[first.class_index] == "automobile"
    assert dataset.source.load(first.path).getpixel((0, 0)) == (4, 9, 0)
    assert download_dataset("cifar10", tmp_path) == path


def test_a_cifar10_folder_that_is_there_is_the_place(tmp_path: Path) -> None:
    (tmp_path / "cifar10" / "train").mkdir(parents=True)
    assert download_dataset("cifar10", tmp_path) == tmp_path / "cifar10"


def test_a_failed_cifar10_download_is_a_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(root: str, **options: bool) -> None:
        raise RuntimeError("Error downloading cifar-10-python.tar.gz")

    fake = SimpleNamespace(datasets=SimpleNamespace(CIFAR10=fail))
    monkeypatch.setattr(download_module, "import_torchvision", lambda: fake)
    with pytest.raises(DatasetError, match="CIFAR-10 could not be downloaded"):
        download_dataset("cifar10", tmp_path)
    assert list(tmp_path.iterdir()) == []
