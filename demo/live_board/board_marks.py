"""What happened, twice: as lines of a log, and as marks on the time axis. Both bounded whatever the run's length."""

from collections.abc import Sequence

from demo.live_board.board_values import MAX_NAME, MAX_SENTENCE, Event, Row, count, text, whole_second

MAX_LOG_ENTRIES = 200
MAX_LOG_CHARACTERS = 10_000
MAX_MARKS = 160
MAX_BEST_MARKS = 40  # new best epochs shown as marks


def log_rows(events: Sequence[Event]) -> list[Row]:
    """The newest entries as rows [time, kind, …], oldest first, bounded in number and in characters."""
    kept: list[Row] = []
    room = MAX_LOG_CHARACTERS
    for event in reversed(events):
        for row in reversed(_entries(event)):
            room -= 20 + sum(len(part) for part in row if isinstance(part, str))
            if room < 0 or len(kept) == MAX_LOG_ENTRIES:
                return kept[::-1]
            kept.append(row)
    return kept[::-1]


def _entries(event: Event) -> list[Row]:
    name, time = event.get("event"), whole_second(event.get("time"))
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
            return [[time, "change", count(event.get("epoch")), changed_settings(event)]]
        case "RunEnded":
            status, reason = event.get("status"), event.get("reason")
            return [[time, "end", text(status, MAX_NAME), text(reason, MAX_SENTENCE)]]
    return []


def changed_settings(event: Event) -> str:
    """The settings of a change in one line."""
    settings = event.get("settings")
    pairs = settings.items() if isinstance(settings, dict) else ()
    return text(", ".join(f"{name} {value}" for name, value in pairs), MAX_SENTENCE)


def mark_rows(events: Sequence[Event]) -> list[Row]:
    """Rows [kind, step, time, …], oldest first: what a timeline shows, of checkpoints those that are still there.

    Kinds: start; again (… last step before, 1 if the run had ended); pause; resume (… steps lost); change (… epoch,
    settings); best and last (… epoch); end (… status, reason). What these events do not tell is null.
    """
    marks: list[Row] = []
    step: int | None = None
    before: str | None = None
    for event in events:
        step = count(event.get("step")) or step
        mark = _mark(event, step, before)
        if mark:
            marks.append(mark)
        if event.get("event") != "Warned":
            before = str(event.get("event"))
    return _bounded(marks)


def _mark(event: Event, step: int | None, before: str | None) -> Row | None:
    time = whole_second(event.get("time"))
    match event.get("event"):
        case "RunStarted":
            first = count(event.get("first_step")) or 1
            if first == 1 and before is None:
                return ["start", 0, time]
            if before == "Changed":  # the batch was halved for want of memory: the change tells it
                return None
            return ["again", first - 1, time, step, None if before is None else int(before == "RunEnded")]
        case "Paused":
            return ["pause", step, time]
        case "Resumed":
            return ["resume", step, time, count(event.get("lost")) or 0]
        case "Changed":
            return ["change", step, time, count(event.get("epoch")), changed_settings(event)]
        case "CheckpointSaved" if event.get("kind") in ("best", "last"):
            return [event["kind"], step, time, count(event.get("epoch"))]
        case "RunEnded":
            return ["end", step, time, text(event.get("status"), MAX_NAME), text(event.get("reason"), MAX_SENTENCE)]
    return None


def _bounded(marks: Sequence[Row]) -> list[Row]:
    """Every kind but checkpoints up to a limit, the newest; of those the last one and the newest best ones."""
    told = [i for i, mark in enumerate(marks) if mark[0] not in ("best", "last")]
    best = [i for i, mark in enumerate(marks) if mark[0] == "best"]
    last = [i for i, mark in enumerate(marks) if mark[0] == "last"]
    kept = {*told[:1], *told[-MAX_MARKS:], *best[-MAX_BEST_MARKS:], *last[-1:]}
    return [marks[i] for i in sorted(kept)]
