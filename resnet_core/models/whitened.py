"""ResNet-8: a small network for 32×32 pictures that learns fast, with a stem that is computed instead of learned.

Three stages begin with a convolution that pools, as in Page 2019 ("How to train your ResNet") and Jordan 2024
(airbench); none, one and two residual blocks follow, since a block costs least where the map is small. Their stem
(Page's eighth post; airbench, §3.2): the principal directions of small patches of the training pictures, each scaled
to unit variance, with both signs.
"""

import torch
from torch import Tensor, nn

from resnet_core.errors import ModelError
from resnet_core.models.resnet import Network, ResidualBlock, initialize

WHITENED_PATCH = 2  # px, edge of the patches the stem looks at
BATCHNORM_MOMENTUM = 0.4  # torch's 0.1 would judge a training of a hundred steps by statistics of its beginning
WHITENING_FLOOR = 5e-4  # added to the variances, so that directions without any signal are not blown up to noise


class Narrowing(nn.Module):
    """3×3 convolution, 2×2 max-pool, BatchNorm, ReLU: more channels on half the edge."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, channels, ⌊H/2⌋, ⌊W/2⌋] of x [N, in_channels, H, W]."""
        return self.relu(self.bn(self.pool(self.conv(x))))  # type: ignore[no-any-return]


class SingleBlock(ResidualBlock):
    """One 3×3 convolution with its BatchNorm beside the skip."""

    downsample = None

    def __init__(self, channels: int, *, residual: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.residual = residual

    def branch(self, x: Tensor) -> Tensor:
        """Return conv → bn of x [N,C,H,W]."""
        return self.bn1(self.conv1(x))  # type: ignore[no-any-return]

    def activate(self, total: Tensor) -> Tensor:
        """Return the ReLU after the sum."""
        return self.relu1(total)  # type: ignore[no-any-return]


class ResNet8(Network):
    """Whitening stem, then three stages of width, 2·width and 4·width channels, three residual blocks in all.

    conv1 is frozen: `whiten` computes it from training pictures, which `prepare_first_layer` in training hands over;
    until then it holds what it was drawn as. At 32×32 and width 64: 24×31×31 → 64×15×15 → 128×7×7 → 256×3×3.
    residual=False gives the plain twin.
    """

    stem_names = ("conv1", "relu")
    stage_names = ("layer1", "layer2", "layer3")

    def __init__(
        self, *, num_classes: int = 10, include_top: bool = True, residual: bool = True, width: int = 64
    ) -> None:
        super().__init__(num_classes=num_classes, include_top=include_top)
        directions = 3 * WHITENED_PATCH**2
        self.conv1 = nn.Conv2d(3, 2 * directions, WHITENED_PATCH, bias=False)
        self.conv1.weight.requires_grad_(False)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(2 * directions, width, blocks=0, residual=residual)
        self.layer2 = _stage(width, 2 * width, blocks=1, residual=residual)
        self.layer3 = _stage(2 * width, 4 * width, blocks=2, residual=residual)
        self.add_head(4 * width)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BATCHNORM_MOMENTUM
        initialize(self)

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Compute conv1 from network input [N, 3, H, W]; raises ModelError where it is smaller than a patch.

        Twelve directions of 2×2 patches, largest variance first, and the same twelve negated: after the ReLU nothing
        is lost. The same images give the same kernels on every machine, but for rounding and the sign of a direction,
        which is fixed so that the entry of largest magnitude is positive.
        """
        if min(images.shape[-2:]) < WHITENED_PATCH or not len(images):
            raise ModelError(
                f"The stem learns from patches of {WHITENED_PATCH}×{WHITENED_PATCH} px; use larger pictures."
            )
        patches = images.detach().to("cpu", torch.float64)
        patches = patches.unfold(2, WHITENED_PATCH, 1).unfold(3, WHITENED_PATCH, 1)  # [N, 3, H', W', 2, 2]
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, self.conv1.weight[0].numel())
        variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
        directions = directions * directions.gather(0, directions.abs().argmax(0)[None]).sign()
        kernels = (directions / torch.sqrt(variances.clamp(min=0) + WHITENING_FLOOR)).flip(1).T
        kernels = kernels.reshape(-1, *self.conv1.weight.shape[1:])
        self.conv1.weight.copy_(torch.cat([kernels, -kernels]))


def _stage(in_channels: int, channels: int, *, blocks: int, residual: bool) -> nn.Sequential:
    rest = [SingleBlock(channels, residual=residual) for _ in range(blocks)]
    return nn.Sequential(Narrowing(in_channels, channels), *rest)
