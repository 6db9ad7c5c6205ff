"""How much memory a training step takes, and the largest batch that fits what is free."""

import math
from dataclasses import dataclass

from resnet_core.models.describe import LayerDescription, describe
from resnet_core.models.resnet import Network

STEP_FACTOR = 1.5  # memory of a step over the bytes of all layers' outputs; measured 1.0–1.25 on CPU
WEIGHT_COPIES = 5  # weights, gradients, Adam's two moments, an average
SHARE = 0.8  # of the free memory may be taken; the rest is for pictures, validation and other programs
LEAST_BATCH = 2  # BatchNorm needs two pictures


@dataclass(frozen=True)
class StepMemory:
    """About how many bytes a training step in float32 takes."""

    per_picture: int  # what the layers give, kept for the way back
    fixed: int  # weights, and what the optimizer keeps of those that learn

    def of(self, batch: int) -> int:
        """The bytes of a step on so many pictures."""
        return batch * self.per_picture + self.fixed

    def fit(self, batch: int, free: int) -> int:
        """The batch, halved until a step of it fits a share of `free` bytes; at least 2."""
        while batch > LEAST_BATCH and self.of(batch) > SHARE * free:
            batch = max(LEAST_BATCH, batch // 2)
        return batch


def step_memory(network: Network, image_size: int, *, freeze: str = "none") -> StepMemory:
    """What a step of the network takes, which may be hollow; of frozen stages only the largest output is ever held."""
    table = describe(network, image_size)
    frozen = _frozen_stages(network, freeze)
    passing = max((_output_bytes(row) for row in table.layers if row.stage in frozen), default=0)
    kept = sum(_output_bytes(row) for row in table.layers if row.leaf and row.stage not in frozen)
    learning = sum(row.parameters for row in table.layers if row.leaf and row.stage not in frozen)
    return StepMemory(
        per_picture=int(STEP_FACTOR * kept + 2 * passing),
        fixed=4 * (table.parameters + (WEIGHT_COPIES - 1) * learning),
    )


def _frozen_stages(network: Network, freeze: str) -> tuple[str, ...]:
    stages = ("stem", *network.stage_names)
    return () if freeze == "none" else stages[: stages.index(freeze) + 1]


def _output_bytes(row: LayerDescription) -> int:
    return 4 * math.prod(row.output_shape) * row.runs if row.output_shape else 0
