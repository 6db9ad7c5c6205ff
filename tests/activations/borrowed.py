"""What a function that looks into a network has to give back as it was."""

from typing import Any

import torch
from torch import nn


def state(model: nn.Module) -> list[Any]:
    """Hooks, train flags, weights and buffers, gradients, what asks for gradients, and the grad mode of this thread."""
    hooks = [len(v) for each in model.modules() for key, v in vars(each).items() if "_hooks" in key]
    flags = [each.training for each in model.modules()]
    tensors = [value.tolist() for value in model.state_dict().values()]
    gradients = [None if p.grad is None else p.grad.tolist() for p in model.parameters()]
    asked = [parameter.requires_grad for parameter in model.parameters()]
    return [hooks, flags, tensors, gradients, asked, torch.is_grad_enabled()]
