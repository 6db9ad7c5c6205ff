"""Training pictures blended with one another, so that the network learns what lies between two classes.

mixup   both pictures everywhere, as two slides in one projector (Zhang et al. 2018)
cutmix  a rectangle of the other picture laid over the first (Yun et al. 2019)

A batch is mixed as a whole: one share, one partner each. The loss is then that share of the loss against the
picture's own class and the rest against its partner's.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """How strongly batches are mixed: the parameter of the beta distribution the share is drawn from, 0 for never.

    Where both are above 0, every second batch or so is mixed the one way and the rest the other.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __bool__(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What a mixed batch shows besides its own pictures; the share of the own picture is at least a half."""

    targets: Tensor  # int64 [N], the partners' classes
    share: float  # of the own picture, in [0.5, 1]


def mix_batch(
    images: Tensor, targets: Tensor, mixing: Mixing, generator: torch.Generator
) -> tuple[Tensor, Mixture | None]:
    """Images float32 `[N, 3, H, W]` mixed among themselves, and with what; unchanged and None where `mixing` is off."""
    if not mixing:
        return images, None
    order = torch.randperm(len(images), generator=generator).to(images.device)
    # torch draws beta only from the global generator, which other threads use as well
    draws = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    cut = mixing.cutmix > 0 and (not mixing.mixup or draws.random() < 0.5)
    strength = mixing.cutmix if cut else mixing.mixup
    share = float(draws.beta(strength, strength))
    share = max(share, 1 - share)  # the other way round is the same mixture of another batch order
    if not cut:
        return torch.lerp(images[order], images, share), Mixture(targets=targets[order], share=share)
    top, left, height, width = _window(images.shape[-2], images.shape[-1], 1 - share, draws)
    mixed = images.clone()
    mixed[..., top : top + height, left : left + width] = images[order][..., top : top + height, left : left + width]
    area = height * width / (images.shape[-2] * images.shape[-1])
    return mixed, Mixture(targets=targets[order], share=1 - area)


def _window(height: int, width: int, area: float, draws: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height and width of a rectangle of the picture's shape and that share of its area, anywhere inside."""
    side = area**0.5
    rows, columns = int(height * side), int(width * side)
    top, left = int(draws.integers(height - rows + 1)), int(draws.integers(width - columns + 1))
    return top, left, rows, columns
