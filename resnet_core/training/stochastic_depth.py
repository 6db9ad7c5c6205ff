"""Stochastic depth: in each step some pictures skip some blocks (Huang et al. 2016).

The chance grows linearly from 0 at the first block to `rate` at the last; what remains of a branch is scaled up, so
that nothing changes for prediction. A regularizer for long trainings on few pictures.
"""

import torch

from resnet_core.errors import ConfigError
from resnet_core.models.resnet import Network, ResidualBlock


def residual_blocks(network: Network) -> tuple[ResidualBlock, ...]:
    """The blocks with a skip, in the order in which a picture meets them."""
    return tuple(module for module in network.modules() if isinstance(module, ResidualBlock) and module.residual)


def check_drop_path(network: Network, rate: float) -> None:
    """Raises ConfigError where blocks would be dropped from a network without skips."""
    if rate and not residual_blocks(network):
        raise ConfigError("Only blocks with skip connections can be left out; set drop path to 0 for this network.")


def choose_dropped(
    network: Network, rate: float, count: int, generator: torch.Generator, *, rows: slice = slice(None)
) -> None:
    """Decides for the next forward pass of `count` pictures in training which of them skip which block.

    `rows` are those of them that pass through this process.
    """
    blocks = residual_blocks(network)
    device = next(network.parameters()).device
    for number, block in enumerate(blocks, start=1):
        kept = 1 - rate * number / len(blocks)
        chosen = torch.rand(count, 1, 1, 1, generator=generator) < kept
        block.kept = (chosen[rows] / kept).to(device)


def keep_all(network: Network) -> None:
    """Takes the decision back: every picture meets every block."""
    for block in residual_blocks(network):
        block.kept = None
