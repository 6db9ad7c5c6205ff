"""How alike two networks see: channel by channel where the channels correspond, else by one number for a layer.

channel_likeness(early, late)              two epochs of a run, one photo: a correlation a channel
compare_layers(first, second, sample, …)   any two networks: linear CKA over many pictures
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.picture_sample import PictureSample
from resnet_core.errors import ConfigError, ModelError

BATCH = 8
PLACES = 4  # a side to which maps are averaged, so that 100 pictures of any layer take at most 13 MB
CKA_PICTURES = 100
FEWEST_PICTURES = 4  # the estimate divides by N − 3

InTurn = Callable[[Callable[[], Tensor]], Tensor]


def channel_likeness(first: Tensor, second: Tensor) -> Tensor:
    """Return the correlation [C] of each channel's map in two activations [C,h,w] of one photo, in [-1, 1].

    NaN where a channel is flat in either. Raises ModelError for activations of different shapes, or without maps.
    """
    if first.shape != second.shape or first.ndim != 3:
        raise ModelError("The channels of these two layers do not correspond: their maps have different shapes.")
    flat = [each.double().flatten(1) for each in (first, second)]
    centred = [each - each.mean(dim=1, keepdim=True) for each in flat]
    scale = centred[0].norm(dim=1) * centred[1].norm(dim=1)
    products = (centred[0] * centred[1]).sum(dim=1)
    return torch.where(scale > 0, products / scale, torch.nan).clamp(-1, 1).float()


def layer_features(model: nn.Module, inputs: Tensor, layer: str) -> Tensor:
    """Return what a layer makes of inputs [N,3,H,W], one vector a picture [N, P]; maps are averaged to 4×4 places."""
    activation = capture_activations(model, inputs, [layer])[layer]
    if activation.ndim == 4:
        activation = functional.adaptive_avg_pool2d(
            activation, (min(PLACES, activation.shape[2]), min(PLACES, activation.shape[3]))
        )
    return activation.flatten(1)


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Return how alike two sets of features [N,P] and [N,Q] of the same N pictures are, 1 for a rotated copy.

    Linear centred kernel alignment (Kornblith et al. 2019, section 3) with the unbiased estimate of HSIC (Song et al.
    2012, equation 5; Nguyen et al. 2021, section 2): the plain one calls any two layers alike that have more features
    than there are pictures. Independent features give about 0, by chance a little below. NaN where all pictures look
    the same. Raises ConfigError for fewer than four pictures.
    """
    if len(first) != len(second) or len(first) < FEWEST_PICTURES:
        raise ConfigError(f"Compare layers over at least {FEWEST_PICTURES} pictures, the same for both.")
    kernels = [_kernel(each) for each in (first, second)]
    own = [_hsic(kernel, kernel) for kernel in kernels]
    scale = own[0] * own[1]
    return float(_hsic(*kernels) / scale.sqrt()) if scale > 0 and min(own) > 0 else float("nan")


def _kernel(features: Tensor) -> Tensor:
    """Inner products [N,N] of centred features; the diagonal, which the unbiased estimate leaves out, is zero."""
    centred = features.double() - features.double().mean(dim=0)
    kernel = centred @ centred.T
    return kernel.fill_diagonal_(0)


def _hsic(first: Tensor, second: Tensor) -> Tensor:
    count = len(first)
    trace = (first * second).sum()
    whole = first.sum() * second.sum() / ((count - 1) * (count - 2))
    rows = 2 * (first.sum(0) @ second.sum(0)) / (count - 2)
    return (trace + whole - rows) / (count * (count - 3))


def compare_layers(
    models: Sequence[nn.Module],
    layers: Sequence[str],
    samples: Sequence[PictureSample],
    *,
    progress: Callable[[int, int], None] | None = None,
    in_turn: InTurn | None = None,
) -> float:
    """Return the linear CKA of one layer each of two networks over the same pictures, prepared for each of them.

    Every batch of one network is a piece of work for `in_turn`. Raises ModelError for a layer that cannot be observed,
    ConfigError where there are too few pictures.
    """
    count = min(map(len, samples))
    features: list[list[Tensor]] = [[], []]
    for start in range(0, count, BATCH):
        indices = range(start, min(start + BATCH, count))
        for side, (model, layer, sample) in enumerate(zip(models, layers, samples, strict=True)):
            work = partial(_look, model, sample, layer, indices)
            features[side].append(in_turn(work) if in_turn else work())
        if progress:
            progress(indices.stop, count)
    return linear_cka(torch.cat(features[0]), torch.cat(features[1]))


def _look(model: nn.Module, sample: PictureSample, layer: str, indices: range) -> Tensor:
    return layer_features(model, sample.inputs(indices), layer)
