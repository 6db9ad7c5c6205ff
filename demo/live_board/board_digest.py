"""Boils events down to the few numbers and sentences a live board needs, bounded whatever the run's length.

Everything here takes events as they stand in a file that may be old, cut or hostile; what is unknown is passed over.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from statistics import median
from typing import Any

from demo.live_board.board_marks import log_rows, mark_rows
from demo.live_board.board_thinning import latest_pass, thin_epochs, thin_steps, thin_usage
from demo.live_board.board_values import LARGEST_EXACT, MAX_NAME, Event, Row, count, number, text

WORDS_OF_A_RUN = ("name", "model", "dataset", "device", "precision")
COUNTS_OF_A_RUN = ("epochs", "steps_per_epoch", "n_train", "n_val")
PART_STEPS, PART_EPOCHS = 900, 600  # rows of a part that a browser has zoomed into; about two per pixel


def digest(events: Iterable[Event]) -> dict[str, Any]:
    """What charts, a header, a timeline and a log need of these events; keys without news are left out.

    `about`: the run's facts. `steps`: flat [step, loss, learning rate, …]. `log` and `marks`: see board_marks.
    `epochs`: rows of [epoch, train loss, val loss, train top1, val top1, best 0/1, step, training seconds since the
    first of these epochs began, images a second].
    `pace`: [seconds a step, images a second, seconds an epoch, share waited for pictures]. A number that is not
    finite travels as null. `thinned`: 1 where not all rows travel.
    """
    known = [event for event in events if isinstance(event, dict)]
    steps, epochs = step_rows(known), epoch_rows(known)
    few_steps, few_epochs = thin_steps(steps), thin_epochs(epochs)
    found: dict[str, Any] = {
        "about": _about(known),
        "steps": flat(few_steps),
        "epochs": few_epochs,
        "log": log_rows(known),
        "marks": mark_rows(known),
        "pace": _pace(known),
        "thinned": int(len(few_steps) < len(steps) or len(few_epochs) < len(epochs)),
    }
    return {key: value for key, value in found.items() if value}


def part(events: Iterable[Event], first_step: int, last_step: int) -> dict[str, Any]:
    """The finer curves from one step to another, as in `digest`; `thinned` is 1 while there would be finer ones."""
    known = [event for event in events if isinstance(event, dict)]
    steps = [row for row in step_rows(known) if first_step <= row[0] <= last_step]
    epochs = [row for row in epoch_rows(known) if row[6] is not None and first_step <= row[6] <= last_step]
    few_steps, few_epochs = thin_steps(steps, PART_STEPS), thin_epochs(epochs, PART_EPOCHS)
    thinned = int(len(few_steps) < len(steps) or len(few_epochs) < len(epochs))
    return {"steps": flat(few_steps), "epochs": few_epochs, "thinned": thinned}


def flat(rows: Sequence[Row]) -> Row:
    """Rows one after the other in one list, which is shorter as JSON."""
    return [value for row in rows for value in row]


def step_rows(events: Sequence[Event]) -> list[Row]:
    """[step, loss, learning rate] of each report that counts."""
    return latest_pass([row for row in map(_step_row, _named(events, "StepEnded")) if row])


def epoch_rows(events: Sequence[Event]) -> list[Row]:
    """A row of each epoch that counts; its seconds go on from those of the epochs before it."""
    rows = latest_pass([row for row in map(_epoch_row, _named(events, "EpochEnded")) if row])
    for row, seconds in zip(rows, accumulate(row[7] or 0 for row in rows), strict=True):
        row[7] = number(seconds, digits=7)
    return rows


def usage_rows(measured: Iterable[Event]) -> Row:
    """Flat [step, images a second, GB of main memory, GB of the GPU, load, load of the GPU, …], thinned."""
    rows: list[Row] = []
    for line in measured:
        if not isinstance(line, dict) or (step := count(line.get("step"))) is None:
            continue
        memory = [_gigabytes(line.get(key)) for key in ("memory", "device_memory")]
        loads = [number(line.get(key), digits=3) for key in ("load", "device_load")]
        rows.append([step, number(line.get("images_per_second"), digits=4), *memory, *loads])
    return flat(thin_usage(latest_pass(rows)))


def _gigabytes(value: object) -> float | int | None:
    size = number(value, digits=15)
    return None if size is None else number(size / 1e9, digits=4)


def _named(events: Sequence[Event], name: str) -> list[Event]:
    return [event for event in events if event.get("event") == name]


def _about(events: Sequence[Event]) -> dict[str, Any]:
    """The facts of the newest start, with what was changed since; of a change alone only what it changed."""
    facts: dict[str, Any] = {}
    for event in events:
        if event.get("event") == "RunStarted":
            words = {key: text(event.get(key), MAX_NAME) for key in WORDS_OF_A_RUN}
            facts = words | {key: count(event.get(key)) for key in COUNTS_OF_A_RUN} | _origin(event)
        elif event.get("event") == "Changed" and isinstance(event.get("settings"), dict):
            changed = event["settings"]
            facts |= {key: count(changed[key]) for key in COUNTS_OF_A_RUN if key in changed}
    return facts


def _origin(event: Event) -> dict[str, Any]:
    """Which run and epoch a fork grew out of; nothing for other runs."""
    settings = event.get("settings")
    origin = settings.get("forked_from") if isinstance(settings, dict) else None
    run, _, epoch = origin.rpartition("/") if isinstance(origin, str) else ("", "", "")
    if not run or not epoch.isascii() or not epoch.isdecimal() or len(epoch) > 9:
        return {}
    return {"forked_from": [text(run, MAX_NAME), int(epoch)]}


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
    seconds = number(event.get("seconds"), digits=7)
    paid = seconds if seconds is not None and 0 <= seconds < LARGEST_EXACT else None
    speed = number(event.get("images_per_second"), digits=4)
    return [epoch, *measured, int(event.get("best") is True), count(event.get("step")), paid, speed]


def _pace(events: Sequence[Event]) -> Row | None:
    times = [number(event.get("time"), digits=15) for event in _named(events, "StepEnded")[-50:]]
    present = [time for time in times if time is not None]
    gaps = [later - earlier for earlier, later in pairwise(present) if later > earlier]
    epochs = _named(events, "EpochEnded")
    last: Event = epochs[-1] if epochs else {}
    pace = [
        number(median(gaps), digits=3) if gaps else None,  # the median overlooks pauses, validation and clock jumps
        number(last.get("images_per_second"), digits=4),
        number(last.get("seconds"), digits=4),
        number(last.get("waited"), digits=3),
    ]
    return pace if any(pace) else None
