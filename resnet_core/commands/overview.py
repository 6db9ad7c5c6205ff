"""`describe`, `datasets` and `models`: what there is."""

import argparse
import dataclasses
import json
import sys

from resnet_core.commands.tables import print_rows
from resnet_core.data.datasets import list_datasets
from resnet_core.data.download import download_dataset
from resnet_core.data.rendered_files import write_rendered
from resnet_core.errors import ConfigError
from resnet_core.inference.catalog import list_checkpoints
from resnet_core.models.describe import describe
from resnet_core.models.outline import Block, Outline, Part, alike, make_outline, outline_json
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
        outline = outline_json(make_outline(model, size))
        print(json.dumps(dataclasses.asdict(table) | {"outline": outline}))
        return 0
    if options.outline:
        return _print_outline(make_outline(model, size))
    print(f"{'layer':<28} {'kind':<18} {'output':<16} {'parameters':>12} {'MACs':>16}")
    for layer in table.layers:
        shape = "×".join(map(str, layer.output_shape))
        print(f"{layer.name:<28} {layer.kind:<18} {shape:<16} {layer.parameters:>12,} {layer.macs:>16,}")
    print(f"{'in all':<28} {'':<18} {'':<16} {table.parameters:>12,} {table.macs:>16,}")
    return 0


def _counting(parts: tuple[Part, ...]) -> list[Part]:
    return [part for part in parts if part.parameters or part.macs or part.detail]


def _print_outline(outline: Outline) -> int:
    """The network in a few lines: stem, each row of equal blocks with its skip, head."""
    rows: list[tuple[str, str, Part | Block]] = [("stem", part.name, part) for part in _counting(outline.stem.parts)]
    for stage in outline.stages:
        for block, count in alike(stage.blocks):
            what = f"{block.kind}{f' × {count}' if count > 1 else ''}, skip: {block.skip}"
            rows.append((stage.name, what, block))
    rows += [("head", part.name, part) for part in _counting(outline.head.parts)]
    print(f"{'part':<8} {'what':<36} {'output':<16} {'parameters each':>16} {'MACs each':>16}")
    for name, what, box in rows:
        shape = "×".join(map(str, box.output_shape))
        print(f"{name:<8} {what:<36} {shape:<16} {box.parameters:>16,} {box.macs:>16,}")
    warnings = [block.warning for stage in outline.stages for block in stage.blocks if block.warning]
    for sentence in warnings:
        print(sentence)
    return 0


def datasets(options: argparse.Namespace) -> int:
    """Lists the named data sets, or downloads one."""
    if options.action == "list":
        rows = [dataclasses.asdict(listing) for listing in list_datasets(options.data_dir)]
        return print_rows(rows, ("name", "available", "detail"), options.json)
    if not options.name:
        raise ConfigError("«datasets get» needs a name: flower_photos or cifar10.")
    bar = ProgressBar(sys.stderr)
    if options.name == "rendered-flowers":
        folder = write_rendered(options.data_dir, progress=bar.decoding)
    else:
        folder = download_dataset(options.name, options.data_dir, progress=bar.downloading)
    print(json.dumps({"name": options.name, "path": str(folder)}) if options.json else f"{options.name} is in {folder}")
    return 0


def models(options: argparse.Namespace) -> int:
    """Lists the networks that can be built and the trained models at hand."""
    rows = [{"name": name, "kind": "network", "detail": get_architecture(name).title} for name in list_models()]
    trained = list_checkpoints(RunStore(options.runs_dir))
    rows += [{"name": entry.name, "kind": "trained", "detail": entry.detail} for entry in trained]
    return print_rows(rows, ("name", "kind", "detail"), options.json)
