"""The Muon optimizer: hidden layers move by an orthogonal matrix instead of by their momentum itself."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al. 2024: singular values of 0.05–1 reach 0.7–1.2 in a few steps
NEWTON_SCHULZ_STEPS = 3


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers") for groups with `orthogonal`, SGD for others.

    An orthogonal group holds convolutions that a BatchNorm follows. Their momentum, a matrix [out, in·kernel], is
    replaced by the nearest orthogonal one, so that rare directions are learned as fast as common ones; they are kept at
    the norm of such a matrix, √out, since the BatchNorm makes their length meaningless, and `lr` is the share of it
    that a step may turn. Other groups are updated by SGD. Both use Nesterov's momentum.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; there is no closure to call again."""
        assert closure is None
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            updates = self._momenta(parameters, group)
            if group["orthogonal"]:
                updates = [_orthogonal(update) for update in updates]
                norms = torch._foreach_norm(parameters)
                factors = [len(parameter) ** 0.5 / norm for parameter, norm in zip(parameters, norms, strict=True)]
                torch._foreach_mul_(parameters, factors)
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])

    def _momenta(self, parameters: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Gradients with weight decay, carried on by Nesterov's momentum."""
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        buffers = [self.state[parameter]["momentum"] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if group["weight_decay"] and not group["orthogonal"]:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients)
        return list(torch._foreach_add(gradients, buffers, alpha=group["momentum"]))


def _orthogonal(update: Tensor) -> Tensor:
    """About U·Vᵀ where the update, seen as a matrix [out, rest], is U·S·Vᵀ; of the same shape.

    Newton and Schulz's iteration with a polynomial of the fifth degree: matrix products only. On GPUs in bf16.
    """
    a, b, c = NEWTON_SCHULZ
    matrix: Tensor = update.reshape(len(update), -1).to(torch.bfloat16 if update.is_cuda else torch.float32)
    matrix = matrix / (matrix.norm() + 1e-7)
    tall = matrix.shape[0] > matrix.shape[1]
    matrix = matrix.T if tall else matrix
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = matrix @ matrix.T
        matrix = a * matrix + (b * square + c * square @ square) @ matrix
    matrix = matrix.T if tall else matrix
    return matrix.reshape(update.shape).to(update.dtype)
