"""Why shapes part: one sentence for the layer at which a forward pass failed, with the numbers and the cure.

The tutorial's lesson in code: `m1: [2048 x 2], m2: [512 x 10]` becomes "layer fc expects 512 values but
receives 2048 (512×2×2): pool to 1×1 first". The numbers come from the module and its input, not from torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from resnet_core.models.resnet import Bottleneck, ResidualBlock

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The layer that could not run."""

    layer: str
    sentence: str  # without the full stop
    too_small: bool = False  # a larger picture would help


def by(shape: Sequence[int]) -> str:
    """Return a shape as people write it: 512×2×2."""
    return "×".join(str(edge) for edge in shape)


def explain_fault(
    layer: str, module: nn.Module, *, received: Shape, last_map: Shape, shapes: dict[str, Shape], cause: str
) -> Fault:
    """Return why `module` could not run.

    received is its input and last_map the latest feature map [C,H,W] before it, both without the batch;
    shapes holds the outputs of the layers that ran; cause is torch's message, quoted if nothing fits better.
    """
    name = f"layer {layer}" if layer else f"the {type(module).__name__}"
    if isinstance(module, nn.Linear):
        sentence = _linear_sentence(name, module, received, last_map)
    elif isinstance(module, CONVOLUTIONS + BATCH_NORMS) and received[:1] != (_channels(module),):
        cure = f"build it for {received[0]} channels" if received else "give it a feature map"
        sentence = f"{name} expects {_channels(module)} channels but receives {by(received)}: {cure}"
    elif isinstance(module, CONVOLUTIONS + POOLS) and (kernel := _oversized_kernel(module, received)):
        sentence = f"the {kernel} kernel of {name} does not fit into its input of {by(received[1:])}"
        return Fault(layer=layer, sentence=sentence, too_small=True)
    elif isinstance(module, ResidualBlock) and (parts := _summands(layer, module, received, shapes)):
        sentence = (
            f"{name} cannot add its branch of {by(parts[0])} to its shortcut of {by(parts[1])}: "
            "give the shortcut a 1×1 convolution with the branch's stride and channels"
        )
    else:
        sentence = f"{name} cannot take an input of {by(received) or 'this kind'} ({_first_line(cause)})"
    return Fault(layer=layer, sentence=sentence)


def _linear_sentence(name: str, module: nn.Linear, received: Shape, last_map: Shape) -> str:
    expected = module.in_features
    flattened = len(received) == 1
    values = received[0] if flattened else math.prod(received)
    shown = last_map if flattened and math.prod(last_map) == values else received
    origin = f" ({by(shown)})" if len(shown) > 1 else ""
    told = f"{name} expects {expected} values but receives {values}{origin}"
    if values == expected:
        return f"{told} that are not in one row: flatten first"
    if len(shown) > 1 and shown[0] == expected:
        return f"{told}: pool to {by([1] * (len(shown) - 1))} first" + ("" if flattened else " and flatten")
    return f"{told}: build it for {values} values, or change what comes before"


def _channels(module: nn.Module) -> object:
    return module.in_channels if isinstance(module, CONVOLUTIONS) else module.num_features


def _oversized_kernel(module: nn.Module, received: Shape) -> str:
    """Return the kernel, e.g. 3×3, if it reaches over the padded input, else an empty text."""
    edges = received[1:]
    kernel = _per_edge(module.kernel_size, len(edges))
    dilation = _per_edge(getattr(module, "dilation", 1), len(edges))
    padding = _per_edge(module.padding, len(edges))
    reach = [step * (size - 1) + 1 for size, step in zip(kernel, dilation, strict=True)]
    fits = all(edge + 2 * rim >= size for edge, rim, size in zip(edges, padding, reach, strict=True))
    return "" if fits else by(kernel)


def _per_edge(setting: object, count: int) -> list[int]:
    if isinstance(setting, int):
        return [setting] * count
    if isinstance(setting, tuple) and len(setting) == count:
        return list(setting)
    return [0] * count  # padding "same" or "valid": none that would help a kernel to fit


def _summands(
    layer: str, block: ResidualBlock, received: Shape, shapes: dict[str, Shape]
) -> tuple[Shape, Shape] | None:
    prefix = f"{layer}." if layer else ""
    branch = shapes.get(f"{prefix}{'bn3' if isinstance(block, Bottleneck) else 'bn2'}")
    skip = received if block.downsample is None else shapes.get(f"{prefix}downsample")
    return (branch, skip) if branch and skip and branch != skip else None


def _first_line(cause: str) -> str:
    return (cause.strip() or "no reason given").splitlines()[0].rstrip(".")
