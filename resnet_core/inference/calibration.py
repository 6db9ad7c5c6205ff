"""How sure the answers may claim to be: one temperature by which all logits are divided (Guo et al. 2017, §4.2)."""

import torch
from torch.nn.functional import cross_entropy


def fit_temperature(logits: torch.Tensor, targets: torch.Tensor) -> float:
    """The temperature that minimises the loss of logits `[N, K]` against labels `[N]`; above 1 makes answers humbler.

    The order of the answers stays as it is. Found by golden-section search over log-temperature in [0.1, 10], where
    the loss has a single minimum.
    """
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return float(cross_entropy(logits / torch.tensor(log_temperature).exp(), targets))

    low, high = torch.log(torch.tensor([0.1, 10.0])).tolist()
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-4:
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - ratio * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + ratio * (high - low)
            loss_right = loss(right)
    return float(torch.tensor((low + high) / 2).exp())
