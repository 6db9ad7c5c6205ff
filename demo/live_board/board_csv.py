"""Curves of runs as CSV for a spreadsheet or pandas: one line a value, every value there is, nothing thinned."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from demo.live_board.board_thinning import latest_pass
from demo.live_board.board_values import Event, Row, count, number

MAX_LINES = 1_000_000  # 40 MB; a spreadsheet opens no more than about as many
HEADER = ("run", "curve", "step", "epoch", "value")
# curve: the event it is read from, and the field
CURVES = {
    "train/step_loss": ("StepEnded", "loss"),
    "train/loss": ("EpochEnded", "train_loss"),
    "val/loss": ("EpochEnded", "val_loss"),
    "train/top1": ("EpochEnded", "train_top1"),
    "val/top1": ("EpochEnded", "val_top1"),
    "learning_rate": ("StepEnded", "learning_rate"),
    "epoch_images_per_second": ("EpochEnded", "images_per_second"),
    "epoch_seconds": ("EpochEnded", "seconds"),
    "images_per_second": ("Measured", "images_per_second"),
    "memory_bytes": ("Measured", "memory"),
    "device_memory_bytes": ("Measured", "device_memory"),
    "load": ("Measured", "load"),
    "device_load": ("Measured", "device_load"),
}


def curves_csv(runs: Iterable[tuple[str, Sequence[Event]]], curves: Sequence[str]) -> str:
    """The CSV of these curves of (run id, its events and measurements); unknown curves are left out."""
    written = io.StringIO()
    lines = csv.writer(written)
    lines.writerow(HEADER)
    room = MAX_LINES
    for run_id, events in runs:
        for curve in curves:
            for line in _values(events, *CURVES[curve]) if curve in CURVES else ():
                room -= 1
                if room < 0:
                    return written.getvalue()
                lines.writerow([_plain(run_id), curve, *line])
    return written.getvalue()


def _values(events: Sequence[Event], name: str, field: str) -> Iterator[Row]:
    """[step, epoch, value] in rising order; an empty cell where there is no finite number."""
    key = "epoch" if name == "EpochEnded" else "step"
    rows: list[Row] = [
        [at, count(event.get("step")), count(event.get("epoch")), event.get(field)]
        for event in events
        if isinstance(event, dict) and event.get("event") == name and (at := count(event.get(key))) is not None
    ]
    for _, step, epoch, value in latest_pass(rows):
        finite = number(value, digits=17)
        yield [step, epoch, "" if finite is None else value]


def _plain(run_id: str) -> str:
    """Spreadsheets run what begins with these signs as a formula."""
    return f"'{run_id}" if run_id[:1] in "=+-@\t\r" else run_id
