"""What a run is before its first picture is decoded: everything chosen, and a sentence for each choice."""

from dataclasses import dataclass
from typing import Any

from resnet_core.data.datasets import DatasetSpec
from resnet_core.device import DeviceChoice
from resnet_core.training.budget import Budget
from resnet_core.training.budget_choice import choose_by_budget
from resnet_core.training.config import TrainConfig
from resnet_core.training.feeding import choose_pictures
from resnet_core.training.resolve import resolve
from resnet_core.training.resuming import with_computing
from resnet_core.training.thawing import begin_thawing


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """A config with nothing left open, why, and which settings it has although others were asked for."""

    config: TrainConfig
    notes: tuple[str, ...]
    otherwise: dict[str, Any]


def begin(
    config: TrainConfig,
    dataset: DatasetSpec,
    where: DeviceChoice,
    *,
    budget: Budget | None = None,
    fresh: bool = True,
) -> Beginning:
    """How a run of this config begins, or goes on with what was chosen, where it is not `fresh`.

    Without a `budget` nothing is timed. Raises ConfigError or ModelError.
    """
    if not fresh:
        resolved, notes = resolve(config, choose_pictures(config, dataset), where)
        return Beginning(config=with_computing(resolved, where), notes=notes, otherwise={})
    asked = config
    told: tuple[str, ...] = ()
    if budget is not None:
        config, told = choose_by_budget(config, dataset, where, budget)
    # while a stage waits for its thaw the rest is chosen as for a network that learns all over
    whole = config.replace(freeze="none") if config.thaw else config
    resolved, notes = resolve(whole, choose_pictures(config, dataset), where)
    begun, thawing = begin_thawing(resolved.replace(freeze=config.freeze))
    kept = ("epochs", "freeze", "thaw")
    otherwise = {
        name: getattr(begun, name)
        for name in kept
        if getattr(asked, name) is not None and getattr(asked, name) != getattr(begun, name)
    }
    return Beginning(config=with_computing(begun, where), notes=(*told, *notes, *thawing), otherwise=otherwise)
