"""`describe`, `runs`, `datasets` and `models`: what there is."""

import argparse
import dataclasses
import json
import sys
from typing import Any

from resnet_core.data.datasets import list_datasets
from resnet_core.data.download import download_dataset
from resnet_core.data.images import display_name
from resnet_core.errors import ConfigError
from resnet_core.inference.catalog import list_checkpoints
from resnet_core.models.describe import describe
from resnet_core.models.zoo import build_model, get_architecture, list_models
from resnet_core.terminal import ProgressBar
from resnet_core.training.runs import RunStore


def describe_command(options: argparse.Namespace) -> int:
    """The layer table of a network."""
    architecture = get_architecture(options.model)
    arguments = {"as_published": True} if options.as_published else {}
    model = build_model(options.model, num_classes=options.num_classes, **arguments)
    size = architecture.default_image_size if options.image_size is None else options.image_size
    table = describe(model, size)
    if options.json:
        print(json.dumps(dataclasses.asdict(table)))
        return 0
    print(f"{'layer':<28} {'kind':<18} {'output':<16} {'parameters':>12} {'MACs':>16}")
    for layer in table.layers:
        shape = "×".join(map(str, layer.output_shape))
        print(f"{layer.name:<28} {layer.kind:<18} {shape:<16} {layer.parameters:>12,} {layer.macs:>16,}")
    print(f"{'in all':<28} {'':<18} {'':<16} {table.parameters:>12,} {table.macs:>16,}")
    return 0


def runs(options: argparse.Namespace) -> int:
    """Lists, shows or removes runs."""
    store = RunStore(options.runs_dir)
    if options.action == "list":
        summaries = [dataclasses.asdict(run.summary()) for run in store.list()]
        return _print_rows(
            summaries, ("run_id", "status", "model", "dataset", "epochs_done", "best_top1"), options.json
        )
    if not options.run:
        raise ConfigError(f"«runs {options.action}» needs a run's id; «runs list» shows them.")
    if options.action == "rm":
        store.remove(options.run)
        return 0
    run = store.get(options.run)
    shown = {**dataclasses.asdict(run.summary()), "config": run.config().to_json(), "events": run.events()}
    print(json.dumps(shown, indent=None if options.json else 2, ensure_ascii=False))
    return 0


def datasets(options: argparse.Namespace) -> int:
    """Lists the named data sets, or downloads one."""
    if options.action == "list":
        rows = [dataclasses.asdict(listing) for listing in list_datasets(options.data_dir)]
        return _print_rows(rows, ("name", "available", "detail"), options.json)
    if not options.name:
        raise ConfigError("«datasets get» needs a name: flower_photos or cifar10.")
    bar = ProgressBar(sys.stderr)
    folder = download_dataset(options.name, options.data_dir, progress=bar.downloading)
    print(json.dumps({"name": options.name, "path": str(folder)}) if options.json else f"{options.name} is in {folder}")
    return 0


def models(options: argparse.Namespace) -> int:
    """Lists the networks that can be built and the trained models at hand."""
    rows = [{"name": name, "kind": "network", "detail": get_architecture(name).title} for name in list_models()]
    trained = list_checkpoints(RunStore(options.runs_dir))
    rows += [{"name": entry.name, "kind": "trained", "detail": entry.detail} for entry in trained]
    return _print_rows(rows, ("name", "kind", "detail"), options.json)


def _print_rows(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> int:
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    texts = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max([len(column), *(len(row[i]) for row in texts)]) for i, column in enumerate(columns)]
    for row in ([*map(str, columns)], *texts):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.1%}" if isinstance(value, float) else display_name(str(value)) if value is not None else "–"
