"""Turns a run's events into the smallest reply that lets a browser draw what is new.

    browser {"run": id or null, "have": id or null, "cursor": n}
       ── poll ──►  {"cursor", "status"}                              nothing new
                    {… "run", "about", "steps", "epochs", "log", …}   only what came after the cursor
                    {… "reset": true}                                 forget what you have, start from this
                    {"error": sentence}                               nothing raised, ever
    {… "usage": n}                     and what was measured (speed, memory) from line n on
    {… "over": [{"run", "cursor"}, …]} and the same of runs laid over it, in their order
    {… "called": name}                 and "about": {"name"} where the run is called otherwise by now
    {"want": …}                        a question of another kind: board_asks.py

The server keeps nothing per viewer: a reload, a second browser and a restarted app are the same question.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from demo.live_board.board_asks import ANSWERS
from demo.live_board.board_digest import digest, usage_rows
from demo.live_board.board_questions import run_id_of, whole_number
from demo.live_board.board_values import MAX_NAME, MAX_SENTENCE, Event, text
from resnet_core.errors import ResNetLabError

MAX_OVERLAID = 16  # eight runs and those they grew out of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BoardRead:
    """What one look into a run gave: the events after a cursor, the next cursor and how the run is doing.

    `status` is one of queued, preparing, running, paused, stopping, finished, stopped, failed, interrupted.
    `name` is what the run is called now, None where the source does not tell; `lost` are steps that a kill has cost it.
    """

    events: tuple[Event, ...]
    cursor: int
    status: str
    detail: str = ""
    queued: tuple[str, ...] = ()
    name: str | None = None
    lost: int = 0


@dataclass(frozen=True)
class BoardLine:
    """A run as the list of runs shows it; accuracy in [0, 1]."""

    run_id: str
    name: str
    status: str
    model: str = ""
    dataset: str = ""
    best_top1: float | None = None


class BoardSource(Protocol):
    """Where the board reads; `demo.services` implements it over the run store."""

    def current_run_id(self) -> str | None:
        """The active run, else the newest; None while there is none."""

    def read(self, run_id: str, after: int) -> BoardRead:
        """Events from cursor `after` on. Raises RunError for an unknown run."""

    def read_usage(self, run_id: str, after: int) -> Sequence[Event]:
        """What was measured from line `after` on. Raises RunError for an unknown run."""

    def board_lines(self) -> Sequence[BoardLine]:
        """All runs, the newest first."""

    def differences(self, run_ids: Sequence[str]) -> Sequence[tuple[str, str, Sequence[str | None]]]:
        """Setting, its title and its value in each of these runs, where they are not all the same. Raises RunError."""


@dataclass(frozen=True)
class _Question:
    run: str | None
    have: str | None
    cursor: int
    usage: int | None = None
    called: str | None = None  # the name that is on screen


def make_poll(source: BoardSource) -> Callable[[object], dict[str, Any]]:
    """The function a browser calls once a second: any JSON in, one compact reply out; it never raises."""

    def poll(request: object) -> dict[str, Any]:
        try:
            if isinstance(request, list) and len(request) == 1:
                request = request[0]
            if not isinstance(request, dict):
                raise ResNetLabError("The board asked in a form this app does not know. Reload the page.")
            want = request.get("want")
            if want is not None:
                return _asked(source, want, request)
            overlaid = _overlaid(source, request.get("over"))
            return _answer(source, _read_question(request)) | ({"over": overlaid} if overlaid else {})
        except ResNetLabError as problem:
            return {"error": text(str(problem), MAX_SENTENCE)}
        except Exception:  # a poll that raises would fill the log of every open page, once a second
            logger.exception("The live board could not read a run")
            return {"error": "The run could not be read just now. The page keeps trying."}

    return poll


def _asked(source: BoardSource, want: object, request: dict[str, Any]) -> dict[str, Any]:
    answer = ANSWERS.get(want) if isinstance(want, str) else None
    if answer is None:
        raise ResNetLabError("The board asked for something this app does not have. Reload the page.")
    return answer(source, request)


def _read_question(request: dict[str, Any]) -> _Question:
    """Checks what the browser sent. Raises ResNetLabError with a sentence."""
    usage, called = request.get("usage"), request.get("called")
    return _Question(
        run=run_id_of(request.get("run")),
        have=run_id_of(request.get("have")),
        cursor=whole_number(request.get("cursor", 0)),
        usage=None if usage is None else whole_number(usage),
        called=called if isinstance(called, str) else None,
    )


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
    if read.lost:
        reply["lost"] = read.lost
    if read.queued:
        reply["queued"] = [text(name, MAX_NAME) for name in read.queued[:10]]
    if fresh:
        reply["reset"] = True
    news = digest(read.events)
    if question.usage is not None:
        news |= _usage(source, run_id, 0 if fresh else question.usage)
    if not fresh and None not in (read.name, question.called) and text(read.name, MAX_NAME) != question.called:
        news["about"] = news.get("about", {}) | {"name": text(read.name, MAX_NAME)}
    return reply | {"run": run_id} | news if fresh or news else reply


def _usage(source: BoardSource, run_id: str, after: int) -> dict[str, Any]:
    """Flat rows of what was measured after a line and the next line; nothing where there is nothing new."""
    measured = source.read_usage(run_id, after)
    return {"usage": {"cursor": after + len(measured), "rows": usage_rows(measured)}} if measured else {}


def _overlaid(source: BoardSource, asked: object) -> list[dict[str, Any]]:
    """A short reply for each run laid over the first; a run that is gone gets a sentence and spoils nothing else."""
    if not isinstance(asked, list):
        return []
    return [_overlay(source, one) for one in asked[:MAX_OVERLAID]]


def _overlay(source: BoardSource, asked: object) -> dict[str, Any]:
    asked = asked if isinstance(asked, dict) else {}
    try:
        run_id = run_id_of(asked.get("run"))
        if run_id is None:
            raise ResNetLabError("The board asked for a run without a name. Reload the page.")
        question = _read_question(asked)
        have = run_id if question.cursor or question.have == run_id else None
        reply = _answer(source, _Question(run_id, have, question.cursor, question.usage, question.called))
    except ResNetLabError as problem:
        return {"error": text(str(problem), MAX_SENTENCE)}
    return {key: value for key, value in reply.items() if key not in ("log", "detail", "lost", "queued")}
