"""A training that starts from a model somebody names, as `list_checkpoints` has it, instead of a file."""

import contextlib
from pathlib import Path
from typing import Any

from resnet_core.errors import CheckpointError, ConfigError, RunError
from resnet_core.inference.catalog import IMAGENET, SHIPPED, checkpoint_path
from resnet_core.inference.shelf import shelf_of
from resnet_core.training.config import TrainConfig
from resnet_core.training.kept_epochs import list_kept
from resnet_core.training.runs import RunStore


def started_from(config: TrainConfig, store: RunStore, *, allow_paths: bool) -> TrainConfig:
    """The config with the file behind the name in `init_from`.

    Without a network of its own, or with the same one, the training goes on with the model's, and with its pictures'
    size and colours, as far as nothing else was asked for. Paths are for people at this machine. Raises
    CheckpointError, RunError or ConfigError.
    """
    if not config.init_from:
        return config
    if config.init_from.startswith(IMAGENET):
        raise ConfigError(
            "ImageNet's weights are asked for otherwise: give --pretrained, or tick “Start from ImageNet weights”."
        )
    start = checkpoint_path(config.init_from, store, allow_paths=allow_paths).resolve()
    usual, network = TrainConfig(), _network_of(start)
    if config.model not in (None, network["model"]):
        network = {}
    open_ones = {field: value for field, value in network.items() if getattr(config, field) == getattr(usual, field)}
    return config.replace(**open_ones, init_from=str(start))


def start_name(path: str, store: RunStore) -> str | None:
    """The name of the model whose file this is; None where it has none."""
    file = Path(path)
    if file == SHIPPED:
        return "flowers"
    home = next((place for place in file.parents if place.parent == store.runs_dir.resolve()), None)
    shelf = shelf_of(store)
    if home is None:
        return None
    if home == shelf.folder.resolve():
        names = [entry.name for entry in shelf.list()]
    else:
        names = [home.name, f"{home.name}/last", *(f"{home.name}/{epoch}" for epoch in list_kept(home))]
    for name in names:
        with contextlib.suppress(CheckpointError, RunError):  # removed meanwhile, or never there
            if checkpoint_path(name, store).resolve() == file:
                return name
    return None


def _network_of(checkpoint: Path) -> dict[str, Any]:
    """The settings that continue with a checkpoint's own network and pictures."""
    from resnet_core.training.checkpoint import read_checkpoint  # pages are built before torch is there
    from resnet_core.training.promotion import fine_tuning_settings

    settings = fine_tuning_settings(read_checkpoint(checkpoint), way="full")
    return {key: value for key, value in settings.items() if key not in ("freeze", "resize")}
