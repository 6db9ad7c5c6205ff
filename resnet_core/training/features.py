"""Head-only training without running the network: what its frozen stages make of each picture is computed once.

The features of a picture and of its mirror image lie beside each other, `[C, 1, 2]`, like a picture two pixels wide:
mirroring that exchanges them. So everything that handles batches of pictures handles batches of features.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from resnet_core.data.augment import AugmentPolicy
from resnet_core.data.loaders import Batch, Loaders, TrainLoader
from resnet_core.device import DeviceChoice
from resnet_core.memory import free_memory
from resnet_core.models.resnet import Network
from resnet_core.training.config import TrainConfig

MEMORY_SHARE = 0.25  # of the free memory may be taken by features


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the stages of a network make of some pictures: the input of its head, on the network's device."""

    maps: torch.Tensor  # float32 [N, C, 1, 2], pooled: picture and mirror image; [N, C, 1, 1] without the latter
    targets: torch.Tensor  # int64 [N]

    def __len__(self) -> int:
        return len(self.targets)


class Head(nn.Module):
    """The head of a network as a network of its own, from features to logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return logits `[N, K]` of maps `[N, C, 1, 2]`; pooling what is pooled changes nothing."""
        return self.network.forward_head(maps[..., :1])


@torch.no_grad()
def cache_features(
    network: Network,
    batches: Iterable[Batch],
    *,
    mirrored: bool = True,
    autocast: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    progress: Callable[[int], None] | None = None,
) -> Features:
    """The features of all pictures of `batches`, in their order, computed in eval mode.

    `mirrored` adds those of the mirror images; `progress` is told how many pictures are done. Whatever it raises ends
    the work; the network keeps its modes. The result may enter autograd.
    """
    modes = {module: module.training for module in network.modules()}
    maps, targets, done = [], [], 0
    try:
        network.eval()
        for batch in batches:
            views = (batch.images, batch.images.flip(-1)) if mirrored else (batch.images,)
            with autocast():
                pooled = [network.avgpool(network.forward_features(view)).float() for view in views]
            maps.append(torch.cat(pooled, dim=3).contiguous())
            targets.append(batch.targets)
            done += len(batch.targets)
            if progress:
                progress(done)
    finally:
        for module, training in modes.items():
            module.training = training
    return Features(maps=torch.cat(maps), targets=torch.cat(targets))


@dataclass(frozen=True, kw_only=True)
class FeatureLoaders:
    """Both sides of a head-only training: the batches of the loaders it was made from, as features."""

    train: Features
    val: Features
    order: TrainLoader  # yields which pictures a batch holds, and which of them are mirrored
    val_batch_size: int

    def epoch(self, epoch: int, *, first_step: int = 1) -> Iterator[Batch]:
        """The batches that the training loader gives in this epoch."""
        for batch in self.order.epoch(epoch, first_step=first_step):
            maps = self.train.maps[batch.targets]
            turned = (batch.images[:, :1, :1, :1] > 0).expand_as(maps)
            yield Batch(torch.where(turned, maps.flip(-1), maps), self.train.targets[batch.targets])

    def val_batches(self) -> Iterator[Batch]:
        """The validation batches in their fixed order."""
        for start in range(0, len(self.val), self.val_batch_size):
            part = slice(start, start + self.val_batch_size)
            yield Batch(self.val.maps[part], self.val.targets[part])


def cached_loaders(
    network: Network,
    loaders: Loaders,
    config: TrainConfig,
    where: DeviceChoice,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureLoaders | None:
    """The features of all pictures, computed once; None where that cannot stand in for running the network.

    Only the head may learn, pictures may at most be mirrored, and memory must be free for the features. `progress` is
    told how many pictures of how many are done.
    """
    if not _can_cache(network, loaders, config.freeze, free_memory(where.device)):
        return None
    counts = len(loaders.train.store), len(loaders.val.store)

    def report(base: int) -> Callable[[int], None]:
        return lambda done: progress(base + done, sum(counts)) if progress else None

    still = replace(loaders.val, store=loaders.train.store, cuts=loaders.train.cuts)
    mirrored, flip_average = loaders.train.policy.flip, bool(config.flip_average)
    train = cache_features(network, still, mirrored=mirrored, autocast=where.autocast, progress=report(0))
    val = cache_features(
        network, loaders.val, mirrored=flip_average, autocast=where.autocast, progress=report(counts[0])
    )
    return FeatureLoaders(train=train, val=val, order=_order(loaders.train), val_batch_size=loaders.val.batch_size)


def _can_cache(network: Network, loaders: Loaders, freeze: str, free: int | None) -> bool:
    policy = loaders.train.policy
    if freeze != network.stage_names[-1] or policy != AugmentPolicy(flip=policy.flip) or loaders.train.mixing:
        return False
    count = len(loaders.train.store) + len(loaders.val.store)
    return free is None or count * network.fc.in_features * 2 * 4 <= MEMORY_SHARE * free


@dataclass(frozen=True)
class _Signposts:
    """Cuts of pictures of 1×2 pixels, dark and light: seen light first, the picture was mirrored."""

    resident: bool = True

    def cut(self, chosen: torch.Tensor, size: int, generator: torch.Generator) -> torch.Tensor:
        return torch.tensor([0, 255], dtype=torch.uint8).expand(len(chosen), 3, 1, 2)


def _order(train: TrainLoader) -> TrainLoader:
    """The same loader, whose batches hold each picture's number as target and a signpost as picture."""
    store = replace(train.store, targets=torch.arange(len(train.store)))
    plain = replace(train.preprocessing, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return replace(train, store=store, preprocessing=plain, cuts=_Signposts())
