"""`POST /api/many?job=ID`: pictures for a batch, straight from the page into the batch's hands.

Nothing of them is stored, except a zip, which is read in place from a nameless temporary file. Two bodies are known:

    kind=pictures    4 bytes n (big endian), n bytes of JSON [{"name": …, "size": …}, …], then the files without gaps;
                     one with "large": true is over the limit and was left where it is, one with "gone": true
                     can no longer be read there
    kind=zip         the zip itself; `name` is what messages call it

`at`, a number, is the place of the first picture, or of the zip, in the page's list: after a reply that was lost the
page sends the same again, and what is here is not taken twice. Pictures are read only once there is room for them.

The answer is {"taken": pictures}, else {"error": sentence}; with "gone": true where the
batch is not kept any more, and with a status as in direct.py where the request itself was wrong.
Gradio's own upload would write every picture to the disk, forget its folder and stop at 1,000 of them.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request

from demo.classify.many.many_job import MOST_PICTURES, ManyJob
from demo.direct import Message, Receive, Refusal, Scope, Send, announced_length, is_welcome, send_json
from demo.sentences import unforeseen
from demo.services import Services
from resnet_core.data.archive import MAX_TOTAL_BYTES, open_archive
from resnet_core.data.image_gate import MAX_FILE_BYTES
from resnet_core.data.images import display_name
from resnet_core.data.picture_files import PictureFile
from resnet_core.errors import ImageError, ResNetLabError, RunError

PATH = "/api/many"
LARGEST_GROUP = MAX_FILE_BYTES + 2**20  # bytes of a body of pictures: one of the largest, with its name
LARGEST_LIST = 2**20  # bytes of the list of names
ROOM_SECONDS = 0.05  # between two looks whether there is room
WRITTEN_AT_ONCE = 2**20

log = logging.getLogger(__name__)


class ManyUpload:
    """ASGI middleware that answers one path itself and passes everything else on."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What was taken, or why not, or whatever the app behind says."""
        if scope["type"] != "http" or scope["path"].rstrip("/") != PATH:
            await self._app(scope, receive, send)
            return
        answer: dict[str, Any]
        try:
            status, answer = 200, {"taken": await self._take(Request(scope), receive)}
        except Refusal as refusal:
            status, answer = refusal.status, {"error": str(refusal)}
        except ResNetLabError as error:  # an answer like any other: a browser would log a status as a fault of the page
            status, answer = 200, {"error": str(error), "gone": isinstance(error, RunError)}
        except OSError as error:
            log.exception("a zip could not be stored")
            status, answer = 507, {"error": f"The zip could not be stored ({error.strerror}); free some space first."}
        except Exception as error:
            log.exception("pictures of a batch could not be taken")
            status, answer = 500, {"error": unforeseen(error)}
        await send_json(send, status, answer)

    async def _take(self, request: Request, receive: Receive) -> int:
        if request.method != "POST":
            raise Refusal(405, "Send the pictures as the body of a POST.")
        if not is_welcome(request):
            raise Refusal(401, "Not authenticated: log in first.")
        given = {key: values[-1] for key, values in parse_qs(request.scope["query_string"].decode("latin-1")).items()}
        job = self._services.batches.find(given.get("job", ""))
        at = _place(given.get("at"))
        if given.get("kind") == "zip":
            return await _take_zip(job, given.get("name", "pictures.zip"), at, request, receive)
        while job.crowded:
            job.still_sending()
            await asyncio.sleep(ROOM_SECONDS)
        body = bytearray()
        async for part in _parts(request, receive, LARGEST_GROUP, "These pictures are"):
            body += part
            job.still_sending()
        return job.add(split_body(bytes(body)), at=at)


def _place(text: str | None) -> int | None:
    if text is not None and not re.fullmatch(r"[0-9]{1,7}", text):
        raise Refusal(422, "The pictures did not arrive whole; send them again.")
    return None if text is None else int(text)


def split_body(body: bytes) -> list[PictureFile]:
    """The pictures in a body of kind=pictures. Raises Refusal for one that does not add up."""
    files: list[PictureFile] = []
    try:
        (length,) = struct.unpack_from(">I", body)
        if length > LARGEST_LIST:
            raise ValueError("the list is too long")
        entries = json.loads(body[4 : 4 + length])
        start = 4 + length
        for entry in entries:
            name, size = entry["name"], entry["size"]
            if not isinstance(name, str) or type(size) is not int or not 0 <= size <= len(body) - start:
                raise ValueError("no such part")
            content = body[start : start + size]
            unread = _too_large(name) if entry.get("large") else _gone(name) if entry.get("gone") else None
            files.append(PictureFile(name=name, content=unread or content))
            start += size
        if start != len(body) or len(files) > MOST_PICTURES:
            raise ValueError("something is left over")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(422, "The pictures did not arrive whole; send them again.") from error
    return files


def _too_large(name: str) -> Callable[[], bytes]:
    def refuse() -> bytes:
        limit = MAX_FILE_BYTES // 1_000_000
        raise ImageError(f"{display_name(name)} is larger than {limit} MB, the limit for a picture; make it smaller.")

    return refuse


def _gone(name: str) -> Callable[[], bytes]:
    def refuse() -> bytes:
        raise ImageError(f"{display_name(name)} was moved or changed before it was sent; choose it again.")

    return refuse


async def _take_zip(job: ManyJob, name: str, at: int | None, request: Request, receive: Receive) -> int:
    """Stores the zip under a name of our own, judges it and hands it to the job; its name is gone at once."""
    shown = display_name(name)
    loop = asyncio.get_running_loop()
    handle, place = tempfile.mkstemp(prefix="resnet-lab-", suffix=".part", dir=os.environ.get("GRADIO_TEMP_DIR"))
    try:
        with open(handle, "wb", buffering=WRITTEN_AT_ONCE) as stored:
            async for part in _parts(request, receive, MAX_TOTAL_BYTES, f"{shown} is"):
                await loop.run_in_executor(None, stored.write, part)
                job.still_sending()
        archive = await loop.run_in_executor(None, lambda: open_archive(place, name=shown))
        return await loop.run_in_executor(None, lambda: job.add_zip(archive, at=at))
    finally:
        with contextlib.suppress(OSError):  # Windows keeps a file that is open: the janitor takes it in an hour
            Path(place).unlink()


async def _parts(request: Request, receive: Receive, limit: int, whose: str) -> AsyncIterator[bytes]:
    """The body piece by piece. Raises Refusal for one over the limit, at the first sign of it."""
    announced, came, more = announced_length(request), 0, True
    while more:
        if max(announced, came) > limit:
            size = f"{limit / 1e9:g} GB" if limit >= 1e9 else f"{limit >> 20} MB"
            raise Refusal(413, f"{whose} larger than {size}; send less at once.")
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The pictures did not arrive whole; send them again.")
        part: Any = message.get("body", b"")
        came += len(part)
        yield part
        more = message.get("more_body", False)
    if came > limit:
        raise Refusal(413, f"{whose} too large; send less at once.")
