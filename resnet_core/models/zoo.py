"""The registry: every network by name, what it may be asked for, and `build_model`.

A built model remembers its `architecture` and `architecture_arguments`, so a checkpoint can store both and
`build_model(architecture, **architecture_arguments)` builds the same network again.

Naming networks costs nothing: torch is imported by the first one that is built, so a page can offer them before.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from resnet_core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_core.models.resnet import Network

MAX_CLASSES = 100_000  # far beyond ImageNet-21k; more is a slip of the keyboard, not a data set
MAX_WIDTH = 1024

IMAGENET_OPTIONS: dict[str, Any] = {
    "stem": "imagenet",
    "residual": True,
    "zero_init_residual": False,
    "width": 64,
}
CIFAR_OPTIONS: dict[str, Any] = {"residual": True, "zero_init_residual": False}
RESNET8_OPTIONS: dict[str, Any] = {"residual": True, "width": 64}
TUTORIAL_OPTIONS: dict[str, Any] = {"as_published": False, "residual": True}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One network of the registry."""

    name: str
    family: str  # "imagenet", "cifar", "whitened" or "tutorial"
    title: str  # for people, e.g. "ResNet-34"
    builder: Callable[..., Network]
    options: dict[str, Any]  # what build_model accepts besides num_classes and include_top, with the defaults
    default_image_size: int  # edge in pixels it was designed for
    min_image_size: int  # least edge in pixels at which every layer's shape works out
    default_num_classes: int


def _build_imagenet(block: str, layers: tuple[int, ...], **settings: Any) -> Network:
    from resnet_core.models import resnet

    return resnet.ResNet(getattr(resnet, block), layers, **settings)


def _build_cifar(depth: int, **settings: Any) -> Network:
    from resnet_core.models.cifar import CifarResNet

    return CifarResNet(depth, **settings)


def _build_tutorial(**settings: Any) -> Network:
    from resnet_core.models.cifar import TutorialCifarNet

    return TutorialCifarNet(**settings)


def _build_resnet8(**settings: Any) -> Network:
    from resnet_core.models.whitened import ResNet8

    return ResNet8(**settings)


def _imagenet(depth: int, block: str, layers: tuple[int, ...]) -> Architecture:
    return Architecture(
        name=f"resnet{depth}",
        family="imagenet",
        title=f"ResNet-{depth}",
        builder=partial(_build_imagenet, block, layers),
        options=IMAGENET_OPTIONS,
        default_image_size=224,
        min_image_size=1,
        default_num_classes=1000,
    )


def _cifar(depth: int) -> Architecture:
    return Architecture(
        name=f"resnet{depth}",
        family="cifar",
        title=f"ResNet-{depth} (CIFAR)",
        builder=partial(_build_cifar, depth),
        options=CIFAR_OPTIONS,
        default_image_size=32,
        min_image_size=1,
        default_num_classes=10,
    )


_TUTORIAL = Architecture(
    name="tutorial-cifar",
    family="tutorial",
    title="Tutorial ResNet (CIFAR-10)",
    builder=_build_tutorial,
    options=TUTORIAL_OPTIONS,
    default_image_size=32,
    min_image_size=3,
    default_num_classes=10,
)

_RESNET8 = Architecture(
    name="resnet8",
    family="whitened",
    title="ResNet-8 (CIFAR, fast)",
    builder=_build_resnet8,
    options=RESNET8_OPTIONS,
    default_image_size=32,
    min_image_size=9,
    default_num_classes=10,
)

_ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        _imagenet(18, "BasicBlock", (2, 2, 2, 2)),
        _imagenet(34, "BasicBlock", (3, 4, 6, 3)),
        _imagenet(50, "Bottleneck", (3, 4, 6, 3)),
        _imagenet(101, "Bottleneck", (3, 4, 23, 3)),
        _imagenet(152, "Bottleneck", (3, 8, 36, 3)),
        _TUTORIAL,
        _RESNET8,
        *(_cifar(depth) for depth in (20, 32, 44, 56, 110, 1202)),
    )
}


def list_models() -> tuple[str, ...]:
    """Return the names `build_model` knows, the ImageNet networks first."""
    return tuple(_ARCHITECTURES)


def get_architecture(name: str) -> Architecture:
    """Return the registry's entry; raises ModelError with the nearest names for one it does not know."""
    if isinstance(name, str) and name in _ARCHITECTURES:
        return _ARCHITECTURES[name]
    near = difflib.get_close_matches(str(name).lower().replace("_", "-"), _ARCHITECTURES, n=3)
    if near:
        raise ModelError(f"There is no network called {name!r}; did you mean {' or '.join(near)}?")
    raise ModelError(f"There is no network called {name!r}; choose one of {', '.join(_ARCHITECTURES)}.")


def build_model(
    name: str,
    *,
    num_classes: int | None = None,
    include_top: bool = True,
    pretrained: bool = False,
    **arguments: Any,
) -> Network:
    """Return a network that maps images [N,3,H,W] to logits [N, num_classes].

    num_classes None means the architecture's own (1000 or 10). include_top=False ends with the last stage.
    pretrained=True starts from ImageNet weights, with a fresh fc unless num_classes is 1000.
    Further arguments, where the family permits: stem, residual, zero_init_residual, width, as_published.
    Raises ModelError for an unknown name, an argument this family lacks, a value outside its range or weights
    that cannot be had.
    """
    architecture = get_architecture(name)
    _check_arguments(architecture, arguments)
    _check_switch("include_top", include_top)
    classes = architecture.default_num_classes if num_classes is None else num_classes
    _check_count("num_classes", classes, MAX_CLASSES)
    settings = {"num_classes": classes, "include_top": include_top, **architecture.options, **arguments}
    weights = _published_weights(name, settings) if pretrained else None
    model = architecture.builder(**settings)
    model.architecture = name
    model.architecture_arguments = settings
    if weights is not None:
        _adopt(model, weights)
    return model


def _published_weights(name: str, settings: dict[str, Any]) -> dict[str, Tensor]:
    from resnet_core.models.pretrained import load_pretrained

    for key in ("stem", "width", "residual"):
        if key in settings and settings[key] != IMAGENET_OPTIONS[key]:
            raise ModelError(
                f"There are no ImageNet weights for {name} with {key}={settings[key]!r}; "
                f"leave out {key} or start without pretrained weights."
            )
    return load_pretrained(name).state_dict


def _adopt(model: Network, weights: dict[str, Tensor]) -> None:
    """Load published weights; an fc of another size, or none, leaves theirs out."""
    keeps_head = model.include_top and weights["fc.bias"].shape[0] == model.num_classes
    used = {key: value for key, value in weights.items() if keeps_head or not key.startswith("fc.")}
    fresh = {"fc.weight", "fc.bias"} if model.include_top and not keeps_head else set()
    try:
        found = model.load_state_dict(used, strict=False)
    except RuntimeError:
        found = None
    if found is None or found.unexpected_keys or set(found.missing_keys) != fresh:
        raise ModelError(f"The ImageNet weights found for {model.architecture} belong to another network.")


def _check_arguments(architecture: Architecture, arguments: dict[str, Any]) -> None:
    for key, value in arguments.items():
        if key not in architecture.options:
            raise ModelError(
                f"{architecture.title} has no setting called {key!r}; it has {', '.join(architecture.options)}."
            )
        if key == "stem":
            continue  # the network itself knows its stems
        elif key == "width":
            _check_count(key, value, MAX_WIDTH)
        else:
            _check_switch(key, value)


def _check_switch(key: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ModelError(f"{key} must be true or false, not {value!r}.")


def _check_count(key: str, value: object, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ModelError(f"{key} must be a whole number from 1 to {most:,}, not {value!r}.")
