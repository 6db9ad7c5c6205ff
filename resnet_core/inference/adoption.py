"""Weights from elsewhere become a checkpoint of ours on the shelf.

The tensors go into a fresh network that answers once before anything is stored: whatever fails leaves no trace, and
no model that is in use is touched.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor

from resnet_core.errors import CheckpointError, ResNetLabError
from resnet_core.inference.foreign import ForeignWeights
from resnet_core.inference.foreign_names import find_naming
from resnet_core.inference.inspector import Inspection, find_non_number
from resnet_core.inference.shelf import ModelEntry, ModelShelf
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, read_checkpoint
from resnet_core.training.hollow import build_hollow

MAX_TRIAL_SIDE = 320  # px of the grey picture; a larger one costs seconds and shows nothing more


def adopt(weights: ForeignWeights, inspection: Inspection, shelf: ModelShelf, *, name: str) -> ModelEntry:
    """Stores the weights as `inspection` found them, under a person's name. Raises CheckpointError with the reason."""
    if inspection.problem is not None:
        raise CheckpointError(inspection.problem)
    if weights.form == "ours":
        load_checkpoint(weights.path)  # compares the checksums
        checkpoint, tensors = _own(weights, inspection), weights.read()
    else:
        tensors = _fitting_tensors(weights, inspection)
        checkpoint = _describe(inspection)
    _require_answer(checkpoint, tensors, weights.name)
    return shelf.add(checkpoint, tensors, name=name)


def _own(weights: ForeignWeights, inspection: Inspection) -> Checkpoint:
    """The file's own description, with what the person changed."""
    stored = read_checkpoint(weights.path)
    changed = inspection.preprocessing != stored.preprocessing
    return dataclasses.replace(
        stored,
        class_names=inspection.class_names,
        preprocessing=inspection.preprocessing,
        temperature=1.0 if changed else stored.temperature,  # this and all below is of other pictures
        unknown_threshold=None if changed else stored.unknown_threshold,
        unknown=None if changed else stored.unknown,
        metrics={} if changed else _renamed(stored, inspection.class_names),
    )


def _renamed(stored: Checkpoint, class_names: tuple[str, ...]) -> dict[str, Any]:
    """What was measured, told of the classes by their names now."""
    recall = stored.metrics.get("val_recall")
    if not isinstance(recall, dict):
        return stored.metrics
    now = dict(zip(stored.class_names, class_names, strict=True))
    return stored.metrics | {"val_recall": {now.get(name, name): share for name, share in recall.items()}}


def _describe(inspection: Inspection) -> Checkpoint:
    fit = inspection.fit
    assert fit is not None
    return Checkpoint(
        architecture=fit.architecture,
        architecture_arguments=fit.arguments,
        class_names=inspection.class_names,
        preprocessing=inspection.preprocessing,
        training={
            "adopted_from": {"file": inspection.file_name, "names": inspection.convention, "prefix": inspection.prefix}
        },
    )


def _fitting_tensors(weights: ForeignWeights, inspection: Inspection) -> dict[str, Tensor]:
    """The tensors under our names, in the file's precision (float64 as float32), compared once more before copying."""
    fit = inspection.fit
    assert fit is not None
    naming = find_naming(weights.shapes)
    expected = build_hollow(fit.architecture, **fit.arguments).state_dict()
    for name, tensor in expected.items():
        if name in naming.ours and weights.shapes[naming.ours[name]].shape != tuple(tensor.shape):
            raise CheckpointError(f"“{weights.name}” does not fit {fit.title}: {name} has another shape.")
    if problem := find_non_number(weights, naming):
        raise CheckpointError(problem)
    values = weights.read()
    found = {}
    for name, tensor in expected.items():
        if name in naming.ours:
            found[name] = _portable(values[naming.ours[name]], tensor)
        else:  # BatchNorm's step counter, which PyTorch before 0.4.1 did not keep
            found[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
    return found


def _portable(value: Tensor, like: Tensor) -> Tensor:
    if value.is_floating_point() and like.is_floating_point():
        return value.float() if value.dtype not in (torch.float32, torch.float16, torch.bfloat16) else value
    return value.to(like.dtype)


def _require_answer(checkpoint: Checkpoint, tensors: dict[str, Tensor], file_name: str) -> None:
    """A fresh network with these weights answers a grey picture with numbers."""
    try:
        network = build_hollow(checkpoint.architecture, **checkpoint.architecture_arguments)
        expected = network.state_dict()
        network.load_state_dict(
            {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, assign=True
        )
        side = min(checkpoint.preprocessing.crop, MAX_TRIAL_SIDE)
        with torch.no_grad():
            grey = checkpoint.preprocessing.normalize(torch.full((1, 3, side, side), 128, dtype=torch.uint8))
            logits = network.eval()(grey)
    except ResNetLabError:
        raise
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"The network of “{file_name}” cannot answer pictures of {checkpoint.preprocessing.crop} px; "
            "choose another picture size."
        ) from error
    if logits.shape != (1, len(checkpoint.class_names)) or not torch.isfinite(logits).all():
        raise CheckpointError(f"The network of “{file_name}” answers with values that are not numbers; it is damaged.")
