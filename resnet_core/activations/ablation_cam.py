"""Where a network looked, without a gradient: what the class loses when a channel is taken away.

    heat = ablation_cam(model, inputs, "layer4", class_index).heat[0]

Ablation-CAM (Ramaswamy & Desai 2020). The network runs up to the layer once; from there on it runs for many copies at a
time, each with another channel at zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from resnet_core.activations.capture import capture_activations, fitting_inputs, observing, run_forward
from resnet_core.activations.gradcam import check_spatial, class_scores
from resnet_core.activations.layers import find_layers, list_layers
from resnet_core.activations.turns import InTurn, at_once
from resnet_core.models.describe import describe

COPIES = 32  # of the photo that pass through the rest of the network together, at most
COPIED_BYTES = 64 << 20  # of the layer's activation in all copies: a ResNet-50's first layer alone has 3.2 MB
BUDGET = 40e9  # multiply-accumulates: about a second on two cores
FEWEST = 32  # channels that are tried however dear they are


@dataclass(frozen=True, kw_only=True, eq=False)
class AblationHeat:
    """Heat maps [N,h,w] in [0,1], and how many channels they speak of."""

    heat: Tensor
    used: int  # channels tried, the strongest
    channels: int  # that the layer has


def ablation_cam(
    model: nn.Module,
    inputs: Tensor,
    layer: str,
    class_index: int | None = None,
    *,
    limit: int | None = None,
    in_turn: InTurn = at_once,
) -> AblationHeat:
    """Return where inputs [N,3,H,W] speak for a class at a layer: the sum of its channels, each weighted by how much
    the class's logit falls without it, through a ReLU and scaled to a maximum of 1.

    class_index None means each picture's predicted class. Only the `limit` channels of largest mean magnitude are
    tried, None as many as about a second allows. Each weight is the plain difference: the paper divides them all by the
    logit, which leaves the map as it is, but would turn it upside down where the logit is below zero. The network is
    given back as it was. Every pass of the network is one piece of work for `in_turn`. Raises ModelError as `grad_cam`
    does.
    """
    modules = in_turn(partial(find_layers, model, [layer]))
    if limit is None:
        limit = in_turn(partial(affordable, model, (inputs.shape[-2], inputs.shape[-1]), layer))
    maps, used, channels = [], 0, 0
    for image in inputs.split(1):  # type: ignore[no-untyped-call]
        signed, used, channels = _signed_map(model, modules, image, layer, class_index, limit, in_turn)
        maps.append(signed)
    heat = torch.stack(maps).relu()
    peak = heat.amax(dim=(1, 2), keepdim=True)
    return AblationHeat(heat=heat / peak.where(peak > 0, 1.0), used=used, channels=channels)


def affordable(model: nn.Module, image_size: tuple[int, int], layer: str) -> int:
    """Return how many channels about a second allows to be tried: the earlier the layer, the more is left to run."""
    description = describe(model, image_size)
    order = {name: place for place, name in enumerate(list_layers(model, image_size))}
    after = order.get(layer, 0)
    rest = sum(row.macs for row in description.layers if row.leaf and order.get(row.name, 0) > after)
    return max(FEWEST, math.floor(BUDGET / max(1, rest)))


def _signed_map(
    model: nn.Module,
    modules: dict[str, nn.Module],
    image: Tensor,
    layer: str,
    class_index: int | None,
    limit: int,
    in_turn: InTurn,
) -> tuple[Tensor, int, int]:
    activation = in_turn(partial(capture_activations, model, image, [layer]))[layer]
    check_spatial(layer, activation)
    strength = activation[0].abs().mean(dim=(1, 2)).nan_to_num()
    chosen = strength.sort(descending=True, stable=True).indices[:limit].sort().values
    whole = in_turn(partial(_logits_without, model, modules, image, [[]]))
    index = int(whole.argmax()) if class_index is None and whole.ndim == 2 else class_index
    score = class_scores(whole, index)
    drops = []
    for part in chosen.split(_copies(activation)):  # type: ignore[no-untyped-call]
        left_out = [[each] for each in part.tolist()]
        drops.append(score - class_scores(in_turn(partial(_logits_without, model, modules, image, left_out)), index))
    weights = torch.cat(drops).nan_to_num().cpu()
    signed = (weights[:, None, None] * activation[0, chosen]).sum(dim=0).nan_to_num()
    return signed, len(chosen), len(strength)


def _copies(activation: Tensor) -> int:
    """How many copies of an activation go through the network together."""
    return min(COPIES, max(1, COPIED_BYTES // (activation.numel() * activation.element_size())))


def _logits_without(
    model: nn.Module, modules: dict[str, nn.Module], image: Tensor, left_out: Sequence[Sequence[int]]
) -> Tensor:
    """Logits [n,K] of one picture [1,3,H,W], each time with other channels of the layer at zero.

    What a skip carries past the layer stays a single copy and is broadcast where both meet.
    """

    def multiply(_: str, output: Tensor) -> Tensor:
        copies = output.repeat(len(left_out), 1, 1, 1)
        for copy, channels in zip(copies, left_out, strict=True):
            copy[list(channels)] = 0
        return copies

    with torch.inference_mode(False), torch.no_grad(), observing(model, modules, multiply):
        logits: Tensor = run_forward(model, fitting_inputs(model, image))
    if isinstance(logits, Tensor) and logits.ndim == 2:
        return logits.float().expand(len(left_out), -1)  # a layer the answer does not depend on multiplies nothing
    return logits
