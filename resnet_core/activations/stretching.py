"""From numbers to places on a colour map: which value gets the first colour, which the last, of which channels."""

import math
from typing import Literal

import torch
from torch import Tensor

from resnet_core.activations.color_map import SIGNED
from resnet_core.errors import ConfigError, ModelError

Scale = Literal["channel", "shared"]
AUTO = "auto"  # colours around zero for an activation with values below it, else the first map


def as_maps(activation: Tensor) -> Tensor:
    """Return float32 maps [C,h,w] of an activation [C,h,w] or [K], whatever its device and precision."""
    if activation.ndim not in (1, 3) or not activation.numel():
        raise ModelError(
            f"An activation of shape {list(activation.shape)} cannot be drawn; "
            "a sheet shows maps [C, h, w] or a vector [K] of one picture."
        )
    maps = activation.detach().to("cpu", torch.float32)
    return maps if maps.ndim == 3 else maps.view(-1, 1, 1)


def fitting_colors(activation: Tensor, colors: str = AUTO) -> str:
    """Return the name of the colour map: for "auto" the one that suits the activation's signs."""
    if colors != AUTO:
        return colors
    return "blue-orange" if bool((activation < 0).any()) else "viridis"


def color_range(maps: Tensor, scale: str, colors: str = "viridis") -> tuple[Tensor, Tensor]:
    """Return what gets the first and the last colour, [C,1,1] each for scale "channel", else [1,1,1].

    The finite minimum and maximum, 0 and 0 if none; for a signed colour map as far below zero as above, so that its
    middle is zero.
    """
    if scale not in ("channel", "shared"):
        raise ConfigError(f"There is no scale {scale!r}; choose channel or shared.")
    # A single value has no range of its own: logits and pooled vectors compare their channels.
    groups = maps.flatten(1) if scale == "channel" and maps[0].numel() > 1 else maps.reshape(1, -1)
    low, high = groups.aminmax(dim=1)
    if not (torch.isfinite(low).all() and torch.isfinite(high).all()):
        finite = torch.isfinite(groups)
        low = groups.where(finite, math.inf).amin(dim=1)
        high = groups.where(finite, -math.inf).amax(dim=1)
        low, high = (bound.nan_to_num(0.0, 0.0, 0.0) for bound in (low, high))
    if colors in SIGNED:
        high = torch.maximum(low.abs(), high.abs())
        high = high.where(high > 0, 1.0)  # nothing but zeros: all in the middle
        low = -high
    return low.view(-1, 1, 1), high.view(-1, 1, 1)


def stretch(maps: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return the maps with low at 0 and high at 1, beyond clipped; constant maps are 0, NaN stays."""
    span = high - low
    if not torch.isfinite(span).all():  # float32 ends there; half of everything has the same picture
        return stretch(maps / 2, low / 2, high / 2)
    return (maps - low).div_(span.where(span > 0, 1.0)).clamp_(0, 1)
