"""Turns a run's best epoch into the shipped checkpoint and writes its model card's numbers.

    python -m tools.ship_checkpoint RUN --data-dir DATA

Fits the temperature on val, stores weights in half precision, evaluates exactly what was stored, and writes
`assets/flowers.safetensors` and `assets/flowers.json`. The card itself is `assets/MODEL_CARD.md`.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import torch

from resnet_core.data.cache import load_pixels
from resnet_core.data.datasets import load_dataset
from resnet_core.data.loaders import ValLoader
from resnet_core.files import write_json
from resnet_core.inference.calibration import fit_temperature
from resnet_core.inference.catalog import SHIPPED
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.evaluation import evaluate
from resnet_core.models.logits import compute_logits
from resnet_core.training.checkpoint import load_checkpoint, save_checkpoint
from resnet_core.training.runs import RunStore


def main() -> None:
    """Reads the arguments and ships."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    options = parser.parse_args()
    source = RunStore(options.runs_dir).get(options.run).checkpoint_path("best")
    scores = ship(source, options.data_dir)
    write_json(SHIPPED.with_suffix(".json"), scores)
    print(json.dumps(scores, indent=2))


def ship(source: Path, data_dir: Path) -> dict[str, object]:
    """Writes the shipped checkpoint from `source`; its scores on the val photos."""
    dataset = load_dataset("flower_photos", data_dir=data_dir)
    checkpoint, model = load_checkpoint(source)
    temperature = _temperature(Classifier(checkpoint, model), dataset)
    checkpoint = dataclasses.replace(checkpoint, temperature=round(temperature, 4))
    save_checkpoint(SHIPPED, checkpoint, model.state_dict(), half=True)
    stored = evaluate(Classifier.load(SHIPPED), dataset)
    per_class = {row.label: round(row.recall, 4) for row in stored.per_class}
    metrics = {"val_top1": stored.top1, "val_loss": stored.loss, "val_ece": stored.ece, "n_val": stored.n}
    save_checkpoint(SHIPPED, checkpoint.with_metrics(**metrics, val_recall=per_class), model.state_dict(), half=True)
    return {**metrics, "val_recall": per_class, "temperature": checkpoint.temperature, "bytes": SHIPPED.stat().st_size}


@torch.inference_mode()
def _temperature(classifier: Classifier, dataset) -> float:  # type: ignore[no-untyped-def]
    preprocessing = classifier.checkpoint.preprocessing
    store = load_pixels(dataset, "val", size=preprocessing.resize, exact=True)
    loader = ValLoader(store=store, preprocessing=preprocessing, batch_size=64, device=classifier.device)
    flip = classifier.checkpoint.flip_average
    logits = torch.cat([compute_logits(classifier.model, batch.images, flip_average=flip) for batch in loader])
    return fit_temperature(logits, store.targets)


if __name__ == "__main__":
    main()
