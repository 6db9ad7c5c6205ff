"""Pixels that stay on the training device. A store that fits there is sent once; batches are then cut where they are.

A random cut with its anti-aliased resize is separable, so a whole batch is two matrix products: rows [size, H] ·
picture [H, 3·W], then that [3·size, W] · columns [W, size]. Each row of such a matrix holds the triangle that torch's
own anti-aliased bilinear resize uses, so the result is that of the picture-by-picture path to the rounding.
At 224 px out of 358 px that is 0.3 GFLOP a picture, about a hundredth of ResNet-34's training step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from resnet_core.data.augment import AugmentPolicy, Box, cut_box
from resnet_core.data.cache import PixelStore
from resnet_core.data.cuts import Cuts, SquareCuts, squares
from resnet_core.memory import free_memory

MEMORY_SHARE = 0.25  # of the device's free memory may be taken by one store; the network needs the rest
CHUNK = 1024  # pictures padded at a time while a store is sent


@dataclass(frozen=True)
class ResidentCuts:
    """Random cuts out of pictures that lie on the device."""

    pixels: torch.Tensor  # uint8 [N, H, 3, W], smaller pictures filled up with zeros below and on the right
    sizes: tuple[tuple[int, int], ...]  # height, width of each picture
    policy: AugmentPolicy
    resident: bool = True

    def cut(self, chosen: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
        """uint8 `[n, 3, size, size]` on the device; the boxes are those that the picture-by-picture path draws."""
        sizes = [self.sizes[index] for index in chosen.tolist()]
        boxes = [cut_box(height, width, self.policy, generator) for height, width in sizes]
        return resample(self.pixels[chosen.to(self.pixels.device)], boxes, size)


def resident_cuts(
    store: PixelStore, policy: AugmentPolicy, *, crop: int, device: torch.device, forced: bool = False
) -> Cuts | None:
    """Cuts from a copy of the store on the device, or None where it is no GPU or has too little free memory.

    Without a random cut only the central squares of `crop` px are kept. `forced` uses any device and asks for no room.
    """
    height, width = (crop, crop) if policy.area is None else _largest(store)
    if not forced and len(store) * height * width * 3 > _room(device):
        return None
    if policy.area is None:
        return SquareCuts(squares(store, crop).contiguous().to(device), resident=True)
    return ResidentCuts(_padded(store, device), store.sizes, policy)


def resample(pictures: torch.Tensor, boxes: Sequence[Box], size: int) -> torch.Tensor:
    """uint8 `[n, H, 3, W]` → one box (top, left, height, width) of each, resized to uint8 `[n, 3, size, size]`."""
    count, height, _, width = pictures.shape
    top, left, tall, wide = torch.tensor(boxes, dtype=torch.float32, device=pictures.device).unbind(1)
    rows, columns = _triangles(top, tall, height, size), _triangles(left, wide, width, size)
    shrunk = rows @ pictures.view(count, height, 3 * width).to(torch.float32)
    done = shrunk.view(count, size * 3, width) @ columns.transpose(1, 2)
    return done.view(count, size, 3, size).permute(0, 2, 1, 3).round_().clamp_(0, 255).to(torch.uint8)


def _triangles(start: torch.Tensor, length: torch.Tensor, side: int, size: int) -> torch.Tensor:
    """float32 `[n, size, side]`: how much each pixel of a picture's side adds to each pixel of the cut.

    Weights fall off linearly over one output pixel, at least one input pixel, and are 0 outside the cut.
    """
    device = start.device
    scale = (length / size)[:, None, None]
    place = torch.arange(side, device=device) + 0.5 - start[:, None, None]  # [n, 1, side], in pixels of the cut
    center = (torch.arange(size, device=device)[:, None] + 0.5) * scale  # [n, size, 1]
    weights = (1 - (place - center).abs() / scale.clamp(min=1)).clamp_(min=0)
    weights = weights * ((place > 0) & (place < length[:, None, None]))
    return weights / weights.sum(2, keepdim=True)


def _padded(store: PixelStore, device: torch.device) -> torch.Tensor:
    """All pictures as uint8 `[N, H, 3, W]` on the device."""
    height, width = _largest(store)
    pixels = torch.empty(len(store), height, 3, width, dtype=torch.uint8, device=device)
    for start in range(0, len(store), CHUNK):
        part = torch.zeros(min(CHUNK, len(store) - start), height, 3, width, dtype=torch.uint8)
        for row, picture in enumerate(part):
            tall, wide = store.sizes[start + row]
            picture[:tall, :, :wide] = store[start + row].permute(1, 0, 2)
        pixels[start : start + len(part)] = part.to(device)
    return pixels


def _largest(store: PixelStore) -> tuple[int, int]:
    return max(height for height, _ in store.sizes), max(width for _, width in store.sizes)


def _room(device: torch.device) -> int:
    """Bytes that a store may take on this device: none but on CUDA, since elsewhere memory is the CPU's own."""
    if device.type != "cuda":
        return 0
    return int(MEMORY_SHARE * (free_memory(device) or 0))
