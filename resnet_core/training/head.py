"""The head of a network learned from features alone: multinomial logistic regression, solved to its optimum.

minimise  Σ wᵢ · cross-entropy(W·zᵢ + b, yᵢ) / Σ wᵢ  +  decay/2 · ‖W‖²      over W and b,

where z are the features, centred and divided by their spread in the pictures learned from, and w gives each class the
same say however many pictures it has. The bias is free. With decay > 0 there is one optimum but for a constant added to
all biases (their mean is set to 0); L-BFGS finds it in float64.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import cross_entropy

from resnet_core.eager_optimizers import make_eager
from resnet_core.training.bursts import deal_folds

DECAYS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # tried from strong to weak, each from where the last ended
PATIENCE = 2  # … until so many in a row were worse than the best: the weaker, the longer it takes
SAFE_DECAY = 1.0  # where nothing can be tried out
INNER_FOLDS = 3
ITERATIONS = 200
TOLERANCE = 1e-6  # of the gradient's largest entry
ROUGHLY = 1e-4  # … enough to compare decays by
SMALLEST_SPREAD = 1e-6  # a feature that hardly moves is dead, not important


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """What `fc` holds: float64 `[K, d]` and `[K]`, for features as the network gives them."""

    weight: torch.Tensor
    bias: torch.Tensor

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """float64 `[N, K]` of features `[N, d]`."""
        return features.double() @ self.weight.T + self.bias


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Features to learn from: float `[N, V, d]` (V views of each picture), labels and groups int64 `[N]`."""

    views: torch.Tensor
    targets: torch.Tensor
    groups: torch.Tensor
    classes: int
    flip_average: bool = False  # answers are the mean over the views; else the first view's

    def answered(self) -> torch.Tensor:
        """The features `[N, d]` that answers are computed from: a mean of logits is the logits of the mean."""
        return self.views.mean(1) if self.flip_average else self.views[:, 0]

    def part(self, chosen: torch.Tensor) -> "Lesson":
        """The pictures where `chosen` (bool `[N]`) is true."""
        return replace(self, views=self.views[chosen], targets=self.targets[chosen], groups=self.groups[chosen])


def fit_head(lesson: Lesson, decay: float) -> LinearHead:
    """The optimum at that decay."""
    return next(head_path(lesson, [decay]))


def head_path(lesson: Lesson, decays: Sequence[float], *, tolerance: float = TOLERANCE) -> Iterator[LinearHead]:
    """The optimum for each decay in turn, all views of a picture counting together as one."""
    views = lesson.views.shape[1]
    features = lesson.views.double().flatten(0, 1)
    targets = lesson.targets.repeat_interleave(views)
    mean = features.mean(0)
    spread = _spread(features - mean)
    inputs = (features - mean) / spread
    weights = _balanced(targets, lesson.classes)
    start = torch.zeros(lesson.classes, features.shape[1] + 1, dtype=torch.float64)
    for decay in decays:
        start = _solve(inputs, targets, weights, start, decay=decay, tolerance=tolerance)
        weight = start[:, :-1] / spread
        bias = start[:, -1] - weight @ mean
        yield LinearHead(weight=weight, bias=bias - bias.mean())


def choose_decay(lesson: Lesson, *, seed: int) -> float:
    """The decay whose heads do best on pictures kept back from them, by groups, within `lesson`.

    Judged by the loss; where every class is one single group nothing can be kept back, and it is `SAFE_DECAY`.
    """
    fold_of = deal_folds(lesson.targets, lesson.groups, INNER_FOLDS, seed=seed)
    parts = [split(lesson, fold_of == fold) for fold in range(INNER_FOLDS)]
    judged = [(learned, kept) for learned, kept in parts if kept is not None]
    if not judged:
        return SAFE_DECAY
    losses: list[float] = []
    for heads in zip(*(head_path(learned, DECAYS, tolerance=ROUGHLY) for learned, _ in judged), strict=True):
        losses.append(sum(_loss(head, kept) for head, (_, kept) in zip(heads, judged, strict=True)))
        if len(losses) - 1 - losses.index(min(losses)) >= PATIENCE:
            break
    return DECAYS[losses.index(min(losses))]


def split(lesson: Lesson, back: torch.Tensor) -> tuple[Lesson, Lesson | None]:
    """What is learned from, and what is judged: pictures kept back (bool `[N]`) whose class is among the former."""
    known = torch.zeros(lesson.classes, dtype=torch.bool)
    known[lesson.targets[~back]] = True
    judged = back & known[lesson.targets]
    return lesson.part(~back), lesson.part(judged) if bool(judged.any()) else None


def _loss(head: LinearHead, kept: Lesson) -> float:
    return float(cross_entropy(head.logits(kept.answered()), kept.targets, reduction="sum"))


def _spread(centred: torch.Tensor) -> torch.Tensor:
    spread = centred.square().mean(0).sqrt()
    return torch.where(spread > SMALLEST_SPREAD * spread.max().clamp_min(SMALLEST_SPREAD), spread, torch.inf)


def _balanced(targets: torch.Tensor, classes: int) -> torch.Tensor:
    """float64 `[N]`, summing to 1: each class that is there weighs the same."""
    counts = torch.bincount(targets, minlength=classes).double()
    return 1 / counts[targets] / (counts > 0).sum()


def _solve(
    inputs: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    start: torch.Tensor,
    *,
    decay: float,
    tolerance: float,
) -> torch.Tensor:
    """`[K, d + 1]` of float64 inputs `[N, d]`: the weights, and the biases in the last column."""
    solution = start.clone()
    minus = -torch.ones(len(targets), 1, dtype=torch.float64)
    solver = make_eager(
        torch.optim.LBFGS,
        [solution],
        max_iter=ITERATIONS,
        tolerance_grad=tolerance,
        tolerance_change=1e-12,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    picked = targets[:, None]

    def closure() -> torch.Tensor:
        """The loss; its gradient by hand, softmax minus one-hot, is three times as fast as autograd at this size."""
        weight = solution[:, :-1]
        logs = torch.log_softmax(inputs @ weight.T + solution[:, -1], dim=1)
        gaps = (logs.exp().scatter_add_(1, picked, minus)) * weights[:, None]
        solution.grad = torch.cat([gaps.T @ inputs + decay * weight, gaps.sum(0)[:, None]], dim=1)
        return decay / 2 * weight.square().sum() - (logs.gather(1, picked)[:, 0] * weights).sum()

    with torch.no_grad():
        solver.step(closure)  # type: ignore[no-untyped-call]
    return solution
