"""`POST /api/classify`: a photo as the body of one request, its answer as JSON. For programs in a hurry.

    curl --data-binary @photo.jpg "http://127.0.0.1:7860/api/classify?model=flowers&top_k=3"

Answers what the end point `/classify` answers; with `threshold=0.7` it refuses what looks less known than that, not
what the model itself would (a model that never refuses still does not). That one takes three requests (upload, ask,
fetch) through Gradio's queue, about 13 ms of a core; this one takes one request and under 1 ms. A failure is
{"error": sentence} with status 401 (password), 405, 413 (too large), 422 (picture, model, top_k, threshold), 500 (not
foreseen; the log says more) or 503 (too many wait; come back).
"""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request

from demo.api import answer_json
from demo.classify.sureness import at_threshold
from demo.following import model_facts
from demo.sentences import unforeseen
from demo.services import Services
from resnet_core.data.images import read_image_with_notes
from resnet_core.errors import ConfigError, DeviceError, ResNetLabError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH = "/api/classify"
LARGEST = 100 * 2**20  # bytes of a photo
READERS = 2  # threads that decode; Pillow lets others work meanwhile

log = logging.getLogger(__name__)


class Refusal(Exception):
    """A status and a sentence in place of an answer."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class DirectClassify:
    """ASGI middleware that answers one path itself and passes everything else on."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], services: Services) -> None:
        self._app = app
        self._services = services
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="photo-reader")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One answer, or whatever the app behind says."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != PATH:
            await self._app(scope, receive, send)
            return
        try:
            status, answer = 200, await self._answer(Request(scope), receive)
        except Refusal as refusal:
            status, answer = refusal.status, {"error": str(refusal)}
        except DeviceError as error:  # still loading, or too many wait
            status, answer = 503, {"error": str(error)}
        except ResNetLabError as error:
            status, answer = 422, {"error": str(error)}
        except Exception as error:
            log.exception("a photo could not be answered")
            status, answer = 500, {"error": unforeseen(error)}
        await send_json(send, status, answer)

    async def _answer(self, request: Request, receive: Receive) -> dict[str, Any]:
        if request.method != "POST":
            raise Refusal(405, "Send the photo as the body of a POST.")
        if not is_welcome(request):
            raise Refusal(401, "Not authenticated: log in first.")
        model, name, top_k, threshold = _asked(request.scope["query_string"])
        body = await _read_body(request, receive)
        loop = asyncio.get_running_loop()
        photo, classifier = await loop.run_in_executor(self._readers, self._prepare, body, name, model)
        result = await asyncio.wrap_future(self._services.desk.classify(classifier, photo.image, top_k=top_k))
        result = at_threshold(result, classifier.checkpoint, threshold)
        return answer_json(result, name) | model_facts(model, classifier)

    def _prepare(self, body: bytes, name: str, model: str) -> tuple[Any, Any]:
        classifier = self._services.classifier(model)
        return read_image_with_notes(body, name=name, draft_size=classifier.draft_size), classifier


def is_welcome(request: Request) -> bool:
    """True without a password, or for someone who has given it to Gradio's login page."""
    app = request.scope["app"]
    if app.auth is None:
        return True
    names = (f"access-token-{app.cookie_id}", f"access-token-unsecure-{app.cookie_id}")
    return any(app.tokens.get(request.cookies.get(name)) is not None for name in names)


def _asked(query: bytes) -> tuple[str, str, int, float | None]:
    """Model, name of the picture for messages, how many answers, and a threshold in [0, 1]. Raises ConfigError."""
    given = {key: values[-1] for key, values in parse_qs(query.decode("latin-1")).items()}
    top_k = given.get("top_k", "5")
    if not (len(top_k) <= 4 and top_k.isascii() and top_k.isdigit() and 1 <= int(top_k) <= 1000):
        raise ConfigError("top_k must be a whole number from 1 to 1000.")
    return given.get("model", "flowers"), given.get("name", "image"), int(top_k), _threshold(given.get("threshold"))


def _threshold(text: str | None) -> float | None:
    try:
        number = None if text is None else float(text)
    except ValueError:
        number = math.nan
    if number is not None and not 0 <= number <= 1:
        raise ConfigError("threshold must be a number from 0 to 1.")
    return number


async def _read_body(request: Request, receive: Receive) -> bytes:
    """The whole body. Raises Refusal for one over the limit, before it has all come."""
    parts, size = [], announced_length(request)
    came, more = 0, True
    while more and max(size, came) <= LARGEST:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The photo did not arrive whole.")
        parts.append(message.get("body", b""))
        came += len(parts[-1])
        more = message.get("more_body", False)
    if max(size, came) > LARGEST:
        raise Refusal(413, f"The photo is larger than {LARGEST >> 20} MB.")
    return b"".join(parts)


def announced_length(request: Request) -> int:
    """Bytes of the body as its sender announces them; 0 where that is no number."""
    length = request.headers.get("content-length", "")
    return int(length[:18]) if length.isascii() and length.isdigit() else 0  # beyond, any limit is passed anyway


async def send_json(send: Send, status: int, answer: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
    if status == 503:
        headers.append((b"retry-after", b"5"))
    if status == 413:
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
