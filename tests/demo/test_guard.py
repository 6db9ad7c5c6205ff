"""What stands in front of the page: origins, sniffing, password guessing."""

import asyncio
from typing import Any

import pytest

from demo import guard
from demo.direct import send_json
from demo.guard import LOGINS, Guard, is_foreign


@pytest.mark.parametrize(
    ("origin", "host", "foreign"),
    [
        (None, "127.0.0.1:7860", False),  # a program, not a page
        ("", "127.0.0.1:7860", False),
        ("http://127.0.0.1:7860", "127.0.0.1:7860", False),
        ("https://lab.example", "lab.example", False),
        ("http://127.0.0.1:9999", "127.0.0.1:7860", True),
        ("http://localhost:7860", "127.0.0.1:7860", True),
        ("https://evil.example", "127.0.0.1:7860", True),
        ("http://127.0.0.1:7860.evil.example", "127.0.0.1:7860", True),
        ("http://127.0.0.1:7860@evil.example", "127.0.0.1:7860", True),
        ("null", "127.0.0.1:7860", True),  # a sandboxed frame or a file
        ("null", None, True),
        ("http://127.0.0.1:7860", None, True),
        ("rubbish", "127.0.0.1:7860", True),
        ("http://[", "127.0.0.1:7860", True),  # of which no address can be read
    ],
)
def test_only_the_pages_own_origin_is_at_home(origin: str | None, host: str | None, foreign: bool):
    assert is_foreign(origin, host) is foreign


async def _page(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-page", b"1")]})
    await send({"type": "http.response.body", "body": b"the page"})


def ask(app: Guard, path: str, *, method: str = "POST", client: str = "10.0.0.1", **headers: str) -> tuple[int, Any]:
    """Status and headers of the answer."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs, "client": (client, 1)}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_foreign_page_cannot_change_anything(method: str):
    status, headers = ask(Guard(_page), "/x", method=method, origin="https://evil.example", host="here")
    assert status == 403
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_what_passes_keeps_its_headers_and_is_never_sniffed():
    status, headers = ask(Guard(_page), "/x", origin="http://here", host="here")
    assert status == 200
    assert headers == {b"x-page": b"1", b"x-content-type-options": b"nosniff"}
    assert ask(Guard(_page), "/x", method="GET", origin="https://evil.example", host="here")[0] == 200


def test_an_answer_that_says_so_itself_says_it_once():
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send_json(send, 200, {})

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(Guard(page)(scope, None, send))  # type: ignore[arg-type]
    assert [name for name, _ in sent[0]["headers"]].count(b"x-content-type-options") == 1


def test_an_address_may_try_ten_passwords_a_minute_and_others_are_not_held_up(monkeypatch: pytest.MonkeyPatch):
    clock = [1000.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: clock[0])
    app = Guard(_page)
    assert [ask(app, "/login")[0] for _ in range(LOGINS + 2)] == [200] * LOGINS + [429, 429]
    assert ask(app, "/lab/login/")[0] == 429
    assert ask(app, "/login", client="10.0.0.2")[0] == 200
    assert ask(app, "/login", method="GET")[0] == 200
    clock[0] += guard.LOGIN_WINDOW + 1
    assert ask(app, "/login")[0] == 200


def test_other_traffic_than_http_passes_untouched():
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Guard(inner)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
