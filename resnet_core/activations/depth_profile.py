"""How strong the signal and the gradient are at every block, from the first to the last: what skips are for.

In a plain network the gradient of the loss fades, or grows, on its way back to the first blocks; along skips it gets
there (He et al. 2016, "Identity mappings in deep residual networks", section 2).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.layers import find_layers
from resnet_core.errors import ModelError
from resnet_core.models.resnet import Network


@dataclass(frozen=True, kw_only=True)
class DepthPoint:
    """One block's output for one picture: root mean squares over all its numbers."""

    name: str
    activation: float
    gradient: float  # of the cross-entropy with respect to the output


def depth_profile(model: nn.Module, inputs: Tensor, class_index: int) -> tuple[DepthPoint, ...]:
    """Return a point a block for the first picture of inputs [N,3,H,W], judged against that class; in eval mode.

    Weights, their gradients, hooks and train flags stay as they were. Raises ModelError for a network without stages
    and for a class it does not have.
    """
    if not isinstance(model, Network) or not model.include_top:
        raise ModelError("Only a network with stages and a head has a profile over its depth.")
    if not 0 <= class_index < model.num_classes:
        raise ModelError(f"There is no class {class_index}; this network has the classes 0 to {model.num_classes - 1}.")
    names = [f"{stage}.{index}" for stage in model.stage_names for index in range(len(getattr(model, stage)))]
    modules, outputs = find_layers(model, names), dict[str, Tensor]()
    with torch.inference_mode(False), torch.enable_grad():
        images = fitting_inputs(model, inputs[:1]).clone().requires_grad_()
        with observing(model, modules, outputs.__setitem__):
            logits = run_forward(model, images)
        loss = cross_entropy(logits.float(), torch.tensor([class_index], device=logits.device))
        gradients = torch.autograd.grad(loss, [outputs[name] for name in names])
    return tuple(
        DepthPoint(name=name, activation=_rms(outputs[name]), gradient=_rms(gradient))
        for name, gradient in zip(names, gradients, strict=True)
    )


def _rms(values: Tensor) -> float:
    return float(values.detach().double().square().mean().sqrt())
