"""Whether a heat map may be trusted: does it depend on what the network has learned, and does it point at what counts.

    test = run_trust_test(model, inputs, 3, lambda network, index: grad_cam(network, inputs, "layer4", index)[0])
    test.verdict.trusted, test.verdict.reasons

Random weights (Adebayo et al. 2018, "Sanity checks for saliency maps"): part after part, from the head down, gets fresh
weights; a map that stays as it is cannot be about what was learned. Deletion (see deletion.py): covering the brightest
places first should lose the class sooner than covering places in random order. Maps of networks that know nothing do so
too, a little, since they tell what drives those networks; so a map must gain more than theirs.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from resnet_core.activations.capture import observing
from resnet_core.activations.deletion import Deletion, delete, predict
from resnet_core.activations.turns import InTurn, at_once
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
OVERFLOWING = 1e30  # logits from which sums and gradients may leave float32


@dataclass(frozen=True, kw_only=True, eq=False)
class RandomStep:
    """The map after this part and all above it got fresh weights; likeness is a rank correlation."""

    part: str
    likeness: float
    heat: Tensor  # [h,w]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Reasons against a map: "empty", "unclear" (numbers that are none came up), "survives" (random weights), "chance"
    (covers no better than at random) or "untaught" (networks that know nothing do as well)."""

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
        """A plain dict of everything but the maps; None for numbers that are none, which JSON does not know."""
        return {
            "trusted": self.verdict.trusted,
            "reasons": list(self.verdict.reasons),
            "random_weights": [{"part": step.part, "likeness": _rounded(step.likeness)} for step in self.steps],
            "deletion": {
                "shares": list(self.deletion.shares),
                "by_map": [_rounded(value) for value in self.deletion.by_map],
                "area": _rounded(self.deletion.area),
                "chance_areas": [_rounded(value) for value in self.deletion.chance_areas],
            },
            "untaught_gains": [_rounded(value) for value in self.untaught_gains],
        }


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def run_trust_test(
    model: nn.Module,
    inputs: Tensor,
    class_index: int,
    heat_of: HeatOf,
    *,
    seed: int = 0,
    in_turn: InTurn = at_once,
) -> TrustTest:
    """Return how a map of one photo [1,3,H,W] stands both tests; the same seed draws the same weights and orders.

    The network is not touched: copies of it, one at a time, get the fresh weights. Every pass of a network is one piece
    of work for `in_turn`; `heat_of` takes its turns itself. Raises what `heat_of` raises.
    """
    heat = heat_of(model, class_index)
    deletion = delete(model, inputs, class_index, heat, seed=seed, in_turn=in_turn)
    draw = partial(_draw, model, inputs, heat, class_index, heat_of, seed=seed, in_turn=in_turn)
    steps, gain = draw(0)
    gains, likenesses = [gain], [step.likeness for step in steps[-1:]]
    for number in range(1, DRAWS):
        last, gain = draw(number, whole=True)
        gains.append(gain)
        likenesses += [step.likeness for step in last]
    if steps:
        steps = (*steps[:-1], replace(steps[-1], likeness=sum(likenesses) / DRAWS))
    verdict = judge(heat, steps, deletion, tuple(gains))
    return TrustTest(heat=heat, steps=steps, deletion=deletion, untaught_gains=tuple(gains), verdict=verdict)


def judge(
    heat: Tensor, steps: tuple[RandomStep, ...], deletion: Deletion, untaught_gains: tuple[float, ...] = ()
) -> Verdict:
    """Return what speaks against a map."""
    reasons = []
    if not heat.any():
        reasons.append("empty")
    if not all(map(math.isfinite, (deletion.gain, *untaught_gains, *(step.likeness for step in steps)))):
        reasons.append("unclear")  # every comparison below would be false, which is no proof of anything
    if steps and steps[-1].likeness >= ALIKE:
        reasons.append("survives")
    as_good = sum(area <= deletion.area for area in deletion.chance_areas)
    if deletion.gain < LEAST_GAIN or as_good > LUCKY:
        reasons.append("chance")
    elif untaught_gains and deletion.gain <= CLEARLY * max(untaught_gains):
        reasons.append("untaught")
    return Verdict(reasons=tuple(reasons))


def _draw(
    model: nn.Module,
    inputs: Tensor,
    heat: Tensor,
    class_index: int,
    heat_of: HeatOf,
    number: int,
    *,
    seed: int,
    in_turn: InTurn,
    whole: bool = False,
) -> tuple[tuple[RandomStep, ...], float]:
    """The map after each part that got fresh weights, or (`whole`) only after the last, and what the network without a
    trained weight gains in the deletion test by its own map, for the class it chooses."""
    network = in_turn(partial(_copied, model))
    parts, steps, fresh = _parts(model), [], []
    for place, (part, names) in enumerate(parts, start=1):
        for name in names:
            freshen(network.get_submodule(name), make_generator("trust", seed, number, name))
        fresh += names
        if not whole or place == len(parts):
            in_turn(partial(_keep_finite, network, inputs, tuple(fresh)))
            seen = heat_of(network, class_index)
            steps.append(RandomStep(part=part, likeness=rank_correlation(heat, seen), heat=seen))
    index = int(in_turn(partial(predict, network, inputs)).argmax())
    own = heat_of(network, index)
    gain = delete(network, inputs, index, own, seed=seed, orders=UNTAUGHT_ORDERS, in_turn=in_turn).gain
    return tuple(steps), gain


def _copied(model: nn.Module) -> nn.Module:
    with observing(model, {}, lambda *_: None):  # nobody's hooks are copied along
        return copy.deepcopy(model).requires_grad_(False)


def _keep_finite(network: nn.Module, inputs: Tensor, names: tuple[str, ...]) -> None:
    """Where a photo overflows, give the batch norms of those parts its statistics, as a step of training would: each
    block with fresh ones about doubles the variance, so that more than 200 of them, as in ResNet-1202, are too many.

    Elsewhere they stay as before any training, as CLEARLY was measured: with a photo's statistics networks of random
    weights gain less, and one of 20 layers that had learned nothing passed against them.
    """
    logits = predict(network, inputs)
    if bool((logits.abs() < OVERFLOWING).all()):  # False for NaN
        return
    norms = [each for name in names for each in network.get_submodule(name).modules()]
    handles = [each.register_forward_pre_hook(_measure) for each in norms if isinstance(each, nn.BatchNorm2d)]
    try:
        predict(network, inputs)
    finally:
        for handle in handles:
            handle.remove()


def _measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.running_mean is None or norm.running_var is None:
        return
    came_in = inputs[0].float()
    if came_in[:, 0].numel() > 1:
        variance, mean = torch.var_mean(came_in, dim=(0, 2, 3), correction=0)
    else:  # a single place varies in no channel: all channels together stand for each
        variance, mean = came_in.square().mean().expand(norm.num_features), torch.zeros(norm.num_features)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


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
            drawn = torch.empty_like(each.weight, device=generator.device)  # the network may lie on another device
            nn.init.kaiming_normal_(drawn, mode="fan_out", nonlinearity="relu", generator=generator)
            each.weight.data.copy_(drawn)
        elif isinstance(each, nn.Linear):
            drawn = torch.empty_like(each.weight, device=generator.device)
            each.weight.data.copy_(nn.init.normal_(drawn, std=each.in_features**-0.5, generator=generator))
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
