"""What happens to pictures on their way: cut, made small, blurred, saved as JPEG.

Pictures that a network should know and others pass through the same random losses before a score learns to tell them
apart. Otherwise it would learn that 32 px, or a soft edge, means "not a flower".
"""

import io

import numpy as np
from PIL import Image, ImageFilter

SIDES = (24, 160)  # px of the reduced picture, drawn log-uniformly
AREA = (0.4, 1.0)  # share of the picture that is kept
QUALITY = (25, 95)  # of the JPEG
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BOX, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def degrade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A square part of the RGB picture after random losses: at most SIDES[1] px, perhaps blurred, perhaps a JPEG."""
    side = round(float(np.exp(rng.uniform(*np.log(SIDES)))))
    square = random_square(image, rng)
    small = square.resize((side, side), FILTERS[int(rng.integers(len(FILTERS)))])
    if rng.random() < 0.3:
        small = small.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2)) * side / 64))
    if rng.random() < 0.7:
        small = recompress(small, int(rng.integers(*QUALITY)))
    return small.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else small


def random_square(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A square part with AREA of the largest one's area, anywhere in the picture."""
    side = max(1, round(min(image.size) * float(np.sqrt(rng.uniform(*AREA)))))
    left, top = (int(rng.integers(length - side + 1)) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def recompress(image: Image.Image, quality: int) -> Image.Image:
    """The picture as it comes back from a JPEG of that quality."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    with Image.open(stream) as opened:
        return opened.convert("RGB")


def collage(images: list[Image.Image], rng: np.random.Generator, *, side: int = 128) -> Image.Image:
    """Small pictures side by side, 2×2 to 4×4: as sharp as a photo, without being one thing."""
    count = int(rng.integers(2, 5))
    edge = side // count
    sheet = Image.new("RGB", (edge * count, edge * count))
    for place in range(count * count):
        tile = images[int(rng.integers(len(images)))].resize((edge, edge), Image.Resampling.BICUBIC)
        sheet.paste(tile, (place % count * edge, place // count * edge))
    return sheet
