"""Activations of a network, recorded while it looks at a picture, as private copies.

Everything borrowed is given back, also when something raises: hooks, the train flag of every submodule, gradients.
The hooks act only in the thread that placed them, so a `Classifier` shared between threads keeps answering.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from resnet_core.activations.layers import SHAPE_FAULTS, find_layers
from resnet_core.errors import ModelError
from resnet_core.models.describe import describe

_borrowing = threading.RLock()  # one observer at a time: two could give each other's train flags back

Observer = Callable[[str, Tensor], Tensor | None]  # layer name and output in, None or a replacement out


class Enough(Exception):
    """Everything asked for has been seen; the rest of the forward pass may be skipped."""


@dataclass(frozen=True)
class ActivationStats:
    """What an activation's numbers look like; mean to maximum are over its finite values, NaN if there are none."""

    shape: tuple[int, ...]
    mean: float
    std: float  # of the values themselves (divided by their count)
    minimum: float
    maximum: float
    zero_share: float  # of all values, exactly 0: what the ReLUs switched off


def capture_activations(model: nn.Module, inputs: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Return the activation of each named layer for inputs [N,3,H,W]: float32 clones on the CPU, in eval mode.

    The forward pass ends at the deepest layer asked for. Keys keep the order asked for. Raises ModelError for a
    layer that cannot be observed, for inputs of another shape and for pictures the network cannot take.
    """
    modules = find_layers(model, layers)
    if not modules:
        return {}
    images = fitting_inputs(model, inputs)
    captured: dict[str, Tensor] = {}

    def note(name: str, output: Tensor) -> None:
        # A copy, not a view: the in-place ReLU after a batch norm would rewrite what was captured.
        captured[name] = output.detach().to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)
        if len(captured) == len(modules):
            raise Enough

    with torch.inference_mode(False), torch.no_grad(), observing(model, modules, note):
        try:
            run_forward(model, images)
        except Enough:
            return {name: captured[name] for name in modules}
    missing = next(name for name in modules if name not in captured)
    raise ModelError(f"The layer {missing!r} did not run for this picture; choose another layer.")


def describe_activation(activation: Tensor) -> ActivationStats:
    """Return shape and statistics of an activation of any shape."""
    values = activation.detach().to("cpu", torch.float32)
    shape = tuple(values.shape)
    whole = torch.isfinite(values)
    finite = (values if bool(whole.all()) else values[whole]).double()  # choosing takes five times as long as the rest
    if not finite.numel():
        return ActivationStats(shape, *(float("nan"),) * 4, zero_share=0.0)
    std, mean = torch.std_mean(finite, correction=0)
    low, high = torch.aminmax(finite)
    zeros = values.numel() - int(torch.count_nonzero(values))
    return ActivationStats(shape, float(mean), float(std), float(low), float(high), zeros / values.numel())


def fitting_inputs(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return inputs [N,3,H,W] on the network's device and in its precision; raises ModelError for another shape."""
    if inputs.ndim != 4 or inputs.shape[1] != 3 or not inputs.numel():
        raise ModelError(f"The network looks at batches of shape [N, 3, H, W], not {list(inputs.shape)}.")
    weight = next((each for each in model.parameters() if each.is_floating_point()), None)
    return inputs.float() if weight is None else inputs.to(weight.device, weight.dtype)


def run_forward(model: nn.Module, images: Tensor) -> Any:
    """Return model(images); where the shapes are at fault, raises ModelError with the layer and the cure."""
    try:
        return model(images)
    except SHAPE_FAULTS as error:
        if not isinstance(error, torch.OutOfMemoryError):
            _explain_shapes(model, images, error)
        raise


@contextmanager
def observing(model: nn.Module, modules: Mapping[str, nn.Module], observer: Observer) -> Iterator[None]:
    """While open, the model is in eval mode and its modules' outputs pass through `observer`, in this thread."""
    with _borrowing:
        flags = [(module, module.training) for module in model.modules()]
        handles = []
        try:
            model.eval()
            for name, module in modules.items():
                handles.append(module.register_forward_hook(_hook(name, observer)))
            yield
        finally:
            for handle in handles:
                handle.remove()
            for module, training in flags:
                module.training = training


@contextmanager
def observing_inputs(modules: Mapping[str, nn.Module], observer: Callable[[str, Tensor], None]) -> Iterator[None]:
    """While open, `observer` is told what each module receives, in this thread; inside `observing` only."""
    handles = []
    try:
        for name, module in modules.items():
            handles.append(module.register_forward_pre_hook(_pre_hook(name, observer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pre_hook(name: str, observer: Callable[[str, Tensor], None]) -> Callable[..., None]:
    owner = threading.get_ident()

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if threading.get_ident() == owner:
            observer(name, inputs[0])

    return hook


def _hook(name: str, observer: Observer) -> Callable[..., Tensor | None]:
    owner = threading.get_ident()

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return observer(name, output) if threading.get_ident() == owner else None

    return hook


def _explain_shapes(model: nn.Module, images: Tensor, error: Exception) -> None:
    try:
        describe(model, (images.shape[-2], images.shape[-1]))
    except ModelError as explained:
        raise explained from error
