"""All maps of a layer as one encoded picture: ours against a forward pass and one matplotlib subplot for each map.

The same ResNet-34 at 224 px, the same maps in the same grid, the forward pass counted on both sides.
"""

import functools
import io
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks.harness import Benchmark, Comparison, Measured, Options

if TYPE_CHECKING:
    from torch import Tensor, nn

LAYERS = {"conv1": 64, "layer4": 512}  # layer -> maps: 112×112 and 7×7
OUR_ROUNDS, PLOT_ROUNDS = 15, 1
SHEET_WIDTH = 1100  # px, on both sides


def our_sheet(_: Options) -> Measured:
    """Milliseconds from a prepared picture to the encoded sheet of each layer."""
    from resnet_core.activations.capture import capture_activations
    from resnet_core.activations.render import encode_sheet, render_sheet

    model, inputs = _network()

    def draw(layer: str) -> "tuple[Tensor, bytes]":
        maps = capture_activations(model, inputs, [layer])[layer][0]
        return maps, encode_sheet(render_sheet(maps, max_width=SHEET_WIDTH).image)

    return _measured(draw, OUR_ROUNDS)


def matplotlib_subplots(_: Options) -> Measured:
    """Milliseconds from a prepared picture to the PNG of a figure with one subplot a map."""
    import matplotlib as mpl
    import torch

    mpl.use("Agg")
    from matplotlib import pyplot

    model, inputs = _network()

    def draw(layer: str) -> "tuple[Tensor, bytes]":
        seen: list[Tensor] = []
        hook = model.get_submodule(layer).register_forward_hook(lambda _, __, output: seen.append(output.clone()))
        with torch.no_grad():
            model(inputs)
        hook.remove()
        maps, file = seen[0][0], io.BytesIO()
        columns = _columns(layer)
        rows = -(-len(maps) // columns)
        figure = pyplot.figure(figsize=(SHEET_WIDTH / 100, SHEET_WIDTH / 100 * rows / columns), dpi=100)
        for number, single in enumerate(maps.numpy(), start=1):
            pyplot.subplot(rows, columns, number)
            pyplot.axis("off")
            pyplot.imshow(single)
        figure.savefig(file, format="png")
        pyplot.close(figure)
        return maps, file.getvalue()

    pyplot.subplot(1, 1, 1)  # loads fonts before the clock starts
    pyplot.savefig(io.BytesIO(), format="png")
    pyplot.close()
    return _measured(draw, PLOT_ROUNDS)


def _measured(draw: "Callable[[str], tuple[Tensor, bytes]]", rounds: int) -> Measured:
    values, answers, notes = {}, list[float](), {}
    for layer, count in LAYERS.items():
        maps, _ = draw(layer)
        assert len(maps) == count
        answers += (maps.amax((1, 2)) / maps.abs().max()).tolist()  # as shares: an untrained network's maps are large
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            _, encoded = draw(layer)
            times.append(time.perf_counter() - started)
        values[_metric(layer)] = statistics.median(times) * 1000
        notes[layer] = {"kilobytes": len(encoded) / 1000, "milliseconds": [round(one * 1000, 3) for one in times]}
    return Measured(values=values, answers=answers, notes=notes)


def _network() -> "tuple[nn.Module, Tensor]":
    import torch

    from resnet_core.models.zoo import build_model

    torch.manual_seed(0)
    model = build_model("resnet34", num_classes=5).eval()
    return model, torch.randn(1, 3, 224, 224)


@functools.cache
def _columns(layer: str) -> int:
    """As many maps a row as our sheet has, so that both draw the same grid."""
    import torch

    from resnet_core.activations.render import render_sheet

    side = {"conv1": 112, "layer4": 7}[layer]
    return render_sheet(torch.zeros(LAYERS[layer], side, side), max_width=SHEET_WIDTH).columns


def _metric(layer: str) -> str:
    return f"{LAYERS[layer]} maps of {layer}"


def _without_matplotlib() -> str | None:
    return None if find_spec("matplotlib") else "is not installed (pip install matplotlib)"


BENCHMARK = Benchmark(
    name="feature-maps",
    claim="All maps of a layer appear many times sooner than as matplotlib subplots.",
    sides={"ours": our_sheet, "matplotlib": matplotlib_subplots},
    comparisons=tuple(
        Comparison(
            metric=_metric(layer),
            unit="ms",
            peer="matplotlib",
            larger_is_better=False,
            at_least=50,
            moonshot=200,
        )
        for layer in LAYERS
    ),
    tolerance=1e-4,
    blocks=3,
    missing={"matplotlib": _without_matplotlib},
)
