"""Thins long curves so that first, last, best and every extreme stay; each bucket keeps its lowest and its highest."""

from collections.abc import Sequence
from itertools import pairwise

from demo.live_board.board_values import Row

MAX_STEP_POINTS = 1_200
MAX_EPOCHS = 3_000
MAX_USAGE_ROWS = 600
# columns of an epoch row: [epoch, train loss, val loss, train top1, val top1, best, step, seconds, images a second]
BEST = 5


def latest_pass(rows: Sequence[Row]) -> list[Row]:
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
    best = [i for i in everything if rows[i][BEST]]
    kept = {0, len(rows) - 1, *best[-1:]}
    for column in (1, 2, 3, 4):
        kept |= _extremes(rows, everything, column)
    for bucket in _buckets(len(rows), limit // 4 - 8):
        kept |= _extremes(rows, bucket, 2) | _extremes(rows, bucket, 4)
    return [rows[i] for i in sorted(kept)]


def thin_usage(rows: Sequence[Row], limit: int = MAX_USAGE_ROWS) -> list[Row]:
    """At most `limit` rows; of each bucket the slowest, the fastest and the fullest moment."""
    if len(rows) <= limit:
        return list(rows)
    kept = {0, len(rows) - 1}
    for bucket in _buckets(len(rows), (limit - 2) // 4):
        kept |= _extremes(rows, bucket, 1) | _extremes(rows, bucket, 2)
    return [rows[i] for i in sorted(kept)]


def _buckets(size: int, wanted: int) -> list[range]:
    edges = [size * i // wanted for i in range(wanted + 1)]
    return [range(start, stop) for start, stop in pairwise(edges)]


def _extremes(rows: Sequence[Row], bucket: range, column: int) -> set[int]:
    present = [i for i in bucket if rows[i][column] is not None]
    if not present:
        return set()
    return {min(present, key=lambda i: rows[i][column]), max(present, key=lambda i: rows[i][column])}
