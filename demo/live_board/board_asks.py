"""What a board asks now and then, beside the news: {"want": a key of ANSWERS, …}.

    part         {"run", "from", "to"}      the finer curves between two steps, for a zoom
    runs         {}                         the runs that can be laid over the one on screen
    differences  {"runs": [id, …]}          the settings that are not the same in all of them
    csv          {"runs": […], "curves"}    every value of some curves

What cannot be answered raises ResNetLabError with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from demo.live_board.board_csv import curves_csv
from demo.live_board.board_digest import part
from demo.live_board.board_questions import run_id_of, run_ids_of, whole_number
from demo.live_board.board_values import MAX_NAME, MAX_SENTENCE, number, text
from resnet_core.errors import ResNetLabError

if TYPE_CHECKING:
    from demo.live_board.board_feed import BoardSource

MAX_RUNS = 8
MAX_LINES = 300
MAX_CURVES = 20


def _part(source: BoardSource, request: dict[str, Any]) -> dict[str, Any]:
    run_id = run_id_of(request.get("run"))
    if run_id is None:
        raise ResNetLabError("The board asked for a part of no run. Reload the page.")
    first, last = whole_number(request.get("from")), whole_number(request.get("to"))
    return {"run": run_id} | part(source.read(run_id, 0).events, first, last)


def _runs(source: BoardSource, request: dict[str, Any]) -> dict[str, Any]:
    lines = [
        {
            "run": line.run_id,
            "name": text(line.name or line.run_id, MAX_NAME),
            "status": text(line.status, MAX_NAME),
            "about": text(" · ".join(filter(None, (line.model, line.dataset))), MAX_NAME),
            "best": number(line.best_top1),
        }
        for line in source.board_lines()[:MAX_LINES]
    ]
    return {"runs": lines}


def _differences(source: BoardSource, request: dict[str, Any]) -> dict[str, Any]:
    run_ids = run_ids_of(request.get("runs"), MAX_RUNS)
    if len(run_ids) < 2:
        return {"runs": run_ids, "rows": []}
    rows = [
        [text(name, MAX_NAME), text(title, MAX_NAME), [None if v is None else text(v, MAX_SENTENCE) for v in values]]
        for name, title, values in source.differences(run_ids)
    ]
    return {"runs": run_ids, "rows": rows}


def _csv(source: BoardSource, request: dict[str, Any]) -> dict[str, Any]:
    curves = request.get("curves")
    if not isinstance(curves, list) or not all(isinstance(curve, str) for curve in curves[:MAX_CURVES]):
        raise ResNetLabError("The board asked for curves in a form this app does not know. Reload the page.")
    runs = [
        (run_id, [*source.read(run_id, 0).events, *source.read_usage(run_id, 0)])
        for run_id in run_ids_of(request.get("runs"), MAX_RUNS)
    ]
    return {"csv": curves_csv(runs, curves[:MAX_CURVES])}


ANSWERS: dict[str, Callable[[BoardSource, dict[str, Any]], dict[str, Any]]] = {
    "part": _part,
    "runs": _runs,
    "differences": _differences,
    "csv": _csv,
}
