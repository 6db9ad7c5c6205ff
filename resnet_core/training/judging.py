"""How good a taught head is, honestly: judged on pictures that neither it nor its settings have seen, by groups.

From `HOLD_OUT_FROM` pictures on, a quarter is kept back once. With fewer, each is kept back in turn (grouped
cross-validation): every picture is judged once, by a head that learned from no picture of its group. In both the decay
is chosen anew from what is left (nested), since a setting chosen on the pictures that judge it would flatter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch

from resnet_core.training.bursts import deal_folds, groups_of_class, one_of_each
from resnet_core.training.calibration import Calibration, calibrate_sureness
from resnet_core.training.head import Lesson, choose_decay, fit_head, split

T = TypeVar("T")
InTurn = Callable[[Callable[[], Any]], Any]  # runs a piece of work, perhaps after others' work

HOLD_OUT_FROM = 400  # pictures; a quarter of them tells accuracy to about ±8 %
HOLD_OUT_GROUPS = 12  # a class needs so many groups for a single quarter to be fair
HOLD_OUT_PARTS = 4
MOST_FOLDS = 5
CONFIDENCE = 1.96  # standard deviations to each side: 95 %


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What pictures kept back said; accuracies in [0, 1], `confusion[i][j]`: pictures of class i taken for class j."""

    method: str  # "hold-out" or "cross-validation"
    folds: int
    n: int  # pictures judged
    groups: int  # … which are so many independent ones
    top1: float
    low: float  # 95 % interval (Wilson 1927) over groups
    high: float
    calibration: Calibration
    confusion: tuple[tuple[int, ...], ...]
    unjudged: tuple[int, ...]  # classes that form one single group: none of theirs can be kept back
    logits: torch.Tensor = field(compare=False, repr=False)  # float64 [n, K] of the pictures judged, uncalibrated
    targets: torch.Tensor = field(compare=False, repr=False)

    def confusions(self) -> list[tuple[int, int, int, int]]:
        """(class, taken for, how often, of so many), the most frequent first."""
        rows = [
            (true, answer, count, sum(row))
            for true, row in enumerate(self.confusion)
            for answer, count in enumerate(row)
            if count and answer != true
        ]
        return sorted(rows, key=lambda row: (-row[2] / row[3], row[:2]))


def judge(lesson: Lesson, *, seed: int, in_turn: InTurn = lambda work: work()) -> Judgement | None:
    """The judgement on heads taught with `lesson`; None where every class is one single group."""
    per_class = groups_of_class(lesson.targets, lesson.groups)
    if max(per_class) < 2:
        return None
    once = len(lesson.targets) >= HOLD_OUT_FROM and min(per_class) >= HOLD_OUT_GROUPS
    folds = HOLD_OUT_PARTS if once else min(MOST_FOLDS, max(per_class))
    fold_of = deal_folds(lesson.targets, lesson.groups, folds, seed=seed)
    logits, targets, groups = [], [], []
    for fold in range(1 if once else folds):
        learned, kept = split(lesson, fold_of == fold)
        if kept is None:
            continue
        logits.append(in_turn(partial(_answers, learned, kept, seed)))
        targets.append(kept.targets)
        groups.append(kept.groups)
    return _sum_up(
        torch.cat(logits),
        torch.cat(targets),
        torch.cat(groups),
        method="hold-out" if once else "cross-validation",
        folds=folds,
        unjudged=tuple(index for index, count in enumerate(per_class) if count < 2),
    )


def _answers(learned: Lesson, kept: Lesson, seed: int) -> torch.Tensor:
    head = fit_head(learned, choose_decay(learned, seed=seed))
    return head.logits(kept.answered())


def _sum_up(
    logits: torch.Tensor,
    targets: torch.Tensor,
    groups: torch.Tensor,
    *,
    method: str,
    folds: int,
    unjudged: tuple[int, ...],
) -> Judgement:
    classes = logits.shape[1]
    answers = logits.argmax(1)
    right = float((answers == targets).double().mean())
    independent = len(torch.unique(groups))
    low, high = wilson(right, independent)
    lone = one_of_each(groups, targets)  # frames of a burst are right or wrong together: one case
    counts = torch.bincount(targets * classes + answers, minlength=classes * classes).view(classes, classes)
    return Judgement(
        method=method,
        folds=folds,
        n=len(targets),
        groups=independent,
        top1=right,
        low=low,
        high=high,
        calibration=calibrate_sureness(logits[lone], targets[lone]),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        unjudged=unjudged,
        logits=logits,
        targets=targets,
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share seen in `count` independent cases (Wilson 1927); sound for few cases too."""
    squared = CONFIDENCE**2
    middle = (share + squared / (2 * count)) / (1 + squared / count)
    reach = CONFIDENCE / (1 + squared / count) * math.sqrt(share * (1 - share) / count + squared / (4 * count**2))
    return max(0.0, middle - reach), min(1.0, middle + reach)
