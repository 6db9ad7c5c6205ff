"""`adopt`: weights from elsewhere, judged, described and put on the shelf of models."""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ConfigError
from resnet_core.inference.adoption import adopt
from resnet_core.inference.class_list import parse_class_names, read_class_list
from resnet_core.inference.foreign import open_foreign
from resnet_core.inference.inspector import Inspection, Wishes, inspect_weights
from resnet_core.inference.shelf import ModelEntry, shelf_of
from resnet_core.training.runs import RunStore

CONVENTIONS = {
    "torchvision": "torchvision's",
    "cifar repositories": "those of the common CIFAR repositories",
    "tutorial": "the CIFAR-10 tutorial's",
}
SOURCES = {
    "given": "as given",
    "file": "from the file",
    "imagenet": "ImageNet's, as torchvision lists them",
    "numbers": "nobody has named them",
    "miscounted": "the file names another number of classes, so its names were left",
}


def adopt_command(options: argparse.Namespace) -> int:
    """Says what the file is; unless asked only to inspect, stores it as a model."""
    if options.classes is not None and options.class_names is not None:
        raise ConfigError("Give the class names once: --classes for words, --class-names for a file.")
    wishes = Wishes(
        model=options.model,
        plain=options.plain,
        class_names=_class_names(options),
        image_size=options.image_size,
        normalization=options.normalize,
    )
    with tempfile.TemporaryDirectory(prefix="resnet-lab-") as scratch:
        weights = open_foreign(Path(options.file), scratch=Path(scratch))
        inspection = inspect_weights(weights, wishes)
        if options.inspect:
            return _report(inspection, None, as_json=options.json)
        shelf = shelf_of(RunStore(options.runs_dir))
        entry = adopt(weights, inspection, shelf, name=options.name or Path(weights.name).stem)
    return _report(inspection, entry, as_json=options.json)


def _class_names(options: argparse.Namespace) -> tuple[str, ...] | None:
    if options.class_names is not None:
        return read_class_list(Path(options.class_names))
    return (parse_class_names(options.classes) or None) if options.classes is not None else None


def _report(inspection: Inspection, entry: ModelEntry | None, *, as_json: bool) -> int:
    if as_json:
        print(json.dumps(_as_json(inspection, entry), ensure_ascii=False))
        return 0
    for line in _lines(inspection):
        print(line)
    if entry is not None:
        print(f"Adopted as {entry.name}: use it with --checkpoint {entry.name} or --init-from {entry.name}.")
    return 0


def _as_json(inspection: Inspection, entry: ModelEntry | None) -> dict[str, Any]:
    found = {**dataclasses.asdict(inspection), "preprocessing": inspection.preprocessing.to_json()}
    found["fits"] = [{**dataclasses.asdict(fit), "complete": fit.complete} for fit in inspection.fits]
    return {**found, "adopted": dataclasses.asdict(entry) if entry else None}


def _lines(inspection: Inspection) -> list[str]:
    """The findings, a line each."""
    file, under = inspection.file_name, f" under “{inspection.wrapper}”" if inspection.wrapper else ""
    kind = {"torch": "tensors as PyTorch saves them", "ours": "a checkpoint of ResNet Lab"}.get(
        inspection.form, "tensors as safetensors"
    )
    lines = [f"{file}: {kind}{under}; {inspection.tensors:,} tensors, {inspection.parameters:,} parameters, "]
    lines[0] += inspection.precision
    fit = inspection.fit
    if inspection.problem or fit is None:
        return [*lines, inspection.problem or ""]
    prefix = f", after the prefix {inspection.prefix} was taken off" if inspection.prefix else ""
    lines.append(f"network:  {fit.title}; names are {CONVENTIONS[inspection.convention]}{prefix}")
    if others := [other.title for other in inspection.fits[1:]]:
        lines.append(f"          fits as well: {', '.join(others)} (--plain chooses the plain twin)")
    shown = ", ".join(map(visible_text, inspection.class_names[:5])) + (" …" if len(inspection.class_names) > 5 else "")
    lines.append(f"classes:  {inspection.num_classes:,} ({SOURCES[inspection.class_names_from]}): {shown}")
    guess = " A guess: --image-size and --normalize change it." if inspection.guessed else ""
    lines.append(f"pictures: {inspection.preprocessing.describe()}{guess}")
    if inspection.left_out:
        shown = ", ".join(map(visible_text, inspection.left_out[:3]))
        lines.append(f"left out: {len(inspection.left_out)} tensors that belong to no network ({shown})")
    return lines
