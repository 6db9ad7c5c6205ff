"""The sum behind one number of a feature map: which inputs it saw, what each was multiplied by, what came out.

    shown = explain_value(model, inputs, "layer2.0.conv1", channel=3, row=5, column=7)
    shown.products.sum() + shown.bias      # equals shown.value to 1e-5 of its scale

Convolutions, linear layers, BatchNorm, ReLU, max and average pooling and shortcuts without weights can be explained; a
block or a stage cannot, but its parts can.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.layers import find_layer
from resnet_core.errors import ModelError
from resnet_core.models.cifar import PaddedShortcut


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """How one number came about. `inputs`, `weights` and `products` have one shape: `[C, kh, kw]` of a window, `[K]` of
    a linear layer, `[1]` of a rule for single numbers. `value` is what the network itself computed."""

    kind: str  # convolution, linear, batch-norm, relu, max-pool, average-pool, identity, padded
    inputs: Tensor  # what came in, zeros where the window reaches over the border
    weights: Tensor  # what each is multiplied by; for max-pool 1 at the largest, else 0
    products: Tensor  # inputs × weights
    bias: float  # what is added to their sum
    result: float  # sum of the products + bias, through the ReLU where it is one
    value: float  # the network's own number
    window: tuple[int, int, int, int] | None  # top, left, height, width in the incoming map, may begin below 0
    incoming: tuple[int, ...]  # shape of what came in: [C, h, w] or [K]

    @property
    def inside(self) -> Tensor:
        """Which places of the window `[kh, kw]` lie in the map and not over its border; all if there is none."""
        if self.window is None or self.inputs.ndim < 3:
            return torch.ones(self.inputs.shape[-2:], dtype=torch.bool)
        axes = []
        for axis in (0, 1):
            first, reach, count = self.window[axis], self.window[axis + 2], self.inputs.shape[axis + 1]
            places = first + torch.arange(count) * ((reach - 1) // max(1, count - 1))
            axes.append((places >= 0) & (places < self.incoming[axis + 1]))
        return axes[0][:, None] & axes[1][None, :]


@dataclass(frozen=True, kw_only=True)
class ChannelSum:
    """What one input channel, or one input of a linear layer, adds."""

    channel: int
    total: float


def channel_sums(shown: Explanation) -> tuple[ChannelSum, ...]:
    """Return what each input channel adds, the largest magnitude first; with the bias they sum to the result."""
    totals = shown.products.flatten(1).sum(1) if shown.products.ndim > 1 else shown.products
    order = totals.abs().argsort(descending=True, stable=True).tolist()
    return tuple(ChannelSum(channel=index, total=float(totals[index])) for index in order)


def explain_value(
    model: nn.Module, inputs: Tensor, layer: str, *, channel: int, row: int = 0, column: int = 0
) -> Explanation:
    """Return how the first picture of inputs [N,3,H,W] got that number of that layer's activation.

    Raises ModelError for a layer that has parts of its own, and for a place outside its activation.
    """
    module = find_layer(model, layer)
    explain = next((how for kind, how in _EXPLAINERS.items() if isinstance(module, kind)), None)
    if explain is None:
        raise ModelError(f"“{layer}” is made of several layers; choose one of them, such as one of its convolutions.")
    came_in, went_out = _pass_through(model, inputs, layer, module)
    place = (channel, row, column)[: went_out.ndim]
    if any(not 0 <= index < size for index, size in zip(place, went_out.shape, strict=True)):
        shape = "×".join(map(str, went_out.shape))
        raise ModelError(f"{layer} has {shape} numbers; channel {channel}, row {row}, column {column} is none of them.")
    return replace(explain(module, came_in, place, float(went_out[place])), incoming=tuple(came_in.shape))


def _pass_through(model: nn.Module, inputs: Tensor, layer: str, module: nn.Module) -> tuple[Tensor, Tensor]:
    """What comes into the layer and what leaves it for the first picture, float64 `[C, h, w]` or `[K]`."""
    seen: dict[str, Tensor] = {}
    owner = threading.get_ident()

    def before(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        if threading.get_ident() == owner:
            seen["in"] = given[0][0].detach().to("cpu", torch.float64, copy=True)

    def after(_: str, output: Tensor) -> None:
        seen["out"] = output[0].detach().to("cpu", torch.float64, copy=True)

    images = fitting_inputs(model, inputs[:1])
    handle = module.register_forward_pre_hook(before)
    try:
        with torch.inference_mode(False), torch.no_grad(), observing(model, {layer: module}, after):
            run_forward(model, images)
    finally:
        handle.remove()
    return seen["in"], seen["out"]


def _convolution(module: nn.Conv2d, came_in: Tensor, place: tuple[int, ...], value: float) -> Explanation:
    channel, row, column = place
    assert not isinstance(module.padding, str)
    height, width = module.kernel_size
    window = _window(came_in, row, column, module.kernel_size, module.stride, module.padding, module.dilation)
    size = module.in_channels // module.groups
    first = channel // (module.out_channels // module.groups) * size
    inputs = window[0][first : first + size]
    weights = module.weight[channel].detach().cpu().double()
    bias = 0.0 if module.bias is None else float(module.bias[channel].detach())
    assert inputs.shape == (size, height, width)
    return _weighted("convolution", inputs, weights, bias, value, window[1])


def _linear(module: nn.Linear, came_in: Tensor, place: tuple[int, ...], value: float) -> Explanation:
    bias = 0.0 if module.bias is None else float(module.bias[place[0]].detach())
    return _weighted("linear", came_in.flatten(), module.weight[place[0]].detach().cpu().double(), bias, value, None)


def _batch_norm(module: nn.BatchNorm2d, came_in: Tensor, place: tuple[int, ...], value: float) -> Explanation:
    """(x − mean) / √(variance + ε) · scale + shift, written as one factor and one summand."""
    channel = place[0]
    assert module.running_mean is not None
    assert module.running_var is not None
    scale = float(module.weight[channel].detach()) if module.affine else 1.0
    shift = float(module.bias[channel].detach()) if module.affine else 0.0
    factor = scale / (float(module.running_var[channel]) + module.eps) ** 0.5
    bias = shift - float(module.running_mean[channel]) * factor
    single = came_in[place].view(1)
    return _weighted("batch-norm", single, torch.full_like(single, factor), bias, value, None)


def _relu(module: nn.ReLU, came_in: Tensor, place: tuple[int, ...], value: float) -> Explanation:
    single = came_in[place].view(1)
    return _weighted("relu", single, (single > 0).double(), 0.0, value, None)


def _max_pool(module: nn.MaxPool2d, came_in: Tensor, place: tuple[int, ...], value: float) -> Explanation:
    channel, row, column = place
    sizes = (_pair(each) for each in (module.kernel_size, module.stride, module.padding, module.dilation))
    window, where = _window(came_in, row, column, *sizes, fill=float("-inf"))
    inputs = window[channel : channel + 1]
    weights = torch.zeros_like(inputs)
    weights.view(-1)[inputs.argmax()] = 1.0
    inside = inputs.where(inputs.isfinite(), 0.0)
    return _weighted("max-pool", inside, weights, 0.0, value, where)


def _average_pool(module: nn.AdaptiveAvgPool2d, came_in: Tensor, place: tuple[int, ...], value: float) -> Explanation:
    """The whole map: the networks here average down to 1×1."""
    channel = place[0]
    inputs = came_in[channel : channel + 1]
    height, width = inputs.shape[-2:]
    weights = torch.full_like(inputs, 1 / (height * width))
    return _weighted("average-pool", inputs, weights, 0.0, value, (0, 0, height, width))


def _identity(module: nn.Identity, came_in: Tensor, place: tuple[int, ...], value: float) -> Explanation:
    single = came_in[place].view(1)
    return _weighted("identity", single, torch.ones_like(single), 0.0, value, None)


def _padded(module: PaddedShortcut, came_in: Tensor, place: tuple[int, ...], value: float) -> Explanation:
    """Every second place of the channel it comes from; zero in channels that are new."""
    channel, row, column = place
    origin = channel - module.new_channels // 2
    known = 0 <= origin < len(came_in)
    where = (row * module.stride, column * module.stride)
    single = (came_in[origin][where] if known else came_in.new_zeros(())).view(1)
    return _weighted("padded", single, torch.ones_like(single), 0.0, value, None)


def _window(
    came_in: Tensor,
    row: int,
    column: int,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    *,
    fill: float = 0.0,
) -> tuple[Tensor, tuple[int, int, int, int]]:
    """The part `[C, kh, kw]` of a map `[C, h, w]` that an output's place sees, and where it lies."""
    padded = functional.pad(came_in, (padding[1], padding[1], padding[0], padding[0]), value=fill)
    top, left = row * stride[0], column * stride[1]
    height, width = (dilation[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1))
    part = padded[:, top : top + height : dilation[0], left : left + width : dilation[1]]
    return part, (top - padding[0], left - padding[1], height, width)


def _weighted(
    kind: str, inputs: Tensor, weights: Tensor, bias: float, value: float, window: tuple[int, int, int, int] | None
) -> Explanation:
    products = inputs * weights
    return Explanation(
        kind=kind,
        inputs=inputs,
        weights=weights,
        products=products,
        bias=bias,
        result=float(products.sum()) + bias,
        value=value,
        window=window,
        incoming=(),
    )


def _pair(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else value


_EXPLAINERS: dict[type[nn.Module], Callable[..., Explanation]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: _relu,
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: _average_pool,
    nn.Identity: _identity,
    PaddedShortcut: _padded,
}
