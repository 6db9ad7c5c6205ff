"""Whether a heat map may be trusted: does it depend on what the network has learned, and does it point at what counts.

    test = run_trust_test(model, inputs, 3, lambda network, index: grad_cam(network, inputs, "layer4", index)[0])
    test.verdict.trusted, test.verdict.reasons

Random weights (Adebayo et al. 2018, "Sanity checks for saliency maps"): part after part, from the head down, gets fresh
weights; a map that stays as it is cannot be about what was learned. Deletion (see deletion.py): covering the brightest
places first should lose the class sooner than covering places in random order. Maps of networks that know nothing do so
too, a little, since they tell what drives those networks; so a map must gain more than theirs.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from resnet_core.activations.deletion import Deletion, delete, predict
from resnet_core.device import make_generator
from resnet_core.models.resnet import Network

HeatOf = Callable[[nn.Module, int], Tensor]  # the map [h,w] of a network for a class, always of one photo and layer

DRAWS = 3  # networks with fresh weights: one may resemble the trained one by chance
UNTAUGHT_ORDERS = 2  # random orders for networks with random weights, of which there are several
LUCKY = 1  # random orders that may do as well as the map
ALIKE = 0.5  # rank correlation from which two maps count as the same
LEAST_GAIN = 0.03  # of the class's probability, on average over the curve
# Times what maps of networks with random weights gain. Of 48 maps of such networks none reached 1.1 times the best
# of three others; Grad-CAM at layer4 of the shipped model reached 2.5 to 7 times on 6 of 8 flower photos.
CLEARLY = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomStep:
    """The map after this part and all above it got fresh weights; likeness is a rank correlation."""

    part: str
    likeness: float
    heat: Tensor  # [h,w]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Reasons against a map: "empty", "survives" (random weights), "chance" (covers no better than at random) or
    "untaught" (networks that know nothing do as well)."""

    reasons: tuple[str, ...]

    @property
    def trusted(self) -> bool:
        """True without a reason against it."""
        return not self.reasons


@dataclass(frozen=True, kw_only=True, eq=False)
class TrustTest:
    """Everything the test saw."""

    heat: Tensor
    steps: tuple[RandomStep, ...]  # the head first, all of the network last
    deletion: Deletion
    untaught_gains: tuple[float, ...]  # what networks with random weights gain in the deletion test by their own maps
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """A plain dict of everything but the maps."""
        return {
            "trusted": self.verdict.trusted,
            "reasons": list(self.verdict.reasons),
            "random_weights": [{"part": step.part, "likeness": round(step.likeness, 4)} for step in self.steps],
            "deletion": {
                "shares": list(self.deletion.shares),
                "by_map": [round(value, 4) for value in self.deletion.by_map],
                "area": round(self.deletion.area, 4),
                "chance_areas": [round(value, 4) for value in self.deletion.chance_areas],
            },
            "untaught_gains": [round(value, 4) for value in self.untaught_gains],
        }


def run_trust_test(model: nn.Module, inputs: Tensor, class_index: int, heat_of: HeatOf, *, seed: int = 0) -> TrustTest:
    """Return how a map of one photo [1,3,H,W] stands both tests; the same seed draws the same weights and orders.

    The network is not touched: copies of it get the fresh weights. Raises what `heat_of` raises.
    """
    heat = heat_of(model, class_index)
    steps, untaught = _cascade(model, heat, class_index, heat_of, seed)
    deletion = delete(model, inputs, class_index, heat, seed=seed)
    gains = tuple(_untaught_gain(network, inputs, heat_of, seed) for network in untaught)
    verdict = judge(heat, steps, deletion, gains)
    return TrustTest(heat=heat, steps=steps, deletion=deletion, untaught_gains=gains, verdict=verdict)


def judge(
    heat: Tensor, steps: tuple[RandomStep, ...], deletion: Deletion, untaught_gains: tuple[float, ...] = ()
) -> Verdict:
    """Return what speaks against a map."""
    reasons = []
    if not heat.any():
        reasons.append("empty")
    if steps and steps[-1].likeness >= ALIKE:
        reasons.append("survives")
    as_good = sum(area <= deletion.area for area in deletion.chance_areas)
    if deletion.gain < LEAST_GAIN or as_good > LUCKY:
        reasons.append("chance")
    elif untaught_gains and deletion.gain <= CLEARLY * max(untaught_gains):
        reasons.append("untaught")
    return Verdict(reasons=tuple(reasons))


def _cascade(
    model: nn.Module, heat: Tensor, class_index: int, heat_of: HeatOf, seed: int
) -> tuple[tuple[RandomStep, ...], list[nn.Module]]:
    """The steps of one draw, the last with the mean likeness of all, and the networks without a trained weight."""
    networks = [copy.deepcopy(model).requires_grad_(False)]
    networks += [copy.deepcopy(networks[0]) for _ in range(DRAWS - 1)]
    parts = _parts(model)
    steps = []
    for part, names in parts:
        for number, network in enumerate(networks):
            for name in names:
                freshen(network.get_submodule(name), make_generator("trust", seed, number, name))
        seen = heat_of(networks[0], class_index)
        steps.append(RandomStep(part=part, likeness=rank_correlation(heat, seen), heat=seen))
    if steps:
        others = [rank_correlation(heat, heat_of(network, class_index)) for network in networks[1:]]
        likeness = (steps[-1].likeness + sum(others)) / DRAWS
        steps[-1] = replace(steps[-1], likeness=likeness)
    return tuple(steps), networks


def _untaught_gain(network: nn.Module, inputs: Tensor, heat_of: HeatOf, seed: int) -> float:
    """How well a network with random weights stands the deletion test by its own map, for the class it chooses."""
    index = int(predict(network, inputs).argmax())
    return delete(network, inputs, index, heat_of(network, index), seed=seed, orders=UNTAUGHT_ORDERS).gain


def _parts(model: nn.Module) -> list[tuple[str, list[str]]]:
    """Names of the parts with weights and of their modules, from the head down; the stem's modules are one part."""
    stem = model.stem_names if isinstance(model, Network) else ()
    parts: dict[str, list[str]] = {}
    for name, module in model.named_children():
        if any(True for _ in module.parameters()):
            parts.setdefault("stem" if name in stem else name, []).append(name)
    return list(reversed(parts.items()))


def freshen(module: nn.Module, generator: torch.Generator) -> None:
    """Give a part of a network the weights it could have had before any training, as `models.resnet.initialize`."""
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(each, nn.Linear):
            nn.init.normal_(each.weight, std=each.in_features**-0.5, generator=generator)
        elif isinstance(each, nn.BatchNorm2d):
            each.reset_running_stats()
            if each.affine:
                nn.init.ones_(each.weight)
        if isinstance(each, nn.Conv2d | nn.Linear | nn.BatchNorm2d) and each.bias is not None:
            nn.init.zeros_(each.bias)


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Return Spearman's rank correlation of two maps of one shape, in [-1, 1]; 0 where one of them is flat.

    Equal values share the mean of their ranks.
    """
    ranks = [_ranks(each.detach().double().flatten()) for each in (first, second)]
    centred = [each - each.mean() for each in ranks]
    scale = centred[0].norm() * centred[1].norm()
    return float(centred[0] @ centred[1] / scale) if scale > 0 else 0.0


def _ranks(values: Tensor) -> Tensor:
    groups: Tensor
    counts: Tensor
    _, groups, counts = torch.unique(values, return_inverse=True, return_counts=True)  # type: ignore[no-untyped-call]
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[groups]
