"""How good a recipe is by k-fold cross-validation over train + val, when val alone is too few pictures to tell.

    python -m tools.cross_validate --preset flowers --data-dir DATA [--folds 5] [--set epochs=20 --set mixup=0.2]

Each fold trains as a run of its own (named after preset and fold) and is judged, at its last epoch, on the pictures it
did not see; a run that was stopped is taken up again, a finished one is not repeated. Prints one line a fold and, at
the end, the mean with its standard error.
"""

import argparse
import hashlib
import json
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnet_core.data.datasets import DatasetSpec, Picture, load_dataset
from resnet_core.device import make_generator
from resnet_core.errors import ConfigError
from resnet_core.training.config import TrainConfig
from resnet_core.training.presets import make_config
from resnet_core.training.runs import Run, RunStore
from tools.train_once import train_once


def main() -> None:
    """Reads the arguments, trains every fold and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="flowers")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the recipe")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    options = parser.parse_args()
    given = dict(read_setting(text) for text in options.set)
    config = make_config(options.preset, **given)
    dataset = load_dataset(config.dataset, data_dir=options.data_dir, seed=config.seed)
    store, scores = RunStore(options.runs_dir), list[float]()
    for number in range(1, options.folds + 1):
        recipe = hashlib.sha256(json.dumps(config.to_json(), sort_keys=True).encode()).hexdigest()[:8]
        named = config.replace(name=f"{options.preset} {recipe}, fold {number} of {options.folds}")
        scores.append(train_fold(named, make_fold(dataset, number, options.folds, seed=config.seed), store))
        print(json.dumps({"fold": number, "val_top1": scores[-1]}), flush=True)
    error = statistics.stdev(scores) / len(scores) ** 0.5 if len(scores) > 1 else None
    print(json.dumps({"folds": len(scores), "mean_top1": statistics.mean(scores), "standard_error": error}))


def read_setting(text: str) -> tuple[str, Any]:
    """ "epochs=20" as ("epochs", 20); what is no JSON is a text. Raises ConfigError without an equals sign."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"Write a setting as NAME=VALUE, not {text}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def make_fold(dataset: DatasetSpec, number: int, folds: int, *, seed: int) -> DatasetSpec:
    """The data set with every `folds`-th picture of each class in val, and all others in train."""
    by_class: dict[int, list[Picture]] = defaultdict(list)
    for picture in (*dataset.train, *dataset.val):
        by_class[picture.class_index].append(picture)
    train, val = list[Picture](), list[Picture]()
    for index, pictures in sorted(by_class.items()):
        order = make_permutation(len(pictures), seed, index)
        for place, chosen in enumerate(order):
            (val if place % folds == number - 1 else train).append(pictures[chosen])
    fingerprint = f"{dataset.fingerprint}/fold {number} of {folds}, seed {seed}"
    return replace(dataset, train=tuple(train), val=tuple(val), fingerprint=fingerprint)


def make_permutation(count: int, seed: int, class_index: int) -> list[int]:
    """The order in which the pictures of a class are dealt out to the folds."""
    import torch

    return torch.randperm(count, generator=make_generator("folds", seed, class_index)).tolist()


def train_fold(config: TrainConfig, fold: DatasetSpec, store: RunStore) -> float:
    """Top-1 of the last epoch on the fold's own pictures: none of them had a say in which epoch it is."""
    return last_top1(train_once(config, fold, store))


def last_top1(run: Run) -> float:
    """Validation accuracy of a run's last epoch."""
    epochs = [event for event in run.events() if event["event"] == "EpochEnded"]
    return float(epochs[-1]["val_top1"])


if __name__ == "__main__":
    main()
