"""Makes a checkpoint know how sure it may be: its temperature, its unknown score and what both cost, all from data.

    calibrate_with(checkpoint, model, dataset, others)   all of it: asks the network, fits, evaluates on val
    calibrate(checkpoint, gathered)                      the fitting alone, of answers that `gather` collected

Weights never change. The score's head and centres never see val photos of the classes; its threshold is set on them,
so the share of them it refuses is so by construction. What it lets through of other things is told by fits that left
out a whole source at a time.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import DatasetError
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.evaluation import evaluate
from resnet_core.inference.gathering import Gathered, Others, gather
from resnet_core.inference.unknown import Recipe, fit_unknown, pick_columns
from resnet_core.training.calibration import (
    expected_calibration_error,
    fit_temperature,
    held_out_probabilities,
    reliability,
)
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.unknown_score import Curve, UnknownScore


def calibrate_with(
    checkpoint: Checkpoint,
    model: nn.Module,
    dataset: DatasetSpec,
    others: Sequence[Others],
    *,
    device: torch.device | None = None,
    engine: str | None = None,
    progress: Progress,
) -> Checkpoint:
    """A copy of the checkpoint that is calibrated on the data set, with val's scores among its metrics; some minutes.

    Raises DatasetError when the data set has other classes, or too few pictures that can be read.
    """
    if dataset.class_names != checkpoint.class_names:
        raise DatasetError("The data set has other classes than the checkpoint; calibrate it with what it was taught.")
    asked = Classifier(checkpoint, model, device=device, engine=engine, precision="fp32", features=True)
    calibrated = calibrate(checkpoint, gather(asked, dataset, others, progress=progress))
    scores = evaluate(Classifier(calibrated, model, device=device, engine=engine), dataset)
    recall = {row.label: round(row.recall, 4) for row in scores.per_class}
    return calibrated.with_metrics(
        val_top1=scores.top1, val_loss=scores.loss, val_ece=scores.ece, n_val=scores.n, val_recall=recall
    )


def calibrate(checkpoint: Checkpoint, gathered: Gathered, *, recipe: Recipe | None = None) -> Checkpoint:
    """A copy whose temperature, unknown score, curves and reliability bins come from the gathered answers."""
    logits, targets = gathered.held_logits, gathered.held_targets
    temperature = round(fit_temperature(logits, targets), 4)
    honest = held_out_probabilities(logits, targets)
    score = fit_all(gathered, recipe)
    scores = score.score(gathered.features(gathered.held))
    bins = reliability(honest, targets)
    made = replace(checkpoint, temperature=temperature).with_unknown(score)
    return made.with_metrics(
        val_ece_held_out=expected_calibration_error(honest, targets),
        reliability=[bin.to_json() for bin in bins],
        unknown_rate=float((scores < (made.unknown_threshold or 0)).double().mean()),
    )


def fit_all(gathered: Gathered, recipe: Recipe | None = None) -> UnknownScore:
    """The score fitted on everything; its curve of others from fits that left out a whole source each."""
    score = fit_without(gathered, (), recipe)
    lone = [without_source(gathered, name, recipe) for name in gathered.natural]
    return replace(score, others=Curve.of(torch.cat(lone))) if lone else score


def fit_without(gathered: Gathered, left_out: Sequence[str], recipe: Recipe | None = None) -> UnknownScore:
    """The score fitted on everything but the named sources."""
    against = {**gathered.natural, **gathered.drawn}
    return fit_unknown(
        gathered.features(gathered.known),
        gathered.known_targets,
        gathered.features(gathered.held),
        {name: gathered.features(rows) for name, rows in against.items() if name not in left_out},
        columns=pick_columns(gathered.channels, recipe or Recipe()),
        recipe=recipe,
    )


def without_source(gathered: Gathered, name: str, recipe: Recipe | None = None) -> Tensor:
    """Scores of a source's pictures by a fit that never saw that source."""
    rows = {**gathered.natural, **gathered.drawn}[name]
    return fit_without(gathered, (name,), recipe).score(gathered.features(rows))
