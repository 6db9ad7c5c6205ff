"""ResNet-18 to -152 (He et al. 2015), their plain twins and the two blocks every network here is made of.

Attribute names are torchvision's, so its state dicts load strictly:
conv1 → bn1 → relu → maxpool → layer1 … layer4 → avgpool → fc.

Every module runs exactly once per forward pass, so a hook on any name sees exactly one tensor. The ReLUs work
in place to spare memory: whoever captures an activation clones it.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from resnet_core.errors import ModelError

Stem = Literal["imagenet", "small"]
Off = Literal["branch", "skip"]
STEMS: tuple[Stem, ...] = ("imagenet", "small")


class ResidualBlock(nn.Module):
    """What both blocks share: `out = last ReLU(branch(x) + skip(x))`, or without the skip in a plain twin.

    `branch` and `skip` are methods of their own, so that a lesson can show what the block adds to its input.
    """

    expansion: int = 1
    residual: bool
    downsample: nn.Module | None
    kept: Tensor | None = None  # [N,1,1,1]: what a training step multiplies the branch by, see stochastic_depth
    off: Off | None = None  # which of the two summands a lesson leaves out, see activations.residual

    def branch(self, x: Tensor) -> Tensor:
        """Return what the convolutions make of x [N,C,H,W], before the sum and the last ReLU."""
        raise NotImplementedError

    def activate(self, total: Tensor) -> Tensor:
        """Return the last ReLU of the block applied to the sum."""
        raise NotImplementedError

    def skip(self, x: Tensor) -> Tensor:
        """Return the shortcut's share of the sum: x itself, or x brought to the branch's shape."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output [N, channels * expansion, H/stride, W/stride]."""
        if self.off:
            return self.activate(self.branch(x) if self.off == "skip" else self.skip(x).clone())
        total = self.branch(x)
        if self.kept is not None and self.training:
            total = total * self.kept.to(total.dtype)
        if self.residual:
            total = total + self.skip(x)
        return self.activate(total)


class BasicBlock(ResidualBlock):
    """Two 3×3 convolutions, the first with the stride: the block of ResNet-18, -34 and the CIFAR family."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        downsample: nn.Module | None = None,
        residual: bool = True,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.residual = residual

    def branch(self, x: Tensor) -> Tensor:
        """Return conv → bn → relu → conv → bn of x [N,C,H,W]."""
        x = self.relu1(self.bn1(self.conv1(x)))
        return self.bn2(self.conv2(x))  # type: ignore[no-any-return]

    def activate(self, total: Tensor) -> Tensor:
        """Return the ReLU after the sum."""
        return self.relu2(total)  # type: ignore[no-any-return]


class Bottleneck(ResidualBlock):
    """1×1 squeeze, 3×3 with the stride, 1×1 unsqueeze to four times the channels: ResNet-50 and deeper.

    The stride sits on the 3×3 as in torchvision ("ResNet v1.5"), not on the first 1×1 as in the paper.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        downsample: nn.Module | None = None,
        residual: bool = True,
    ) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu3 = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.residual = residual

    def branch(self, x: Tensor) -> Tensor:
        """Return the three convolutions of x [N,C,H,W], each with its BN, ReLU between them."""
        x = self.relu1(self.bn1(self.conv1(x)))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))  # type: ignore[no-any-return]

    def activate(self, total: Tensor) -> Tensor:
        """Return the ReLU after the sum."""
        return self.relu3(total)  # type: ignore[no-any-return]


class Network(nn.Module):
    """A network in stages: `forward(x) = forward_head(forward_features(x))`.

    `architecture` and `architecture_arguments` are filled in by `build_model`: all it takes to build the same
    network again. Subclasses create the modules named in `stem_names` and `stage_names`, then avgpool and fc.
    """

    stem_names: tuple[str, ...] = ("conv1", "bn1", "relu")
    stage_names: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4")
    keeps_torch_initialization = False  # True: weights start as torch draws them, not Kaiming-normal
    architecture: str = ""
    architecture_arguments: dict[str, Any]

    def __init__(self, *, num_classes: int, include_top: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.include_top = include_top
        self.architecture_arguments = {}

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the last stage's feature maps of images [N,3,H,W]."""
        for name in (*self.stem_names, *self.stage_names):
            images = getattr(self, name)(images)
        return images

    def forward_head(self, features: Tensor) -> Tensor:
        """Return logits [N, num_classes]; without the top, the feature maps as they came."""
        if not self.include_top:
            return features
        return self.fc(torch.flatten(self.avgpool(features), 1))  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, num_classes] of images [N,3,H,W], or the last stage's maps without the top."""
        return self.forward_head(self.forward_features(images))

    def add_head(self, features: int) -> None:
        """Create avgpool and fc over `features` channels, unless the network ends with its last stage."""
        if self.include_top:
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.fc = nn.Linear(features, self.num_classes)


class ResNet(Network):
    """A ResNet of He et al. 2015, table 1, e.g. `ResNet(BasicBlock, (3, 4, 6, 3))` for ResNet-34.

    stem "imagenet": 7×7 stride 2 and max-pool; "small": 3×3 stride 1, for pictures of about 32 to 64 px.
    residual=False gives the plain twin of section 4.1: the same convolutions, neither skips nor downsamples.
    width is the channel count of the first stage. Raises ModelError for settings that contradict each other.
    """

    stem_names = ("conv1", "bn1", "relu", "maxpool")

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        *,
        num_classes: int = 1000,
        include_top: bool = True,
        stem: Stem = "imagenet",
        residual: bool = True,
        zero_init_residual: bool = False,
        width: int = 64,
    ) -> None:
        super().__init__(num_classes=num_classes, include_top=include_top)
        if stem not in STEMS:
            raise ModelError(f"There is no stem called {stem!r}; choose one of {', '.join(STEMS)}.")
        self._in_channels = width
        self._add_stem(stem, width)
        self.layer1 = self._stage(block, width, layers[0], stride=1, residual=residual)
        self.layer2 = self._stage(block, width * 2, layers[1], stride=2, residual=residual)
        self.layer3 = self._stage(block, width * 4, layers[2], stride=2, residual=residual)
        self.layer4 = self._stage(block, width * 8, layers[3], stride=2, residual=residual)
        self.add_head(self._in_channels)
        initialize(self, zero_init_residual=zero_init_residual)

    def _add_stem(self, stem: Stem, width: int) -> None:
        if stem == "imagenet":
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.maxpool: nn.Module = pool if stem == "imagenet" else nn.Identity()

    def _stage(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        channels: int,
        depth: int,
        *,
        stride: int,
        residual: bool,
    ) -> nn.Sequential:
        blocks: list[nn.Module] = []
        out_channels = channels * block.expansion
        for index in range(depth):
            step = stride if index == 0 else 1
            changes_shape = step != 1 or self._in_channels != out_channels
            downsample = projection(self._in_channels, out_channels, step) if changes_shape and residual else None
            blocks.append(block(self._in_channels, channels, stride=step, downsample=downsample, residual=residual))
            self._in_channels = out_channels
        return nn.Sequential(*blocks)


def projection(in_channels: int, out_channels: int, stride: int, *, bias: bool = False) -> nn.Sequential:
    """Return the shortcut that changes shape: strided 1×1 convolution, then BN (option B of the paper)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=bias), nn.BatchNorm2d(out_channels)
    )


def initialize(network: nn.Module, *, zero_init_residual: bool = False) -> None:
    """Draw convolutions from Kaiming-normal (fan-out, ReLU); set their biases to 0, BN to scale 1, shift 0.

    zero_init_residual sets the last BN scale of every branch to 0, so each block starts as an identity (Goyal
    et al. 2017, section 5.1). Raises ModelError for a plain network, which would then ignore its input.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    if zero_init_residual:
        _silence_branches(network)


def _silence_branches(network: nn.Module) -> None:
    for module in network.modules():
        if not isinstance(module, ResidualBlock):
            continue
        if not module.residual:
            raise ModelError(
                "A plain network cannot start with zeroed branches, since it has no skips to carry the "
                "signal; leave out zero_init_residual or keep residual on."
            )
        last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
        assert isinstance(last, nn.BatchNorm2d)
        nn.init.zeros_(last.weight)
