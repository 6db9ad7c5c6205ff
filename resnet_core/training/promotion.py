"""From a taught head to a fine-tuning: the pictures become a data set folder, the taught model its starting weights.

    <folder>/train/<class>/00001.jpg      <folder>/val/<class>/00002.jpg

The split takes whole groups (bursts, near-copies), as the teaching did. File names are ours; folder names are the
class names as far as file systems allow.
"""

import os
import secrets
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from resnet_core.data.kept_pictures import KEPT_DRAFT, encode_kept, suffix_of
from resnet_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from resnet_core.device import make_generator
from resnet_core.errors import ConfigError, DatasetError
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.examples import folder_names
from resnet_core.training.freezing import stages_of
from resnet_core.training.teaching import Material

WAYS = ("frozen", "staged", "full")  # only the head learns; the stages after layer2 too; everything
STAGED_UP_TO = "layer2"
VAL_PARTS = 5  # one of them becomes val


def write_dataset(material: Material, folder: Path, val: torch.Tensor) -> Path:
    """Writes the pictures below `folder`, which must not exist yet, and returns it; whole or not at all.

    `val`: bool `[N]`, as of `val_pictures`. Raises DatasetError where the disk refuses.
    """
    names = folder_names(material.class_names)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        for number, (example, is_val) in enumerate(zip(material.examples, val.tolist(), strict=True), start=1):
            content = encode_kept(example.read(KEPT_DRAFT))
            target = temporary / ("val" if is_val else "train") / names[example.label]
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{number:05d}{suffix_of(content)}").write_bytes(content)
        os.replace(temporary, folder)
    except OSError as error:
        raise DatasetError(
            f"The pictures could not be written ({error.strerror}); free some space or change the data folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def val_pictures(material: Material, *, seed: int = 0) -> torch.Tensor:
    """Bool `[N]`: True for about a fifth of the pictures of each class, at least one, in whole groups.

    A class of one group stays to be learned from. Raises DatasetError where nothing can be kept back.
    """
    classes = len(material.class_names)
    table = torch.zeros(int(material.groups.max()) + 1, classes, dtype=torch.int64)  # pictures of each group and class
    table.index_put_((material.groups, material.targets), torch.ones_like(material.targets), accumulate=True)
    shuffled = torch.randperm(len(table), generator=make_generator("val", seed))
    order = shuffled[table.sum(1)[shuffled].argsort(stable=True)]  # small groups first: they come nearest to a fifth
    kept = torch.zeros(len(table), dtype=torch.bool)
    for index in (table > 0).sum(0).argsort().tolist():  # first the class with the least choice
        wanted = float(table[:, index].sum()) / VAL_PARTS
        for group in order[table[order, index] > 0].tolist():
            taken, more = int(table[kept, index].sum()), int(table[group, index])
            if taken and taken + more / 2 > wanted:  # it would overshoot by more than is missing
                break
            left = table[~kept].sum(0) - table[group]
            if not kept[group] and bool((left > 0).all()):
                kept[group] = True
    if not kept.any():
        raise DatasetError(
            "Every class consists of one burst, so nothing could be kept back to judge by; add pictures taken at "
            "another moment to at least one class."
        )
    return kept[material.groups]


def fine_tuning_settings(checkpoint: Checkpoint, *, way: str) -> dict[str, Any]:
    """The settings of a training that goes on from this checkpoint: its network, picture size and what is frozen.

    Raises ConfigError for another way than those of `WAYS`, and for pictures normalised as no training of ours does.
    """
    if way not in WAYS:
        raise ConfigError(f"A fine-tuning is one of {', '.join(WAYS)}.")
    known = {field.name for field in fields(TrainConfig)}
    arguments = {key: value for key, value in checkpoint.architecture_arguments.items() if key in known}
    stages = stages_of(checkpoint.architecture)
    staged = STAGED_UP_TO if STAGED_UP_TO in stages else stages[0]
    preprocessing = checkpoint.preprocessing
    return {
        **arguments,
        "model": checkpoint.architecture,
        "image_size": preprocessing.crop,
        "resize": preprocessing.resize,
        "normalize": _normalization(preprocessing),
        "flip_average": checkpoint.flip_average,
        "freeze": {"frozen": stages[-1], "staged": staged, "full": "none"}[way],
    }


def _normalization(preprocessing: Preprocessing) -> str:
    """Its name in the settings. Raises ConfigError where it has none: another would change what the network sees."""
    known = {(IMAGENET_MEAN, IMAGENET_STD): "imagenet", ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)): "none"}
    name = known.get((preprocessing.mean, preprocessing.std))
    if name is None:
        raise ConfigError(
            "This model normalises colours in a way of its own, which a training here cannot go on with; "
            "start from a model with ImageNet's mean and spread, or with none."
        )
    return name
