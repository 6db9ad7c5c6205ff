"""The weights of a layer: the first layer's kernels as colour pictures, any kernel as numbers.

kernel_sheet(model, "conv1")                  64 small colour pictures: what each channel looks for
kernel_sheet(model, "layer2.0.conv1", 5)      channel 5's kernels, one for each channel that comes in
kernel_numbers(model, "layer2.0.conv1", 5, 17)
"""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from resnet_core.activations.color_map import NEUTRAL
from resnet_core.activations.render import Scale, render_sheet
from resnet_core.activations.sheet_layout import GAP, check_sheet
from resnet_core.errors import ModelError

Weighted = nn.Conv2d | nn.Linear
KERNEL_EDGE = 42  # px of a colour kernel: six times 7, fourteen times 3


def kernel_layer(model: nn.Module, layer: str) -> Weighted:
    """Return the convolution or linear layer of that name; raises ModelError where it has no kernels of its own."""
    module = dict(model.named_modules()).get(layer)
    if module is None:
        raise ModelError(f"There is no layer called {str(layer)[:60]!r} in this network.")
    if not isinstance(module, nn.Conv2d | nn.Linear):
        raise ModelError(f"“{layer}” has no kernels; choose a convolution, such as conv1, or fc.")
    return module


def has_color_kernels(model: nn.Module, layer: str) -> bool:
    """Return whether a layer's kernels can be shown as colour pictures: it looks at the picture itself."""
    module = dict(model.named_modules()).get(layer)
    return isinstance(module, nn.Conv2d) and module.weight.shape[1] == 3


def kernel_sheet(
    model: nn.Module,
    layer: str,
    channel: int | None = None,
    *,
    scale: Scale = "channel",
    max_width: int = 1100,
    page: int = 1,
) -> Image.Image:
    """Return the kernels of a layer as one picture, zero in the middle of grey or of the colours.

    Without `channel`, for a layer that looks at the picture itself: each kernel [3,kh,kw] in its own colours, RGB;
    what it answers to most looks as the kernel does. With it: the kernels [kh,kw] by which that channel weighs each
    incoming one, blue below zero, orange above, 512 a page. Raises ModelError where there are none.
    """
    weight = _weight(model, layer)
    if channel is not None:
        kernels = weight[_checked(channel, len(weight), "channel")]
        return render_sheet(kernels, scale=scale, colors="blue-orange", max_width=max_width, page=page).image
    if weight.shape[1] != 3:
        raise ModelError(
            f"The kernels of “{layer}” look at {weight.shape[1]} channels, not at colours; name a channel."
        )
    return _color_sheet(weight, scale, max_width)


def kernel_numbers(model: nn.Module, layer: str, channel: int, incoming: int = 0) -> Tensor:
    """Return the numbers by which a channel weighs one incoming channel, [kh,kw]; of a linear layer all of them, [K].

    Raises ModelError for a layer without kernels and for a channel it lacks.
    """
    weight = _weight(model, layer)
    row = weight[_checked(channel, len(weight), "channel")]
    return (
        row
        if isinstance(kernel_layer(model, layer), nn.Linear)
        else row[_checked(incoming, len(row), "incoming channel")]
    )


def incoming_channels(model: nn.Module, layer: str) -> int:
    """Return how many channels come into each kernel of a layer."""
    return int(kernel_layer(model, layer).weight.shape[1])


def _weight(model: nn.Module, layer: str) -> Tensor:
    return kernel_layer(model, layer).weight.detach().to("cpu", torch.float32).contiguous()


def _checked(index: int, count: int, what: str) -> int:
    if not 0 <= index < count:
        raise ModelError(f"There is no {what} {index}; this layer has {count}, from 0 to {count - 1}.")
    return index


def _color_sheet(weight: Tensor, scale: Scale, max_width: int) -> Image.Image:
    """Kernels [C,3,kh,kw] side by side, 0 as middle grey, the largest magnitude as full colour."""
    reach = weight.abs().amax(dim=(1, 2, 3), keepdim=True) if scale == "channel" else weight.abs().amax()
    shades = (weight / reach.clamp(min=1e-12) * 127.5 + 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    count, height, width, _ = shades.shape
    times = max(1, KERNEL_EDGE // max(height, width))
    tiles = shades.repeat(times, axis=1).repeat(times, axis=2)
    columns = max(1, min(math.ceil(math.sqrt(count * 4 / 3)), (max_width + GAP) // (width * times + GAP)))
    rows = math.ceil(count / columns)
    check_sheet(columns * (width * times + GAP), rows * (height * times + GAP))
    canvas = np.full((rows * (height * times + GAP), columns * (width * times + GAP), 3), _neutral(), dtype=np.uint8)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, columns)
        top, left = row * (height * times + GAP), column * (width * times + GAP)
        canvas[top : top + height * times, left : left + width * times] = tile
    return Image.fromarray(canvas[:-GAP, :-GAP])


def _neutral() -> list[int]:
    return list(bytes.fromhex(NEUTRAL[1:]))
