"""Networks as other people write them, with their names: oracles for weights that are brought along."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TutorialBlock(nn.Module):
    """The CIFAR-10 tutorial's block: a shortcut of its own only where the channel counts differ."""

    def __init__(self, before: int, after: int, *, always: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(after)
        self.extra = nn.Sequential()
        if before != after or always:
            self.extra = nn.Sequential(nn.Conv2d(before, after, 1, stride=2), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.extra(x) + branch)


class TutorialNet(nn.Module):
    """The tutorial's network; `always` gives its fourth block the shortcut that the published one lacks."""

    def __init__(self, *, always: bool) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 64, 3, stride=3), nn.BatchNorm2d(64))
        self.blk1 = TutorialBlock(64, 128, always=always)
        self.blk2 = TutorialBlock(128, 256, always=always)
        self.blk3 = TutorialBlock(256, 512, always=always)
        self.blk4 = TutorialBlock(512, 512, always=always)
        self.outlayer = nn.Linear(512, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = self.blk4(self.blk3(self.blk2(self.blk1(x))))
        return self.outlayer(F.adaptive_avg_pool2d(x, 1).flatten(1))


class RepositoryBlock(nn.Module):
    """A basic block with a `shortcut`; without weights in it where `padded`, as the paper's CIFAR networks have it."""

    def __init__(self, before: int, after: int, stride: int, *, padded: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.padding = (after - before) // 2 if padded and stride != 1 else 0
        self.shortcut = nn.Sequential()
        if not padded and (stride != 1 or before != after):
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.padding:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(branch + self.shortcut(x))


class RepositoryNet(nn.Module):
    """A 3×3 stem, stages `layer1` …, a `linear` head."""

    def __init__(self, widths: tuple[int, ...], blocks: int, *, padded: bool, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for stage, width in enumerate(widths, 1):
            steps = [1 if stage == 1 else 2, *[1] * (blocks - 1)]
            first = [before, *[width] * (blocks - 1)]
            made = [RepositoryBlock(c, width, s, padded=padded) for c, s in zip(first, steps, strict=True)]
            setattr(self, f"layer{stage}", nn.Sequential(*made))
            before = width
        self.stages = len(widths)
        self.linear = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.linear(x.mean((2, 3)))


def as_trained(network: nn.Module, *, edge: int = 32) -> nn.Module:
    """In eval mode, with BatchNorm statistics of a batch of noise."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, edge, edge))
    return network.eval()
