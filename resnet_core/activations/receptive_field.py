"""Which part of the picture a place of a feature map can see, found by gradient, so that skips are counted right."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.layers import find_layer
from resnet_core.errors import ModelError


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

    The network is asked with all weights at one and every non-linearity replaced by its slope of one, so nothing
    cancels and no dead ReLU hides a path: what counts is only how the layers are joined. Raises ModelError for a
    layer without maps or a place outside them.
    """
    twin = _transparent_twin(model)
    module = find_layer(twin, layer)
    seen: list[Tensor] = []
    images = fitting_inputs(twin, torch.ones(1, 3, *image_size, device="cpu")).requires_grad_()
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        observing(twin, {layer: module}, lambda _, out: seen.append(out)),
    ):
        run_forward(twin, images)
    maps = seen[0]
    if maps.ndim != 4:
        raise ModelError(f"{layer} has no maps: each of its numbers sees the whole picture.")
    height, width = maps.shape[-2:]
    if not (0 <= row < height and 0 <= column < width):
        raise ModelError(
            f"The maps of {layer} have {height}×{width} places; row {row}, column {column} is none of them."
        )
    (gradient,) = torch.autograd.grad(maps[0, :, row, column].sum(), images)
    touched = gradient[0].ne(0).any(0)
    rows, columns = (touched.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return ReceptiveField(top=rows[0], left=columns[0], bottom=rows[-1], right=columns[-1])


def _transparent_twin(model: nn.Module) -> nn.Module:
    """A float64 copy through which every path from picture to place carries the same sign."""
    twin = copy.deepcopy(model).to("cpu", torch.float64).eval()
    for name, module in list(twin.named_modules()):
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())  # sums stay near one
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            if module.affine:
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.MaxPool2d):
            kernel, stride, padding = module.kernel_size, module.stride, module.padding
            _replace(twin, name, nn.AvgPool2d(kernel, stride, padding))  # a maximum passes only one of its inputs on
    return twin.requires_grad_(False)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
