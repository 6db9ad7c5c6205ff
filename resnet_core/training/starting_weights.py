"""The weights a training starts from: drawn from its own generator, ImageNet's, another checkpoint's, or, for a
whitening stem, computed from the training pictures.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from resnet_core.data.cuts import plain_cuts
from resnet_core.data.images import display_name
from resnet_core.data.loaders import Loaders
from resnet_core.device import make_generator
from resnet_core.errors import ConfigError
from resnet_core.models.whitened import ResNet8
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.resolve import model_arguments

HEAD = "fc."
FIRST_LAYER_PICTURES = 2000  # 2 million patches of 2×2 for 12 directions; more changes the kernels by less than 1 %


def build_starting_model(
    config: TrainConfig, num_classes: int, *, class_names: Sequence[str] = (), fresh: bool = True
) -> nn.Module:
    """The network of a resolved config, on the CPU; the same seed gives the same weights whatever others draw.

    The head of another checkpoint is taken over only where it tells these very classes apart. `fresh` False leaves
    out the weights from elsewhere, for a run whose own are about to be loaded. Raises ConfigError, ModelError or
    CheckpointError where the weights cannot be had or do not fit.
    """
    assert config.model is not None
    arguments: dict[str, Any] = model_arguments(config)
    model: nn.Module = build_model(config.model, num_classes=num_classes, **arguments)
    draw_weights(model, make_generator("weights", config.seed))
    if not fresh:
        return model
    if config.pretrained:
        _load_weights(model, dict(build_model(config.model, pretrained=True).state_dict()), config.model)
    elif config.init_from:
        checkpoint, other = load_checkpoint(Path(config.init_from))
        weights = dict(other.state_dict())
        if checkpoint.class_names != tuple(class_names):
            weights = {name: tensor for name, tensor in weights.items() if not name.startswith(HEAD)}
        _load_weights(model, weights, config.init_from)
    return model


@torch.no_grad()
def draw_weights(model: nn.Module, generator: torch.Generator) -> None:
    """Kaiming-normal convolutions (He et al. 2015b, fan out), torch's own rule for linear layers; BatchNorm stays.

    A network that keeps torch's initialization has its convolutions drawn by that rule too: uniform within one over the
    root of the fan-in.
    """
    uniform = bool(getattr(model, "keeps_torch_initialization", False))
    for module in model.modules():
        if isinstance(module, nn.Linear) or (uniform and isinstance(module, nn.Conv2d)):
            bound = 1 / math.sqrt(module.weight[0].numel())
            module.weight.uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)


def prepare_first_layer(model: nn.Module, loaders: Loaders) -> None:
    """Computes a whitening stem from training pictures, cut and normalised as the training sees them at full size.

    For fresh weights only; the pictures are spread evenly over the training set, so the same data, preprocessing and
    seed give the same stem. Networks that learn their stem are left alone.
    """
    if not isinstance(model, ResNet8):
        return
    train = loaders.train
    chosen = torch.linspace(0, len(train.store) - 1, min(len(train.store), FIRST_LAYER_PICTURES)).round().long()
    pixels = plain_cuts(train.store, train.policy).cut(
        chosen, train.preprocessing.crop, make_generator("first-layer", train.seed)
    )
    model.whiten(train.preprocessing.normalize(pixels))


def _load_weights(model: nn.Module, weights: dict[str, torch.Tensor], source: str) -> None:
    """Copies every tensor that has a place of its shape; only the head may be left out (T1's recipe: a new `fc`)."""
    own = model.state_dict()
    missing = [name for name, tensor in own.items() if name not in weights or weights[name].shape != tensor.shape]
    if any(not name.startswith(HEAD) for name in missing):
        odd = next(name for name in missing if not name.startswith(HEAD))
        raise ConfigError(
            f"The weights of “{display_name(source)}” do not fit this network: {odd} differs; choose the same model."
        )
    model.load_state_dict({name: tensor for name, tensor in weights.items() if name not in missing}, strict=False)
