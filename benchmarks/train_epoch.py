"""Training ResNet-34 at 224 px in batches of 16 with Adam: ours as a user gets it against T1's loop.

Ours is the preset of T1 with everything this project decides by itself left to it (precision, memory format, threads,
compilation, the convolutions' algorithm). Its pictures are decoded before, once for all trainings: the notes of the
first block tell how long it took until all was ready. T1's loop decodes in every step, as its text has it; on a GPU it
is granted 8 workers. First both answer the same pictures with the same weights.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Benchmark, Comparison, Measured, Options

if TYPE_CHECKING:
    from torch import nn

    from resnet_core.training.session import Session

BATCH, WARMUP = 16, 1
STEPS_CPU, STEPS_GPU = 3, 60
GPU_WORKERS = 8
PER_CLASS = 26  # rendered pictures a class where there are no photos: 130, more than WARMUP + STEPS_CPU batches
PER_CLASS_GPU = 200


def ours(options: Options) -> Measured:
    """Images a second of our session, from the end of the first step on."""
    from benchmarks.tutorials import seconds_of, training_logits

    with training_pictures(options) as (folder, pictures):
        started = time.perf_counter()
        session = open_session(folder, options)
        ready = time.perf_counter() - started
        session.model.load_state_dict(starting_weights().state_dict())
        answers = training_logits(session.model)
        steps = step_count()
        seconds = seconds_of(session.train_epoch(), steps, warmup=WARMUP)
    notes = {
        "pictures": pictures,
        "seconds_until_ready": ready,
        "precision": session.where.precision,
        "memory_format": str(session.where.memory_format),
        "chosen": list(session.notes),
    }
    return Measured(values={"training": BATCH * steps / seconds}, answers=answers, notes=notes)


def tutorial(options: Options) -> Measured:
    """Images a second of T1's loop, from the end of the first step on."""
    import torch

    from benchmarks.tutorials import train_t1_steps, training_logits

    on_gpu = torch.cuda.is_available()
    model = starting_weights()
    if on_gpu:
        model = model.cuda()
    answers = training_logits(model)
    workers = GPU_WORKERS if on_gpu else 0
    with training_pictures(options) as (folder, pictures):
        steps = step_count()
        seconds = train_t1_steps(model, folder, steps, warmup=WARMUP, workers=workers)
    notes = {"pictures": pictures, "workers": workers}
    return Measured(values={"training": BATCH * steps / seconds}, answers=answers, notes=notes)


def step_count() -> int:
    """Timed steps: about ten seconds on two cores, and on a GPU enough to leave its start behind."""
    import torch

    return STEPS_GPU if torch.cuda.is_available() else STEPS_CPU


def open_session(folder: Path, options: Options, **settings: Any) -> "Session":
    """Our training of T1's network on T1's terms, its pictures decoded; the rest as ResNet Lab chooses it."""
    from resnet_core.data.datasets import load_dataset
    from resnet_core.training.presets import make_config
    from resnet_core.training.session import Session

    config = make_config("tutorial-flowers", dataset=str(folder), precision=options.precision, **settings)
    return Session(config, load_dataset(str(folder), data_dir=folder.parent))


def starting_weights() -> "nn.Module":
    """torchvision's ResNet-34 for five classes with the weights every side starts from."""
    import torch

    from resnet_core.device import default_num_threads, import_torchvision

    torch.set_num_threads(default_num_threads())
    torch.manual_seed(0)
    network: nn.Module = import_torchvision().models.resnet34(num_classes=5)
    return network


@contextlib.contextmanager
def training_pictures(options: Options) -> Iterator[tuple[Path, str]]:
    """The flower photos, or as many rendered flowers as the steps need; and what they are."""
    import torch

    from benchmarks.tutorials import flower_folder

    per_class = PER_CLASS_GPU if torch.cuda.is_available() else PER_CLASS
    with contextlib.ExitStack() as stack:
        folder, pictures = stack.enter_context(flower_folder(options.data_dir, per_class=per_class))
        if not folder.is_relative_to(options.data_dir):
            stack.enter_context(own_cache())  # rendered pictures are new ones in each process: nothing may pile up
        yield folder, pictures


@contextlib.contextmanager
def own_cache() -> Iterator[None]:
    """A fresh cache for decoded pictures that goes when it is no longer used.

    What the start-up self-test has remembered lies in the cache too, so it is found out again.
    """
    before = os.environ.get("RESNET_LAB_CACHE")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["RESNET_LAB_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["RESNET_LAB_CACHE"]
            else:
                os.environ["RESNET_LAB_CACHE"] = before


BENCHMARK = Benchmark(
    name="train-epoch",
    claim="Training runs faster than T1's loop with the same network, picture size, batch and optimizer.",
    sides={"ours": ours, "T1": tutorial},
    comparisons=(
        Comparison(
            metric="training",
            unit="images/s",
            peer="T1",
            larger_is_better=True,
            at_least=3.3,
            at_least_fp32=1.25,
            at_least_cuda=4.0,
            moonshot=6.0,
            note="ResNet-34, 224 px, batch 16",
        ),
    ),
    tolerance=1e-4,
)
