"""What the table of runs asks and gets: any JSON in, one JSON out, nothing is ever raised.

    {"what": "list", "search": words, "version": v}     {"version", "rows", "bin", "count", "size", "live"},
                                                        or only {"version"} where nothing is new
    {"what": "save", "run": id, "name"|"note"|"tags": …}
    {"what": "delete"|"restore", "run": id}             {"done": true}
    {"what": "empty"}                                   {"done": true}
    whatever fails                                      {"error": sentence}

The server keeps nothing per viewer; `version` is a digest of the reply.
"""

import contextlib
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from demo.services import Services
from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ResNetLabError, RunError
from resnet_core.training.disk_use import FileSizes, disk_files, merged
from resnet_core.training.run_notes import MAX_NAME
from resnet_core.training.run_search import search_runs
from resnet_core.training.runs import ENDED, Run, RunSummary

log = logging.getLogger(__name__)

AT_REST = (*ENDED, "interrupted")
STAMPED = ("", "config.json", "events.jsonl", "heartbeat.json", "notes.json", "kept")  # "": the folder itself
MOST_RUNS = 2000  # rows a reply; who has more searches


@dataclass(frozen=True, kw_only=True)
class _Kept:
    stamp: tuple[int, ...]
    summary: RunSummary
    files: FileSizes


class Summaries:
    """Summaries of runs, made again only for those that have changed; may be asked from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def of(self, runs: list[Run]) -> list[RunSummary]:
        """The summaries in the order of the runs."""
        found = [(run.run_id, _stamp(run), run) for run in runs]
        with self._lock:
            kept = self._kept
        made = {run_id: self._one(kept.get(run_id), stamp, run) for run_id, stamp, run in found}
        with self._lock:
            self._kept = made
        return [each.summary for each in made.values()]

    def size(self) -> int:
        """Bytes on the disk of the runs asked about last, files they share counted once."""
        with self._lock:
            kept = self._kept
        return sum(merged(each.files for each in kept.values()).values())

    @staticmethod
    def _one(kept: _Kept | None, stamp: tuple[int, ...], run: Run) -> _Kept:
        if kept is None or kept.stamp != stamp:
            return _Kept(stamp=stamp, summary=run.summary(), files=disk_files(run.folder))
        if kept.summary.status in AT_REST:
            return kept
        return replace(kept, summary=run.summary())  # a run under way may die without a change on the disk


def make_table_ask(services: Services) -> Callable[[object], dict[str, Any]]:
    """The function that the browser calls."""
    summaries = Summaries()

    def ask(question: object) -> dict[str, Any]:
        try:
            return _answer(services, summaries, _read(question))
        except ResNetLabError as problem:
            return {"error": str(problem)}
        except Exception:  # a raise would end in the log of every open page, and the page would say nothing
            log.exception("the table of runs could not be answered")
            return {"error": "This did not work just now; the log of the app says more."}

    return ask


def _read(question: object) -> dict[str, Any]:
    if isinstance(question, list) and len(question) == 1:
        question = question[0]
    if not isinstance(question, dict):
        raise RunError("The page asked in a form this app does not know. Reload the page.")
    return question


def _answer(services: Services, summaries: Summaries, asked: Mapping[str, Any]) -> dict[str, Any]:
    what, store = asked.get("what"), services.store
    if what == "list":
        return _listed(services, summaries, asked.get("search", ""), asked.get("version"))
    if what == "save":
        return _save(services, _run_id(asked.get("run")), asked)
    if what == "delete":
        store.delete(_run_id(asked.get("run")))
    elif what == "restore":
        store.restore(_run_id(asked.get("run")))
    elif what == "empty":
        store.empty_bin(older_than=0)
    else:
        raise RunError("The page asked for something this app does not know. Reload the page.")
    return {"done": True}


def _listed(services: Services, summaries: Summaries, search: object, version: object) -> dict[str, Any]:
    every = summaries.of(services.store.list())
    found = search_runs(every, search if isinstance(search, str) else "")
    reply: dict[str, Any] = {
        "rows": [_row(services, summary) for summary in found[:MOST_RUNS]],
        "bin": _binned(services),
        "count": len(every),
        "size": summaries.size(),
        "live": any(summary.status not in AT_REST for summary in every),
    }
    digest = hashlib.sha256(json.dumps(reply, sort_keys=True).encode("utf-8", "replace")).hexdigest()[:16]
    return {"version": digest} if digest == version else {"version": digest, **reply}


def _row(services: Services, summary: RunSummary) -> dict[str, Any]:
    status = summary.status
    if status not in AT_REST:
        with contextlib.suppress(RunError):  # deleted in this moment
            status = services.status(services.store.get(summary.run_id))
    return {
        "id": summary.run_id,
        "name": visible_text(summary.name, MAX_NAME),
        "note": summary.note,
        "tags": list(summary.tags),
        "status": status,
        "dataset": visible_text(summary.dataset),
        "model": visible_text(summary.model),
        "done": summary.epochs_done,
        "epochs": summary.epochs,
        "best": summary.best_top1,
        "best_epoch": summary.best_epoch,
        "started": summary.started,
        "size": summary.size_bytes,
    }


def _binned(services: Services) -> list[dict[str, Any]]:
    told = []
    for binned in services.store.bin.list():
        shown = visible_text(Run(services.store.bin.folder / binned.run_id).name, MAX_NAME)
        told.append({"id": binned.run_id, "name": shown, "deleted": binned.deleted, "size": binned.size_bytes})
    return told


def _save(services: Services, run_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    services.store.describe(run_id, **{field: asked[field] for field in ("name", "note", "tags") if field in asked})
    return {"done": True}


def _run_id(value: object) -> str:
    if not isinstance(value, str) or len(value) > 200:
        raise RunError("Name the run by its id.")
    return value


def _stamp(run: Run) -> tuple[int, ...]:
    """Changes whenever a summary could, for a run that nobody trains."""
    stamps = []
    for name in STAMPED:
        try:
            status = os.stat(run.folder / name)
            stamps += [status.st_mtime_ns, status.st_size]
        except OSError:
            stamps += [0, 0]
    return tuple(stamps)
