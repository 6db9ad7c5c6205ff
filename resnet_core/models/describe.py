"""What a network is made of: `describe` gives one row a layer with its shape, parameters and MACs.

A private copy without numbers runs instead of the network itself: shapes without arithmetic. So even ResNet-1202 costs
a moment and no memory, and a network that is training meanwhile is never touched. Our own networks run on a batch of no
pictures; foreign ones, which may count their batch, on torch's meta device, at 160 MB and two seconds for its compiler.
"""

import copy
import functools
import itertools
import math
from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from resnet_core.errors import ModelError
from resnet_core.models.resnet import Network
from resnet_core.models.shapes import CONVOLUTIONS, Fault, Shape, by, explain_fault

MAX_IMAGE_SIZE = 16_384  # edge in pixels; beyond it the numbers stop meaning anything
SEARCH_LIMIT = 512  # edge in pixels up to which smallest_image_size looks


@dataclass(frozen=True, kw_only=True)
class LayerDescription:
    """One module: a leaf such as a convolution, or a block or stage that sums up the leaves inside it."""

    name: str
    kind: str  # class name of a leaf or block; "stage" for a group of blocks right below the network
    output_shape: Shape  # without the batch: [C,H,W] or [K]; empty if the layer never ran
    parameters: int
    macs: int  # multiply-accumulates for one image, of convolutions and linear layers only, as fvcore counts
    stage: str  # "stem", "layer1" …, "head"; in foreign networks the first part of the name
    runs: int  # how often it ran in one forward pass
    leaf: bool  # only leaves add up to the totals


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """A network at one picture size: its layers in order of definition, totals that count each leaf once."""

    layers: tuple[LayerDescription, ...]
    parameters: int
    macs: int
    image_size: tuple[int, int]  # height, width in pixels
    output_shape: Shape


def describe(model: nn.Module, image_size: int | tuple[int, int]) -> ModelDescription:
    """Return the layer table of any network of color pictures, for one of image_size (height, width) pixels.

    Raises ModelError with the layer at which the shapes part, the numbers and the cure.
    """
    found = survey(model, image_size)
    if found.fault:
        raise ModelError(found.fault)
    return found.table


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A layer table as far as a picture gets: layers behind a fault have an empty shape and no MACs."""

    table: ModelDescription
    received: dict[str, Shape]  # what came into each layer, without the batch
    fault: str  # the sentence with the layer, the numbers and the cure; empty where all fits


def survey(model: nn.Module, image_size: int | tuple[int, int], *, without: Collection[str] = ()) -> Survey:
    """Return what `describe` returns, also where the shapes part; `without` names layers that are passed by.

    Raises ModelError for a size that is none.
    """
    size = _checked_size(image_size)
    trace = _Trace(model, without)
    fault = trace.run(size)
    sentence = _fault_sentence(trace, fault, size) if fault else ""
    if sentence:
        trace.run(size)  # looking for the smallest size has left other shapes behind
    table = ModelDescription(
        layers=tuple(_row(model, trace, name, module) for name, module in _described_modules(model)),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=trace.macs[""],
        image_size=size,
        output_shape=trace.shapes.get("", ()),
    )
    return Survey(table=table, received=trace.received, fault=sentence)


def smallest_image_size(model: nn.Module) -> int:
    """Return the least edge, in pixels, of a square picture the network can take.

    Raises ModelError if none up to 512 works, with what stops the largest.
    """
    trace = _Trace(model)
    smallest = _search(trace)
    if smallest is not None:
        return smallest
    fault = trace.run((SEARCH_LIMIT, SEARCH_LIMIT))
    reason = fault.sentence if fault else "its shapes never fit"
    raise ModelError(f"No picture up to {SEARCH_LIMIT}×{SEARCH_LIMIT} pixels fits this network: {reason}.")


class _Trace:
    """Runs a weightless copy of a network and notes what each module received and gave."""

    def __init__(self, model: nn.Module, without: Collection[str] = ()) -> None:
        self._copy = weightless_copy(model)
        for name in without:
            parent, _, leaf = name.rpartition(".")
            setattr(self._copy.get_submodule(parent), leaf, nn.Identity())
        self._dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
        for name, module in self._copy.named_modules():
            module.register_forward_pre_hook(self._enter(name))
            module.register_forward_hook(self._leave(name))
        self._reset((0, 0))

    def _reset(self, size: tuple[int, int]) -> None:
        self.shapes: dict[str, Shape] = {}
        self.received: dict[str, Shape] = {}
        self.runs: Counter[str] = Counter()
        self.macs: Counter[str] = Counter()
        self._open: list[tuple[str, nn.Module, Shape]] = []  # the modules inside which we are, innermost last
        self._last_map: Shape = (3, *size)

    def run(self, size: tuple[int, int]) -> Fault | None:
        """Run one image of size (height, width); return the fault that stopped it, or None."""
        self._reset(size)
        try:
            with torch.no_grad():
                self._copy(blank_batch(self._copy, size, self._dtype))
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
            name, module, received = self._open[-1]
            return explain_fault(
                name,
                module,
                received=received,
                last_map=self._last_map,
                shapes=self.shapes,
                cause=str(error),
            )
        return None

    def _enter(self, name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.received[name] = _shape_of(inputs)
            self._open.append((name, module, self.received[name]))

        return note

    def _leave(self, name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._open.pop()
            shape = _shape_of(output)
            self.shapes[name] = shape
            self.runs[name] += 1
            if len(shape) > 1:
                self._last_map = shape
            self._count_macs(name, _macs(module, shape))

        return note

    def _count_macs(self, name: str, macs: int) -> None:
        """Credit a layer's MACs to itself, to every block and stage around it and to the network."""
        self.macs[name] += macs
        while macs and name:
            name = name.rpartition(".")[0]
            self.macs[name] += macs


def weightless_copy(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose tensors hold no memory, without the hooks of the original: for shapes only.

    Run it on `blank_batch` of the copy.
    """
    memo: dict[int, Any] = {}
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        memo[id(tensor)] = _blank(tensor, ours=isinstance(model, Network))
    for module in model.modules():
        for key, value in vars(module).items():
            if "_hooks" in key and isinstance(value, dict):
                memo[id(value)] = OrderedDict()
    twin = copy.deepcopy(model, memo).eval()
    for module in twin.modules():
        if type(module) is nn.BatchNorm2d:  # on meta torch takes 3 ms for the shape of each
            module.forward = functools.partial(_norm_shape, module)  # type: ignore[method-assign]
        elif type(module) is nn.Conv2d and isinstance(model, Network):
            module.forward = functools.partial(_conv_shape, module)  # type: ignore[method-assign]
    return twin


def blank_batch(twin: nn.Module, size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Return what a weightless copy runs on for pictures of size (height, width)."""
    ours = isinstance(twin, Network)
    return torch.empty((0 if ours else 1, 3, *size), dtype=dtype, device="cpu" if ours else "meta")


def _blank(tensor: Tensor, *, ours: bool) -> Tensor:
    """Return a tensor of that shape without memory: one number repeated, or one on the meta device."""
    if ours:
        return torch.empty((), dtype=tensor.dtype, device="cpu").expand(tensor.shape)
    return torch.empty_like(tensor, device="meta")


def _norm_shape(norm: nn.BatchNorm2d, maps: Tensor) -> Tensor:
    """Return what a batch norm returns as far as shapes go; where they do not fit, its own error comes."""
    fits = maps.ndim == 4 and maps.shape[1] == norm.num_features
    if not fits and not len(maps):
        raise RuntimeError(f"expected maps of {norm.num_features} channels, got {tuple(maps.shape[1:])}")
    return torch.empty_like(maps) if fits else nn.BatchNorm2d.forward(norm, maps)


def _conv_shape(conv: nn.Conv2d, maps: Tensor) -> Tensor:
    """Return what a convolution returns as far as shapes go: one channel tells the size, and no weight is touched."""
    if maps.ndim != 4 or maps.shape[1] != conv.in_channels:
        raise RuntimeError(f"expected maps of {conv.in_channels} channels, got {tuple(maps.shape[1:])}")
    kernel = torch.empty((1, 1, *conv.kernel_size), dtype=maps.dtype)
    single = conv2d(maps[:, :1], kernel, None, conv.stride, conv.padding, conv.dilation)
    return maps.new_empty((len(maps), conv.out_channels, *single.shape[2:]))


def _shape_of(value: Any) -> Shape:
    """Return the shape of a tensor, or of the first one in a tuple or list, without the batch."""
    if isinstance(value, (tuple, list)) and value:
        return _shape_of(value[0])
    return tuple(value.shape[1:]) if isinstance(value, Tensor) else ()


def _macs(module: nn.Module, output: Shape) -> int:
    if isinstance(module, CONVOLUTIONS):
        return math.prod(output) * (module.in_channels // module.groups) * math.prod(module.kernel_size)
    if isinstance(module, nn.Linear):
        return math.prod(output) * module.in_features
    return 0


def _described_modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return all modules by name but the network itself, unless it is a single layer."""
    inside = list(model.named_modules())[1:]
    return inside or [("", model)]


def _row(model: nn.Module, trace: _Trace, name: str, module: nn.Module) -> LayerDescription:
    leaf = next(module.children(), None) is None
    kind = "stage" if isinstance(module, nn.Sequential) and "." not in name else type(module).__name__
    return LayerDescription(
        name=name or kind,
        kind=kind,
        output_shape=trace.shapes.get(name, ()),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        macs=trace.macs[name],
        stage=_stage_of(model, name),
        runs=trace.runs[name],
        leaf=leaf,
    )


def _stage_of(model: nn.Module, name: str) -> str:
    first = name.partition(".")[0]
    if not isinstance(model, Network) or first in model.stage_names:
        return first
    return "stem" if first in model.stem_names else "head"


def _checked_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    edges = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    whole = all(isinstance(edge, int) and not isinstance(edge, bool) for edge in edges)
    if len(edges) != 2 or not whole or not all(1 <= edge <= MAX_IMAGE_SIZE for edge in edges):
        raise ModelError(
            f"The picture size must be one or two whole numbers from 1 to {MAX_IMAGE_SIZE:,} pixels, "
            f"not {image_size!r}."
        )
    return edges[0], edges[1]


def _search(trace: _Trace) -> int | None:
    edges = range(1, SEARCH_LIMIT + 1)
    return next((edge for edge in edges if trace.run((edge, edge)) is None), None)


def _fault_sentence(trace: _Trace, fault: Fault, size: tuple[int, int]) -> str:
    if not fault.too_small:
        return f"{fault.sentence[0].upper()}{fault.sentence[1:]}."
    smallest = _search(trace)
    cure = f"; use at least {by((smallest, smallest))} pixels" if smallest else ""
    return f"A picture of {by(size)} pixels is too small: {fault.sentence}{cure}."
