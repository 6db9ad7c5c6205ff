"""How much of a class is left while a photo is covered place by place, the brightest of a heat map first.

Petsiuk et al. 2018 (RISE), section 4.3: the better a map, the sooner the class is lost. The places are those of the map
and not single pixels, in random orders too: scattered pixels would be a pattern that upsets any network.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.gradcam import class_scores
from resnet_core.activations.turns import InTurn, at_once
from resnet_core.device import make_generator

ORDERS = 9  # random orders
STEPS = 8  # in which the photo is covered
GRID = 14  # places a side at most
BATCH = 16  # covered photos that go through the network together


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """The class's probability while the photo is covered; an area below 1 is the mean over a whole curve."""

    shares: tuple[float, ...]  # of the photo that is covered, 0 to 1
    by_map: tuple[float, ...]  # brightest places first
    by_chance: tuple[tuple[float, ...], ...]  # a curve a random order
    area: float
    chance_areas: tuple[float, ...]

    @property
    def chance_mean(self) -> float:
        """Mean area of the random orders."""
        return sum(self.chance_areas) / len(self.chance_areas)

    @property
    def gain(self) -> float:
        """How much smaller the map's area is."""
        return self.chance_mean - self.area

    @property
    def chance_spread(self) -> float:
        """Standard deviation of the random orders' areas."""
        mean = self.chance_mean
        return math.sqrt(sum((area - mean) ** 2 for area in self.chance_areas) / (len(self.chance_areas) - 1))


def delete(
    model: nn.Module,
    inputs: Tensor,
    class_index: int,
    heat: Tensor,
    *,
    seed: int = 0,
    orders: int = ORDERS,
    in_turn: InTurn = at_once,
) -> Deletion:
    """Return how the class's probability for a photo [1,3,H,W] falls while its places are covered in grey.

    Places are those of the map [h,w], brought to at most 14×14; grey is the mean colour, zero for the network. Of
    equally bright places the order is random. Every batch is one piece of work for `in_turn`.
    """
    grid = functional.adaptive_avg_pool2d(heat[None].float(), (min(GRID, heat.shape[0]), min(GRID, heat.shape[1])))[0]
    generator = make_generator("deletion", seed)
    ways = [torch.randperm(grid.numel(), generator=generator) for _ in range(orders + 1)]
    ways[0] = ways[0][grid.flatten()[ways[0]].sort(descending=True, stable=True).indices]
    steps = min(STEPS, grid.numel())
    counts = [round(grid.numel() * step / steps) for step in range(steps + 1)]
    covered = torch.zeros(len(ways), steps + 1, grid.numel(), dtype=torch.bool)
    for way, each in zip(ways, covered, strict=True):
        for count, mask in zip(counts, each, strict=True):
            mask[way[:count]] = True
    masks = covered.view(-1, *grid.shape)
    curves = _probabilities(model, inputs, class_index, masks, in_turn).view(len(ways), -1)
    areas = torch.trapezoid(curves, torch.tensor(counts) / grid.numel(), dim=1).tolist()
    by_map, *by_chance = (tuple(curve) for curve in curves.tolist())
    return Deletion(
        shares=tuple(count / grid.numel() for count in counts),
        by_map=by_map,
        by_chance=tuple(by_chance),
        area=areas[0],
        chance_areas=tuple(areas[1:]),
    )


def _probabilities(model: nn.Module, inputs: Tensor, class_index: int, covered: Tensor, in_turn: InTurn) -> Tensor:
    """The class's probability [M] for a photo with the places of each mask [M,h,w] covered."""
    size = (inputs.shape[-2], inputs.shape[-1])
    found = []
    for masks in covered.split(BATCH):  # type: ignore[no-untyped-call]
        kept = 1 - functional.interpolate(masks[:, None].float(), size=size, mode="nearest")
        logits = in_turn(partial(predict, model, inputs.cpu() * kept))
        class_scores(logits, class_index)  # raises where there is no such class
        found.append(logits.softmax(1)[:, class_index])
    return torch.cat(found)


def predict(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the network's logits [N,K] in eval mode, float32 on the CPU; it is given back as it was."""
    with torch.inference_mode(False), torch.no_grad(), observing(model, {}, lambda *_: None):
        logits: Tensor = run_forward(model, fitting_inputs(model, inputs))
    return logits.float().cpu()
