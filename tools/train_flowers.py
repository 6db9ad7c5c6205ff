"""Trains the weights of the shipped checkpoint: `flowers`, `flowers-finish` and that three times again, larger.

    python -m tools.train_flowers --data-dir DATA --ship

Takes about eight hours on two AVX2 cores. Stopped, the same command goes on. Without --ship it only prints the run, for
`python -m tools.ship_checkpoint RUN --data-dir DATA`.
"""

import argparse
from pathlib import Path
from typing import Any

from resnet_core.data.datasets import DatasetSpec, load_dataset
from resnet_core.training.presets import make_config
from resnet_core.training.runs import Run, RunStore
from tools.ship_checkpoint import ship
from tools.train_once import train_once

LARGER = {"epochs": 52, "learning_rate": 0.02, "image_size": 144, "resize": 160, "start_image_size": 80, "seed": 11}
LARGEST = {"epochs": 40, "learning_rate": 0.02, "image_size": 176, "resize": 192, "start_image_size": 96, "seed": 13}
LAST = {"epochs": 45, "learning_rate": 0.02, "image_size": 192, "resize": 208, "start_image_size": 112, "seed": 17}
ASKED_AT = {"resize": 192, "crop": 176}  # px; better and faster than the size of the last part
PARTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("second", {}),
    ("third", LARGER),
    ("fourth", LARGEST),
    ("fifth", LAST),
)


def main() -> None:
    """Reads the arguments, trains the five parts, prints the last one's id and ships its best epoch if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    parser.add_argument("--ship", action="store_true", help="put the last part's best epoch into assets/")
    options = parser.parse_args()
    dataset = load_dataset("flower_photos", data_dir=options.data_dir)
    run = train_flowers(dataset, RunStore(options.runs_dir))
    print(run.run_id)
    if options.ship:
        ship(run.checkpoint_path(), options.data_dir, **ASKED_AT)


def train_flowers(dataset: DatasetSpec, store: RunStore, **settings: Any) -> Run:
    """The finished fifth part; each part begins with the best weights of the one before. `settings` replace those of
    all parts."""
    run = train_once(make_config("flowers", name="flowers, first part", **settings), dataset, store)
    for name, larger in PARTS:
        weights = str(run.folder / "best.safetensors")
        config = make_config(
            "flowers-finish", name=f"flowers, {name} part", init_from=weights, **{**larger, **settings}
        )
        run = train_once(config, dataset, store)
    return run


if __name__ == "__main__":
    main()
