"""Networks without weights: names, shapes and structure, and not a byte of memory."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from resnet_core.models.resnet import Network
from resnet_core.models.zoo import build_model


def build_hollow(name: str, **arguments: Any) -> Network:
    """What `build_model` builds, on torch's meta device; raises what it raises. Nothing is drawn."""
    with torch.device("meta"), _Hollow():
        return build_model(name, **arguments)


# Not every function of torch.nn.init asks the mode before it calls one of these. On the meta device they would load
# torch's compiler, 160 MB and two seconds, to find out that there is nothing to do.
FILLING = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_)


class _Hollow(TorchFunctionMode):
    """Inside, nothing is filled, by `torch.nn.init` or a tensor's own method: no memory touched, no number drawn."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in FILLING or getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {})["tensor"] if "tensor" in (kwargs or {}) else args[0]
        return func(*args, **(kwargs or {}))
