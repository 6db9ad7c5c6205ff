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


class _Hollow(TorchFunctionMode):
    """Inside, what `torch.nn.init` is asked to fill stays as it is: no memory touched, no random number drawn."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return (kwargs or {})["tensor"] if "tensor" in (kwargs or {}) else args[0]
        return func(*args, **(kwargs or {}))
