"""`POST /api/classify` without a server around it: one request in, one JSON out, everything else passed on."""

import asyncio
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from demo.desk import Desk
from demo.direct import LARGEST, PATH, DirectClassify
from resnet_core.errors import CheckpointError, DeviceError, ImageError
from resnet_core.inference.classifier import Classification

ANSWER = Classification(predictions=(), unknown=False, score=0.6, seen=Image.new("RGB", (1, 1)), seconds=0.0)


class FakeServices:
    """Knows one model, which refuses what looks less known than 0.5; a desk of its own."""

    checkpoint = SimpleNamespace(unknown_threshold=0.5)
    draft_size = 100

    def __init__(self) -> None:
        self.desk = Desk()
        self.asked: list[tuple[str, tuple[int, int], int]] = []
        self.problem: Exception | None = None

    def classifier(self, name: str) -> Any:
        if name != "flowers":
            raise CheckpointError(f"There is no model “{name}”.")
        return self

    def classify_batch(self, images: list[Any], *, top_k: int) -> list[Any]:
        if self.problem:
            raise self.problem
        self.asked += [("flowers", image.size, top_k) for image in images]
        return [ANSWER] * len(images)


@pytest.fixture
def services() -> Iterator[FakeServices]:
    made = FakeServices()
    yield made
    made.desk.close()


async def behind(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"behind"})


def ask(
    services: FakeServices,
    parts: list[bytes] | None,
    *,
    query: str = "",
    method: str = "POST",
    path: str = PATH,
    headers: dict[str, str] | None = None,
    app: Any = None,
) -> tuple[int, Any, dict[str, str], int]:
    """Status, JSON, headers, and how many parts of the body were taken. `None` as parts: the sender hangs up."""
    sent: list[dict[str, Any]] = []
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if parts is None or taken >= len(parts):
            return {"type": "http.disconnect"}
        taken += 1
        return {"type": "http.request", "body": parts[taken - 1], "more_body": taken < len(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()],
        "app": app or SimpleNamespace(auth=None),
    }
    asyncio.run(DirectClassify(behind, services)(scope, receive, send))  # type: ignore[arg-type]
    body = sent[1]["body"]
    told = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    return sent[0]["status"], json.loads(body) if body[:1] == b"{" else body, told, taken


@pytest.fixture(scope="module")
def photo() -> bytes:
    import io

    content = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(content, "PNG")
    return content.getvalue()


def test_a_photo_in_one_piece_or_many_is_answered(services: FakeServices, photo: bytes):
    for parts in ([photo], [photo[:9], b"", photo[9:]]):
        status, answer, headers, _ = ask(services, parts, query="top_k=3&name=my+photo.png")
        assert status == 200
        assert answer == {"image": "my photo.png", "predictions": [], "unknown": False, "error": None}
        assert headers["content-type"] == "application/json"
        assert headers["x-content-type-options"] == "nosniff"
    assert services.asked == [("flowers", (40, 30), 3)] * 2


def test_every_other_path_is_passed_on(services: FakeServices, photo: bytes):
    for path in ("/", "/api", "/api/classify/x", "/gradio_api/call/classify", "/api/classify_many"):
        assert ask(services, [photo], path=path)[:2] == (299, b"behind")
    assert ask(services, [photo], path=PATH + "/")[0] == 200


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "image is empty (0 bytes)."),
        (b"<html></html>", "looks like HTML"),
        (b"only words", "not an image this app can read"),
    ],
)
def test_what_is_no_picture_is_a_sentence(services: FakeServices, content: bytes, sentence: str):
    status, answer, _, _ = ask(services, [content])
    assert status == 422
    assert sentence in answer["error"]
    assert services.asked == []


@pytest.mark.parametrize(
    "top_k", ["0", "1001", "-1", "five", "1.5", "٣", "1" * 5000, "000000001" + "0" * 4300, "0000010009"]
)
def test_an_impossible_top_k_is_a_sentence(services: FakeServices, photo: bytes, top_k: str):
    status, answer, _, _ = ask(services, [photo], query=f"top_k={top_k.encode().decode('latin-1')}")
    assert (status, answer["error"]) == (422, "top_k must be a whole number from 1 to 1000.")


def test_a_threshold_of_ones_own_decides_what_is_refused(services: FakeServices, photo: bytes):
    for threshold, unknown in (("0.59", False), ("0.61", True), ("0", False), ("1", True)):
        assert ask(services, [photo], query=f"threshold={threshold}")[1]["unknown"] is unknown
    services.checkpoint = SimpleNamespace(unknown_threshold=None)
    assert ask(services, [photo], query="threshold=1")[1]["unknown"] is False, "it has no score to compare"


@pytest.mark.parametrize("threshold", ["-0.1", "1.01", "nan", "inf", "half", "70%25"])
def test_an_impossible_threshold_is_a_sentence(services: FakeServices, photo: bytes, threshold: str):
    status, answer, _, _ = ask(services, [photo], query=f"threshold={threshold}")
    assert (status, answer["error"]) == (422, "threshold must be a number from 0 to 1.")
    assert services.asked == []


def test_an_unknown_model_is_a_sentence(services: FakeServices, photo: bytes):
    status, answer, _, _ = ask(services, [photo], query="model=..%2F..%2Fetc%2Fpasswd")
    assert status == 422
    assert answer["error"].startswith("There is no model")


def test_what_the_network_raises_reaches_the_asker(services: FakeServices, photo: bytes):
    services.problem = CheckpointError("The model returned invalid numbers.")
    assert ask(services, [photo])[:2] == (422, {"error": "The model returned invalid numbers."})
    services.problem = ImageError("strange")
    assert ask(services, [photo])[0] == 422


def test_what_nobody_foresaw_is_a_sentence_and_in_the_log(
    services: FakeServices, photo: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(services, "classifier", lambda name: None.draft_size)  # type: ignore[attr-defined]
    status, answer, _, _ = ask(services, [photo])
    assert status == 500
    assert answer == {"error": "Something unexpected went wrong (AttributeError); the log of the app says more."}
    assert "draft_size" in caplog.text


@pytest.mark.parametrize("length", ["\u00b2", "1" * 5000, "-5", "many"])
def test_an_odd_length_announced_is_no_failure(services: FakeServices, photo: bytes, length: str):
    status = ask(services, [photo], headers={"content-length": length})[0]
    assert status == (413 if length.isdecimal() else 200)


def test_too_many_visitors_is_503_with_a_time_to_come_back(
    services: FakeServices, photo: bytes, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any, **__: Any) -> Any:
        raise DeviceError("64 people are waiting already; try again in about 4 s.")

    monkeypatch.setattr(services.desk, "classify", full)
    status, answer, headers, _ = ask(services, [photo])
    assert (status, answer["error"]) == (503, "64 people are waiting already; try again in about 4 s.")
    assert int(headers["retry-after"]) > 0


def test_a_body_over_the_limit_is_refused_before_it_has_come(services: FakeServices, monkeypatch: pytest.MonkeyPatch):
    status, answer, _, taken = ask(services, [b"x"], headers={"content-length": str(LARGEST + 1)})
    assert (status, taken) == (413, 0)
    assert answer["error"] == "The photo is larger than 100 MB."
    monkeypatch.setattr("demo.direct.LARGEST", 2**20)
    status, _, headers, taken = ask(services, [b"x" * 2**19] * 50)  # says nothing of its length
    assert (status, taken) == (413, 3)
    assert headers["connection"] == "close"


def test_a_sender_who_hangs_up_is_no_failure_of_the_app(services: FakeServices):
    assert ask(services, None)[0] == 400
    assert services.asked == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_a_post_is_answered(services: FakeServices, photo: bytes, method: str):
    assert ask(services, [photo], method=method)[0] == 405


def test_with_a_password_only_those_who_gave_it_are_answered(services: FakeServices, photo: bytes):
    app = SimpleNamespace(auth={"ada": "secret"}, cookie_id="abc", tokens={"right": "ada"})
    for cookie in (None, "access-token-abc=wrong", "access-token-xyz=right", "access-token-abc="):
        headers = {"cookie": cookie} if cookie else {}
        assert ask(services, [photo], headers=headers, app=app)[0] == 401
    for name in ("access-token-abc", "access-token-unsecure-abc"):
        assert ask(services, [photo], headers={"cookie": f"{name}=right"}, app=app)[0] == 200
    assert len(services.asked) == 2
