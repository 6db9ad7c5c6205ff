"""Optimizers, learning-rate schedules and the moving average of weights."""

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from resnet_core.eager_optimizers import make_eager
from resnet_core.training.muon import Muon

ADAM_BETAS = (0.9, 0.999)
SGD_SHARE = (
    0.25  # of Muon's learning rate, for what SGD updates beside it: as airbench has it, its logits scaled by 1/3
)


def make_optimizer(
    model: nn.Module, name: str, *, learning_rate: float, weight_decay: float, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """The optimizer over the model's trainable parameters; biases and BatchNorm are not decayed
    (He et al. 2018, Bag of Tricks, §3.1). With "muon" convolutions follow Muon and are held at their norm instead."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if name == "muon":
        return _make_muon(trainable, learning_rate=learning_rate, weight_decay=weight_decay, momentum=momentum)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    fused = all(p.device.type in ("cuda", "cpu", "mps") for p in trainable)
    if name == "sgd":
        nesterov = momentum > 0
        return make_eager(torch.optim.SGD, groups, lr=learning_rate, momentum=momentum, nesterov=nesterov, fused=fused)
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    return make_eager(kind, groups, lr=learning_rate, betas=ADAM_BETAS, fused=fused)


def _make_muon(
    trainable: list[nn.Parameter], *, learning_rate: float, weight_decay: float, momentum: float
) -> torch.optim.Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim == 4], "orthogonal": True},
        {"params": [p for p in trainable if p.ndim in (2, 3)], "lr_share": SGD_SHARE, "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "lr_share": SGD_SHARE},
    ]
    return make_eager(Muon, [group for group in groups if group["params"]], lr=learning_rate, momentum=momentum)


def carry_memory(optimizer: torch.optim.Optimizer, memory: Mapping[torch.Tensor, dict[str, Any]]) -> None:
    """Gives each parameter the optimizer state it has in `memory`, and those of SGD that have none a momentum of 0.

    That is what a first step starts from; torch's fused SGD cannot mix first steps with later ones.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter in memory:
                optimizer.state[parameter] = memory[parameter]
            elif memory and isinstance(optimizer, torch.optim.SGD) and group["momentum"]:
                optimizer.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}


def learning_rate_at(step: int, *, schedule: str, peak: float, total_steps: int, warmup: float) -> float:
    """The learning rate of the 1-based `step` out of `total_steps`.

    constant   the peak throughout
    step       a tenth after 50 % and a hundredth after 75 % of the steps (He et al. 2015, §4.2)
    cosine     linear warm-up, then half a cosine to zero (Loshchilov & Hutter 2017)
    one-cycle  half-cosine rise from a 25th of the peak, half-cosine fall to a 10,000th of that (Smith & Topin 2018)
    """
    done = (step - 1) / max(1, total_steps - 1)
    if schedule == "constant":
        return peak
    if schedule == "step":
        return peak * (1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01)
    if schedule == "cosine":
        if done < warmup:
            return peak * min(1.0, step / max(1.0, warmup * total_steps))
        return peak * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))
    low, last = peak / 25, peak / 25 / 1e4
    if done < warmup:
        return _half_cosine(low, peak, done / warmup)
    return _half_cosine(peak, last, (done - warmup) / (1 - warmup))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Gives every parameter group this learning rate, times its own share where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_share", 1.0)


class WeightAverage:
    """A copy of the model whose weights follow it as an exponential moving average (Polyak & Juditsky 1992).

    The decay grows from small values, so that early epochs are not judged by the initial weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the average one step towards `model`; integer buffers are copied."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged, current = _floats(self.model), _floats(model)
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)


def _floats(model: nn.Module) -> list[torch.Tensor]:
    tensors: Iterable[torch.Tensor] = [*model.parameters(), *model.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
