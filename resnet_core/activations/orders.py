"""In which order the channels of a layer stand: by index, by strength, or by what they say for a class.

relevance = channel_relevance(model, inputs, "layer4", class_index)
order_channels(activation, "relevance", relevance)      # the channel that speaks most for the class first
"""

from typing import Literal

import torch
from torch import Tensor, nn

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.gradcam import class_scores
from resnet_core.activations.layers import find_layers
from resnet_core.activations.stretching import as_maps
from resnet_core.errors import ConfigError, ModelError

Order = Literal["index", "strength", "relevance"]
ORDERS: tuple[Order, ...] = ("index", "strength", "relevance")


def order_channels(activation: Tensor, order: str = "index", relevance: Tensor | None = None) -> tuple[int, ...]:
    """Return all channels of an activation [C,h,w] or [K] in that order; equal ones by index.

    "strength": the largest mean magnitude first; "relevance": the largest of relevance [C] first. What is no number
    comes last. Raises ConfigError for another order and for a missing relevance.
    """
    maps = as_maps(activation)
    if order == "index":
        return tuple(range(len(maps)))
    if order not in ORDERS:
        raise ConfigError(f"There is no order “{str(order)[:40]}”; choose {', '.join(ORDERS)}.")
    if order == "strength":
        return _descending(maps.flatten(1).double().abs().mean(1))
    if relevance is None or len(relevance) != len(maps):
        raise ConfigError("The order by relevance needs a class whose relevance is known for each channel.")
    return _descending(relevance.double())


def channel_relevance(model: nn.Module, inputs: Tensor, layer: str, class_index: int | None = None) -> Tensor:
    """Return what each channel adds to a class's logit for the first picture of inputs [N,3,H,W], float32 [C].

    Σ over places of activation · ∂logit/∂activation (gradient × input, Ancona et al. 2018; with its sign
    the first-order effect of removing the channel, Molchanov et al. 2017, equation 7). Exact behind the last ReLU of a
    network that ends with average pooling and a linear layer: there it is weight · mean, and sums to the logit without
    its bias. class_index None means the predicted class. A ReLU right behind the layer changes nothing. The network is
    given back as it was. Raises ModelError for a layer that cannot be observed and for a class the network lacks.
    """
    modules = find_layers(model, [layer])
    leaves: list[Tensor] = []

    def branch_off(name: str, output: Tensor) -> Tensor:
        leaves.append(output.detach().clone().requires_grad_())
        return leaves[0].clone()  # an in-place ReLU behind it may not change a leaf

    with torch.inference_mode(False), torch.enable_grad(), observing(model, modules, branch_off):
        logits = run_forward(model, fitting_inputs(model, inputs[:1]).clone())
        if not leaves:
            raise ModelError(f"The layer {layer!r} did not run for this picture; choose another layer.")
        score = class_scores(logits, class_index).sum()
        gradient = torch.autograd.grad(score, leaves, allow_unused=True)[0] if score.requires_grad else None
    activation = leaves[0].detach()[0].float()
    if gradient is None:
        return torch.zeros(len(activation))
    share = gradient[0].float() * activation
    return (share.flatten(1).sum(1) if share.ndim > 1 else share).cpu()


def _descending(values: Tensor) -> tuple[int, ...]:
    ranked = values.nan_to_num(-torch.inf).sort(descending=True, stable=True)
    return tuple(ranked.indices.tolist())
