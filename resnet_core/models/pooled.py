"""What the stages of a network make of a picture, pooled to a few numbers: mean and spread of every channel.

Early stages tell texture and colour, the last one what the network is trained to tell apart. A score of how known a
picture looks is computed from them, see `resnet_core.training.unknown_score`.
"""

import torch
from torch import Tensor, nn

from resnet_core.models.resnet import Network


def pool_stage(maps: Tensor) -> Tensor:
    """float32 `[N, 2 · C]` of a stage's maps `[N, C, H, W]`: every channel's mean over space, then every spread."""
    variances, means = torch.var_mean(maps.flatten(2).float(), dim=2, correction=0)
    return torch.cat([means, variances.sqrt()], 1)


def answer_with_features(network: Network, images: Tensor) -> Tensor:
    """float32 `[N, K + F]` of images `[N, 3, H, W]`: the logits, then the pooled stages from the first to the last."""
    for name in network.stem_names:
        images = getattr(network, name)(images)
    pooled = []
    for name in network.stage_names:
        images = getattr(network, name)(images)
        pooled.append(pool_stage(images))
    return torch.cat([network.forward_head(images).float(), *pooled], 1)


def stage_channels(network: Network) -> tuple[int, ...]:
    """Channels at the end of each stage: those of the last normalisation in it, without running anything."""
    found = []
    for name in network.stage_names:
        norms = [module for module in getattr(network, name).modules() if isinstance(module, nn.BatchNorm2d)]
        found.append(norms[-1].num_features)
    return tuple(found)


def stage_columns(channels: tuple[int, ...]) -> tuple[slice, ...]:
    """Where each stage's 2 · C numbers lie among the features of a network with these stages."""
    places, start = [], 0
    for count in channels:
        places.append(slice(start, start + 2 * count))
        start += 2 * count
    return tuple(places)
