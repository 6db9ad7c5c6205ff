"""What a training is fed with: its pictures, and what each class weighs."""

import torch

from resnet_core.data.augment import get_policy
from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec, with_rendered
from resnet_core.data.loaders import Loaders, make_loaders
from resnet_core.data.mixing import Mixing
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.device import DeviceChoice
from resnet_core.training.config import TrainConfig


def mix_dataset(config: TrainConfig, dataset: DatasetSpec) -> DatasetSpec:
    """The data set, with the rendered flowers that the config asks for among its training pictures."""
    assert config.resize is not None
    return with_rendered(dataset, config.rendered_share, size=config.resize)


def load_pictures(
    config: TrainConfig,
    dataset: DatasetSpec,
    preprocessing: Preprocessing,
    where: DeviceChoice,
    progress: Progress | None = None,
) -> Loaders:
    """The batches of a resolved config."""
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
        memory_format=where.memory_format,
        progress=progress,
    )


def mixing_of(config: TrainConfig) -> Mixing:
    """How strongly training pictures are mixed."""
    return Mixing(mixup=config.mixup, cutmix=config.cutmix)


def weigh_classes(kind: str, targets: torch.Tensor, num_classes: int) -> torch.Tensor | None:
    """float32 `[K]`, inverse to how often a class occurs among `targets`, for "balanced"; else None: all alike."""
    if kind == "none":
        return None
    counts = torch.bincount(targets, minlength=num_classes)
    return (counts.sum() / (len(counts) * counts.clamp(min=1))).to(torch.float32)
