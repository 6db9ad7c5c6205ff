"""Boils events down to the few numbers and sentences a live board needs, bounded whatever the run's length.

Everything here takes events as they stand in a file that may be old, cut or hostile: what cannot be read as a
finite number becomes null, what is not a printable line is cleaned and cut, what is unknown is passed over.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

MAX_STEP_POINTS = 1_500
MAX_EPOCHS = 3_000
MAX_LOG_ENTRIES = 200
MAX_LOG_CHARACTERS = 10_000
MAX_SENTENCE = 240
MAX_NAME = 120
LARGEST_EXACT = 2**53  # beyond this a JavaScript number is no longer an exact integer
WORDS_OF_A_RUN = ("name", "model", "dataset", "device", "precision")
COUNTS_OF_A_RUN = ("epochs", "steps_per_epoch", "n_train", "n_val")

Event = dict[str, Any]
Row = list[Any]


def digest(events: Iterable[Event]) -> dict[str, Any]:
    """What a chart, a header and a log need of these events; keys without news are left out.

    `about`: the run's facts. `steps`: flat [step, loss, learning rate, …]. `log`: rows of [time, kind, …].
    `epochs`: rows of [epoch, train loss, val loss, train top1, val top1, best 0/1].
    `pace`: [seconds a step, images a second, seconds an epoch, share waited for pictures]. A number that is not
    finite travels as null.
    """
    known = [event for event in events if isinstance(event, dict)]
    steps = [row for row in map(_step_row, _named(known, "StepEnded")) if row]
    epochs = [row for row in map(_epoch_row, _named(known, "EpochEnded")) if row]
    found: dict[str, Any] = {
        "about": _about(known),
        "steps": [number for row in thin_steps(_latest_pass(steps)) for number in row],
        "epochs": thin_epochs(_latest_pass(epochs)),
        "log": _log(known),
        "pace": _pace(known),
    }
    return {key: value for key, value in found.items() if value}


def _named(events: Sequence[Event], name: str) -> list[Event]:
    return [event for event in events if event.get("event") == name]


def _about(events: Sequence[Event]) -> dict[str, Any]:
    """The facts of the newest start, with what was changed since; of a change alone only what it changed."""
    facts: dict[str, Any] = {}
    for event in events:
        if event.get("event") == "RunStarted":
            words = {key: text(event.get(key), MAX_NAME) for key in WORDS_OF_A_RUN}
            facts = words | {key: count(event.get(key)) for key in COUNTS_OF_A_RUN}
        elif event.get("event") == "Changed" and isinstance(event.get("settings"), dict):
            changed = event["settings"]
            facts |= {key: count(changed[key]) for key in COUNTS_OF_A_RUN if key in changed}
    return facts


def _step_row(event: Event) -> Row | None:
    step = count(event.get("step"))
    if step is None:
        return None
    return [step, number(event.get("loss")), number(event.get("learning_rate"), digits=3)]


def _epoch_row(event: Event) -> Row | None:
    epoch = count(event.get("epoch"))
    if epoch is None:
        return None
    measured = [number(event.get(key)) for key in ("train_loss", "val_loss", "train_top1", "val_top1")]
    return [epoch, *measured, int(event.get("best") is True)]


def _latest_pass(rows: Sequence[Row]) -> list[Row]:
    """Rows in rising order of their first column: a resumed run replays steps, and the replay counts."""
    kept: list[Row] = []
    for row in rows:
        while kept and kept[-1][0] >= row[0]:
            kept.pop()
        kept.append(row)
    return kept


def thin_steps(rows: Sequence[Row], limit: int = MAX_STEP_POINTS) -> list[Row]:
    """At most `limit` rows: first, last, and of each bucket the lowest, the highest and one null loss."""
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
    return [range(start, stop) for start, stop in pairwise(edges)]


def _extremes(rows: Sequence[Row], bucket: range, column: int) -> set[int]:
    present = [i for i in bucket if rows[i][column] is not None]
    if not present:
        return set()
    return {min(present, key=lambda i: rows[i][column]), max(present, key=lambda i: rows[i][column])}


def _pace(events: Sequence[Event]) -> Row | None:
    times = [number(event.get("time"), digits=15) for event in _named(events, "StepEnded")[-50:]]
    present = [time for time in times if time is not None]
    gaps = [later - earlier for earlier, later in pairwise(present) if later > earlier]
    epochs = _named(events, "EpochEnded")
    last: Event = epochs[-1] if epochs else {}
    pace = [
        number(median(gaps), digits=3) if gaps else None,  # the median overlooks pauses and validation
        number(last.get("images_per_second"), digits=4),
        number(last.get("seconds"), digits=4),
        number(last.get("waited"), digits=3),
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
        case "Changed":
            settings = event.get("settings")
            pairs = settings.items() if isinstance(settings, dict) else ()
            told = ", ".join(f"{name} {value}" for name, value in pairs)
            return [[time, "change", count(event.get("epoch")), text(told, MAX_SENTENCE)]]
        case "RunEnded":
            status, reason = event.get("status"), event.get("reason")
            return [[time, "end", text(status, MAX_NAME), text(reason, MAX_SENTENCE)]]
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
