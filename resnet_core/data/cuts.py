"""How the uint8 pixels of a batch are cut out of a store: picture by picture, or for the whole batch in one go.

PictureCuts    any store: a random cut or the central square of one picture after the other, on the CPU
SquareCuts     central squares that lie in one tensor, wherever that is: one gather
ResidentCuts   random cuts from one tensor on the training device, see `resident`
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from resnet_core.data.augment import AugmentPolicy, random_cut
from resnet_core.data.cache import PixelStore


class Cuts(Protocol):
    """Cuts batches; `resident` ones lie on the training device already."""

    @property
    def resident(self) -> bool: ...

    def cut(self, chosen: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor: ...


@dataclass(frozen=True)
class PictureCuts:
    """Cuts one picture after the other."""

    store: PixelStore
    policy: AugmentPolicy
    resident: bool = False

    def cut(self, chosen: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
        """uint8 `[n, 3, size, size]` of the chosen pictures, int64 `[n]`; random where the policy has an area."""
        pixels = torch.empty(len(chosen), 3, size, size, dtype=torch.uint8)
        for row, index in enumerate(chosen.tolist()):
            picture = self.store[index]
            pixels[row] = (
                center_square(picture, size)
                if self.policy.area is None
                else random_cut(picture, size, self.policy, generator)
            )
        return pixels


@dataclass(frozen=True)
class SquareCuts:
    """Gathers central squares out of one uint8 tensor `[N, 3, H, W]` of pictures of one size."""

    pixels: torch.Tensor
    resident: bool = False

    def cut(self, chosen: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
        """uint8 `[n, 3, size, size]` on the tensor's device; nothing is drawn from the generator."""
        return center_square(self.pixels, size)[chosen.to(self.pixels.device)]


def plain_cuts(store: PixelStore, policy: AugmentPolicy) -> Cuts:
    """The cheapest way to cut batches of this store on the CPU."""
    stacked = store.stacked() if policy.area is None else None
    return PictureCuts(store, policy) if stacked is None else SquareCuts(stacked)


def center_square(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """The central `[…, size, size]` of `[…, H, W]`, cut as `Preprocessing` does on the picture itself."""
    top, left = (round((side - size) / 2) for side in pixels.shape[-2:])
    return pixels[..., top : top + size, left : left + size]


def squares(store: PixelStore, size: int) -> torch.Tensor:
    """The central squares of all pictures, uint8 `[N, 3, size, size]` on the CPU."""
    stacked = store.stacked()
    if stacked is not None:
        return center_square(stacked, size)
    pixels = torch.empty(len(store), 3, size, size, dtype=torch.uint8)
    for index in range(len(store)):
        pixels[index] = center_square(store[index], size)
    return pixels


def ranges(count: int, batch_size: int, *, least: int = 1) -> list[tuple[int, int]]:
    """First and last + 1 of each batch of `count` pictures; a rest of fewer than `least` joins the batch before it."""
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] < least:
        starts.pop()
    stops: Sequence[int] = [*starts[1:], count]
    return list(zip(starts, stops, strict=True)) if count else []
