"""Which networks of the registry a set of named shapes belongs to, and one line on what does not fit.

Depth is read off the names (how many blocks a stage has, whether blocks have a third convolution), width, stem,
classes and plain twin off the shapes; then names and shapes are compared one by one with the network itself, built
without memory.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ModelError
from resnet_core.models.shapes import by
from resnet_core.models.zoo import MAX_CLASSES, MAX_WIDTH, Architecture, get_architecture, list_models
from resnet_core.training.hollow import build_hollow

SHOWN = 3  # names given as examples; all of them would be 9,527 characters for a ResNet-34 in a ResNet-50
_BLOCK = re.compile(r"layer(\d)\.(\d+)\.")

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One network, and how a file's tensors sit in it. Names are ours (torchvision's)."""

    architecture: str
    arguments: dict[str, Any]
    title: str  # for people, e.g. "ResNet-34, width 32"
    matched: int  # tensors with a place of their shape
    missing: tuple[str, ...]  # in the network, not in the file; BatchNorm's step counters do not count
    unexpected: tuple[str, ...]  # in the file, not in the network
    other_shape: tuple[str, ...]  # "conv1.weight is 64×3×3×3, the network needs 64×3×7×7"

    @property
    def complete(self) -> bool:
        """Nothing missing, nothing too much."""
        return not (self.missing or self.unexpected or self.other_shape)


def find_fits(
    shapes: Mapping[str, Shape],
    *,
    model: str | None = None,
    plain: bool | None = None,
    known: dict[str, Any] | None = None,
) -> tuple[Fit, ...]:
    """The networks that take all the tensors; when there is none, the nearest one alone, or nothing like a ResNet.

    `model` names the one to compare with, `known` all its arguments. Raises ModelError for an unknown name.
    """
    if model is not None and known is not None:
        return (_compare(model, known, shapes),)
    if not any(map(_BLOCK.match, shapes)) and model is None:
        return ()
    if model is not None:
        names = [get_architecture(model).name]
    else:
        outline = _outline(shapes)
        names = sorted(list_models(), key=lambda name: _distance(outline, _outline_of(get_architecture(name))))[:2]
    candidates = [
        (name, arguments) for name in names for arguments in _arguments(get_architecture(name), shapes, plain)
    ]
    found = [_compare(name, arguments, shapes) for name, arguments in candidates]
    complete = tuple(fit for fit in found if fit.complete)
    return complete or tuple(sorted(found, key=_oddness)[:1])


def misfit_sentence(file_name: str, fits: tuple[Fit, ...], shapes: Mapping[str, Shape]) -> str | None:
    """One line on why the file fits no network here, or None when it does."""
    if not fits:
        first = [f"{visible_text(name)} {list(shape)}" for name, shape in itertools.islice(shapes.items(), SHOWN)]
        holds = f"; it holds {', '.join(first)} …" if first else "."
        return f"“{file_name}” is no ResNet this app knows: it has no layers called layer1, layer2 and so on{holds}"
    fit = fits[0]
    if fit.complete:
        return None
    if fit.missing == ("fc.bias", "fc.weight") and not (fit.unexpected or fit.other_shape):
        return f"“{file_name}” fits a {fit.title} but has no classifier (fc); save the whole network's state_dict()."
    total = fit.matched + len(fit.missing) + len(fit.other_shape)
    parts = [f"{fit.matched} of {total} tensors match"]
    if fit.other_shape:
        parts.append(f"{len(fit.other_shape)} with another shape ({fit.other_shape[0]})")
    if fit.missing:
        parts.append(f"{len(fit.missing)} missing ({_some(fit.missing)})")
    if fit.unexpected:
        parts.append(f"{len(fit.unexpected)} without a place ({_some(fit.unexpected)})")
    return f"“{file_name}” fits no network here; the nearest is {fit.title}: {', '.join(parts)}."


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(visible_text, names[:SHOWN]))
    return f"{shown} …" if len(names) > SHOWN else shown


def _oddness(fit: Fit) -> int:
    return len(fit.missing) + len(fit.unexpected) + len(fit.other_shape)


def _outline(shapes: Mapping[str, Shape]) -> tuple[str, tuple[int, ...]]:
    """The kind of block and how many each stage has."""
    blocks: dict[int, set[int]] = {}
    for found in filter(None, map(_BLOCK.match, shapes)):
        blocks.setdefault(int(found[1]), set()).add(int(found[2][:6]))
    counts = tuple(len(blocks.get(stage, ())) for stage in range(1, 5))
    if "layer1.0.conv.weight" in shapes:
        return "narrowing", counts
    if "layer1.0.conv3.weight" in shapes:
        return "Bottleneck", counts
    return "biased" if "layer1.0.conv1.bias" in shapes else "BasicBlock", counts


def _outline_of(architecture: Architecture) -> tuple[str, tuple[int, ...]]:
    settings: tuple[Any, ...] = getattr(architecture.builder, "args", ())
    if architecture.family == "imagenet":
        block, layers = settings
        return str(block), tuple(layers)
    if architecture.family == "cifar":
        return "BasicBlock", (*[(settings[0] - 2) // 6] * 3, 0)
    return ("biased", (1, 1, 1, 1)) if architecture.family == "tutorial" else ("narrowing", (1, 2, 3, 0))


def _distance(one: tuple[str, tuple[int, ...]], other: tuple[str, tuple[int, ...]]) -> int:
    kinds = 0 if one[0] == other[0] else 6
    stages = 20 * sum((a == 0) != (b == 0) for a, b in zip(one[1], other[1], strict=True))
    return kinds + stages + sum(abs(a - b) for a, b in zip(one[1], other[1], strict=True))


def _arguments(architecture: Architecture, shapes: Mapping[str, Shape], plain: bool | None) -> list[dict[str, Any]]:
    """What `build_model` would have to be told, one entry a possibility; the likeliest first."""
    arguments: dict[str, Any] = {}
    head, stem = shapes.get("fc.weight", ()), shapes.get("conv1.weight", ())
    if len(head) == 2 and 1 <= head[0] <= MAX_CLASSES:
        arguments["num_classes"] = head[0]
    if "stem" in architecture.options and len(stem) == 4:
        arguments["stem"] = "small" if stem[-1] == 3 else "imagenet"
    first = shapes.get("layer1.0.conv.weight", ()) if architecture.family == "whitened" else stem
    if "width" in architecture.options and first and 1 <= first[0] <= MAX_WIDTH:
        arguments["width"] = first[0]
    projected = {stage for stage in range(1, 5) if f"layer{stage}.0.downsample.0.weight" in shapes}
    if architecture.family == "tutorial" and projected and 4 not in projected:
        return [{**arguments, "as_published": True}]
    if architecture.family in ("imagenet", "tutorial"):
        return [{**arguments, "residual": bool(projected) if plain is None else not plain}]
    twins = [True, False] if plain is None else [not plain]  # shortcuts without weights: the names cannot tell
    return [{**arguments, "residual": residual} for residual in twins]


def _compare(name: str, arguments: dict[str, Any], shapes: Mapping[str, Shape]) -> Fit:
    """Raises ModelError where the arguments are impossible."""
    try:
        network = build_hollow(name, **arguments)
    except TypeError as error:
        raise ModelError("The file describes a network this version cannot build.") from error
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    shared = expected.keys() & shapes.keys()
    other = [key for key in expected if key in shared and expected[key] != shapes[key]]
    return Fit(
        architecture=name,
        arguments=dict(network.architecture_arguments),
        title=_title(name, network.architecture_arguments),
        matched=len(shared) - len(other),
        missing=tuple(sorted(k for k in expected.keys() - shared if not k.endswith("num_batches_tracked"))),
        unexpected=tuple(sorted(shapes.keys() - shared)),
        other_shape=tuple(f"{key} is {_by(shapes[key])}, the network needs {_by(expected[key])}" for key in other),
    )


def _by(shape: Shape) -> str:
    return by(shape) or "a single number"


def _title(name: str, arguments: Mapping[str, Any]) -> str:
    parts = [get_architecture(name).title]
    if arguments.get("width", 64) != 64:
        parts.append(f"width {arguments['width']}")
    if arguments.get("stem") == "small":
        parts.append("small stem")
    if arguments.get("as_published"):
        parts.append("as published")
    if arguments.get("residual") is False:
        parts.append("plain twin")
    return ", ".join(parts)
