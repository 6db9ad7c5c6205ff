"""Where a network looked: Grad-CAM heat maps, and a photo with the heat painted over it."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.color_map import colorize
from resnet_core.activations.layers import find_layers
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ConfigError, ModelError


def grad_cam(model: nn.Module, inputs: Tensor, layer: str, class_index: int | None = None) -> Tensor:
    """Return heat maps [N,h,w] in [0,1], h×w as the layer's, of what speaks for a class in inputs [N,3,H,W].

    class_index None means each picture's predicted class. Each map's maximum is 1; a map without any support stays
    zero. Works on frozen networks and leaves no gradient behind. Selvaraju et al. 2017, section 3: the channels,
    weighted by the mean gradient of the class's logit, are summed and passed through a ReLU. Raises ModelError for
    a layer without a spatial map and for a class the network lacks.
    """
    heat = weighted_channels(model, inputs, layer, lambda logits: class_scores(logits, class_index)).relu()
    peak = heat.amax(dim=(1, 2), keepdim=True)
    return heat / peak.where(peak > 0, 1.0)


def weighted_channels(model: nn.Module, inputs: Tensor, layer: str, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return Σ channels · mean gradient, float32 [N,h,w] on the CPU: what each place adds to score(logits [N,K]) [N].

    The network, frozen or not, is given back as it was. Raises ModelError for a layer without a spatial map.
    """
    modules = find_layers(model, [layer])
    leaves: list[Tensor] = []

    def branch_off(name: str, output: Tensor) -> Tensor:
        check_spatial(name, output)
        leaves.append(output.detach().clone().requires_grad_())
        # The in-place ReLU that may follow then changes this copy: a leaf could not be changed, nor should it be.
        return leaves[0].clone()

    # Gradients begin at the layer, so no parameter need ask for any, and none is given one.
    with torch.inference_mode(False), torch.enable_grad(), observing(model, modules, branch_off):
        images = fitting_inputs(model, inputs).clone()
        total = score(run_forward(model, images)).sum()
        gradient = torch.autograd.grad(total, leaves, allow_unused=True)[0] if total.requires_grad else None
    activation = leaves[0].detach()
    if gradient is None:
        return torch.zeros_like(activation[:, 0], dtype=torch.float32, device="cpu")
    weights = gradient.float().mean(dim=(2, 3), keepdim=True)
    return (weights * activation.float()).sum(dim=1).nan_to_num().cpu()


def overlay(image: Image.Image, heat: Tensor, strength: float = 0.5) -> Image.Image:
    """Return the picture with a heat map [h,w] in [0,1] over it, as RGB of the picture's size.

    strength 0 is the bare picture, 1 the bare heat. The picture is the square the network saw. Raises ConfigError
    for a strength outside [0, 1], ModelError for heat of another shape.
    """
    check_overlay(heat, strength)
    smooth = enlarge(heat.clamp(0, 1), image.width, image.height)
    return Image.blend(image.convert("RGB"), Image.fromarray(colorize(smooth)), strength)


def square_under(image: Image.Image, preprocessing: Preprocessing, side: int) -> Image.Image:
    """Return the part of a picture that the network sees, at side × side px: its own square would be a stamp."""
    resize = max(side, round(side * preprocessing.resize / preprocessing.crop))
    return Preprocessing(resize=resize, crop=side).square(image)


def enlarge(values: Tensor, width: int, height: int) -> Tensor:
    """Return a map [h,w] as float32 [height,width] on the CPU, bilinear; NaN becomes 0."""
    values = values.detach().float().cpu().nan_to_num()[None, None]
    return functional.interpolate(values, size=(height, width), mode="bilinear", align_corners=False)[0, 0]


def check_overlay(values: Tensor, strength: float) -> None:
    """Raises ConfigError for a strength outside [0, 1], ModelError for values that are no map [h,w]."""
    if not 0 <= strength <= 1:
        raise ConfigError(f"strength must be a number from 0 to 1, not {strength}.")
    if values.ndim != 2 or not values.numel():
        raise ModelError(f"A heat map has the shape [h, w], not {list(values.shape)}; take one of the batch.")


def check_spatial(layer: str, output: Tensor) -> None:
    """Raises ModelError for an activation that is no map [N,C,h,w] of several places."""
    if output.ndim != 4:
        raise ModelError(
            f"The layer {layer!r} has no map of places, so no heat map can be drawn; choose an earlier layer."
        )
    if output.shape[2] * output.shape[3] == 1:
        raise ModelError(
            f"The layer {layer!r} has a single place (1×1) for a picture of this size, so no heat map can be "
            "drawn; choose an earlier layer."
        )


def class_scores(logits: Tensor, class_index: int | None) -> Tensor:
    """Return each picture's logit [N] of the class, or of its predicted class for None."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ModelError("This network ends without classes, so there is no answer to explain.")
    if class_index is None:
        return logits.amax(dim=1)
    classes = logits.shape[1]
    if not 0 <= class_index < classes:
        raise ModelError(f"There is no class {class_index}; this network has the classes 0 to {classes - 1}.")
    return logits[:, class_index]
