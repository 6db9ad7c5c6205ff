"""Every network of the registry, small enough to be asked in a test, with statistics as a training leaves them."""

import copy
from typing import Any

import torch
from torch import nn

from resnet_core.models.zoo import build_model, get_architecture, list_models

TWINS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("resnet18", {"residual": False}),
    ("resnet18", {"stem": "small"}),
    ("resnet50", {"residual": False, "stem": "small"}),
    ("resnet20", {"residual": False}),
    ("resnet8", {"residual": False}),
    ("tutorial-cifar", {"as_published": True}),
    ("tutorial-cifar", {"residual": False}),
)
NETWORKS = (*((name, {}) for name in list_models()), *TWINS)
NAMES = [f"{name}{''.join(f'-{key}={value}' for key, value in arguments.items())}" for name, arguments in NETWORKS]


def small_network(name: str, arguments: dict[str, Any]) -> nn.Module:
    """In eval mode, 7 classes; BatchNorms know the statistics of one batch, or deep networks would overflow."""
    torch.manual_seed(5)
    narrow = {"width": 8} if "width" in get_architecture(name).options else {}
    model = build_model(name, num_classes=7, **{**narrow, **arguments})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        model.train()(some_pictures(8, name))
    return model.eval()


def some_pictures(count: int, name: str) -> torch.Tensor:
    """Normalised noise [count, 3, H, W], H ≠ W; small, and smaller where there are a thousand layers."""
    edge = 16 if name == "resnet1202" else 40
    return torch.randn(count, 3, edge, edge - 4, generator=torch.Generator().manual_seed(count))


def assert_as_good(model: nn.Module, images: torch.Tensor, answers: torch.Tensor) -> None:
    """The answers are about as near to the truth, computed in float64, as the model's own.

    A fixed tolerance will not do: deep plain networks blow up the last bit of their input to the third digit.
    """
    with torch.no_grad():
        own, truth = model(images), copy.deepcopy(model).double()(images.double())
    scale = float(truth.abs().max())
    assert scale > 1e-2  # else nothing is compared
    own_error = float((own - truth).abs().max())
    assert float((answers - truth).abs().max()) <= 10 * own_error + 1e-5 * scale
    assert own_error < 0.01 * scale
