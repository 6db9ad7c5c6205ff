"""The learning-rate finder: one short scan from far too low to far too high, and where the loss falls fastest.

After Smith 2017 (Cyclical learning rates, §3.3). The scan borrows the session's network: afterwards weights, BatchNorm
statistics, optimizer and weight average are bit by bit what they were.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from resnet_core.data.loaders import Batch
from resnet_core.errors import ConfigError, RunError
from resnet_core.training.session import Session

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 100
SMOOTHING = 0.9  # share of the past in the running mean of the loss: single batches are noisy
RUINED = 4.0  # times the lowest loss; from there on nothing is learned any more


@dataclass(frozen=True, kw_only=True)
class RateScan:
    """Learning rates tried, rising, with the smoothed loss at each; `suggested` is a peak for one-cycle."""

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float | None  # None: the loss never fell, so the scan says nothing


def find_learning_rate(
    session: Session,
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> RateScan:
    """Scans `steps` batches, or fewer where the loss explodes before. Raises ConfigError for a range without rates."""
    if not (0 < lowest < highest) or steps < 10:
        raise ConfigError("The finder needs a lowest rate above 0, a higher highest one and at least 10 steps.")
    before = copy.deepcopy(session.learner.state())
    try:
        points = list(_scan(session, _rates(lowest, highest, steps), progress))
    finally:
        session.learner.restore(before)
        session.learner.optimizer.zero_grad(set_to_none=True)
    rates = tuple(rate for rate, _ in points)
    losses = smooth([loss for _, loss in points])
    return RateScan(learning_rates=rates, losses=losses, suggested=suggest(rates, losses))


def smooth(losses: Sequence[float]) -> tuple[float, ...]:
    """Running means from both ends, averaged: one alone lags behind, by a whole decade of rates in a short scan."""
    forward, backward = _running(losses), _running(losses[::-1])[::-1]
    return tuple((one + other) / 2 for one, other in zip(forward, backward, strict=True))


def _running(losses: Sequence[float]) -> list[float]:
    means, mean = [], 0.0
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        means.append(mean / (1 - SMOOTHING**number))
    return means


def suggest(rates: tuple[float, ...], losses: tuple[float, ...]) -> float | None:
    """The rate at which the loss falls fastest per decade, on the way to its lowest point; None without such a way."""
    lowest = min(range(len(losses)), key=losses.__getitem__) if losses else 0
    if lowest < 3:
        return None
    width = max(1, lowest // 10)  # slopes over a few points: the running mean still trembles

    def slope(place: int) -> float:
        first, last = max(0, place - width), min(lowest, place + width)
        return (losses[last] - losses[first]) / (math.log(rates[last]) - math.log(rates[first]))

    return rates[min(range(lowest + 1), key=slope)]


def _rates(lowest: float, highest: float, steps: int) -> Iterator[float]:
    for number in range(steps):
        yield lowest * (highest / lowest) ** (number / (steps - 1))


def _scan(
    session: Session, rates: Iterator[float], progress: Callable[[int, int], None] | None
) -> Iterator[tuple[float, float]]:
    """Rate and loss, step by step, until the rates end or the running mean of the loss explodes."""
    session.learner.begin()
    mean, best, chosen = 0.0, math.inf, list(rates)
    for number, (rate, batch) in enumerate(zip(chosen, _endless(session), strict=False), start=1):
        try:
            _, loss = session.learner.step(batch, learning_rate=rate, number=number)
        except RunError:  # the loss is no number any more: the range ends here
            return
        value = float(loss.detach())
        if not math.isfinite(value):
            return
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        steady = mean / (1 - SMOOTHING**number)
        best = min(best, steady)
        if steady > RUINED * best:
            return
        yield rate, value
        if progress:
            progress(number, len(chosen))


def _endless(session: Session) -> Iterator[Batch]:
    for epoch in itertools.count(1):
        yield from session.batches(epoch)
