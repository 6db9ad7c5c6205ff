"""Turns a run's events into the smallest reply that lets a browser draw what is new.

    browser {"run": id or null, "have": id or null, "cursor": n}
       ── poll ──►  {"cursor", "status"}                              nothing new
                    {… "run", "about", "steps", "epochs", "log"}      only what came after the cursor
                    {… "reset": true}                                 forget what you have, start from this
                    {"error": sentence}                               nothing raised, ever

The server keeps nothing per viewer: a reload, a second browser and a restarted app are the same question.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from demo.live_board.board_digest import LARGEST_EXACT, MAX_NAME, MAX_SENTENCE, Event, digest, text
from resnet_core.errors import ResNetLabError

MAX_RUN_ID = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BoardRead:
    """What one look into a run gave: the events after a cursor, the next cursor and how the run is doing.

    `status` is one of queued, preparing, running, paused, stopping, finished, stopped, failed, interrupted.
    """

    events: tuple[Event, ...]
    cursor: int
    status: str
    detail: str = ""
    queued: tuple[str, ...] = ()


class BoardSource(Protocol):
    """Where the board reads; `demo.services` implements it over the run store."""

    def current_run_id(self) -> str | None:
        """The active run, else the newest; None while there is none."""

    def read(self, run_id: str, after: int) -> BoardRead:
        """Events from cursor `after` on. Raises RunError for an unknown run."""


@dataclass(frozen=True)
class _Question:
    run: str | None
    have: str | None
    cursor: int


def make_poll(source: BoardSource) -> Callable[[object], dict[str, Any]]:
    """The function a browser calls once a second: any JSON in, one compact reply out; it never raises."""

    def poll(request: object) -> dict[str, Any]:
        try:
            return _answer(source, _read_question(request))
        except ResNetLabError as problem:
            return {"error": text(str(problem), MAX_SENTENCE)}
        except Exception:  # a poll that raises would fill the log of every open page, once a second
            logger.exception("The live board could not read a run")
            return {"error": "The run could not be read just now. The page keeps trying."}

    return poll


def _read_question(request: object) -> _Question:
    """Checks what the browser sent. Raises ResNetLabError with a sentence."""
    if isinstance(request, list) and len(request) == 1:
        request = request[0]
    if not isinstance(request, dict):
        raise ResNetLabError("The board asked in a form this app does not know. Reload the page.")
    cursor = request.get("cursor", 0)
    if isinstance(cursor, bool) or not isinstance(cursor, int) or not 0 <= cursor <= LARGEST_EXACT:
        raise ResNetLabError("The board asked from an impossible position. Reload the page.")
    return _Question(_run_id(request.get("run")), _run_id(request.get("have")), cursor)


def _run_id(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_RUN_ID or not value.isprintable():
        raise ResNetLabError("The board asked for a run by something that is not a name. Reload the page.")
    return value


def _answer(source: BoardSource, question: _Question) -> dict[str, Any]:
    run_id = question.run or source.current_run_id()
    if run_id is None:
        nothing: dict[str, Any] = {"run": None, "cursor": 0, "status": "none"}
        return nothing | ({"reset": True} if question.have else {})
    fresh = run_id != question.have
    read = source.read(run_id, 0 if fresh else question.cursor)
    if read.cursor < question.cursor and not fresh:  # the run was written anew under the same name
        fresh, read = True, source.read(run_id, 0)
    reply: dict[str, Any] = {"cursor": read.cursor, "status": text(read.status, MAX_NAME)}
    if read.detail:
        reply["detail"] = text(read.detail, MAX_SENTENCE)
    if read.queued:
        reply["queued"] = [text(name, MAX_NAME) for name in read.queued[:10]]
    if fresh:
        reply["reset"] = True
    news = digest(read.events)
    return reply | {"run": run_id} | news if fresh or news else reply
