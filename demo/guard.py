"""What gradio leaves open: here foreign origins may not post, nothing is sniffed, logins are slowed down."""

import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LOGINS = 10  # tries an address has …
LOGIN_WINDOW = 60.0  # … in so many seconds
NOSNIFF = (b"x-content-type-options", b"nosniff")


class Guard:
    """ASGI middleware in front of gradio's app."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._logins: dict[str, deque[float]] = defaultdict(deque)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses, or passes on with one header more."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and is_foreign(headers.get("origin"), headers.get("host")):
            await _refuse(send, 403, "This page only answers to itself.")
        elif scope["path"].rstrip("/").endswith("/login") and scope["method"] == "POST" and self._too_often(scope):
            await _refuse(send, 429, "Too many tries; wait a minute.")
        else:
            await self._app(scope, receive, _unsniffed(send))

    def _too_often(self, scope: Scope) -> bool:
        now, address = time.monotonic(), (scope.get("client") or ("?",))[0]
        tries = self._logins[address]
        while tries and now - tries[0] > LOGIN_WINDOW:
            tries.popleft()
        tries.append(now)
        if len(self._logins) > 10_000:
            self._logins.clear()
        return len(tries) > LOGINS


def is_foreign(origin: str | None, host: str | None) -> bool:
    """True when a browser says that another site's page is asking."""
    try:
        return origin == "null" or (bool(origin) and urlsplit(str(origin)).netloc != host)
    except ValueError:  # no address at all, such as “http://[”
        return True


def _unsniffed(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            if all(name.lower() != NOSNIFF[0] for name, _ in headers):
                message["headers"] = [*headers, NOSNIFF]
        await send(message)

    return sending


async def _refuse(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), NOSNIFF]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
