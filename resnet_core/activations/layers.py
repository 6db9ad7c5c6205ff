"""Which layers of a network one may observe: those that run exactly once and return one tensor.

A module that runs twice in a forward pass, as torchvision's `layer1.0.relu` does, has no activation of its own:
a dict keyed by name would silently keep the last. The runs are counted on a private copy without numbers,
so no arithmetic is done and a network that is training meanwhile is never touched.
"""

import dataclasses
import difflib
import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from resnet_core.activations.origins import Origin, OriginNotes
from resnet_core.errors import ModelError
from resnet_core.models.describe import blank_batch, describe, weightless_copy
from resnet_core.models.resnet import ResidualBlock

USUAL_EDGES = (224, 32, 64, 299, 28)  # pixels; tried in turn where no size is given: the first suits nearly all
SIZES_KEPT = 8  # of one network; then they are taken anew
Relu = Literal["given", "before", "after"]  # which side of the ReLU beside a layer is looked at
SHAPE_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError)


def list_layers(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> tuple[str, ...]:
    """Return the names of all layers that can be observed, in the order in which their activations appear.

    A block follows its convolutions and a stage its blocks. image_size is an edge or (height, width) in pixels;
    None takes one that fits. Raises ModelError where the shapes do not work out.
    """
    return _census(model, image_size).observable


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return the module of that name if it can be observed.

    Raises ModelError naming near matches for an unknown name, or saying why a known one has no activation.
    """
    return find_layers(model, [name])[name]


def find_layers(model: nn.Module, names: Iterable[str]) -> dict[str, nn.Module]:
    """Return the modules of all those names in their order, each checked as `find_layer` does."""
    census = _census(model)
    modules = dict(model.named_modules())
    found = {}
    for name in names:
        census.check(name)
        found[name] = modules[name]
    return found


def find_origins(model: nn.Module, names: Iterable[str], relu: Relu = "given") -> dict[str, Origin]:
    """Return which tensor each named layer's activation is, or that before or after the ReLU beside it.

    A ReLU is beside a layer that it directly follows (bn1) or that ends with it (a block, a stage). Raises ModelError
    as `find_layer` does, and for "before" or "after" where no ReLU is beside the layer.
    """
    census = _census(model)
    found = {}
    for name in names:
        census.check(name)
        found[name] = census.origin(name, relu)
    return found


def relu_beside(model: nn.Module, name: str) -> Literal["ends", "follows", "none"]:
    """Return whether the layer's numbers come out of a ReLU, go straight into one, or neither."""
    census = _census(model)
    census.check(name)
    return census.relu_beside(name)


def list_origins(model: nn.Module) -> tuple[Origin, ...]:
    """Return all different tensors that layers give, without ReLU, in the order in which a picture meets them."""
    census = _census(model)
    plain = (dataclasses.replace(census.origin(name, "given"), relu=False) for name in census.observable)
    return tuple(dict.fromkeys(plain))


def _census(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> "_Census":
    """Return the census of a network, remembered while its modules stay the same (taking one costs 0.1 to 1 s)."""
    signature = tuple((name, id(module)) for name, module in model.named_modules())
    remembered = _remembered.get(model)
    if remembered is None or remembered[0] != signature or len(remembered[1]) >= SIZES_KEPT:
        remembered = _remembered[model] = (signature, {})
    found = remembered[1].get(image_size)
    if found is None:
        found = remembered[1][image_size] = _Census(model, image_size)
    return found


class _Census:
    """One forward pass of a weightless copy: how often each module ran and what it returned."""

    def __init__(self, model: nn.Module, image_size: int | tuple[int, int] | None) -> None:
        self.runs: Counter[str] = Counter()
        self._finished: list[str] = []  # in order of completion
        self._single: dict[str, bool] = {}
        self._names = frozenset(name for name, _ in model.named_modules() if name)
        self._notes = OriginNotes()
        with torch.inference_mode(False), torch.no_grad():  # inference tensors have no versions to tell apart
            self._take(model, image_size)

    @property
    def observable(self) -> tuple[str, ...]:
        """All names that ran once and returned one tensor."""
        return tuple(name for name in self._finished if self.runs[name] == 1 and self._single[name])

    def origin(self, name: str, relu: Relu) -> Origin:
        """The tensor of an observable layer, on that side of the ReLU beside it."""
        origin = self._notes.origin(name, self.runs)
        if relu == "given":
            return origin
        if self.relu_beside(name) == "none":
            raise ModelError(
                f"No ReLU stands right behind {name!r}, so there is no before and after; choose a layer that a ReLU "
                "follows, such as a batch norm, or a block."
            )
        return dataclasses.replace(origin, relu=relu == "after")

    def relu_beside(self, name: str) -> Literal["ends", "follows", "none"]:
        """Where the ReLU of an observable layer is."""
        if self._notes.origin(name, self.runs).relu:
            return "ends"
        return "follows" if self._notes.goes_into_relu(name) else "none"

    def check(self, name: str) -> None:
        """Raise ModelError unless the name belongs to an observable layer."""
        if name not in self._names:
            raise ModelError(self._unknown(name))
        if self.runs[name] > 1:
            raise ModelError(
                f"The layer {name!r} runs {self.runs[name]} times in one forward pass, so it has no single "
                f"activation; choose a layer that runs once{self._instead(name)}."
            )
        if not self.runs[name]:
            raise ModelError(f"The layer {name!r} never runs in this network; choose another layer.")
        if not self._single[name]:
            raise ModelError(f"The layer {name!r} does not return one tensor; choose a layer inside it or after it.")

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(str(name), self.observable, n=3)
        if near:
            return f"There is no layer called {name!r}; did you mean {' or '.join(near)}?"
        stages = [known for known in self.observable if "." not in known]
        choice = f"choose one of {', '.join(stages)}, or a layer inside" if stages else "it has no named layers"
        return f"There is no layer called {name!r} in this network; {choice}."

    def _instead(self, name: str) -> str:
        parent = name.rpartition(".")[0]
        return f", such as {parent}" if parent in self.observable else ""

    def _take(self, model: nn.Module, image_size: int | tuple[int, int] | None) -> None:
        twin = weightless_twin(model)
        for name, module in twin.named_modules():
            if name:
                module.register_forward_hook(self._note(name))
            if type(module) is nn.ReLU:
                module.register_forward_pre_hook(self._notes.note_input(name))
        dtype = next((each.dtype for each in model.parameters() if each.is_floating_point()), torch.float32)
        sizes = USUAL_EDGES if image_size is None else (image_size,)
        if not any(self._run(twin, size, dtype) for size in sizes):
            describe(model, sizes[0])  # raises the sentence that names the layer and the cure
            raise ModelError("This network cannot be observed at that picture size; try another one.")

    def _run(self, twin: nn.Module, image_size: int | tuple[int, int], dtype: torch.dtype) -> bool:
        self.runs.clear()
        self._finished.clear()
        try:
            height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
            twin(blank_batch(twin, (height, width), dtype))
        except SHAPE_FAULTS:
            return False
        finally:
            self._notes.forget_tensors()
        return True

    def _note(self, name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.runs[name] += 1
            self._single[name] = isinstance(output, Tensor)
            if isinstance(output, Tensor):
                self._notes.note_output(name, output)
            if self.runs[name] == 1:
                self._finished.append(name)

        return note


def weightless_twin(model: nn.Module) -> nn.Module:
    """Return a copy without numbers and hooks in which nothing is switched off: a lesson changes no layer."""
    twin = weightless_copy(model)
    for block in twin.modules():
        if isinstance(block, ResidualBlock):
            block.off = None
    return twin


_Remembered = tuple[tuple[tuple[str, int], ...], dict[int | tuple[int, int] | None, _Census]]
_remembered: weakref.WeakKeyDictionary[nn.Module, _Remembered] = weakref.WeakKeyDictionary()
