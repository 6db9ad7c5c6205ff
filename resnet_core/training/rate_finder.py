"""The learning-rate finder: one short scan from far too low to far too high, and where the loss falls fastest.

After Smith 2017 (Cyclical learning rates, §3.3). The scan borrows the session's network: afterwards weights, BatchNorm
statistics, optimizer and weight average are bit by bit what they were.
"""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from resnet_core.data.loaders import Batch
from resnet_core.errors import ConfigError, RunError
from resnet_core.training.session import Session

LOWEST, HIGHEST, STEPS = 1e-6, 10.0, 100
SMOOTHING = 0.9  # share of the past in the running mean of the loss: single batches are noisy
RUINED = 4.0  # times the lowest loss; from there on nothing is learned any more


@dataclass(frozen=True, kw_only=True)
class RateScan:
    """Learning rates tried, rising, with the running mean of the loss at each; `suggested` is a peak for one-cycle."""

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float


def find_learning_rate(
    session: Session,
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> RateScan:
    """Scans `steps` batches, or fewer where the loss explodes before. Raises ConfigError for a range without rates,
    and RunError where the loss never falls."""
    if not (0 < lowest < highest) or steps < 10:
        raise ConfigError("The finder needs a lowest rate above 0, a higher highest one and at least 10 steps.")
    before = copy.deepcopy(session.learner.state())
    try:
        points = list(_scan(session, _rates(lowest, highest, steps), progress))
    finally:
        session.learner.restore(before)
        session.learner.optimizer.zero_grad(set_to_none=True)
    rates, losses = zip(*points, strict=True) if points else ((), ())
    return RateScan(learning_rates=rates, losses=losses, suggested=suggest(rates, losses))


def suggest(rates: tuple[float, ...], losses: tuple[float, ...]) -> float:
    """The rate at which the loss falls fastest per decade, on the way to its lowest point.

    Raises RunError where there is no such way.
    """
    lowest = min(range(len(losses)), key=losses.__getitem__) if losses else 0
    if lowest < 3:
        raise RunError("The loss never fell during the scan; the data may be unlearnable, or the first rate too high.")
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
    """Rate and running mean of the loss, step by step, until the rates end or the loss explodes."""
    session.learner.begin()
    mean, best, chosen = 0.0, math.inf, list(rates)
    for number, (rate, batch) in enumerate(zip(chosen, _endless(session), strict=False), start=1):
        try:
            _, loss = session.learner.step(batch, learning_rate=rate, number=number)
        except RunError:  # the loss is no number any more: the range ends here
            return
        value = float(loss)
        if not math.isfinite(value):
            return
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        smooth = mean / (1 - SMOOTHING**number)
        best = min(best, smooth)
        if smooth > RUINED * best:
            return
        yield rate, smooth
        if progress:
            progress(number, len(chosen))


def _endless(session: Session) -> Iterator[Batch]:
    for epoch in itertools.count(1):
        yield from session.loaders.train.epoch(epoch, image_size=session.plan.image_size(epoch))
