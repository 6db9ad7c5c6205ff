"""Which layers of a network one may observe: those that run exactly once and return one tensor.

A module that runs twice in a forward pass, as torchvision's `layer1.0.relu` does, has no activation of its own:
a dict keyed by name would silently keep the last. The runs are counted on a private copy on torch's meta device,
so no arithmetic is done and a network that is training meanwhile is never touched.
"""

import copy
import difflib
import itertools
import weakref
from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from resnet_core.errors import ModelError
from resnet_core.models.describe import describe

USUAL_EDGES = (224, 32, 64, 299, 28)  # pixels; tried in turn where no size is given: the first suits nearly all
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


def _census(model: nn.Module, image_size: int | tuple[int, int] | None = None) -> "_Census":
    """Return the census of a network, remembered while its modules stay the same (taking one costs 0.1 to 1 s)."""
    signature = (image_size, *((name, id(module)) for name, module in model.named_modules()))
    remembered = _remembered.get(model)
    if remembered is None or remembered[0] != signature:
        remembered = _remembered[model] = (signature, _Census(model, image_size))
    return remembered[1]


class _Census:
    """One forward pass of a weightless copy: how often each module ran and what it returned."""

    def __init__(self, model: nn.Module, image_size: int | tuple[int, int] | None) -> None:
        self.runs: Counter[str] = Counter()
        self._finished: list[str] = []  # in order of completion
        self._single: dict[str, bool] = {}
        self._names = frozenset(name for name, _ in model.named_modules() if name)
        self._take(model, image_size)

    @property
    def observable(self) -> tuple[str, ...]:
        """All names that ran once and returned one tensor."""
        return tuple(name for name in self._finished if self.runs[name] == 1 and self._single[name])

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
        twin = _weightless_twin(model)
        for name, module in twin.named_modules():
            if name:
                module.register_forward_hook(self._note(name))
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
            with torch.no_grad():
                twin(torch.empty((1, 3, height, width), dtype=dtype, device="meta"))
        except SHAPE_FAULTS:
            return False
        return True

    def _note(self, name: str) -> Any:
        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.runs[name] += 1
            self._single[name] = isinstance(output, Tensor)
            if self.runs[name] == 1:
                self._finished.append(name)

        return note


def _weightless_twin(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode with empty tensors on the meta device and none of the original's hooks."""
    replaced: dict[int, Any] = {
        id(tensor): torch.empty_like(tensor, device="meta")
        for tensor in itertools.chain(model.parameters(), model.buffers())
    }
    hook_tables = (
        table
        for module in model.modules()
        for attribute, table in vars(module).items()
        if attribute.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called"))
    )
    replaced.update((id(table), OrderedDict()) for table in hook_tables if isinstance(table, dict))
    return copy.deepcopy(model, replaced).eval()


_remembered: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[Any, ...], _Census]] = weakref.WeakKeyDictionary()
