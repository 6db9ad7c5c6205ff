"""Where a network looked: Grad-CAM heat maps, and a photo with the heat painted over it."""

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.color_map import colorize
from resnet_core.activations.layers import find_layers
from resnet_core.errors import ConfigError, ModelError


def grad_cam(model: nn.Module, inputs: Tensor, layer: str, class_index: int | None = None) -> Tensor:
    """Return heat maps [N,h,w] in [0,1], h×w as the layer's, of what speaks for a class in inputs [N,3,H,W].

    class_index None means each picture's predicted class. Each map's maximum is 1; a map without any support stays
    zero. Works on frozen networks and leaves no gradient behind. Selvaraju et al. 2017, section 3: the channels,
    weighted by the mean gradient of the class's logit, are summed and passed through a ReLU. Raises ModelError for
    a layer without a spatial map and for a class the network lacks.
    """
    modules = find_layers(model, [layer])
    leaves: list[Tensor] = []

    def branch_off(name: str, output: Tensor) -> Tensor:
        _check_spatial(name, output)
        leaves.append(output.detach().clone().requires_grad_())
        # The in-place ReLU that may follow then changes this copy: a leaf could not be changed, nor should it be.
        return leaves[0].clone()

    # Gradients begin at the layer, so no parameter need ask for any, and none is given one.
    with torch.inference_mode(False), torch.enable_grad(), observing(model, modules, branch_off):
        images = fitting_inputs(model, inputs).clone()
        score = _class_scores(run_forward(model, images), class_index).sum()
        gradient = torch.autograd.grad(score, leaves, allow_unused=True)[0] if score.requires_grad else None
    activation = leaves[0].detach()
    return _heat(activation, torch.zeros_like(activation) if gradient is None else gradient)


def overlay(image: Image.Image, heat: Tensor, strength: float = 0.5) -> Image.Image:
    """Return the picture with a heat map [h,w] in [0,1] over it, as RGB of the picture's size.

    strength 0 is the bare picture, 1 the bare heat. The picture is the square the network saw. Raises ConfigError
    for a strength outside [0, 1], ModelError for heat of another shape.
    """
    if not 0 <= strength <= 1:
        raise ConfigError(f"strength must be a number from 0 to 1, not {strength}.")
    if heat.ndim != 2 or not heat.numel():
        raise ModelError(f"A heat map has the shape [h, w], not {list(heat.shape)}; take one of the batch.")
    smooth = functional.interpolate(
        heat.detach().float().cpu().nan_to_num()[None, None].clamp(0, 1),
        size=(image.height, image.width),
        mode="bilinear",
        align_corners=False,
    )[0, 0]
    return Image.blend(image.convert("RGB"), Image.fromarray(colorize(smooth)), strength)


def _check_spatial(layer: str, output: Tensor) -> None:
    if output.ndim != 4:
        raise ModelError(
            f"The layer {layer!r} has no map of places, so no heat map can be drawn; choose an earlier layer."
        )
    if output.shape[2] * output.shape[3] == 1:
        raise ModelError(
            f"The layer {layer!r} has a single place (1×1) for a picture of this size, so no heat map can be "
            "drawn; choose an earlier layer."
        )


def _class_scores(logits: Tensor, class_index: int | None) -> Tensor:
    """Return each picture's logit [N] of the class, or of its predicted class for None."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ModelError("This network ends without classes, so there is no answer to explain.")
    if class_index is None:
        return logits.amax(dim=1)
    classes = logits.shape[1]
    if not 0 <= class_index < classes:
        raise ModelError(f"There is no class {class_index}; this network has the classes 0 to {classes - 1}.")
    return logits[:, class_index]


def _heat(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return ReLU(Σ channels · mean gradient) [N,h,w] on the CPU, each picture's maximum brought to 1."""
    weights = gradient.float().mean(dim=(2, 3), keepdim=True)
    heat = (weights * activation.float()).sum(dim=1).relu().nan_to_num().cpu()
    peak = heat.amax(dim=(1, 2), keepdim=True)
    return heat / peak.where(peak > 0, 1.0)
