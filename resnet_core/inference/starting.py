"""A training that starts from a model somebody names, as `list_checkpoints` has it, instead of a file."""

from pathlib import Path
from typing import Any

from resnet_core.inference.catalog import SHIPPED, checkpoint_path
from resnet_core.inference.shelf import shelf_of
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import RunStore


def started_from(config: TrainConfig, store: RunStore, *, allow_paths: bool) -> TrainConfig:
    """The config with the file behind the name in `init_from`.

    Without a network of its own the training goes on with the model's, and with its pictures' size and colours, as far
    as nothing else was asked for. Paths are for people at this machine. Raises CheckpointError, RunError, ConfigError.
    """
    if not config.init_from:
        return config
    start = checkpoint_path(config.init_from, store, allow_paths=allow_paths).resolve()
    usual = TrainConfig()
    network = _network_of(start) if config.model is None else {}
    open_ones = {field: value for field, value in network.items() if getattr(config, field) == getattr(usual, field)}
    return config.replace(**open_ones, init_from=str(start))


def start_name(path: str, store: RunStore) -> str | None:
    """The name of the model whose file this is; None where it has none."""
    file = Path(path)
    if file == SHIPPED:
        return "flowers"
    if file.parent.parent == store.runs_dir.resolve() and file.name in ("best.safetensors", "last.safetensors"):
        return file.parent.name + ("/last" if file.stem == "last" else "")
    shelf = shelf_of(store)
    return next((entry.name for entry in shelf.list() if shelf.path(entry.name).resolve() == file), None)


def _network_of(checkpoint: Path) -> dict[str, Any]:
    """The settings that continue with a checkpoint's own network and pictures."""
    from resnet_core.training.checkpoint import read_checkpoint  # pages are built before torch is there
    from resnet_core.training.promotion import fine_tuning_settings

    settings = fine_tuning_settings(read_checkpoint(checkpoint), way="full")
    return {key: value for key, value in settings.items() if key not in ("freeze", "resize")}
