"""Random changes to training pictures. Geometry that needs the whole picture (where to cut) is drawn picture by
picture; everything after runs on the whole batch, on the device that trains. All randomness comes from the generator
handed in.

    policy       cut                         flip        colour   rotate, shear   erase
    none         the fixed preprocessing
    flip         the fixed preprocessing     yes
    shift-flip   the same, moved by ±2 px    in turns
    crop-flip    8–100 % of the area, T1     yes
    standard     35–100 % of the area        yes         mild     ±10°
    strong       25–100 % of the area        yes         wide     ±20°            yes
"""

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

from resnet_core.errors import ConfigError

Box = tuple[int, int, int, int]  # top, left, height, width of a part of a picture, px

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, for grey and saturation


@dataclass(frozen=True, kw_only=True)
class AugmentPolicy:
    """Ranges of the random changes; `area` None means the fixed preprocessing instead of a random cut."""

    area: tuple[float, float] | None = None  # share of the picture that is cut out
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width over height of the cut
    flip: bool = False
    in_turns: bool = False  # each picture is flipped in every second epoch (Jordan 2024, airbench, §3.6)
    shift: int = 0  # px, both ways in both directions; what comes in from outside is mirrored
    color: float = 0.0  # brightness, contrast and saturation by a factor in [1 − color, 1 + color]
    hue: float = 0.0  # radians
    rotate: float = 0.0  # degrees, both ways
    shear: float = 0.0  # tangent, both ways
    erase: float = 0.0  # probability that a rectangle is replaced by grey


POLICIES = {
    "none": AugmentPolicy(),
    "flip": AugmentPolicy(flip=True),
    "shift-flip": AugmentPolicy(flip=True, in_turns=True, shift=2),
    "crop-flip": AugmentPolicy(area=(0.08, 1.0), flip=True),
    "standard": AugmentPolicy(area=(0.35, 1.0), flip=True, color=0.2, rotate=10),
    "strong": AugmentPolicy(area=(0.25, 1.0), flip=True, color=0.4, hue=0.15, rotate=20, shear=0.15, erase=0.25),
}


def get_policy(name: str) -> AugmentPolicy:
    """The policy of that name. Raises ConfigError on an unknown one."""
    if name not in POLICIES:
        raise ConfigError(f"“{name}” is not an augmentation; use one of {', '.join(POLICIES)}.")
    return POLICIES[name]


def random_cut(pixels: torch.Tensor, size: int, policy: AugmentPolicy, generator: torch.Generator) -> torch.Tensor:
    """uint8 `[3, H, W]` → a random part of it, see `cut_box`, resized to uint8 `[3, size, size]`."""
    top, left, height, width = cut_box(pixels.shape[-2], pixels.shape[-1], policy, generator)
    part = pixels[None, :, top : top + height, left : left + width]
    return interpolate(part, size=(size, size), mode="bilinear", antialias=True, align_corners=False)[0]


def cut_box(height: int, width: int, policy: AugmentPolicy, generator: torch.Generator) -> Box:
    """The part of a picture of this size that a random cut takes.

    Area and aspect are drawn as in Szegedy et al. 2015 (Going deeper with convolutions, §6), log-uniform in
    aspect; where ten draws do not fit, the largest central part of an allowed aspect is taken, as torchvision does.
    """
    assert policy.area is not None
    area, ratio = policy.area, policy.ratio
    draws = torch.rand(10, 4, generator=generator).tolist()
    for area_draw, ratio_draw, top_draw, left_draw in draws:
        target = height * width * (area[0] + (area[1] - area[0]) * area_draw)
        aspect = math.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * ratio_draw)
        cut_width, cut_height = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < cut_width <= width and 0 < cut_height <= height:
            top, left = int(top_draw * (height - cut_height + 1)), int(left_draw * (width - cut_width + 1))
            return top, left, cut_height, cut_width
    aspect = min(max(width / height, ratio[0]), ratio[1])
    cut_height, cut_width = min(height, round(width / aspect)), min(width, round(height * aspect))
    return (height - cut_height) // 2, (width - cut_width) // 2, cut_height, cut_width


def skip_boxes(policy: AugmentPolicy, count: int, generator: torch.Generator) -> None:
    """Draws what the random cuts of `count` pictures would, so that the next one gets the box it has after them."""
    for _ in range(count if policy.area is not None else 0):
        torch.rand(10, 4, generator=generator)


def mirrored_in(epoch: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """bool `[count]`: which pictures of a data set this 1-based epoch mirrors, where they take turns.

    Every picture is mirrored in exactly one of two epochs that follow each other. With the same generator in every
    epoch half of the pictures begin mirrored.
    """
    begins = torch.rand(count, generator=generator) < 0.5
    return begins if epoch % 2 else ~begins


def augment_batch(
    pixels: torch.Tensor,
    policy: AugmentPolicy,
    generator: torch.Generator,
    *,
    mirrored: torch.Tensor | None = None,
    rows: slice = slice(None),
    count: int | None = None,
) -> torch.Tensor:
    """uint8 `[N, 3, H, W]` → float32 0–255 of the same shape and device, each picture changed on its own.

    mirrored, bool `[N]` on the CPU, says which pictures are flipped; without it half of them are, at random.
    Where the pictures are the `rows` of a batch of `count`, each is changed as it would be in the whole batch; then
    mirrored is of the whole batch too.
    """
    draws = _Draws(generator, len(pixels) if count is None else count, rows)
    mirrored = None if mirrored is None else mirrored[rows]
    if policy.shift:
        pixels = _shift(pixels, policy.shift, draws)
    if policy.flip and mirrored is None:
        mirrored = draws.uniform() < 0.5
    turns = bool(policy.rotate or policy.shear)
    if policy.flip and not turns:
        assert mirrored is not None
        pixels = torch.where(mirrored.to(pixels.device)[:, None, None, None], pixels.flip(-1), pixels)
    images = pixels.to(torch.float32)
    if turns:
        images = _turn(images, policy, mirrored, draws)
    if policy.color or policy.hue:
        images = _recolor(images, policy, draws)
    if policy.erase:
        images = _erase(images, policy.erase, draws)
    return images


@dataclass(frozen=True)
class _Draws:
    """Random numbers for the `rows` of a batch of `count` pictures: those they would get with all others there."""

    generator: torch.Generator
    count: int
    rows: slice

    def uniform(self, *numbers: int) -> torch.Tensor:
        """In [0, 1), of the shape `[n, *numbers]`."""
        return torch.rand(self.count, *numbers, generator=self.generator)[self.rows]

    def spread(self, limit: float) -> torch.Tensor:
        """From −limit to limit, `[n]`."""
        return (self.uniform() * 2 - 1) * limit

    def places(self, high: int) -> torch.Tensor:
        """Whole numbers below `high`, two for each picture, `[2, n]`."""
        return torch.randint(0, high, (2, self.count), generator=self.generator)[:, self.rows]


def _shift(pixels: torch.Tensor, limit: int, draws: _Draws) -> torch.Tensor:
    """Moves each picture by −limit…limit px in both directions; the border is mirrored without its last row."""
    count, _, height, width = pixels.shape
    down, across = draws.places(2 * limit + 1).to(pixels.device)
    rows, columns = (_reflected(side, limit).to(pixels.device) for side in (height, width))
    wide = pixels.contiguous().index_select(2, rows).index_select(3, columns)
    windows = wide.unfold(2, height, 1).unfold(3, width, 1)  # [N, 3, 2·limit + 1, 2·limit + 1, H, W], no copy
    return windows[torch.arange(count, device=pixels.device), :, down, across]


def _reflected(side: int, limit: int) -> torch.Tensor:
    """Indices −limit … side + limit − 1, those outside mirrored at the border as numpy's "reflect" does."""
    period = max(1, 2 * side - 2)
    places = torch.arange(-limit, side + limit).remainder(period)
    return torch.minimum(places, period - places).clamp_(max=side - 1)


def _turn(images: torch.Tensor, policy: AugmentPolicy, mirrored: torch.Tensor | None, draws: _Draws) -> torch.Tensor:
    """Flip, rotation and shear in one resampling."""
    count = len(images)
    angle = draws.spread(math.radians(policy.rotate))
    shear = draws.spread(policy.shear)
    sign = torch.ones(count) if mirrored is None else torch.where(mirrored, -1.0, 1.0)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = sign * torch.cos(angle)
    matrix[:, 0, 1] = -torch.sin(angle) + shear
    matrix[:, 1, 0] = sign * torch.sin(angle)
    matrix[:, 1, 1] = torch.cos(angle)
    grid = affine_grid(matrix.to(images.device), list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recolor(images: torch.Tensor, policy: AugmentPolicy, draws: _Draws) -> torch.Tensor:
    """Brightness, contrast, saturation, hue: linear in the colours, so one 3×3 matrix and an offset a picture."""
    device = images.device
    brightness, contrast, saturation = (1 + draws.spread(policy.color) for _ in range(3))
    hue = draws.spread(policy.hue)
    matrix = _hue_matrix(hue) @ _saturation_matrix(saturation)
    matrix = (matrix * (brightness * contrast)[:, None, None]).to(device)
    luma = torch.tensor(LUMA, device=device)
    grey = torch.einsum("nchw,c->n", images, luma) / images[0, 0].numel() * brightness.to(device)
    offset = grey * (1 - contrast.to(device))  # contrast turns around the picture's own mean grey
    changed = torch.einsum("nij,njhw->nihw", matrix, images) + offset[:, None, None, None]
    return changed.clamp_(0, 255)


def _saturation_matrix(saturation: torch.Tensor) -> torch.Tensor:
    """`[N, 3, 3]`: blends each colour with its own grey."""
    grey = torch.tensor(LUMA).expand(3, 3)
    return saturation[:, None, None] * torch.eye(3) + (1 - saturation)[:, None, None] * grey


def _hue_matrix(angle: torch.Tensor) -> torch.Tensor:
    """`[N, 3, 3]`: rotation of the colours about the grey axis (Rodrigues' formula)."""
    axis = 1 / math.sqrt(3)
    cross = torch.tensor([[0.0, -axis, axis], [axis, 0.0, -axis], [-axis, axis, 0.0]])
    along = torch.full((3, 3), axis * axis)
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    return cos * torch.eye(3) + sin * cross + (1 - cos) * along


def _erase(images: torch.Tensor, probability: float, draws: _Draws) -> torch.Tensor:
    """Replaces a square of 2–25 % of some pictures by mid-grey (Zhong et al. 2017); it may lie across the border."""
    height, width = images.shape[-2:]
    drawn = draws.uniform(4)
    area = 0.02 + 0.23 * drawn[:, 1]
    half_height = torch.sqrt(area) / 2
    center = torch.stack([drawn[:, 2], drawn[:, 3]])
    rows, columns = (torch.arange(side) / side for side in (height, width))
    in_rows = (rows[None] - center[0][:, None]).abs() < half_height[:, None]
    in_columns = (columns[None] - center[1][:, None]).abs() < half_height[:, None]
    hit = (drawn[:, 0] < probability)[:, None, None] & in_rows[:, :, None] & in_columns[:, None, :]
    return images.masked_fill(hit[:, None].to(images.device), 127.5)
