"""The table: one line a comparison, what was measured on which machine below it."""

from collections.abc import Iterable
from typing import Any

from benchmarks.machine import Machine
from benchmarks.rows import Row

HEAD = (
    "benchmark",
    "what",
    "ours",
    "peer",
    "ratio, 95 % interval",
    "claim",
    "goal",
    "moonshot",
    "verdict",
    "blocks",
)
READING = (
    "Claim: the end of the interval that favours ours least. Ratio: how many times better ours is; where the goal is "
    "“at most” it is ours / peer. Blocks: kept of run; a block is dropped where the yardstick beside it moved > 8 %. "
    "T1, “tutorial”: the loop with ResNet-34 on flower photos. T2: the one on CIFAR-10, its network as published."
)


def table_text(results: Iterable[dict[str, Any]]) -> str:
    """Markdown of results as `benchmarks/results/<name>.json` holds them."""
    lines, footers = [_line(HEAD), _line(["---"] * len(HEAD))], dict[str, list[str]]()
    for result in results:
        rows = [Row(**row) for row in result["rows"]]
        lines += [_line((result["benchmark"], *cells(row))) for row in rows]
        when = f"{result['when']}, precision {result['precision']}, load {result['load']}"
        footers.setdefault(f"{Machine(**result['machine']).sentence()}", []).append(f"{result['benchmark']} ({when})")
    lines += ["", READING, ""]
    lines += [f"- {machine}: {'; '.join(names)}." for machine, names in footers.items()]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> tuple[str, ...]:
    """What one row shows behind its benchmark's name."""
    what = f"{row.metric}, {row.unit}" + (f" ({row.note})" if row.note else "")
    side = "" if row.side == "ours" else f"{row.side} "
    goals = (_goal(row, row.goal), _goal(row, row.moonshot))
    if row.median is None or row.claim is None:
        return what, side.strip() or "–", row.peer or "–", "–", "–", *goals, f"not measured: {row.reason}", "–"
    interval = "one block, no interval" if row.kept == 1 else f"{number(row.low)} to {number(row.high)}"
    return (
        what,
        f"{side}{number(row.ours)}",
        "–" if row.peer is None else f"{row.peer} {number(row.theirs)}",
        f"{number(row.median)}{_times(row)} ({interval})",
        f"{number(row.claim)}{_times(row)}",
        *goals,
        row.verdict + (", moonshot too" if row.moonshot_reached else ""),
        f"{row.kept} of {row.kept + row.dropped}",
    )


def number(value: float | None) -> str:
    """Three figures, thousands with commas; four where three would hide on which side of one it lies."""
    if value is None:
        return "–"
    if value != 1 and f"{value:.3g}" == "1":
        return f"{value:.4g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _goal(row: Row, goal: float | None) -> str:
    return "–" if goal is None else f"{row.goal_is} {number(goal)}{_times(row)}"


def _times(row: Row) -> str:
    return "" if row.peer is None else "×"


def _line(columns: Iterable[str]) -> str:
    return f"| {' | '.join(text.replace('|', '/') for text in columns)} |"
