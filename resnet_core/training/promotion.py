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
from resnet_core.errors import ConfigError, DatasetError
from resnet_core.training.bursts import deal_folds, groups_of_class
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.examples import folder_names
from resnet_core.training.freezing import stages_of
from resnet_core.training.teaching import Material

WAYS = ("frozen", "staged", "full")  # only the head learns; the stages after layer2 too; everything
STAGED_UP_TO = "layer2"
VAL_FOLDS = 5  # one of them becomes val


def write_dataset(material: Material, folder: Path, *, seed: int = 0) -> Path:
    """Writes the pictures below `folder`, which must not exist yet, and returns it; whole or not at all.

    Raises DatasetError where no class has two groups (nothing could be kept back for val) or the disk refuses.
    """
    per_class = groups_of_class(material.targets, material.groups)
    if max(per_class) < 2:
        raise DatasetError(
            "Every class consists of one burst, so nothing could be kept back to judge by; add pictures taken at "
            "another moment to at least one class."
        )
    val = _val_pictures(material, seed)
    names = folder_names(material.class_names)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        for number, (example, is_val) in enumerate(zip(material.examples, val, strict=True), start=1):
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


def _val_pictures(material: Material, seed: int) -> list[bool]:
    """True for the pictures of one fold; but no class goes there whole."""
    fold_of = deal_folds(material.targets, material.groups, VAL_FOLDS, seed=seed)
    best = max(range(VAL_FOLDS), key=lambda fold: (len(torch.unique(material.targets[fold_of == fold])), -fold))
    val = fold_of == best
    for index in range(len(material.class_names)):
        of_class = material.targets == index
        if bool(val[of_class].all()):  # its only group: learn from it, with all that belongs to that group
            for group in torch.unique(material.groups[of_class]):
                val[material.groups == group] = False
    return [bool(value) for value in val]


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
