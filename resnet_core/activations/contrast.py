"""Why one class and not another: what each place of a photo adds to the difference of two answers, in two colours.

signed = contrast_map(model, inputs, "layer4", tulips, roses)[0]
contrast_overlay(square, signed)      # orange speaks for tulips rather than roses, blue the other way round
"""

import torch
from PIL import Image
from torch import Tensor, nn

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.gradcam import check_overlay, class_scores, enlarge, weighted_channels
from resnet_core.errors import ConfigError, ModelError
from resnet_core.models.resnet import Network

FOR, AGAINST = "#E69F00", "#0072B2"  # orange and blue: the pair of Okabe & Ito 2008 that differs most for everyone


def contrast_map(model: nn.Module, inputs: Tensor, layer: str, class_index: int, against: int) -> Tensor:
    """Return signed maps [N,h,w] in [-1,1], h×w as the layer's, of why class_index and not `against`.

    Above 0 a place of inputs [N,3,H,W] speaks for class_index rather than `against`, below 0 the other way round;
    each map's largest magnitude is 1, a map without any stays zero, and exchanging the classes changes the sign only.
    The question is that of contrastive explanations (Prabhushankar et al. 2020, "why P, rather than Q?"); the answer
    is a class activation map as in Selvaraju et al. 2017, section 3, of the difference of both logits and without
    the ReLU, since here both signs mean something. In the last stage of a network that ends with average pooling and
    a linear layer, the places add up to that difference, but for its bias. Raises ModelError for a layer without a
    spatial map and for a class the network lacks, ConfigError where both classes are the same.
    """
    if class_index == against:
        raise ConfigError("A class cannot be told from itself; choose two different classes.")
    signed = weighted_channels(
        model, inputs, layer, lambda logits: class_scores(logits, class_index) - class_scores(logits, against)
    )
    peak = signed.abs().amax(dim=(1, 2), keepdim=True)
    return signed / peak.where(peak > 0, 1.0)


def share_for(signed: Tensor) -> float:
    """Return how much of a map's weight lies above 0, in [0, 1]; 0.5 for a map that says nothing."""
    above, below = float(signed.clamp(min=0).sum()), float(-signed.clamp(max=0).sum())
    return above / (above + below) if above + below > 0 else 0.5


def strongest_place(values: Tensor) -> tuple[int, int]:
    """Return the row and column, 0 to 2 each, of the ninth of a map [h,w] that its largest value lies in."""
    height, width = values.shape
    row, column = divmod(int(values.flatten().argmax()), width)
    return (2 * row + 1) * 3 // (2 * height), (2 * column + 1) * 3 // (2 * width)


def contrast_layer(signed: Tensor, width: int, height: int, strength: float = 1.0) -> Image.Image:
    """Return a signed map [h,w] as an RGBA picture: two colours, the larger the value the more opaque."""
    smooth = enlarge(signed.clamp(-1, 1), width, height)
    colors = torch.tensor([list(bytes.fromhex(code[1:])) for code in (AGAINST, FOR)], dtype=torch.uint8)
    opacity = smooth.abs().mul(255 * strength).round().byte()
    return Image.fromarray(torch.cat([colors[(smooth > 0).long()], opacity[..., None]], dim=2).numpy())


def contrast_overlay(image: Image.Image, signed: Tensor, strength: float = 0.7) -> Image.Image:
    """Return the square the network saw, in grey, with a signed map [h,w] over it, as RGB of the picture's size.

    Grey, so that orange and blue mean one thing only; what says nothing stays clear. strength 0 is the bare picture,
    1 paints the strongest places solid. Raises ConfigError for a strength outside [0, 1], ModelError for another map.
    """
    check_overlay(signed, strength)
    painted = image.convert("L").convert("RGB")
    layer = contrast_layer(signed, image.width, image.height, strength)
    painted.paste(layer, mask=layer)
    return painted


def last_map(model: nn.Module, inputs: Tensor) -> str:
    """Return the name of the deepest stage that still has places to point at for inputs [N,3,H,W].

    The deepest knows most about classes; one whose map is a single place (1×1) shows nothing. Raises ModelError
    where there is none.
    """
    stages = model.stage_names if isinstance(model, Network) else ()
    maps = capture_activations(model, inputs[:1], stages)
    for name in reversed(stages):
        if maps[name].shape[-2] * maps[name].shape[-1] > 1:
            return name
    raise ModelError("This network keeps no map of places for a picture of this size, so no heat map can be drawn.")
