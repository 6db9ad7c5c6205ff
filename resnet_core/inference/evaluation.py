"""How good a classifier is on a labelled split: accuracy, loss, calibration, confusion, per class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import nll_loss

from resnet_core.data.cache import Progress, load_pixels
from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.loaders import ValLoader
from resnet_core.errors import DatasetError
from resnet_core.inference.classifier import Classifier
from resnet_core.training.calibration import (
    ReliabilityBin,
    expected_calibration_error,
    held_out_probabilities,
    reliability,
)
from resnet_core.training.metrics import top_k


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One class: how many pictures it has, how many of them were found, how many of its answers were right."""

    label: str
    n: int
    recall: float
    precision: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores in [0, 1]; `confusion[i][j]` counts pictures of class i answered as j; ece after Guo et al. 2017, §2.

    `ece_held_out` is what it would be with a temperature that was fitted to four fifths and tried on the last, in turn.
    """

    n: int
    top1: float
    top5: float
    loss: float
    ece: float
    ece_held_out: float
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    per_class: tuple[ClassScore, ...]
    reliability: tuple[ReliabilityBin, ...] = ()
    unknown_rate: float | None = None  # share the model refuses as unknown; None where it never refuses
    skipped: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A plain dict, per_class by label."""
        per_class = {s.label: {"n": s.n, "recall": s.recall, "precision": s.precision} for s in self.per_class}
        return {
            "n": self.n,
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "ece": self.ece,
            "ece_held_out": self.ece_held_out,
            "class_names": list(self.class_names),
            "confusion": [list(row) for row in self.confusion],
            "per_class": per_class,
            "unknown_rate": self.unknown_rate,
            "reliability": [
                {"confidence": bin.confidence, "accuracy": bin.accuracy, "n": bin.count} for bin in self.reliability
            ],
            "skipped": [{"image": path, "error": reason} for path, reason in self.skipped],
        }


def evaluate(
    classifier: Classifier,
    dataset: DatasetSpec,
    *,
    split: str = "val",
    batch_size: int = 64,
    progress: Progress | None = None,
    cache_root: Path | None = None,
) -> Evaluation:
    """Scores the classifier on a split. Raises DatasetError when the data set has other classes than the model."""
    if dataset.class_names != classifier.class_names:
        raise DatasetError(
            f"The model knows {_some(classifier.class_names)}, the data set has {_some(dataset.class_names)}; "
            "they cannot be compared."
        )
    preprocessing = classifier.checkpoint.preprocessing
    store = load_pixels(dataset, split, size=preprocessing.resize, exact=True, progress=progress, root=cache_root)
    loader = ValLoader(store=store, preprocessing=preprocessing, batch_size=batch_size, device=classifier.device)
    judged = [classifier.judge(batch.images) for batch in loader]
    probabilities = torch.cat([each.probabilities for each in judged])
    threshold = classifier.checkpoint.unknown_threshold
    refused = torch.cat([each.scores for each in judged]) < (0 if threshold is None else threshold)
    return score(
        probabilities,
        store.targets,
        dataset.class_names,
        skipped=store.skipped,
        unknown_rate=None if threshold is None else float(refused.double().mean()),
    )


def score(
    probabilities: torch.Tensor,
    targets: torch.Tensor,
    class_names: tuple[str, ...],
    *,
    skipped: tuple[tuple[str, str], ...] = (),
    unknown_rate: float | None = None,
) -> Evaluation:
    """All scores of probabilities `[N, K]` against labels `[N]`."""
    answers = probabilities.argmax(1)
    count = len(class_names)
    confusion = torch.bincount(targets * count + answers, minlength=count * count).view(count, count)
    return Evaluation(
        n=len(targets),
        top1=float((answers == targets).double().mean()),
        top5=top_k(probabilities, targets, 5),
        loss=float(nll_loss(probabilities.double().clamp_min(1e-12).log(), targets)),
        ece=expected_calibration_error(probabilities, targets),
        ece_held_out=_held_out_error(probabilities, targets),
        class_names=class_names,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        per_class=tuple(_class_score(confusion, index, name) for index, name in enumerate(class_names)),
        reliability=reliability(probabilities, targets),
        unknown_rate=unknown_rate,
        skipped=skipped,
    )


def _held_out_error(probabilities: torch.Tensor, targets: torch.Tensor) -> float:
    """Logits are logarithms of probabilities, but for a constant and a temperature, which do not matter here."""
    logits = probabilities.double().clamp_min(torch.finfo(torch.float32).tiny).log()
    return expected_calibration_error(held_out_probabilities(logits, targets), targets)


def _class_score(confusion: torch.Tensor, index: int, label: str) -> ClassScore:
    hits = int(confusion[index, index])
    n, answered = int(confusion[index].sum()), int(confusion[:, index].sum())
    return ClassScore(label=label, n=n, recall=hits / n if n else 0.0, precision=hits / answered if answered else 0.0)


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return f"{len(names)} classes ({shown}{', …' if len(names) > 5 else ''})"
