"""What a training is fed with: its pictures, and what each class weighs."""

from functools import partial

import torch

from resnet_core.data.augment import get_policy
from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec, with_rendered
from resnet_core.data.fewer import with_fewer
from resnet_core.data.loaders import Loaders, make_loaders
from resnet_core.data.mixing import Mixing
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.sharing import ALL, SMALLEST_PART, Share
from resnet_core.device import DeviceChoice
from resnet_core.errors import ConfigError, RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.distributed import Team


def mix_dataset(config: TrainConfig, dataset: DatasetSpec) -> DatasetSpec:
    """The data set, with the rendered flowers that the config asks for among its training pictures."""
    assert config.resize is not None
    return with_rendered(dataset, config.rendered_share, size=config.resize)


def choose_pictures(config: TrainConfig, dataset: DatasetSpec) -> DatasetSpec:
    """The data set with as many training pictures as the config allows, of every class the same share."""
    if config.max_pictures is None or config.max_pictures >= len(dataset.train):
        return dataset
    return with_fewer(dataset, config.max_pictures, seed=config.seed)


def load_pictures(
    config: TrainConfig,
    dataset: DatasetSpec,
    preprocessing: Preprocessing,
    where: DeviceChoice,
    progress: Progress | None = None,
    share: Share = ALL,
) -> Loaders:
    """The batches of a resolved config, or a process's share of them."""
    assert config.augment is not None
    assert config.batch_size is not None
    return make_loaders(
        dataset,
        preprocessing,
        policy=get_policy(config.augment),
        batch_size=config.batch_size,
        seed=config.seed,
        device=where.device,
        mixing=mixing_of(config),
        balanced=config.sampling == "balanced",
        memory_format=where.memory_format,
        progress=progress,
        share=share,
    )


def load_share(
    team: Team,
    config: TrainConfig,
    dataset: DatasetSpec,
    preprocessing: Preprocessing,
    where: DeviceChoice,
    progress: Progress | None = None,
) -> Loaders:
    """This process's part of the batches of a resolved config.

    Raises ConfigError where batches are too small to be divided, RunError where processes see other pictures.
    """
    assert config.batch_size is not None
    if team.size > 1 and not team.share.divides(config.batch_size):
        raise ConfigError(
            f"A batch of {config.batch_size} pictures cannot be divided among {team.size} processes; "
            f"use a batch size of at least {SMALLEST_PART * team.size}."
        )
    if team.first(lambda: dataset.fingerprint) != dataset.fingerprint:
        raise RunError(f"Process {team.rank} sees other pictures than the first one; give all the same data folder.")
    return team.in_turn(partial(load_pictures, config, dataset, preprocessing, where, progress, team.share))


def mixing_of(config: TrainConfig) -> Mixing:
    """How strongly training pictures are mixed."""
    return Mixing(mixup=config.mixup, cutmix=config.cutmix)


def weigh_classes(kind: str, targets: torch.Tensor, num_classes: int) -> torch.Tensor | None:
    """float32 `[K]`, inverse to how often a class occurs among `targets`, for "balanced"; else None: all alike."""
    if kind == "none":
        return None
    counts = torch.bincount(targets, minlength=num_classes)
    return (counts.sum() / (len(counts) * counts.clamp(min=1))).to(torch.float32)
