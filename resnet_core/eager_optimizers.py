"""torch's optimizers without torch's compiler.

The first optimizer that a process makes or steps imports torch._dynamo, with Triton and SymPy: 160 MB and two seconds
on two cores (torch 2.15), only to tell that compiler not to trace it. Nothing of ours compiles an optimizer: what
`--compile` compiles is the network. Where torch is built otherwise, its optimizers are used as they come.
"""

import functools
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)

NEVER_TRACED = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
KNOWN_AS_SUCH = "__dynamo_disable"  # where torch._compile keeps what it calls once the compiler was told
STEP_WRAPPER = "_use_grad"  # torch's function around a step that imports the compiler

_eager: dict[type[Optimizer], Any] = {}  # kind -> the one that is made in its place


def make_eager(kind: type[Kind], *arguments: Any, **settings: Any) -> Kind:
    """`kind(*arguments, **settings)`; its step has neither torch's step hooks nor a name in torch's profiler.

    Raises what the optimizer's own constructor raises.
    """
    for name in NEVER_TRACED:
        raw = getattr(getattr(Optimizer, name, None), "__wrapped__", None)
        if raw is not None and not hasattr(raw, KNOWN_AS_SUCH):
            setattr(raw, KNOWN_AS_SUCH, raw)
    if kind not in _eager:
        _eager[kind] = _eager_kind(kind)
    eager: type[Kind] = _eager[kind]
    return eager(*arguments, **settings)


def _eager_kind(kind: Any) -> Any:
    """The kind with the step below torch's wrapper; the kind itself where that wrapper is not found."""
    wrapped = kind.step
    if getattr(wrapped, "hooked", False):  # by torch, when the first of its kind was made
        wrapped = getattr(wrapped, "__wrapped__", wrapped)
    raw = getattr(wrapped, "__wrapped__", None)
    if raw is None or getattr(wrapped, "__code__", None) is None or wrapped.__code__.co_name != STEP_WRAPPER:
        return kind

    @functools.wraps(raw)
    def step(optimizer: Optimizer, closure: Any = None) -> Any:
        with torch.set_grad_enabled(bool(optimizer.defaults.get("differentiable"))):
            return raw(optimizer, closure)

    step.hooked = True  # type: ignore[attr-defined]
    return type(kind.__name__, (kind,), {"step": step})
