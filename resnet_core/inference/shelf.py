"""The shelf of models that no run here made: adopted from elsewhere, or taught on the page. `<runs-dir>/models/`.

    <name>.safetensors    a checkpoint of ours          <name>.label.json   the name a person gave it
    <name>.pictures.npz   small copies of what it was taught with, where it was taught on this machine; they go with it

A checkpoint copied into the folder by hand is on the shelf too, under its file's name. Nothing here imports torch
before a model is added, so that a page can list the shelf at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name
from resnet_core.errors import CheckpointError, ModelError
from resnet_core.files import replacing, write_json
from resnet_core.models.zoo import get_architecture

if TYPE_CHECKING:
    import torch

    from resnet_core.training.checkpoint import Checkpoint
    from resnet_core.training.runs import RunStore

PREFIX = "models/"
LABEL = ".label.json"  # not .json: a model called config would make the folder look like a run
PICTURES = ".pictures.npz"
MAX_MODELS = 500  # a shelf longer than this is a mistake or an attack
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)$")  # no file names on Windows


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model that can be loaded by `name`."""

    name: str
    title: str
    detail: str


class ModelShelf:
    """The models in one folder; every method may be called from any thread or process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, checkpoint: Checkpoint, state_dict: Mapping[str, torch.Tensor], *, name: str) -> ModelEntry:
        """Stores a model under a free file name made from `name`. Raises CheckpointError where it cannot be written."""
        from resnet_core.training.checkpoint import save_checkpoint

        title = _title(name)
        if len(self._stems()) >= MAX_MODELS:
            raise CheckpointError(f"There are {MAX_MODELS} models on the shelf already; remove some first.")
        try:
            stem = self._reserve(title)
        except OSError as error:
            raise _unwritable(error) from error
        path = self._file(stem)
        try:
            path.with_suffix(PICTURES).unlink(missing_ok=True)  # of a model of that name that was deleted by hand
            write_json(path.with_suffix(LABEL), _label(title, checkpoint))
            save_checkpoint(path, checkpoint, state_dict)
        except BaseException as error:
            for written in (path, path.with_suffix(LABEL)):
                written.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _unwritable(error) from error
            raise
        return self._entry(stem)

    def replace(
        self, name: str, checkpoint: Checkpoint, state_dict: Mapping[str, torch.Tensor], *, title: str
    ) -> ModelEntry:
        """Puts this model in the place of another, under the name that is asked by; the other's pictures go with it.

        Whoever asks meanwhile gets the one or the other. Raises CheckpointError where there is none, or it stays
        because the new one cannot be written.
        """
        from resnet_core.training.checkpoint import save_checkpoint

        path, title = self.path(name), _title(title)
        try:  # of the two files the later one, the model, is renamed first
            with replacing(path.with_suffix(LABEL)) as label, replacing(path) as temporary:
                save_checkpoint(temporary, checkpoint, state_dict)
                write_json(label, _label(title, checkpoint))
                path.with_suffix(PICTURES).unlink(missing_ok=True)  # before: they would bear the new classes' names
        except OSError as error:
            raise _unwritable(error) from error
        return self._entry(path.stem)

    def list(self) -> tuple[ModelEntry, ...]:
        """The models, newest first."""
        return tuple(self._entry(stem) for stem in self._stems())

    def path(self, name: str) -> Path:
        """The file of a model, asked by its entry's name, with or without `models/`. Raises CheckpointError."""
        stem = name.removeprefix(PREFIX)
        path = self._file(stem)
        plain = stem and Path(stem).name == stem and not stem.startswith(".") and "\\" not in stem
        if not plain or not os.path.isfile(path):  # unlike Path's, this question never raises
            raise CheckpointError(f"There is no model “{display_name(stem)}” on the shelf.")
        return path

    def pictures(self, name: str) -> Path:
        """Where small copies of what a model was taught with lie, if they were kept. Raises CheckpointError."""
        return self.path(name).with_suffix(PICTURES)

    def rename(self, name: str, title: str) -> ModelEntry:
        """Shows the model under another name; the one it is asked by stays. Raises CheckpointError."""
        path = self.path(name)
        try:
            write_json(path.with_suffix(LABEL), {**_read_label(path), "name": _title(title)})
        except OSError as error:
            raise _unwritable(error) from error
        return self._entry(path.stem)

    def remove(self, name: str) -> None:
        """Deletes the model. Raises CheckpointError if there is none, or it cannot be deleted."""
        path = self.path(name)
        try:
            path.unlink()
            path.with_suffix(PICTURES).unlink(missing_ok=True)
            path.with_suffix(LABEL).unlink(missing_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"The model “{display_name(path.stem)}” could not be removed ({error.strerror})."
            ) from error

    def _reserve(self, title: str) -> str:
        """A file name nobody else has: whoever creates the label file owns it, also among several processes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        base = _slug(title)
        for number in range(1, 10 * MAX_MODELS):
            stem = base if number == 1 else f"{base}-{number}"
            if self._file(stem).exists():
                continue
            with contextlib.suppress(FileExistsError):
                self._file(stem).with_suffix(LABEL).touch(exist_ok=False)
                return stem
        raise CheckpointError(f"There are too many models called “{display_name(title)}”; choose another name.")

    def _stems(self) -> tuple[str, ...]:
        found: list[tuple[float, str]] = []
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".safetensors") and not entry.name.startswith("."):
                    with contextlib.suppress(OSError):  # removed in this moment
                        found.append((entry.stat().st_mtime, entry.name.removesuffix(".safetensors")))
        return tuple(stem for _, stem in sorted(found, reverse=True))

    def _entry(self, stem: str) -> ModelEntry:
        label = _read_label(self._file(stem))
        title, detail = str(label.get("name") or stem), str(label.get("detail") or "a checkpoint put on the shelf")
        return ModelEntry(name=PREFIX + stem, title=visible_text(title), detail=visible_text(detail))

    def _file(self, stem: str) -> Path:
        return self.folder / f"{stem}.safetensors"


def shelf_of(store: RunStore) -> ModelShelf:
    """The shelf that belongs to a folder of runs; a folder without a config.json is no run to the store."""
    return ModelShelf(store.runs_dir / PREFIX.rstrip("/"))


def _title(name: str) -> str:
    """One visible line. Raises CheckpointError for a name of nothing."""
    title = visible_text(name)
    if not title.strip(". \u200c\u200d"):
        raise CheckpointError("The model needs a name; type one that people will recognise.")
    return title


def _slug(title: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40].strip("-") or "model"
    return f"model-{words}" if _DEVICES.match(words) else words


def _detail(checkpoint: Checkpoint) -> str:
    try:
        network = get_architecture(checkpoint.architecture).title
    except ModelError:
        network = checkpoint.architecture
    count = len(checkpoint.class_names)
    return f"{network}, {count:,} {'class' if count == 1 else 'classes'}"


def _label(title: str, checkpoint: Checkpoint) -> dict[str, str]:
    return {"name": title, "detail": _detail(checkpoint)}


def _read_label(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.with_suffix(LABEL).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _unwritable(error: OSError) -> CheckpointError:
    return CheckpointError(f"The model could not be stored ({error.strerror}); free some space or change the folder.")
