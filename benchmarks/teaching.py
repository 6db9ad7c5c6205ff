"""Five classes of 20 CIFAR-10 pictures, from a folder to the first answer, all of it by the command line.

Counted from the start of `teach` (imports included) to the end of `predict` with the model it made.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cifar import need_cifar
from benchmarks.harness import Benchmark, Comparison, Measured, Options

CLASSES, PICTURES = 5, 20


def taught_and_asked(options: Options) -> Measured:
    """Seconds until the model is on the shelf, and until it has answered."""
    need_cifar(options)
    with tempfile.TemporaryDirectory(prefix="resnet-lab-teaching-") as home:
        folder, runs = Path(home) / "things", ["--runs-dir", str(Path(home) / "runs")]
        picture = _write_pictures(folder, options.data_dir)
        began = time.perf_counter()
        _command("teach", "--dataset", str(folder), "--checkpoint", "flowers", "--name", "things", *runs)
        taught = time.perf_counter() - began
        _command("predict", str(picture), "--checkpoint", "models/things", *runs)
        asked = time.perf_counter() - began
    return Measured(values={"taught": taught, "usable": asked}, notes={"classes": CLASSES, "pictures": PICTURES})


def _write_pictures(folder: Path, data_dir: Path) -> Path:
    """The first 20 training pictures of the first five classes below `folder`; returns one of them."""
    from resnet_core.data.datasets import load_dataset

    dataset = load_dataset("cifar10", data_dir=data_dir)
    for index, class_name in enumerate(dataset.class_names[:CLASSES]):
        target = folder / class_name
        target.mkdir(parents=True)
        chosen = [picture for picture in dataset.train if picture.class_index == index][:PICTURES]
        for number, picture in enumerate(chosen):
            dataset.source.load(picture.path).save(target / f"{number}.png")
    return target / "0.png"


def _command(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "resnet_core", *arguments], check=True)


BENCHMARK = Benchmark(
    name="teaching",
    claim="Five classes of 20 pictures each are taught and usable within a minute.",
    sides={"ours": taught_and_asked},
    comparisons=(
        Comparison(metric="usable", unit="s", peer=None, larger_is_better=False, at_most=60.0),
        Comparison(metric="taught", unit="s", peer=None, larger_is_better=False),
    ),
    blocks=1,
)
