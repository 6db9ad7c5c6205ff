"""`calibrate`: a checkpoint that knows how sure it may be and what it does not know; its weights stay as they are."""

import argparse
import json
import sys
from typing import Any

from resnet_core.data.datasets import DatasetSpec, list_datasets, load_dataset
from resnet_core.data.rendered import CLASS_NAMES as FLOWER_NAMES
from resnet_core.data.rendered_others import KINDS
from resnet_core.device import find_device
from resnet_core.inference.calibrating import calibrate_with
from resnet_core.inference.catalog import checkpoint_path
from resnet_core.inference.gathering import find_others
from resnet_core.terminal import ProgressBar
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.runs import RunStore

NEGATIVES = ("cifar10", "not_flowers")  # for flowers, where they lie in the data folder


def calibrate_command(options: argparse.Namespace) -> int:
    """Fits temperature and unknown score, evaluates what is written, and says what it costs."""
    path = checkpoint_path(options.checkpoint, RunStore(options.runs_dir), allow_paths=True)
    checkpoint, model = load_checkpoint(path)
    seed = checkpoint.split_seed
    dataset = load_dataset(options.dataset, data_dir=options.data_dir, seed=seed)
    others = [find_others(name, dataset, data_dir=options.data_dir) for name in asked_negatives(options, dataset)]
    calibrated = calibrate_with(
        checkpoint,
        model,
        dataset,
        others,
        device=find_device(options.device),
        engine=options.engine,
        progress=ProgressBar(sys.stderr).decoding,
    )
    save_checkpoint(options.output, calibrated, model.state_dict(), half=_is_half(path))
    _tell(calibration_facts(calibrated), as_json=options.json)
    return 0


def asked_negatives(options: argparse.Namespace, dataset: DatasetSpec) -> list[str]:
    """What to hold against the classes. Only for flowers it is known without asking what is none."""
    if options.negatives is not None:
        return list(options.negatives)
    if dataset.class_names != tuple(FLOWER_NAMES):
        return []
    named = {listing.name for listing in list_datasets(options.data_dir) if listing.available}
    return [name for name in NEGATIVES if name in named or (options.data_dir / name).is_dir()]


def _is_half(path: Any) -> bool:
    """True where the weights are stored in float16; they are written as they came."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as opened:
        return any(opened.get_slice(name).get_dtype() == "F16" for name in opened.keys())  # noqa: SIM118


def calibration_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the calibration found, for people and machines."""
    unknown, threshold = checkpoint.unknown, checkpoint.unknown_threshold or 0.0
    let_through = 1 - unknown.others.share_below(threshold) if unknown and unknown.others else None
    metrics = checkpoint.metrics
    return {
        "temperature": checkpoint.temperature,
        "top1": metrics["val_top1"],
        "ece": metrics["val_ece"],
        "ece_held_out": metrics["val_ece_held_out"],
        "refused_known": metrics["unknown_rate"],
        "let_through_others": let_through,
        "negatives": [name for name in unknown.sources if name not in KINDS] if unknown else [],
        "reliability": metrics["reliability"],
    }


def _tell(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(facts))
        return
    print(f"Temperature {facts['temperature']:.3f}: calibration error {facts['ece_held_out']:.1%} on val, held out.")
    through = facts["let_through_others"]
    others = "unknown: no --negatives" if through is None else f"{through:.1%}, each source held out"
    print(f"Refuses {facts['refused_known']:.1%} of val; lets through of other pictures: {others}.")
