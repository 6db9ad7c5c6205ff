"""How much of the machine is used: FLOP/s of our training and of one photo, as a share of the best matrix product.

Everything is measured in one process, one after the other. The best convolution of ResNet-34's own shapes stands
beside it: it tells how much of the gap is the libraries' and how much is ours.
"""

import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Benchmark, CannotMeasure, Comparison, Measured, Options

if TYPE_CHECKING:
    import torch

NETWORK, SIZE, BATCH = "resnet34", 224, 16
STEPS, WARM_STEPS, PHOTOS = 6, 2, 15
MATRIX_SIZES = (1024, 2048)
GPU_MATRIX_SIZES = (4096, 8192)
CONVOLUTIONS = ((64, 56), (128, 28), (256, 14), (512, 7))  # channels and side of the four stages


def our_shares(options: Options) -> Measured:
    """FLOP/s of training and of a photo over those of the best product, and over those of the best convolution."""
    import torch

    from resnet_core.device import choose_device

    where = choose_device(precision=options.precision)
    torch.set_num_threads(where.num_threads)
    formats = [torch.float32] if where.precision == "fp32" else [torch.float32, torch.bfloat16]
    sizes = GPU_MATRIX_SIZES if where.device.type == "cuda" else MATRIX_SIZES
    products = {f"{kind} {size}": _product(kind, size, where.device) for kind in formats for size in sizes}
    convolutions = {
        f"{kind} {channels}@{side} {form}": _convolution(kind, channels, side, form, where.device)
        for kind in formats
        for channels, side in CONVOLUTIONS
        for form in (torch.contiguous_format, torch.channels_last)
    }
    achieved = {"training": _training(options), "photo": _photo(where.device)}
    best_product, best_convolution = max(products.values()), max(convolutions.values())
    values = {name: flops / best_product for name, flops in achieved.items()}
    values |= {f"{name}, of the best convolution": flops / best_convolution for name, flops in achieved.items()}
    measured = {**achieved, **products, **convolutions}
    notes = {"precision": where.precision, "gflops": {name: round(flops / 1e9, 1) for name, flops in measured.items()}}
    return Measured(values=values, notes=notes)


def _product(kind: "torch.dtype", size: int, device: "torch.device") -> float:
    import torch

    square = torch.rand(size, size, dtype=kind, device=device)
    return 2 * size**3 / _best_seconds(partial(torch.mm, square, square), device)


def _convolution(
    kind: "torch.dtype", channels: int, side: int, form: "torch.memory_format", device: "torch.device"
) -> float:
    import torch

    images = torch.rand(BATCH, channels, side, side, dtype=kind, device=device).contiguous(memory_format=form)
    kernel = torch.rand(channels, channels, 3, 3, dtype=kind, device=device).contiguous(memory_format=form)
    flops = 2 * BATCH * channels * channels * 9 * side * side
    with torch.inference_mode():
        return flops / _best_seconds(partial(torch.nn.functional.conv2d, images, kernel, padding=1), device)


def _best_seconds(work: Callable[[], Any], device: "torch.device") -> float:
    import torch

    times = []
    for _ in range(8):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _training(options: Options) -> float:
    """FLOP/s of our training, its pictures' preparation included, between the ends of two steps."""
    from benchmarks.tutorials import flower_folder
    from resnet_core.data.datasets import load_dataset
    from resnet_core.training.control import Control
    from resnet_core.training.engine import fit
    from resnet_core.training.events import RunEnded, StepEnded
    from resnet_core.training.presets import make_config

    per_class = -(-(WARM_STEPS + STEPS + 1) * BATCH // 5)  # one epoch is enough, and each of its steps is reported
    control, ends, ended = Control(), list[float](), ""
    with tempfile.TemporaryDirectory() as home, flower_folder(Path(home), per_class=per_class) as (folder, _):
        os.environ["RESNET_LAB_CACHE"] = f"{home}/cache"
        config = make_config(
            dataset=str(folder),
            model=NETWORK,
            image_size=SIZE,
            resize=256,
            batch_size=BATCH,
            precision=options.precision,
        )
        for event in fit(config, load_dataset(str(folder), data_dir=folder), control=control):
            if isinstance(event, StepEnded):
                ends.append(time.perf_counter())
                if event.step >= WARM_STEPS + STEPS:
                    control.stop()
            if isinstance(event, RunEnded):
                ended = event.reason
    if len(ends) < WARM_STEPS + STEPS:
        raise CannotMeasure(f"reported {len(ends)} steps: {ended}")
    seconds = (ends[WARM_STEPS + STEPS - 1] - ends[WARM_STEPS - 1]) / STEPS
    every, first = _macs()
    return BATCH * (6 * every - 2 * first) / seconds


def _photo(device: "torch.device") -> float:
    """FLOP/s of one photo, from the bytes of a JPEG to probabilities."""
    from resnet_core.data.images import read_image
    from resnet_core.data.preprocessing import Preprocessing
    from resnet_core.data.rendered import render_flower
    from resnet_core.inference.classifier import Classifier
    from resnet_core.models.zoo import build_model
    from resnet_core.training.checkpoint import Checkpoint

    model = build_model(NETWORK, num_classes=5)
    checkpoint = Checkpoint(
        architecture=NETWORK,
        architecture_arguments=model.architecture_arguments,
        class_names=tuple("abcde"),
        preprocessing=Preprocessing(resize=256, crop=SIZE),
    )
    classifier, file = Classifier(checkpoint, model, device=device), io.BytesIO()
    render_flower("tulips", 1, size=512).resize((500, 375)).save(file, "JPEG", quality=90)
    times = []
    for _ in range(PHOTOS + 3):
        started = time.perf_counter()
        classifier.classify(read_image(file.getvalue(), name="photo.jpg", draft_size=256))
        times.append(time.perf_counter() - started)
    return 2 * _macs()[0] / statistics.median(times[3:])


def _macs() -> tuple[int, int]:
    """Multiply-accumulates of one picture: of all layers, and of the first, whose pictures need no gradient."""
    from resnet_core.models.describe import describe
    from resnet_core.models.zoo import build_model

    described = describe(build_model(NETWORK, num_classes=5), SIZE)
    return described.macs, next(layer.macs for layer in described.layers if layer.leaf and layer.macs)


def _row(metric: str, *, at_least: float | None = None, moonshot: float | None = None) -> Comparison:
    return Comparison(
        metric=metric, unit="share", peer=None, larger_is_better=True, at_least=at_least, moonshot=moonshot
    )


BENCHMARK = Benchmark(
    name="limit",
    claim="Training and one photo use a good share of what the machine can compute.",
    sides={"ours": our_shares},
    comparisons=(
        _row("training", at_least=0.30, moonshot=0.60),
        _row("photo", at_least=0.30, moonshot=0.60),
        _row("training, of the best convolution"),
        _row("photo, of the best convolution"),
    ),
    blocks=3,
)
