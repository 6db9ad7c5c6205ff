"""Branching off: a new run that begins where another one stood after a kept epoch, with settings of its own.

It holds copies of all it needs, so the other run may go on, or be deleted.
"""

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet_core.data.datasets import DatasetSpec, load_dataset
from resnet_core.data.image_gate import visible_text
from resnet_core.errors import CheckpointError, ConfigError, RunError
from resnet_core.files import link_or_copy
from resnet_core.training.checkpoint import read_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import CHANGEABLE, check_given, lifting_budget
from resnet_core.training.data_changes import agreed_state
from resnet_core.training.picture_list import FILE as PICTURES
from resnet_core.training.recorder import load_kept, write_state
from resnet_core.training.resuming import check_version
from resnet_core.training.runs import Run, RunStore

NAME_LENGTH = 80


def branch_off(
    store: RunStore,
    run_id: str,
    epoch: int,
    settings: Mapping[str, Any],
    *,
    data_dir: Path,
    anyway: bool = False,
) -> tuple[Run, DatasetSpec]:
    """A new run that waits to go on after that epoch of the other, and its pictures.

    Without settings it will repeat what the other did, bit by bit on the same machine. Raises ConfigError for settings
    that cannot change, RunError where the epoch is not kept, DataChangedError where its pictures are others now.
    """
    parent = store.get(run_id)
    _check_names(settings)
    state = load_kept(parent, epoch)
    check_version(state)
    changes = {key: value for key, value in settings.items() if key != "name"}
    changes = lifting_budget(changes, parent.config().budget_minutes)
    config = _config(parent, epoch, changes, settings.get("name"))
    _check_left(state, changes, epoch)
    dataset = load_dataset(config.dataset, data_dir=data_dir, seed=config.seed)
    begun = _with_changes(agreed_state(parent, state, dataset, anyway=anyway), changes)
    run = store.create(config)
    try:
        _fill(run.folder, parent, epoch, begun)
    except (OSError, RunError) as error:
        shutil.rmtree(run.folder, ignore_errors=True)
        if isinstance(error, RunError):
            raise
        raise RunError(f"The branch cannot be written ({error.strerror}); make room on the disk.") from error
    return run, dataset


def _check_names(settings: Mapping[str, Any]) -> None:
    fixed = [name for name in settings if name not in (*CHANGEABLE, "name")]
    if fixed:
        shown = ", ".join(visible_text(str(name))[:60] for name in fixed[:5])
        raise ConfigError(f"{shown} cannot change in a branch; {', '.join((*CHANGEABLE, 'name'))} can.")
    check_given({name: value for name, value in settings.items() if name != "name"})


def _config(parent: Run, epoch: int, changes: Mapping[str, Any], name: Any) -> TrainConfig:
    """What the branch is asked to do; raises ConfigError where a value is out of range."""
    config = parent.config()
    if name is None:
        name = f"{config.name[: NAME_LENGTH - 20]}, from epoch {epoch}" if config.name else ""
    return config.replace(**changes, name=name, forked_from=f"{parent.run_id}/{epoch}")


def _check_left(state: Mapping[str, Any], changes: Mapping[str, Any], epoch: int) -> None:
    asked = state.get("pending", {}).get("asked", {})
    given = {name: value for name, value in asked.items() if value is not None}  # older versions let it be None
    epochs = int({**state["config"], **given, **changes}["epochs"])
    if epoch >= epochs:
        raise ConfigError(f"After epoch {epoch} nothing is left of {epochs} epochs; give the branch more epochs.")


def _with_changes(state: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a branch: it begins as its parent stood and takes the changes up as a person's, at its first epoch.

    The branch's own config names the new values, so the old ones must be held against it until then.
    """
    pending = state.get("pending", {})
    before = {name: state["config"][name] for name in changes if name in state["config"]}
    return {
        **state,
        "changes": {**state.get("changes", {}), **before},
        "pending": {**pending, "asked": {**pending.get("asked", {}), **changes}},
    }


def _fill(folder: Path, parent: Run, epoch: int, state: dict[str, Any]) -> None:
    link_or_copy(parent.kept_checkpoint(epoch), folder / "last.safetensors")
    best, rows = _best_then(parent, epoch, int(state["position"].get("best_epoch", 0)))
    link_or_copy(best, folder / "best.safetensors")
    for source in (rows, parent.folder / PICTURES):
        if source and source.is_file() and "accepted" not in state:
            link_or_copy(source, folder / source.name)
    write_state(folder / "resume.pt", state)  # last: without it nobody takes a branch up that is half made


def _best_then(parent: Run, epoch: int, best_epoch: int) -> tuple[Path, Path | None]:
    """The best checkpoint as of that epoch and its predictions; the epoch's own where that one is gone by now."""
    with contextlib.suppress(RunError, CheckpointError):
        path = parent.checkpoint_path("best")
        if read_checkpoint(path).training.get("epoch") == best_epoch:
            return path, parent.folder / "predictions.csv"
    with contextlib.suppress(RunError):
        return parent.kept_checkpoint(best_epoch), None
    return parent.kept_checkpoint(epoch), None
