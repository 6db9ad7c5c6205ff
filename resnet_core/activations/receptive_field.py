"""Which part of the picture a place of a feature map can see, found by gradient, so that skips are counted right.

    receptive_field(model, (112, 112), "layer2", row=3, column=5)     # one place
    field_spans(model, (112, 112), "layer2")                          # every row's and every column's share of it

What counts is only how the layers are joined. So the gradient runs through a copy with a single channel, whose weights
are all positive and whose non-linearities pass everything on: nothing cancels, no dead ReLU hides a path, and even
ResNet-152 costs a moment.
"""

import threading
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from resnet_core.activations.layers import SHAPE_FAULTS, find_layer, weightless_twin
from resnet_core.errors import ModelError
from resnet_core.models.cifar import PaddedShortcut
from resnet_core.models.describe import describe

Spans = tuple[tuple[int, int], ...]  # first and last pixel, inside the picture, of each row or column of a map


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """Rows and columns of the network's input that a place depends on, in px; the last ones are inside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows it spans."""
        return self.bottom - self.top + 1

    @property
    def width(self) -> int:
        """Columns it spans."""
        return self.right - self.left + 1


def receptive_field(
    model: nn.Module, image_size: tuple[int, int], layer: str, *, row: int, column: int
) -> ReceptiveField:
    """Return what the place (row, column) of that layer's maps sees of a picture of image_size (height, width) px.

    Raises ModelError for a layer without maps or a place outside them.
    """
    pixels, maps = _joined(model, image_size, layer)
    height, width = maps.shape[-2:]
    if not (0 <= row < height and 0 <= column < width):
        raise ModelError(
            f"The maps of {layer} have {height}×{width} places; row {row}, column {column} is none of them."
        )
    (top, bottom), (left, right) = _seen(pixels, maps, row, column)
    return ReceptiveField(top=top, left=left, bottom=bottom, right=right)


def field_spans(model: nn.Module, image_size: tuple[int, int], layer: str) -> tuple[Spans, Spans]:
    """Return the rows of a picture of image_size that each row of the layer's maps sees, and the columns alike.

    Kernels are rectangles, so the rows a place sees do not depend on its column: both lists together hold the
    receptive field of every place. Raises ModelError for a layer without maps.
    """
    pixels, maps = _joined(model, image_size, layer)
    height, width = maps.shape[-2:]
    places = [(min(step, height - 1), min(step, width - 1)) for step in range(max(height, width))]
    seen = [_seen(pixels, maps, row, column) for row, column in places]
    return tuple(rows for rows, _ in seen[:height]), tuple(columns for _, columns in seen[:width])


def _seen(pixels: Tensor, maps: Tensor, row: int, column: int) -> tuple[tuple[int, int], tuple[int, int]]:
    (gradient,) = torch.autograd.grad(maps[0, 0, row, column], pixels, retain_graph=True)
    touched = gradient[0, 0].ne(0)
    rows, columns = (touched.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return (rows[0], rows[-1]), (columns[0], columns[-1])


class _Reached(Exception):
    """The layer has run; the rest of the network may be skipped."""


def _joined(model: nn.Module, image_size: tuple[int, int], layer: str) -> tuple[Tensor, Tensor]:
    """A picture [1,1,H,W] and what the layer of the transparent twin makes of it, [1,1,h,w], in one graph.

    That of the last question is kept: who clicks through a map asks for place after place.
    """
    question = (tuple(image_size), layer)
    with _asking:
        remembered = _remembered.get(model)
        if remembered is None or remembered[0] != question:
            remembered = _remembered[model] = (question, *_run(model, image_size, layer))
    return remembered[1], remembered[2]


def _run(model: nn.Module, image_size: tuple[int, int], layer: str) -> tuple[Tensor, Tensor]:
    find_layer(model, layer)
    twin = _transparent_twin(model)
    reached: list[Tensor] = []

    def note(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        reached.append(output)
        raise _Reached

    twin.get_submodule(layer).register_forward_hook(note)
    with torch.inference_mode(False), torch.enable_grad():
        pixels = torch.ones(1, 1, *image_size, dtype=torch.float64, device="cpu", requires_grad=True)
        try:
            twin(pixels)
        except _Reached:
            pass
        except SHAPE_FAULTS:
            describe(model, image_size)  # raises the sentence that names the layer and the cure
            raise
    if not reached or reached[0].ndim != 4:
        raise ModelError(f"{layer} has no maps: each of its numbers sees the whole picture.")
    return pixels, reached[0]


def _transparent_twin(model: nn.Module) -> nn.Module:
    """A float64 copy with one channel, through which every path from picture to place carries the same sign."""
    twin = weightless_twin(model)
    for name, module in list(twin.named_modules()):
        if isinstance(module, nn.Conv2d):
            _replace(twin, name, _thin(module))
        elif isinstance(module, nn.BatchNorm2d):
            _replace(twin, name, nn.Identity())
        elif isinstance(module, nn.Linear):
            _replace(twin, name, _Mean())
        elif isinstance(module, nn.MaxPool2d):  # a maximum passes only one of its inputs on
            _replace(twin, name, nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode))
        elif isinstance(module, PaddedShortcut):
            module.new_channels = 0
    return twin.requires_grad_(False)


def _thin(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same window with one channel in and out; equal weights that sum to one."""
    kernel, stride, dilation = ((each[0], each[1]) for each in (
        convolution.kernel_size, convolution.stride, convolution.dilation
    ))  # fmt: skip
    padding: Any = convolution.padding
    thin = nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False, dtype=torch.float64, device="cpu")
    nn.init.constant_(thin.weight, 1 / thin.weight.numel())
    return thin


class _Mean(nn.Module):
    """Stands for a linear layer: it joins everything."""

    def forward(self, features: Tensor) -> Tensor:
        """Return the mean [N, 1] of features [N, K]."""
        return features.mean(dim=-1, keepdim=True)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)


_asking = threading.Lock()
_remembered: weakref.WeakKeyDictionary[nn.Module, tuple[Any, Tensor, Tensor]] = weakref.WeakKeyDictionary()
