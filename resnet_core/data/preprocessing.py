"""The fixed steps from a picture to the network's input. A checkpoint carries its own, so a model is never fed
differently than it was trained: resize the shorter side, cut the centre square, scale to [0, 1], subtract the mean,
divide by std.
"""

import io
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from resnet_core.errors import CheckpointError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Times the wanted side that a draft of a large JPEG keeps. 62 real photos, enlarged to sides that are multiples of 8 as
# cameras have them, shipped model: the largest change of a probability is 0.021 at 2.0, 0.008 at 2.5, 0.006 at 2.9.
DRAFT_MARGIN = 2.5
COPY_SIDE = 96  # px


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Turns an RGB PIL image into `Tensor[3, crop, crop]`, as torchvision's Resize, CenterCrop, Normalize do."""

    resize: int  # shorter side after resizing, px
    crop: int  # side of the centre square, px
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Network input `[3, crop, crop]`, float32."""
        return self.normalize(to_pixels(self.square(image)))

    def square(self, image: Image.Image) -> Image.Image:
        """The picture as the network sees it, before normalisation: RGB, crop × crop px."""
        return center_crop(resize_short_side(image, self.resize), self.crop)

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Values 0–255 `[..., 3, H, W]` → float32 of the same shape, scaled, minus mean, over std per colour."""
        scaled = pixels.to(torch.float32).div(255)
        mean = torch.tensor(self.mean, device=pixels.device).view(3, 1, 1)
        std = torch.tensor(self.std, device=pixels.device).view(3, 1, 1)
        return scaled.sub_(mean).div_(std)

    def describe(self) -> str:
        """One sentence a person can follow."""
        cut = f", the central {self.crop}×{self.crop} px are kept" if self.resize != self.crop else ""
        same = self.mean == (0.0, 0.0, 0.0) and self.std == (1.0, 1.0, 1.0)
        colors = "colours are scaled to 0–1" if same else "colours are scaled to 0–1 and normalised by mean and spread"
        cut = cut or ", the centre square is kept"
        return f"The shorter side is resized to {self.resize} px{cut}, and {colors}."

    def to_json(self) -> dict[str, Any]:
        """A plain dict for the checkpoint's metadata."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_json`. Raises CheckpointError on missing or absurd values."""
        try:
            mean, std = (tuple(float(number) for number in fields[key]) for key in ("mean", "std"))
            resize, crop = int(fields["resize"]), int(fields["crop"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"The checkpoint's preprocessing is unreadable ({error}).") from error
        finite = all(math.isfinite(number) for number in (*mean, *std))
        if len(mean) != 3 or len(std) != 3 or not finite or not 1 <= crop <= resize <= 4096 or min(std) <= 0:
            raise CheckpointError(
                "The checkpoint's preprocessing is not usable: sizes or colour statistics are out of range."
            )
        return cls(resize=resize, crop=crop, mean=mean, std=std)


def small_copy(pixels: torch.Tensor) -> bytes:
    """A JPEG of 96 × 96 px of a square uint8 `[3, H, W]`, for people; about 3 kB."""
    file = io.BytesIO()
    square = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    square.resize((COPY_SIDE, COPY_SIDE), Image.Resampling.BILINEAR).save(file, "JPEG", quality=85)
    return file.getvalue()


def draft_size(size: int) -> int:
    """The side in px that a large JPEG must at least be decoded to before it is resized to `size`."""
    return math.ceil(DRAFT_MARGIN * size)


def resize_short_side(image: Image.Image, size: int, *, upscale: bool = True) -> Image.Image:
    """The picture, shorter side at `size` px (bilinear, anti-aliased); smaller ones stay unless `upscale`."""
    width, height = image.size
    short, long = sorted(image.size)
    if short == size or (short < size and not upscale):
        return image
    long = int(size * long / short)  # torchvision's rounding, so that both agree to the pixel
    target = (size, long) if width <= height else (long, size)
    return image.resize(target, Image.Resampling.BILINEAR)


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """The central `size` × `size` px; the picture must be at least that large."""
    left, top = (round((side - size) / 2) for side in image.size)
    return image if image.size == (size, size) else image.crop((left, top, left + size, top + size))


def to_pixels(image: Image.Image) -> torch.Tensor:
    """RGB PIL image → uint8 `[3, H, W]`, one copy of the pixels (memory order stays height, width, colour)."""
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)
