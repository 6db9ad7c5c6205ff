"""Stages that begin frozen and thaw while the run goes on, the deepest first (Howard & Ruder 2018, ULMFiT, §3.3).

    layer4@3,layer3@5   layer4 learns from epoch 3 on, layer3 too from epoch 5; what lies before them never does
    gradual             from the head down to the stem, one stage after the other in the first half of the epochs

A thaw is a change of `freeze` like any other: at the beginning of an epoch, an event of the run, repeated by a replay.
torch is imported by who asks for a network's stages, so that naming settings stays cheap.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ConfigError

if TYPE_CHECKING:
    from resnet_core.training.config import TrainConfig

GRADUAL = "gradual"
GRADUAL_SHARE = 0.5  # of the epochs is over when a gradual thaw has reached the stem
ORDER = ("stem", "layer1", "layer2", "layer3", "layer4")

Thaw = tuple[int, str]  # epoch, and the stage that begins to learn with it


def parse_thaw(text: str) -> tuple[Thaw, ...]:
    """What “layer4@3,layer3@5” says, the deepest stage first. Raises ConfigError for anything else."""
    found = []
    for part in text.split(","):
        stage, at, epoch = part.strip().partition("@")
        if stage not in ORDER or not at or not (epoch.isascii() and epoch.isdigit()) or not 1 <= int(epoch[:6]) <= 1e4:
            raise ConfigError(
                f"Thaw must read like “layer4@3,layer3@5” (stage@epoch) or “{GRADUAL}”, "
                f"not “{visible_text(text)[:60]}”."
            )
        found.append((int(epoch[:6]), stage))
    for (before, stage), (later, shallower) in itertools.pairwise(found):
        if later < before or ORDER.index(shallower) >= ORDER.index(stage):
            raise ConfigError(
                f"Stages thaw from the head towards the stem, so {shallower}@{later} cannot follow {stage}@{before}."
            )
    return tuple(found)


def check_thaw(thaw: str) -> None:
    """Raises ConfigError where the text says nothing."""
    if thaw and thaw != GRADUAL:
        parse_thaw(thaw)


def plan_thaw(config: TrainConfig) -> tuple[Thaw, ...]:
    """The thaws of a resolved config as it is begun. Raises ConfigError where its network has no such stage, or where
    what shall thaw was never frozen."""
    if not config.thaw:
        return ()
    from resnet_core.training.freezing import check_stage, stages_of

    assert config.model is not None
    assert config.epochs is not None
    stages = stages_of(config.model)
    if config.thaw != GRADUAL:
        thaws, first = parse_thaw(config.thaw), parse_thaw(config.thaw)[0][1]
        for _, stage in thaws:
            check_stage(stage, config.model)
        if config.freeze != "none" and ORDER.index(first) > ORDER.index(config.freeze):
            raise ConfigError(f"{first} cannot thaw, since only what comes up to {config.freeze} is frozen.")
        return thaws
    frozen = stages[: stages.index(config.freeze) + 1] if config.freeze != "none" else stages
    gap = GRADUAL_SHARE * config.epochs / len(frozen)
    return tuple((1 + max(1, round(gap * number)), stage) for number, stage in enumerate(reversed(frozen), start=1))


def write_thaw(thaws: tuple[Thaw, ...]) -> str:
    """The inverse of `parse_thaw`."""
    return ",".join(f"{stage}@{epoch}" for epoch, stage in thaws)


def frozen_at(thaws: tuple[Thaw, ...], freeze: str, model: str, epoch: int) -> str:
    """How far the network is frozen in that epoch: the last stage that does not learn, or "none"."""
    from resnet_core.training.freezing import stages_of

    thawed = [stage for when, stage in thaws if when <= epoch]
    if not thawed:
        return freeze if freeze != "none" or not thaws else thaws[0][1]
    place = stages_of(model).index(thawed[-1])
    return stages_of(model)[place - 1] if place else "none"


def begin_thawing(config: TrainConfig) -> tuple[TrainConfig, tuple[str, ...]]:
    """A resolved config as its run begins, frozen and with its thaws written out, and a sentence about them.

    Written out, since “gradual” depends on the epochs, and those may change while the run is on.
    """
    thaws = plan_thaw(config)
    if not thaws:
        return config, ()
    assert config.model is not None
    begun = config.replace(thaw=write_thaw(thaws), freeze=frozen_at(thaws, config.freeze, config.model, 1))
    when = ", ".join(f"{stage} from epoch {epoch}" for epoch, stage in thaws)
    return begun, (f"Thawing: everything up to {begun.freeze} is frozen at first; then {when} learn as well.",)


def due_thaw(config: TrainConfig, epoch: int) -> dict[str, str]:
    """The change of settings with which that epoch begins; empty where nothing thaws."""
    if not config.thaw or config.thaw == GRADUAL:
        return {}
    assert config.model is not None
    thaws = parse_thaw(config.thaw)
    if epoch == 1 or epoch not in {when for when, _ in thaws}:
        return {}
    freeze = frozen_at(thaws, config.freeze, config.model, epoch)
    return {} if freeze == config.freeze else {"freeze": freeze}
