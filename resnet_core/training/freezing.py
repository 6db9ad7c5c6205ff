"""Training the end of a network while its beginning keeps what it has learned.

A frozen stage has no gradients, and its BatchNorms stay in eval mode, so their statistics do not move either. Autograd
then records nothing of a frozen beginning: its activations are not kept and its convolutions are never run backwards.
"""

import functools

from torch import nn

from resnet_core.errors import ConfigError
from resnet_core.models.resnet import Network
from resnet_core.training.hollow import build_hollow


@functools.cache
def stages_of(model: str) -> tuple[str, ...]:
    """What can be frozen of the network of that name, from the picture to the head. Raises ModelError."""
    return ("stem", *build_hollow(model).stage_names)


def check_stage(freeze: str, model: str) -> None:
    """Raises ConfigError where the network has no stage of that name."""
    stages = ("none", *stages_of(model)) if freeze != "none" else ("none",)
    if freeze not in stages:
        raise ConfigError(f"{model} has no stage {freeze} to freeze; choose one of {', '.join(stages)}.")


def trains_head_only(freeze: str, model: str) -> bool:
    """True where every stage of the network is frozen."""
    return freeze != "none" and freeze == stages_of(model)[-1]


def frozen_part(network: Network, freeze: str) -> tuple[nn.Module, ...]:
    """The modules up to and including that stage, in the order in which a picture meets them."""
    if freeze == "none":
        return ()
    stages = network.stage_names[: network.stage_names.index(freeze) + 1] if freeze != "stem" else ()
    return tuple(getattr(network, name) for name in (*network.stem_names, *stages))


def freeze_weights(network: Network, freeze: str) -> None:
    """Takes the gradients from everything up to and including that stage."""
    for module in frozen_part(network, freeze):
        module.requires_grad_(False)


def set_training(network: Network, freeze: str) -> None:
    """Train mode for what learns, eval mode for what is frozen."""
    network.train()
    for module in frozen_part(network, freeze):
        module.eval()
