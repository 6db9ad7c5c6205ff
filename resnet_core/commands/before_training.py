"""`train --dry-run` and `train --find-rate`: what a run will be, before it is one."""

import argparse
import dataclasses
import json
import sys

from resnet_core.data.datasets import DatasetSpec
from resnet_core.device import choose_device
from resnet_core.terminal import ProgressBar
from resnet_core.training.config import TrainConfig
from resnet_core.training.preview import PlannedEpoch, Preview, preview
from resnet_core.training.rate_finder import RateScan, find_learning_rate
from resnet_core.training.session import Session

ROWS = 40  # epochs told of a long run, spread evenly; --json tells all
POINTS = 20  # of a scan printed for people


def dry_run(config: TrainConfig, dataset: DatasetSpec, options: argparse.Namespace) -> int:
    """Prints what the run would do."""
    where = choose_device(
        "auto" if config.device == "all" else config.device,
        precision=config.precision,
        num_threads=config.num_threads,
        memory_format=config.memory_format,
    )
    planned = preview(config, dataset, where)
    if options.json:
        print(json.dumps(planned.to_json()))
        return 0
    print(planned.sentence())
    for note in (*where.reasons, *planned.notes, *dataset.notes):
        print(f"  {note}")
    for line in _epoch_table(planned):
        print(line)
    return 0


def find_rate(config: TrainConfig, dataset: DatasetSpec, options: argparse.Namespace) -> int:
    """Scans for a learning rate and prints what the loss did."""
    bar = ProgressBar(sys.stderr)
    session = Session(config, dataset, progress=bar.decoding)
    scan = find_learning_rate(session, progress=bar.scanning)
    if options.json:
        print(json.dumps(dataclasses.asdict(scan)))
        return 0
    for line in _scan_table(scan):
        print(line)
    schedule = session.config.schedule
    if scan.suggested is None:
        print("The loss never fell, so the scan suggests nothing.")
    else:
        print(f"The loss falls fastest near {scan.suggested:.2g}: a good peak for {schedule}.")
    return 0


def _epoch_table(planned: Preview) -> list[str]:
    epochs = planned.epochs
    every = -(-len(epochs) // ROWS)
    shown = [epoch for epoch in epochs if (epoch.epoch - 1) % every == 0 or epoch is epochs[-1]]
    grows = len({epoch.image_size for epoch in epochs}) > 1
    freezes = any(epoch.freeze != "none" for epoch in epochs)
    head = f"{'epoch':>6}  {'learning rate':<24}" + ("  size " * grows) + ("  frozen" * freezes)
    return [head.rstrip(), *(_epoch_row(epoch, grows, freezes) for epoch in shown)]


def _epoch_row(epoch: PlannedEpoch, grows: bool, freezes: bool) -> str:
    rates = f"{epoch.learning_rate:.3g} → {epoch.last_learning_rate:.3g}"
    size = f"  {epoch.image_size:>4} px" if grows else ""
    frozen = f"  up to {epoch.freeze}" if freezes and epoch.freeze != "none" else ""
    return f"{epoch.epoch:>6}  {rates:<24}{size}{frozen}".rstrip()


def _scan_table(scan: RateScan) -> list[str]:
    count = len(scan.learning_rates)
    places = sorted({round(number * (count - 1) / (POINTS - 1)) for number in range(POINTS)}) if count else []
    rows = [f"{scan.learning_rates[place]:>14.2e}  {scan.losses[place]:.4f}" for place in places]
    return [f"{'learning rate':>14}  loss", *rows]
