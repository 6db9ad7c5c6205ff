"""Turns a run's events into the smallest reply that lets a browser draw what is new.

    browser {"run": id or null, "have": id or null, "cursor": n}
       ── poll ──►  {"cursor", "status"}                              nothing new
                    {… "run", "about", "steps", "epochs", "log"}      only what came after the cursor
                    {… "reset": true}                                 forget what you have, start from this
                    {"error": sentence}                               nothing raised, ever

The server keeps nothing per viewer: a reload, a second browser and a restarted app are the same question.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from resnet_core.errors import ResNetLabError

MAX_STEP_POINTS = 1_500
MAX_EPOCHS = 3_000
MAX_LOG_ENTRIES = 200
MAX_LOG_CHARACTERS = 10_000
MAX_SENTENCE = 240
MAX_NAME = 120
MAX_REQUEST_ID = 200
LARGEST_EXACT = 2**53  # beyond this a JavaScript number is no longer an exact integer

logger = logging.getLogger(__name__)

Event = dict[str, Any]
Row = list[Any]


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
    if not isinstance(value, str) or len(value) > MAX_REQUEST_ID or not value.isprintable():
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


def digest(events: Iterable[Event]) -> dict[str, Any]:
    """What a chart, a header and a log need of these events; keys without news are left out.

    `about`: the run's facts. `steps`: flat [step, loss, learning rate, …]. `epochs`: rows of [epoch, train loss,
    val loss, train top1, val top1, best 0/1]. `log`: rows of [time, kind, …]. `pace`: [seconds a step, images a
    second, seconds an epoch]. A number that is not finite travels as null.
    """
    known = [event for event in events if isinstance(event, dict)]
    steps = [row for row in map(_step_row, _named(known, "StepEnded")) if row]
    epochs = [row for row in map(_epoch_row, _named(known, "EpochEnded")) if row]
    found: dict[str, Any] = {
        "about": _about(_named(known, "RunStarted")),
        "steps": [number for row in thin_steps(_latest_pass(steps)) for number in row],
        "epochs": thin_epochs(_latest_pass(epochs)),
        "log": _log(known),
        "pace": _pace(known),
    }
    return {key: value for key, value in found.items() if value}


def _named(events: Sequence[Event], name: str) -> list[Event]:
    return [event for event in events if event.get("event") == name]


def _about(starts: Sequence[Event]) -> dict[str, Any]:
    if not starts:
        return {}
    start = starts[-1]
    words = {key: text(start.get(key), MAX_NAME) for key in ("name", "model", "dataset", "device", "precision")}
    counts = {key: count(start.get(key)) for key in ("epochs", "steps_per_epoch", "n_train", "n_val")}
    return words | counts


def _step_row(event: Event) -> Row | None:
    step = count(event.get("step"))
    return step and [step, number(event.get("loss")), number(event.get("learning_rate"), digits=3)]


def _epoch_row(event: Event) -> Row | None:
    epoch = count(event.get("epoch"))
    measured = [number(event.get(key)) for key in ("train_loss", "val_loss", "train_top1", "val_top1")]
    return epoch and [epoch, *measured, int(event.get("best") is True)]


def _latest_pass(rows: Sequence[Row]) -> list[Row]:
    """Rows in rising order of their first column: a resumed run replays steps, and the replay counts."""
    kept: list[Row] = []
    for row in rows:
        while kept and kept[-1][0] >= row[0]:
            kept.pop()
        kept.append(row)
    return kept


def thin_steps(rows: Sequence[Row], limit: int = MAX_STEP_POINTS) -> list[Row]:
    """At most `limit` rows: first, last, and of each bucket the lowest, the highest and one lost (null) loss."""
    if len(rows) <= limit:
        return list(rows)
    kept = {0, len(rows) - 1}
    for bucket in _buckets(len(rows), (limit - 2) // 3):
        kept |= _extremes(rows, bucket, 1)
        kept.add(next((i for i in bucket if rows[i][1] is None), 0))
    return [rows[i] for i in sorted(kept)]


def thin_epochs(rows: Sequence[Row], limit: int = MAX_EPOCHS) -> list[Row]:
    """At most about `limit` rows; the best epoch and the extremes of all four curves stay."""
    if len(rows) <= limit:
        return list(rows)
    everything = range(len(rows))
    best = [i for i in everything if rows[i][5]]
    kept = {0, len(rows) - 1, *best[-1:]}
    for column in (1, 2, 3, 4):
        kept |= _extremes(rows, everything, column)
    for bucket in _buckets(len(rows), limit // 4 - 8):
        kept |= _extremes(rows, bucket, 2) | _extremes(rows, bucket, 4)
    return [rows[i] for i in sorted(kept)]


def _buckets(size: int, wanted: int) -> list[range]:
    edges = [size * i // wanted for i in range(wanted + 1)]
    return [range(start, stop) for start, stop in zip(edges, edges[1:], strict=False)]


def _extremes(rows: Sequence[Row], bucket: range, column: int) -> set[int]:
    present = [i for i in bucket if rows[i][column] is not None]
    if not present:
        return set()
    return {min(present, key=lambda i: rows[i][column]), max(present, key=lambda i: rows[i][column])}


def _pace(events: Sequence[Event]) -> Row | None:
    times = [number(event.get("time"), digits=15) for event in _named(events, "StepEnded")[-50:]]
    present = [time for time in times if time is not None]
    gaps = [later - earlier for earlier, later in zip(present, present[1:], strict=False) if later > earlier]
    epochs = _named(events, "EpochEnded")
    last: Event = epochs[-1] if epochs else {}
    pace = [
        number(median(gaps), digits=3) if gaps else None,  # the median overlooks pauses and validation
        number(last.get("images_per_second"), digits=4),
        number(last.get("seconds"), digits=4),
    ]
    return pace if any(pace) else None


def _log(events: Sequence[Event]) -> list[Row]:
    """The newest entries, oldest first, bounded in number and in characters."""
    kept: list[Row] = []
    room = MAX_LOG_CHARACTERS
    for event in reversed(events):
        for row in reversed(_log_rows(event)):
            room -= 20 + sum(len(part) for part in row if isinstance(part, str))
            if room < 0 or len(kept) == MAX_LOG_ENTRIES:
                return kept[::-1]
            kept.append(row)
    return kept[::-1]


def _log_rows(event: Event) -> list[Row]:
    name, seconds = event.get("event"), number(event.get("time"), digits=15)
    time = None if seconds is None else int(seconds)
    match name:
        case "RunStarted":
            notes = event.get("notes")
            sentences = notes[:20] if isinstance(notes, (list, tuple)) else []
            return [[time, "start"], *([time, "note", text(note, MAX_SENTENCE)] for note in sentences)]
        case "EpochEnded":
            return [[time, "epoch", count(event.get("epoch"))]]
        case "CheckpointSaved":
            return [[time, "checkpoint", count(event.get("epoch")), text(event.get("kind"), MAX_NAME)]]
        case "Warned":
            return [[time, "warning", text(event.get("message"), MAX_SENTENCE)]]
        case "Paused" | "Resumed":
            return [[time, str(name).lower()]]
        case "RunEnded":
            return [[time, "end", text(event.get("status"), MAX_NAME), text(event.get("reason"), MAX_SENTENCE)]]
    return []


def number(value: object, *, digits: int = 5) -> float | int | None:
    """A finite number with so many significant digits, an int where it is whole; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        rounded = float(f"{float(value):.{digits}g}")
    except OverflowError:
        return None
    if not math.isfinite(rounded):
        return None
    return int(rounded) if rounded.is_integer() and abs(rounded) < LARGEST_EXACT else rounded


def count(value: object) -> int | None:
    """A whole number from 1 to 2**53, else None."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_EXACT:
        return None
    return value


def text(value: object, limit: int) -> str:
    """One printable line of at most `limit` characters that every JSON encoder accepts; "" for None."""
    if value is None:
        return ""
    line = " ".join(str(value)[: 4 * limit].encode("utf-8", "replace").decode("utf-8").split())
    printable = "".join(character for character in line if character.isprintable())
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
