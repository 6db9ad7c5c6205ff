"""Fits how known a picture looks (`UnknownScore`) from the pooled stages of a network whose weights stay as they are.

    fit_unknown             from pictures of the classes and, where there are some, pictures of other things
    fit_without_negatives   from pictures of the classes alone: angles to the centres of the classes

What was tried, with numbers, is told in docs/unknown.md.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from resnet_core.eager_optimizers import make_eager
from resnet_core.errors import DatasetError
from resnet_core.training.judging import InTurn
from resnet_core.training.unknown_score import Curve, UnknownScore

MEDIAN_SCORE = 0.9  # what a typical picture of the classes gets; THRESHOLD is what the refused share stays below
SCALE_FLOOR = 1e-3  # of a feature's spread: a channel that never fires must not divide by nothing
LEAST_STEPS = 400  # of the head's fit, however few the pictures are
LEAST_PICTURES = 8  # of the classes, to fit anything
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a score is made of; the defaults are what docs/unknown.md found best."""

    hidden: int = 64  # units of the head; 0: a linear one
    head: bool = True
    nearness: bool = False
    dimensions: int = 32  # directions in which angles are measured
    stages: tuple[int, ...] | None = None  # indices of the stages that are looked at; None: all
    spreads: bool = True  # look at the spread of each channel, too, not only at its mean
    limit: float = 4.0
    epochs: int = 12
    weight_decay: float = 0.05
    refused: float = 0.04  # share of the held-out known pictures that the threshold refuses
    seed: int = 0


def pick_columns(channels: tuple[int, ...], recipe: Recipe) -> Tensor:
    """Which features of a network with these stages the recipe looks at: int64 `[D]`."""
    chosen, start = [], 0
    for index, count in enumerate(channels):
        if recipe.stages is None or index in recipe.stages:
            chosen.append(torch.arange(start, start + (2 if recipe.spreads else 1) * count))
        start += 2 * count
    return torch.cat(chosen)


def fit_unknown(
    known: Tensor,
    targets: Tensor,
    held: Tensor,
    others: Mapping[str, Tensor],
    *,
    columns: Tensor | None = None,
    recipe: Recipe | None = None,
) -> UnknownScore:
    """The score fitted on `known` `[N, F]` of classes `targets` `[N]` against `others`, features by source.

    `held` `[M, F]` are known pictures that neither the network nor the fit has seen: they set the threshold. Raises
    DatasetError when there are too few pictures.
    """
    recipe = recipe or Recipe()
    if len(known) < LEAST_PICTURES or len(held) < LEAST_PICTURES:
        raise DatasetError(f"At least {LEAST_PICTURES} pictures are needed to learn what is known; there are fewer.")
    columns = torch.arange(known.shape[1]) if columns is None else columns
    looked = known[:, columns].float()
    against = torch.cat([rows[:, columns].float() for rows in others.values()]) if others else looked[:0]
    mean, scale = _standard(looked, against)
    score = UnknownScore(
        width=known.shape[1], columns=columns, mean=mean, scale=scale, limit=recipe.limit, sources=tuple(others)
    )

    def standard(rows: Tensor) -> Tensor:
        return ((rows - mean) / scale).clamp(-recipe.limit, recipe.limit)

    if recipe.head and others:
        sizes = [len(rows) for rows in others.values()]
        score = replace(score, head=_fit_head(standard(looked), standard(against), sizes, recipe))
    if recipe.nearness or not score.head:
        directions, centres = fit_centres(standard(looked), targets, dimensions=recipe.dimensions)
        score = replace(score, directions=directions, centres=centres)
    return settle(score, held, refused=recipe.refused)


def settle(score: UnknownScore, held: Tensor, *, refused: float) -> UnknownScore:
    """The score weighted and shifted so that THRESHOLD refuses that share of `held` `[M, F]`, with its curve.

    Each part counts by its own spread over the lower half of the held pictures.
    """
    parts = score.parts(held)
    weights = [0.0 if not part else 1 / _gap(values, 0.05) for part, values in zip(_present(score), parts, strict=True)]
    total = sum((weight * values for weight, values in zip(weights, parts, strict=True)), torch.zeros(len(held)))
    stretch = math.log(MEDIAN_SCORE / (1 - MEDIAN_SCORE)) / _gap(total, refused)
    settled = replace(
        score,
        head_weight=weights[0] * stretch,
        nearness_weight=weights[1] * stretch,
        offset=-stretch * float(torch.quantile(total.double(), refused)),
    )
    return replace(settled, known=Curve.of(settled.score(held)))


def fit_without_negatives(
    features: Tensor,
    targets: Tensor,
    *,
    refused: float = 0.05,
    seed: int = 0,
    in_turn: InTurn = lambda work: work(),
) -> UnknownScore:
    """How nearly pictures point where their classes do, fitted on `[N, F]` of classes `targets` `[N]` alone.

    `features` are what `answer_with_features` gives behind the logits. The threshold comes from pictures left out of
    the fit in turn, so it refuses about that share of further pictures of the classes. `in_turn` runs each of
    the fits, so that a server can let others go between. Raises DatasetError for fewer than LEAST_PICTURES.
    """
    if len(features) < LEAST_PICTURES:
        raise DatasetError(f"At least {LEAST_PICTURES} pictures are needed to learn what is known; there are fewer.")
    features = features.float()
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    left_out = torch.zeros(len(features))
    # as many directions in every fold as in the end: angles shrink as their number grows
    dimensions = max(1, min(Recipe().dimensions, (len(features) - -(-len(features) // FOLDS)) // 2))
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        keep = torch.ones(len(features), dtype=torch.bool).index_fill_(0, out, False)
        fitted: UnknownScore = in_turn(partial(_centred, features[keep], targets[keep], dimensions))
        left_out[out] = fitted.parts(features[out])[1]
    score: UnknownScore = in_turn(partial(_centred, features, targets, dimensions))
    stretch = math.log(MEDIAN_SCORE / (1 - MEDIAN_SCORE)) / _gap(left_out, refused)
    offset = -stretch * float(torch.quantile(left_out.double(), refused))
    scores = torch.sigmoid(stretch * left_out + offset)
    return replace(score, nearness_weight=stretch, offset=offset, known=Curve.of(scores))


def fit_centres(standard: Tensor, targets: Tensor, *, dimensions: int) -> tuple[Tensor, Tensor]:
    """Whitened directions `[D, P]` and the centres of the classes along them `[C, P]`, after Lee et al. 2018, §2.1.

    The P widest directions of all pictures, each scaled by its spread within the classes, which is shrunk towards
    equal spreads the more, the fewer pictures there are.
    """
    targets = targets.contiguous()
    classes = torch.unique(targets)
    centres = torch.stack([standard[targets == index].mean(0) for index in classes])
    place = torch.searchsorted(classes, targets)
    spread = standard - standard.mean(0)
    count = max(1, min(dimensions, standard.shape[1], len(standard) // 2))
    directions = _widest(spread)[:, :count]
    variances = ((standard - centres[place]).double() @ directions).square().mean(0)
    share = count / (count + len(standard))
    shrunk = (1 - share) * variances + share * variances.mean() + 1e-6
    whitened = (directions / shrunk.sqrt()).float()
    return whitened, centres @ whitened


def auroc(known: Tensor, others: Tensor) -> float:
    """How often a known picture's score lies above another's, ties half (Hanley & McNeil 1982)."""
    scores = torch.cat([known, others]).double()
    _, places, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2).double()[places]
    wins = ranks[: len(known)].sum() - len(known) * (len(known) + 1) / 2
    return float(wins / (len(known) * len(others)))


def _centred(features: Tensor, targets: Tensor, dimensions: int) -> UnknownScore:
    mean, scale = features.mean(0), features.std(0, correction=0) + SCALE_FLOOR
    score = UnknownScore(width=features.shape[1], columns=torch.arange(features.shape[1]), mean=mean, scale=scale)
    standard = ((features - mean) / scale).clamp(-score.limit, score.limit)
    directions, centres = fit_centres(standard, targets, dimensions=dimensions)
    return replace(score, directions=directions, centres=centres)


def _widest(spread: Tensor) -> Tensor:
    """The directions `[D, min(N, D)]` along which the centred rows `[N, D]` spread, widest first, float64.

    With fewer rows than features the rows themselves are taken apart: a D × D matrix of a ResNet-50 (D = 7,680) takes
    minutes.
    """
    if len(spread) < spread.shape[1]:
        right: Tensor = torch.linalg.svd(spread.double(), full_matrices=False).Vh
        return right.T
    vectors: Tensor = torch.linalg.eigh((spread.T @ spread / len(spread)).double()).eigenvectors
    return vectors.flip(1)


def _standard(known: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread over both, as if there were as many of the one as of the other."""
    if not len(others):
        return known.mean(0), known.std(0, correction=0) + SCALE_FLOOR
    mean = (known.mean(0) + others.mean(0)) / 2
    square = ((known - mean).square().mean(0) + (others - mean).square().mean(0)) / 2
    return mean, square.sqrt() + SCALE_FLOOR


def _present(score: UnknownScore) -> tuple[bool, bool]:
    return bool(score.head), score.directions is not None


def _gap(values: Tensor, share: float) -> float:
    """From that quantile up to the median; never nothing, so that it can be divided by."""
    steps = torch.tensor([share, 0.5], dtype=torch.float64)
    low, middle = map(float, torch.quantile(values.double(), steps))
    return max(middle - low, 1e-6)


def _fit_head(known: Tensor, others: Tensor, sizes: list[int], recipe: Recipe) -> tuple[Tensor, ...]:
    """A small network from standardised features to one number, above 0 for known; AdamW, one-cycle in effect.

    A source of other pictures counts by its size to the power 3/4: a large one must not be all there is. Both sides
    count the same. Its own generator draws everything, so global randomness stays as it was.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    rows = torch.cat([known, others])
    labels = torch.cat([torch.ones(len(known)), torch.zeros(len(others))])
    each = torch.cat([torch.full((size,), size**-0.25) for size in sizes])
    weights = torch.cat([torch.full((len(known),), 1 / len(known)), each / each.sum()]) * len(rows) / 2
    layers = _draw_layers(rows.shape[1], recipe.hidden, generator)
    optimizer = make_eager(torch.optim.AdamW, layers, lr=1e-3, weight_decay=recipe.weight_decay)
    each_epoch = math.ceil(len(rows) / 256)
    epochs = max(recipe.epochs, math.ceil(LEAST_STEPS / each_epoch))
    steps = epochs * each_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / max(1, steps))
    with torch.enable_grad():
        for _ in range(epochs):
            for chosen in torch.randperm(len(rows), generator=generator).split(256):  # type: ignore[no-untyped-call]
                optimizer.zero_grad(set_to_none=True)
                keep = torch.rand(len(chosen), rows.shape[1], generator=generator) >= 0.1  # dropout on the input
                numbers = _numbers(layers, rows[chosen] * keep)
                loss = binary_cross_entropy_with_logits(numbers, labels[chosen], weight=weights[chosen])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return tuple(layer.detach() for layer in layers)


def _draw_layers(width: int, hidden: int, generator: torch.Generator) -> list[nn.Parameter]:
    sizes = [(hidden, width), (1, hidden)] if hidden else [(1, width)]
    layers = []
    for out, into in sizes:
        layers.append(nn.Parameter(torch.randn(out, into, generator=generator) / into**0.5))
        layers.append(nn.Parameter(torch.zeros(out)))
    return layers


def _numbers(layers: list[nn.Parameter], rows: Tensor) -> Tensor:
    hidden = rows
    for index in range(0, len(layers), 2):
        hidden = (hidden.relu() if index else hidden) @ layers[index].T + layers[index + 1]
    return hidden[:, 0]
