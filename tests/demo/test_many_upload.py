"""`POST /api/many` without a server around it: pictures go to their job, nothing stays on the disk."""

import asyncio
import io
import json
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.classify.many.many_upload import LARGEST_GROUP, PATH, ManyUpload, split_body
from demo.direct import Refusal
from resnet_core.data.archive import MAX_TOTAL_BYTES, Archive
from resnet_core.data.picture_files import PictureFile
from resnet_core.errors import ImageError, RunError


class FakeJob:
    """Keeps what it is given; is crowded for the first looks."""

    def __init__(self) -> None:
        self.files: list[PictureFile] = []
        self.archives: list[Archive] = []
        self.looks = 0
        self.places: list[int | None] = []
        self.signs = 0

    def add(self, files: list[PictureFile], *, at: int | None = None) -> int:
        assert self.looks >= 3  # nothing is taken before there is room
        self.places.append(at)
        self.files += files
        return len(files)

    def add_zip(self, archive: Archive, *, at: int | None = None) -> int:
        self.places.append(at)
        self.archives.append(archive)
        return len(archive.members)

    def still_sending(self) -> None:
        self.signs += 1

    @property
    def crowded(self) -> bool:
        self.looks += 1
        return self.looks < 3


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeJob]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = FakeJob()
    yield made
    for archive in made.archives:
        archive.close()
    assert list(tmp_path.iterdir()) == []


def body_of(*files: tuple[Any, bytes], **more: Any) -> bytes:
    header = json.dumps([{"name": name, "size": len(content)} | more for name, content in files]).encode()
    return struct.pack(">I", len(header)) + header + b"".join(content for _, content in files)


def ask(
    job: FakeJob,
    parts: list[bytes] | None,
    *,
    query: str = "job=mine&kind=pictures",
    method: str = "POST",
    path: str = PATH,
    headers: dict[str, str] | None = None,
    auth: Any = None,
) -> tuple[int, Any, int]:
    """Status, JSON and how many parts of the body were taken. `None` as parts: the sender hangs up."""
    sent: list[Any] = []
    taken = 0

    def find(name: str) -> FakeJob:
        if name != "mine":
            raise RunError("These answers are no longer kept; drop the pictures again.")
        return job

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if parts is None or taken >= len(parts):
            return {"type": "http.disconnect"}
        taken += 1
        return {"type": "http.request", "body": parts[taken - 1], "more_body": taken < len(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b'"behind"'})

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(key.encode(), value.encode()) for key, value in (headers or {}).items()],
        "app": SimpleNamespace(auth=auth, cookie_id="x", tokens={}),
    }
    services = SimpleNamespace(batches=SimpleNamespace(find=find))
    asyncio.run(ManyUpload(behind, services)(scope, receive, send))  # type: ignore[arg-type]
    return sent[0]["status"], json.loads(sent[1]["body"]), taken


NAMES = st.text(max_size=20).filter(lambda text: text.isprintable())


@given(st.lists(st.tuples(NAMES, st.binary(max_size=50)), max_size=9))
def test_what_was_packed_is_what_comes_out(files: list[tuple[str, bytes]]) -> None:
    found = split_body(body_of(*files))
    assert [(file.name, file.content) for file in found] == files


@given(st.binary(max_size=200))
def test_any_other_body_is_refused_in_a_sentence(body: bytes) -> None:
    claimed = struct.unpack(">I", body[:4])[0] if len(body) >= 4 else 0
    if claimed == 2 and body[4:] == b"[]":
        return  # an honest empty one
    with pytest.raises(Refusal, match=r"^The pictures did not arrive whole; send them again\.$"):
        split_body(body)


@pytest.mark.parametrize(
    "header",
    ['[{"name": "a", "size": 3}]', '[{"name": "a", "size": -1}]', '[{"name": 1, "size": 2}]', '[{"name": "a"}]',
     '[{"name": "a", "size": true}]', "[[1]]", "{}x", "[" * 5000, '{"a": 1}', "7"],
)  # fmt: skip
def test_a_list_that_does_not_fit_its_files_is_refused(header: str) -> None:
    with pytest.raises(Refusal):
        split_body(struct.pack(">I", len(header)) + header.encode() + b"ab")


def test_pictures_reach_their_job_once_there_is_room(job: FakeJob) -> None:
    body = body_of(("roses/1.jpg", b"one"), ("../../x", b""), ("<b>", b"three"))
    status, answer, _ = ask(job, [body[:7], body[7:20], body[20:]])
    assert (status, answer) == (200, {"taken": 3})
    assert [(file.name, file.content) for file in job.files] == [
        ("roses/1.jpg", b"one"), ("../../x", b""), ("<b>", b"three")
    ]  # fmt: skip
    assert job.looks == 3
    assert job.signs == 2 + 3  # looks for room, parts: a slow sender is not given up
    assert job.places == [None]


def test_the_place_of_what_is_sent_reaches_the_job(job: FakeJob) -> None:
    assert ask(job, [body_of(("a.png", b"one"))], query="job=mine&kind=pictures&at=24")[:2] == (200, {"taken": 1})
    assert job.places == [24]
    for at in ("-1", "x", "9" * 8, "%D9%A3"):
        assert ask(job, [body_of(("a.png", b"one"))], query=f"job=mine&at={at}")[0] == 422
    assert job.places == [24]


def test_one_that_was_moved_before_it_was_sent_becomes_a_row_that_says_so(job: FakeJob) -> None:
    assert ask(job, [body_of(("roses/1.jpg", b""), gone=True)])[0] == 200
    with pytest.raises(ImageError, match=r"^1\.jpg was moved or changed before it was sent; choose it again\.$"):
        job.files[0].read()


def test_one_that_was_too_large_to_send_becomes_a_row_that_says_so(job: FakeJob) -> None:
    assert ask(job, [body_of(("film.tif", b""), large=True)])[0] == 200
    with pytest.raises(ImageError, match=r"^film\.tif is larger than 100 MB, the limit for a picture"):
        job.files[0].read()


def test_a_zip_is_judged_and_handed_over_and_its_file_has_no_name_left(job: FakeJob) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("a.png", b"x" * 1000)
    content = stream.getvalue()
    status, answer, _ = ask(job, [content[:500], content[500:]], query="job=mine&kind=zip&name=m%C3%AFne.zip&at=8")
    assert (status, answer) == (200, {"taken": 1})
    assert (job.places, job.signs) == ([8], 2)
    assert job.archives[0].name == "mïne.zip"
    assert job.archives[0].read(job.archives[0].members[0]) == b"x" * 1000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no zip", "evil.zip is not a zip archive"),
        (b"PK\x03\x04 cut", "evil.zip is damaged or incomplete"),
        (b"", "evil.zip is empty"),
    ],
)
def test_a_zip_that_is_none_is_a_sentence_and_leaves_nothing(job: FakeJob, content: bytes, sentence: str) -> None:
    status, answer, _ = ask(job, [content], query="job=mine&kind=zip&name=..%2F..%2Fevil.zip")
    assert status == 200  # the page shows the sentence; its browser is not to log a fault
    assert answer["error"].startswith(sentence)
    assert answer["gone"] is False


def test_a_sender_that_hangs_up_leaves_nothing(job: FakeJob) -> None:
    for kind in ("zip", "pictures"):
        status, answer, _ = ask(job, None, query=f"job=mine&kind={kind}")
        assert (status, answer["error"]) == (400, "The pictures did not arrive whole; send them again.")
    assert job.files == []


@pytest.mark.parametrize(("kind", "limit"), [("pictures", LARGEST_GROUP), ("zip", MAX_TOTAL_BYTES)])
def test_too_much_is_refused_before_it_has_come(job: FakeJob, kind: str, limit: int) -> None:
    headers = {"content-length": str(limit + 1)}
    status, answer, taken = ask(job, [b"x"] * 5, query=f"job=mine&kind={kind}", headers=headers)
    assert (status, taken) == (413, 0)
    assert "larger than" in answer["error"]


def test_what_nobody_foresaw_is_a_sentence_and_in_the_log(
    job: FakeJob, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FakeJob, "crowded", property(lambda self: None.room))  # type: ignore[attr-defined]
    status, answer, _ = ask(job, [b""])
    assert status == 500
    assert answer == {"error": "Something unexpected went wrong (AttributeError); the log of the app says more."}
    assert "room" in caplog.text
    assert ask(job, [b""] * 2, query="job=mine&kind=zip", headers={"content-length": "1" * 5000})[0] == 413


def test_who_may_not_is_told(job: FakeJob) -> None:
    assert ask(job, [b""], method="GET")[0] == 405
    assert ask(job, [b""], auth=[("ada", "secret")])[0] == 401
    status, answer, taken = ask(job, [b"x"], query="job=other")
    assert (status, taken) == (200, 0)
    assert "no longer kept" in answer["error"]
    assert answer["gone"] is True
    assert ask(job, [b""], path="/api/manyfold") == (299, "behind", 0)
