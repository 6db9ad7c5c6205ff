"""Networks for 32×32 pictures: the CIFAR family of He et al. 2015 (section 4.2) and the tutorial's network.

The tutorial's comes in two forms: corrected, and as published with its silently broadcasting shortcut.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from resnet_core.errors import ModelError
from resnet_core.models.resnet import BasicBlock, Network, initialize, projection


class PaddedShortcut(nn.Module):
    """The parameter-free shortcut (option A): every second pixel, and zeros for the channels that are new."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, out_channels, ⌈H/stride⌉, ⌈W/stride⌉] for x [N, in_channels, H, W]."""
        before = self.new_channels // 2
        thinned = x[:, :, :: self.stride, :: self.stride]
        return F.pad(thinned, (0, 0, 0, 0, before, self.new_channels - before))

    def extra_repr(self) -> str:
        """Return the settings that `print(model)` shows."""
        return f"new_channels={self.new_channels}, stride={self.stride}"


class CifarResNet(Network):
    """ResNet-20, -32, -44, -56, -110 or -1202: 3×3 stem, then three stages of 16, 32 and 64 channels.

    depth = 6n + 2 counts the weighted layers: n blocks a stage of two convolutions each, the stem and fc.
    residual=False gives the plain twin. Raises ModelError for a depth that is not 6n + 2.
    """

    stage_names = ("layer1", "layer2", "layer3")

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int = 10,
        include_top: bool = True,
        residual: bool = True,
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__(num_classes=num_classes, include_top=include_top)
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ModelError(
                f"A CIFAR ResNet cannot be {depth} layers deep; its depth is 6n + 2, such as 20, 56 or 110."
            )
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(16, 16, blocks, stride=1, residual=residual)
        self.layer2 = _stage(16, 32, blocks, stride=2, residual=residual)
        self.layer3 = _stage(32, 64, blocks, stride=2, residual=residual)
        self.add_head(64)
        initialize(self, zero_init_residual=zero_init_residual)


def _stage(in_channels: int, channels: int, depth: int, *, stride: int, residual: bool) -> nn.Sequential:
    changes_shape = stride != 1 or in_channels != channels
    shortcut = PaddedShortcut(in_channels, channels, stride) if changes_shape and residual else None
    first = BasicBlock(in_channels, channels, stride=stride, downsample=shortcut, residual=residual)
    rest = [BasicBlock(channels, channels, residual=residual) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)


class TutorialCifarNet(Network):
    """The CIFAR-10 tutorial's network: 3×3 stem with stride 3 and no padding, then four blocks of stride 2.

    At 32×32: 64×10×10 → 128×5×5 → 256×3×3 → 512×2×2 → 512×1×1. All convolutions carry biases.
    as_published gives a block a projection only where the channel counts differ. In the fourth block they
    agree, so its shortcut stays an identity in spite of the stride, and [512,1,1] + [512,2,2] broadcasts
    instead of failing. Weights start as torch itself draws them, as in the text. residual=False gives the
    plain twin. Raises ModelError when both are asked for.
    """

    keeps_torch_initialization = True

    def __init__(
        self,
        *,
        num_classes: int = 10,
        include_top: bool = True,
        as_published: bool = False,
        residual: bool = True,
    ) -> None:
        super().__init__(num_classes=num_classes, include_top=include_top)
        if as_published and not residual:
            raise ModelError(
                "The published network's fault is in a shortcut and a plain network has none; "
                "choose as_published or residual=False, not both."
            )
        self.conv1 = nn.Conv2d(3, 64, 3, stride=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _tutorial_stage(64, 128, residual=residual)
        self.layer2 = _tutorial_stage(128, 256, residual=residual)
        self.layer3 = _tutorial_stage(256, 512, residual=residual)
        self.layer4 = _tutorial_stage(512, 512, residual=residual, project=not as_published)
        self.add_head(512)


def _tutorial_stage(in_channels: int, channels: int, *, residual: bool, project: bool = True) -> nn.Sequential:
    downsample = projection(in_channels, channels, 2, bias=True) if residual and project else None
    return nn.Sequential(
        BasicBlock(in_channels, channels, stride=2, downsample=downsample, residual=residual, bias=True)
    )
