"""From a batch to logits, the one way that validation, evaluation and prediction share."""

from collections.abc import Callable

import torch


def compute_logits(
    model: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, *, flip_average: bool = False
) -> torch.Tensor:
    """float32 logits `[N, K]` of images `[N, 3, H, W]`; with `flip_average` the mean over picture and mirror image."""
    logits = model(images).float()
    if flip_average:
        logits = (logits + model(images.flip(-1)).float()) / 2
    return logits
