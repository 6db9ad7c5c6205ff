"""Turns a run's best epoch into the shipped checkpoint and writes its model card's numbers.

    python -m tools.ship_checkpoint RUN --data-dir DATA [--resize 192 --crop 176]

RUN is a run's id or a checkpoint file, also the shipped one itself. Stores weights in half precision, calibrates and
evaluates exactly what was stored (`resnet_core calibrate` does the same), and writes `assets/flowers.safetensors`,
`assets/flowers.json` and from that the marked numbers of `assets/MODEL_CARD.md`, whose rest is written by hand.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnet_core.commands.calibrate import NEGATIVES, calibration_facts
from resnet_core.data.datasets import load_dataset
from resnet_core.errors import CheckpointError
from resnet_core.files import write_bytes, write_json
from resnet_core.inference.calibrating import calibrate_with
from resnet_core.inference.catalog import SHIPPED, checkpoint_path
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.evaluation import evaluate
from resnet_core.inference.gathering import find_others
from resnet_core.terminal import ProgressBar
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.runs import RunStore

NUMBERS = SHIPPED.with_suffix(".json")
CARD = SHIPPED.with_name("MODEL_CARD.md")
BEGIN, END = "<!-- measured by tools.ship_checkpoint -->", "<!-- end -->"


def main() -> None:
    """Reads the arguments and ships."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--resize", type=int, help="px of the shorter side when it is asked; else as it was trained")
    parser.add_argument("--crop", type=int, help="px that are cut from its middle")
    options = parser.parse_args()
    source = checkpoint_path(options.run, RunStore(options.runs_dir), allow_paths=True)
    size = {name: px for name in ("resize", "crop") if (px := getattr(options, name))}
    ship(source, options.data_dir, **size)


def ship(source: Path, data_dir: Path, **size: int) -> None:
    """Writes the shipped checkpoint from `source`, its numbers and its card, and prints the numbers.

    `size`: `resize` and `crop` in px, where it shall be asked at another size than it was trained with.
    """
    scores = store_weights(source, data_dir, size)
    write_json(NUMBERS, scores)
    write_bytes(CARD, with_numbers(CARD.read_text(encoding="utf-8"), scores).encode())
    print(json.dumps(scores, indent=2))


def store_weights(source: Path, data_dir: Path, size: Mapping[str, int]) -> dict[str, Any]:
    """Writes the shipped checkpoint; what was measured of it."""
    dataset = load_dataset("flower_photos", data_dir=data_dir)
    others = [find_others(name, dataset, data_dir=data_dir) for name in NEGATIVES]
    with tempfile.TemporaryDirectory() as folder:  # as it is stored: that is what is calibrated and judged
        stored = Path(folder) / SHIPPED.name
        source_checkpoint, source_model = load_checkpoint(source)
        save_checkpoint(stored, without_folders(source_checkpoint), source_model.state_dict(), half=True)
        checkpoint, model = load_checkpoint(stored)
    checkpoint = replace(checkpoint, preprocessing=replace(checkpoint.preprocessing, **size))
    calibrated = calibrate_with(checkpoint, model, dataset, others, progress=ProgressBar(sys.stderr).decoding)
    save_checkpoint(SHIPPED, calibrated, model.state_dict(), half=True)
    measured = evaluate(Classifier.load(SHIPPED), dataset).to_json()
    facts = calibration_facts(calibrated)
    return {
        **{name: measured[name] for name in ("n", "top1", "loss", "ece", "ece_held_out", "unknown_rate", "per_class")},
        "others_let_through": facts["let_through_others"],
        "temperature": calibrated.temperature,
        "bytes": SHIPPED.stat().st_size,
    }


def with_numbers(card: str, scores: Mapping[str, Any]) -> str:
    """The card with these numbers between its marks. Raises CheckpointError where it has none."""
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise CheckpointError(f"The model card has no place for the numbers; put “{BEGIN}” and “{END}” into it.")
    rows = [
        f"| {label} | {row['n']} | {row['recall']:.1%} | {row['precision']:.1%} |"
        for label, row in scores["per_class"].items()
    ]
    lines = [
        "| | photos | found | right when it says so |",
        "|---|---:|---:|---:|",
        *rows,
        f"| **all** | {scores['n']} | **{scores['top1']:.1%}** | |",
        "",
        f"Loss {scores['loss']:.3f}, expected calibration error {scores['ece']:.1%} after dividing the logits by the "
        f"fitted temperature {scores['temperature']:.3f}; {scores['ece_held_out']:.1%} where each",
        "fifth of the photos gets a temperature from the others. "
        f"It refuses {scores['unknown_rate']:.1%} of these photos as unknown.",
    ]
    numbers = "\n".join(lines).replace("%", " %")
    return f"{before}{begin}\n\n{numbers}\n\n{end}{after}"


def without_folders(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, whose settings name the file it began with but not where that lay."""
    config = dict(checkpoint.training.get("config") or {})
    if config.get("init_from"):
        config["init_from"] = Path(config["init_from"]).name
    return replace(checkpoint, training={**checkpoint.training, "config": config})


if __name__ == "__main__":
    main()
