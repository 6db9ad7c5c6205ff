"""Every model one can ask: the shipped one, those on the shelf, those of runs, torchvision's. One short name each,
used by the command line, the pages and the API alike.

    flowers                      the checkpoint shipped in assets/
    models/<name>                on the shelf: adopted from elsewhere, or taught on the page
    <run id>, <run id>/last      a run's best, or newest, epoch
    <run id>/3                   one of the epochs it keeps
    imagenet/resnet18 …          torchvision's weights of 1000 classes
    a path                       any checkpoint file of ours (command line only)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_core.data.images import display_name
from resnet_core.errors import CheckpointError, RunError
from resnet_core.inference.shelf import PREFIX as SHELF
from resnet_core.inference.shelf import ModelEntry, shelf_of
from resnet_core.training.runs import RunStore

if TYPE_CHECKING:
    import torch

    from resnet_core.inference.classifier import Classifier

SHIPPED = Path(__file__).resolve().parents[2] / "assets" / "flowers.safetensors"
IMAGENET = "imagenet/"


def list_checkpoints(store: RunStore, *, with_imagenet: bool = True, kept: bool = False) -> tuple[ModelEntry, ...]:
    """The models at hand: shipped, on the shelf, of runs (newest first each), ImageNet's where this machine has them.

    `kept`: also the single epochs that runs keep. Without ImageNet's, the answer comes before torch is imported.
    """
    shipped, runs = [], []
    if SHIPPED.is_file():
        shipped.append(ModelEntry(name="flowers", title="Flowers (shipped)", detail="5 kinds of flowers"))
    for run in store.list():
        summary = run.summary()
        for which in ("best", "last"):
            if (run.folder / f"{which}.safetensors").is_file():
                name = run.run_id if which == "best" else f"{run.run_id}/last"
                title = f"{summary.name or run.run_id} · {which} epoch"
                runs.append(ModelEntry(name=name, title=title, detail=f"{summary.model} on {summary.dataset}"))
        for epoch in run.kept_epochs() if kept else ():
            title = f"{summary.name or run.run_id} · epoch {epoch}"
            detail = f"{summary.model} on {summary.dataset}"
            runs.append(ModelEntry(name=f"{run.run_id}/{epoch}", title=title, detail=detail))
    return (*shipped, *shelf_of(store).list(), *runs, *(_cached_imagenet() if with_imagenet else ()))


def load_classifier(
    name: str,
    store: RunStore,
    *,
    allow_paths: bool = False,
    device: torch.device | None = None,
    engine: str | None = None,
) -> Classifier:
    """The classifier of that name. Raises CheckpointError, ModelError or RunError with a sentence.

    Paths are for the command line; a page must not be able to name files of the server.
    """
    from resnet_core.inference.classifier import Classifier

    if name.startswith(IMAGENET):
        return Classifier.pretrained(name.removeprefix(IMAGENET), device=device, engine=engine)
    return Classifier.load(checkpoint_path(name, store, allow_paths=allow_paths), device=device, engine=engine)


def checkpoint_path(name: str, store: RunStore, *, allow_paths: bool = False) -> Path:
    """The file behind a name of `list_checkpoints`. Raises CheckpointError or RunError."""
    if name == "flowers":
        return SHIPPED
    if allow_paths and os.path.isfile(name):  # unlike Path's, this question never raises
        return Path(name)
    if name.startswith(SHELF):
        return shelf_of(store).path(name)
    run_id, slash, which = name.partition("/")
    try:
        run = store.get(run_id)
        if slash and which not in ("best", "last") and not _is_epoch(which):
            raise RunError(f"A run keeps best, last and some epochs, not “{display_name(which)}”.")
    except RunError as error:
        last = ", imagenet/NAME or a checkpoint file" if allow_paths else " or imagenet/NAME"
        kinds = f"flowers, models/NAME, a run's id{last}"
        raise CheckpointError(f"There is no model “{display_name(name)}”; use {kinds}.") from error
    return run.kept_checkpoint(int(which)) if _is_epoch(which) else run.checkpoint_path(which or "best")


def _is_epoch(which: str) -> bool:
    return which.isascii() and which.isdigit() and len(which) <= 6


def _cached_imagenet() -> list[ModelEntry]:
    from resnet_core.models.pretrained import PRETRAINED_MODELS, is_pretrained_cached

    return [
        ModelEntry(name=IMAGENET + name, title=f"ImageNet {name}", detail="1000 classes, torchvision's weights")
        for name in PRETRAINED_MODELS
        if is_pretrained_cached(name)
    ]
