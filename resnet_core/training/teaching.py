"""Teaching a network new classes in seconds: its body is borrowed, and only a new head is learned.

    examples ──► look_at: features of the body, once a picture      (looking.py)
             ──► find_groups: bursts and near-copies belong together (bursts.py)
             ──► judge: how good is it on pictures kept back?        (judging.py)
             ──► fit_head on all of them: the head that is used      (head.py)

The result is a checkpoint like any other: a plain ResNet with a new `fc`. The judgement is about heads that learned
from a part of the pictures; the one that is kept learned from all of them, so it tends to be a little better.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from resnet_core.errors import DatasetError
from resnet_core.training.bursts import find_groups
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.examples import (
    Example,
    check_counts,
    check_overlaps,
    folder_names,
    named,
    note_twins,
    tidy_label,
)
from resnet_core.training.head import Lesson, LinearHead, choose_decay, fit_head
from resnet_core.training.judging import InTurn, Judgement, judge
from resnet_core.training.looking import Backbone, Look, LookMemory, look_at

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Material:
    """The pictures that are learned from, in a fixed order, and what was found out about the others."""

    class_names: tuple[str, ...]
    examples: tuple[Example, ...]
    looks: tuple[Look, ...] = field(repr=False)
    targets: torch.Tensor = field(repr=False)  # int64 [N]
    groups: torch.Tensor = field(repr=False)  # int64 [N]
    left_out: tuple[tuple[str, str], ...]  # name and sentence of each picture that cannot be read
    notes: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Pictures of each class."""
        numbers = torch.bincount(self.targets, minlength=len(self.class_names)).tolist()
        return dict(zip(self.class_names, numbers, strict=True))


@dataclass(frozen=True, kw_only=True)
class TeachingReport:
    """What a teaching did and how good its result is; times in seconds."""

    backbone: str
    counts: dict[str, int]  # pictures of each class, in label order
    groups: int  # bursts, sets of near-copies and single pictures
    judgement: Judgement | None  # None: nothing could be kept back
    decay: float
    left_out: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    seconds_looking: float
    seconds_learning: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.seconds_looking + self.seconds_learning

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        judged = self.judgement
        return {
            "backbone": self.backbone,
            "class_names": list(self.counts),
            "counts": self.counts,
            "groups": self.groups,
            "top1": judged.top1 if judged else None,
            "top1_low": judged.low if judged else None,
            "top1_high": judged.high if judged else None,
            "judged": judged.n if judged else 0,
            "judged_groups": judged.groups if judged else 0,
            "judged_by": judged.method if judged else None,
            "ece": judged.calibration.ece if judged else None,
            "confusion": [list(row) for row in judged.confusion] if judged else None,
            "decay": self.decay,
            "left_out": [{"image": name, "error": reason} for name, reason in self.left_out],
            "notes": list(self.notes),
            "seconds": {"looking": round(self.seconds_looking, 3), "learning": round(self.seconds_learning, 3)},
        }


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A model that knows the new classes: to be put on the shelf by whoever asked for it."""

    checkpoint: Checkpoint
    state_dict: dict[str, torch.Tensor] = field(repr=False)
    report: TeachingReport
    material: Material = field(repr=False)  # what was learned from


def gather(
    examples: Sequence[Example],
    backbone: Backbone,
    memory: LookMemory,
    *,
    classes: Sequence[str] = (),
    progress: Progress | None = None,
    in_turn: InTurn = lambda work: work(),
) -> Material:
    """What can be learned from; `classes` names those that must have pictures. Raises DatasetError with the reason."""
    examples = [replace(example, label=tidy_label(example.label)) for example in examples]
    declared = dict.fromkeys([tidy_label(name) for name in classes], 0)
    check_counts(declared | Counter(example.label for example in examples))
    outcomes = look_at(examples, backbone, memory, progress=progress, in_turn=in_turn)
    pairs = list(zip(examples, outcomes, strict=True))
    left_out = [(example, outcome) for example, outcome in pairs if isinstance(outcome, str)]
    usable, twice = _once([(example, outcome) for example, outcome in pairs if isinstance(outcome, Look)])
    labels = [example.label for example, _ in usable]
    broken = Counter(example.label for example, _ in left_out)
    check_counts(declared | dict.fromkeys(broken, 0) | Counter(labels), broken=broken)
    names = folder_names(labels)
    class_names = tuple(sorted(names, key=lambda label: names[label]))
    index = {name: position for position, name in enumerate(class_names)}
    overlaps = check_overlaps(labels, [look.content for _, look in usable])
    return Material(
        class_names=class_names,
        examples=tuple(example for example, _ in usable),
        looks=tuple(look for _, look in usable),
        targets=torch.tensor([index[label] for label in labels], dtype=torch.int64),
        groups=find_groups(
            [example.group for example, _ in usable], torch.stack([look.thumbnail for _, look in usable])
        ),
        left_out=tuple((example.name, outcome) for example, outcome in left_out),
        notes=(*overlaps, *note_twins(class_names), *_note_twice(twice)),
    )


def teach(
    examples: Sequence[Example],
    backbone: Backbone,
    *,
    classes: Sequence[str] = (),
    memory: LookMemory | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    in_turn: InTurn = lambda work: work(),
) -> Taught:
    """A checkpoint that tells the classes of `examples` apart, judged honestly.

    `progress` is told how many pictures were looked at; `in_turn` runs each piece of work that computes much, so that
    a server can let others go between. Raises DatasetError where the pictures cannot be taught.
    """
    started = time.perf_counter()
    memory = memory or LookMemory()
    material = gather(examples, backbone, memory, classes=classes, progress=progress, in_turn=in_turn)
    looked = time.perf_counter()
    lesson = _lesson(material, backbone)
    judgement = judge(lesson, seed=seed, in_turn=in_turn)
    decay, head = in_turn(partial(_final, lesson, seed))
    report = TeachingReport(
        backbone=backbone.title,
        counts=material.counts(),
        groups=int(material.groups.max()) + 1,
        judgement=judgement,
        decay=decay,
        left_out=material.left_out,
        notes=material.notes,
        seconds_looking=looked - started,
        seconds_learning=time.perf_counter() - looked,
    )
    return Taught(
        checkpoint=_describe(backbone, material, report),
        state_dict=_with_head(backbone, head),
        report=report,
        material=material,
    )


def save_start(material: Material, backbone: Backbone, val: torch.Tensor, path: Path, *, seed: int = 0) -> None:
    """Writes the backbone with a head fitted without the pictures of `val` (bool `[N]`): a training that is judged by
    those may begin with it. Raises DatasetError where the head is no numbers or the disk refuses."""
    lesson = _lesson(material, backbone).part(~val)
    weights = _with_head(backbone, _final(lesson, seed)[1])
    base, folders = backbone.checkpoint, folder_names(material.class_names)
    names = tuple(folders[label] for label in material.class_names)  # what the training's data set will call them
    arguments = {**base.architecture_arguments, "num_classes": len(names)}
    described = Checkpoint(
        architecture=base.architecture,
        architecture_arguments=arguments,
        class_names=names,
        preprocessing=base.preprocessing,
        flip_average=base.flip_average,
    )
    try:
        save_checkpoint(path, described, weights)
    except (OSError, SafetensorError) as error:
        raise DatasetError("The starting weights could not be written; free some space.") from error


def _lesson(material: Material, backbone: Backbone) -> Lesson:
    return Lesson(
        views=torch.stack([look.views for look in material.looks]),
        targets=material.targets,
        groups=material.groups,
        classes=len(material.class_names),
        flip_average=backbone.checkpoint.flip_average,
    )


def _final(lesson: Lesson, seed: int) -> tuple[float, LinearHead]:
    decay = choose_decay(lesson, seed=seed)
    return decay, fit_head(lesson, decay)


def _once(pairs: Sequence[tuple[Example, Look]]) -> tuple[list[tuple[Example, Look]], list[str]]:
    """Each picture of a class once, and the names of those that came again."""
    kept: dict[tuple[str, str], tuple[Example, Look]] = {}
    again = []
    for example, look in pairs:
        if (example.label, look.content) in kept:
            again.append(example.name)
        kept.setdefault((example.label, look.content), (example, look))
    return list(kept.values()), again


def _note_twice(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    count = "One picture was" if len(names) == 1 else f"{len(names):,} pictures were"
    return (f"{count} given to the same class again and counted once: {named(names)}.",)


def _describe(backbone: Backbone, material: Material, report: TeachingReport) -> Checkpoint:
    judged = report.judgement
    base = backbone.checkpoint
    metrics: dict[str, Any] = {}
    if judged:
        metrics = {
            "val_top1": judged.top1,
            "val_top1_low": judged.low,
            "val_top1_high": judged.high,
            "n_val": judged.n,
            **judged.calibration.metrics(),
        }
    taught = {
        "from": backbone.title,
        "counts": report.counts,
        "decay": report.decay,
        "judged_by": judged.method if judged else None,
        "groups": report.groups,
        "time": time.time(),
    }
    identity = sorted(f"{e.label}/{look.content}" for e, look in zip(material.examples, material.looks, strict=True))
    return replace(
        base,
        architecture_arguments={**base.architecture_arguments, "num_classes": len(material.class_names)},
        class_names=material.class_names,
        temperature=judged.calibration.temperature if judged else 1.0,
        unknown_threshold=None,  # the old score was about other classes
        unknown=None,
        metrics=metrics,
        training={"taught": taught},
        data_fingerprint=hashlib.sha256("\n".join(identity).encode("utf-8", "replace")).hexdigest()[:16],
    )


def _with_head(backbone: Backbone, head: LinearHead) -> dict[str, torch.Tensor]:
    """The body's weights and the new head's; raises DatasetError where the latter are no numbers."""
    if not (torch.isfinite(head.weight).all() and torch.isfinite(head.bias).all()):
        raise DatasetError("The classes could not be learned from these features; choose another model to teach.")
    body = {name: tensor.detach().to("cpu") for name, tensor in backbone.network.state_dict().items()}
    return {**body, "fc.weight": head.weight.float(), "fc.bias": head.bias.float()}
