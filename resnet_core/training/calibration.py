"""How sure the answers may claim to be: one temperature by which all logits are divided (Guo et al. 2017, §4.2), and
how far off they are then.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

FOLDS = 5
ECE_BINS = 15
DIAGRAM_BINS = 10
TOLERANCE = 1e-3  # of a fitted temperature, relative
COOLEST, HOTTEST = 0.2, 5.0  # temperatures that a few pictures may ask for
MOST_PICTURES, LEAST_OF_MANY, MOST_LOGITS = 10_000, 1_000, 200_000  # that calibrate a training, in each epoch


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The answers that were about equally sure: how sure on average, how often right, how many there are."""

    confidence: float
    accuracy: float
    count: int

    def to_json(self) -> list[float]:
        """Three numbers: compact, for the checkpoint's metrics."""
        return [round(self.confidence, 4), round(self.accuracy, 4), self.count]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What pictures that were not learned from say about a network's sureness."""

    temperature: float
    ece: float  # expected calibration error, each picture with a temperature that was fitted without it
    reliability: tuple[ReliabilityBin, ...]  # likewise

    def metrics(self) -> dict[str, Any]:
        """As a checkpoint keeps it, beside its temperature."""
        return {"val_ece_held_out": self.ece, "reliability": [bin.to_json() for bin in self.reliability]}


def calibrate_sureness(logits: Tensor, targets: Tensor) -> Calibration:
    """The calibration that logits `[N, K]` of pictures with labels `[N]` ask for, with few of them a cautious one.

    Of very many pictures a random part is asked, so that it takes a fraction of a second: 10,000 of 10 classes.
    """
    most = min(MOST_PICTURES, max(LEAST_OF_MANY, MOST_LOGITS // logits.shape[1]))
    if len(targets) > most:
        some = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))[:most]
        logits, targets = logits[some], targets[some]
    honest = held_out_probabilities(logits, targets, fit=cautious_temperature)
    return Calibration(
        temperature=round(cautious_temperature(logits, targets), 4),
        ece=expected_calibration_error(honest, targets),
        reliability=reliability(honest, targets),
    )


def fit_temperature(
    logits: Tensor, targets: Tensor, *, doubt: float = 0.0, within: tuple[float, float] = (0.1, 10.0)
) -> float:
    """The temperature that minimises the loss of logits `[N, K]` against labels `[N]`; above 1 makes answers humbler.

    The order of the answers stays as it is. `doubt` is the share of each label that is spread over all classes. Found
    by golden-section search over log-temperature, where the loss has a single minimum. 1 where no temperature changes
    anything: one class, or a loss that is no number.
    """
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return float(cross_entropy(logits / math.exp(log_temperature), targets, label_smoothing=doubt))

    if logits.shape[1] < 2 or not math.isfinite(loss(0.0)):
        return 1.0
    low, high = (math.log(edge) for edge in within)
    ratio = (5**0.5 - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > TOLERANCE:
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - ratio * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + ratio * (high - low)
            loss_right = loss(right)
    return math.exp((low + high) / 2)


def cautious_temperature(logits: Tensor, targets: Tensor) -> float:
    """What to divide logits by so that they are as sure as they are right, where only a few pictures tell.

    A handful of pictures, all answered rightly, would ask for endless sureness. As in Platt 1999, §2.2, one more
    picture of each other kind is imagined: n pictures count as n + 1 right answers out of n + 2.
    """
    classes = logits.shape[1]
    doubt = min(0.5, classes / ((classes - 1) * (len(targets) + 2))) if classes > 1 else 0.0
    return fit_temperature(logits, targets, doubt=doubt, within=(COOLEST, HOTTEST))


def held_out_probabilities(
    logits: Tensor,
    targets: Tensor,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    fit: Callable[[Tensor, Tensor], float] = fit_temperature,
) -> Tensor:
    """Probabilities `[M, K]`, each with a temperature that was fitted without its own fold of the pictures."""
    order = torch.randperm(len(logits), generator=torch.Generator().manual_seed(seed))
    found = torch.zeros_like(logits)
    for fold in range(folds):
        out = order[fold::folds]
        keep = torch.ones(len(logits), dtype=torch.bool).index_fill_(0, out, False)
        temperature = fit(logits[keep], targets[keep]) if keep.any() else 1.0
        found[out] = torch.softmax(logits[out] / temperature, 1)
    return found


def expected_calibration_error(probabilities: Tensor, targets: Tensor, *, bins: int = ECE_BINS) -> float:
    """Mean gap between how sure the answers are and how often they are right, over equal-width bins of sureness."""
    confidence, answers = probabilities.double().max(1)
    right = (answers == targets).double()
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=torch.float64).index_add_(0, index, confidence - right)
    return float(gaps.abs().sum() / len(targets))


def reliability(probabilities: Tensor, targets: Tensor, *, bins: int = DIAGRAM_BINS) -> tuple[ReliabilityBin, ...]:
    """The answers in bins of equal width by how sure they are, the least sure first; empty bins are left out.

    The points of a reliability diagram (DeGroot & Fienberg 1983; Guo et al. 2017, fig. 1).
    """
    confidence, answers = probabilities.double().max(1)
    right = (answers == targets).double()
    index = (confidence * bins).ceil().long().clamp(1, bins) - 1
    counts = torch.bincount(index, minlength=bins)
    sums = torch.zeros(2, bins, dtype=torch.float64).index_add_(1, index, torch.stack([confidence, right]))
    return tuple(
        ReliabilityBin(confidence=sure / count, accuracy=hits / count, count=count)
        for sure, hits, count in zip(*sums.tolist(), counts.tolist(), strict=True)
        if count
    )
