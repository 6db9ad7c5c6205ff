"""`runs`: what was trained; names, notes and tags; the bin and back."""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

from resnet_core.commands.tables import print_rows
from resnet_core.errors import ConfigError
from resnet_core.training.run_notes import RunNotes
from resnet_core.training.runs import RunStore
from resnet_core.training.settings_files import write_settings

LISTED = ("run_id", "status", "model", "dataset", "epochs_done", "best_top1", "name")
SILENT = ("list", "bin", "empty-bin")  # these need no run
WRITING = ("rename", "note", "tag")  # these need words


def runs(options: argparse.Namespace) -> int:
    """Does what `runs ACTION` asks for."""
    if options.action not in SILENT and not options.run:
        raise ConfigError(f"«runs {options.action}» needs a run's id; «runs list» shows them.")
    if options.action in WRITING and not options.words:
        raise ConfigError(f'«runs {options.action}» needs words behind the run\'s id; "" takes away what was there.')
    if options.action not in WRITING and (options.words or (options.run and options.action in SILENT)):
        raise ConfigError(f"«runs {options.action}» takes no further words; use --search to look for runs.")
    return _ACTIONS[options.action](RunStore(options.runs_dir), options)


def _list(store: RunStore, options: argparse.Namespace) -> int:
    found = [dataclasses.asdict(summary) for summary in store.search(options.search or "")]
    return print_rows(found, LISTED, options.json)


def _show(store: RunStore, options: argparse.Namespace) -> int:
    run = store.get(options.run)
    if options.settings:
        print(write_settings(run.config()), end="")
        return 0
    shown = {**dataclasses.asdict(run.summary()), "config": run.config().to_json(), "events": run.events()}
    print(json.dumps(shown, indent=None if options.json else 2, ensure_ascii=False))
    return 0


def _remove(store: RunStore, options: argparse.Namespace) -> int:
    store.delete(options.run)
    told = f"Run {options.run} is in the bin for a day; «runs restore {options.run}» brings it back."
    return _tell({"run_id": options.run, "in_bin": True}, told, options)


def _restore(store: RunStore, options: argparse.Namespace) -> int:
    run = store.restore(options.run)
    return _tell({"run_id": run.run_id, "in_bin": False}, f"Run {run.run_id} is back.", options)


def _rename(store: RunStore, options: argparse.Namespace) -> int:
    return _noted(store.describe(options.run, name=" ".join(options.words)), options)


def _note(store: RunStore, options: argparse.Namespace) -> int:
    return _noted(store.describe(options.run, note=" ".join(options.words)), options)


def _tag(store: RunStore, options: argparse.Namespace) -> int:
    return _noted(store.describe(options.run, tags=[tag for word in options.words for tag in word.split(",")]), options)


def _noted(notes: RunNotes, options: argparse.Namespace) -> int:
    return _tell({"run_id": options.run, **dataclasses.asdict(notes)}, f"Run {options.run} is noted.", options)


def _bin(store: RunStore, options: argparse.Namespace) -> int:
    rows = [dataclasses.asdict(binned) for binned in store.bin.list()]
    if not options.json:
        rows = [{**row, "deleted": time.strftime("%Y-%m-%d %H:%M", time.localtime(row["deleted"]))} for row in rows]
    return print_rows(rows, ("run_id", "deleted", "size_bytes"), options.json)


def _empty(store: RunStore, options: argparse.Namespace) -> int:
    gone = store.empty_bin(older_than=0)
    return _tell({"removed": gone}, f"Removed for good: {gone} run{'' if gone == 1 else 's'}.", options)


def _tell(facts: dict[str, Any], sentence: str, options: argparse.Namespace) -> int:
    print(json.dumps(facts, ensure_ascii=False) if options.json else sentence)
    return 0


_ACTIONS: dict[str, Callable[[RunStore, argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "rm": _remove,
    "restore": _restore,
    "rename": _rename,
    "note": _note,
    "tag": _tag,
    "bin": _bin,
    "empty-bin": _empty,
}
