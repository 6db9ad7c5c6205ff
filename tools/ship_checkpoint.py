"""Turns a run's best epoch into the shipped checkpoint and writes its model card's numbers.

    python -m tools.ship_checkpoint RUN --data-dir DATA

RUN is a run's id or a checkpoint file, also the shipped one itself. Stores weights in half precision, calibrates and
evaluates exactly what was stored (`resnet_core calibrate` does the same), and writes `assets/flowers.safetensors` and
`assets/flowers.json`. The card itself is `assets/MODEL_CARD.md`.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from resnet_core.commands.calibrate import NEGATIVES, calibration_facts
from resnet_core.data.datasets import load_dataset
from resnet_core.files import write_json
from resnet_core.inference.calibrating import calibrate_with
from resnet_core.inference.catalog import SHIPPED, checkpoint_path
from resnet_core.inference.gathering import find_others
from resnet_core.terminal import ProgressBar
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.runs import RunStore


def main() -> None:
    """Reads the arguments and ships."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    options = parser.parse_args()
    source = checkpoint_path(options.run, RunStore(options.runs_dir), allow_paths=True)
    scores = ship(source, options.data_dir)
    write_json(SHIPPED.with_suffix(".json"), scores)
    print(json.dumps(scores, indent=2))


def ship(source: Path, data_dir: Path) -> dict[str, object]:
    """Writes the shipped checkpoint from `source`; what it knows about itself."""
    dataset = load_dataset("flower_photos", data_dir=data_dir)
    others = [find_others(name, dataset, data_dir=data_dir) for name in NEGATIVES]
    with tempfile.TemporaryDirectory() as folder:  # as it is stored: that is what is calibrated and judged
        stored = Path(folder) / SHIPPED.name
        source_checkpoint, source_model = load_checkpoint(source)
        save_checkpoint(stored, without_folders(source_checkpoint), source_model.state_dict(), half=True)
        checkpoint, model = load_checkpoint(stored)
    calibrated = calibrate_with(checkpoint, model, dataset, others, progress=ProgressBar(sys.stderr).decoding)
    save_checkpoint(SHIPPED, calibrated, model.state_dict(), half=True)
    names = ("val_top1", "val_loss", "val_ece", "val_ece_held_out", "n_val", "val_recall", "unknown_rate")
    facts = calibration_facts(calibrated)
    return {
        **{name: calibrated.metrics[name] for name in names},
        "others_let_through": facts["let_through_others"],
        "temperature": calibrated.temperature,
        "bytes": SHIPPED.stat().st_size,
    }


def without_folders(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, whose settings name the file it began with but not where that lay."""
    config = dict(checkpoint.training.get("config") or {})
    if config.get("init_from"):
        config["init_from"] = Path(config["init_from"]).name
    return replace(checkpoint, training={**checkpoint.training, "config": config})


if __name__ == "__main__":
    main()
