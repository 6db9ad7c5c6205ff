"""A network as one draws it: stem, stages of blocks with their skips, head, each with shapes, parameters and MACs.

    outline = make_outline(build_model("resnet34"), 224)
    outline.stages[1].blocks[0].skip        # "1×1"

It follows the size of the picture. Where the shapes part, what lies behind has none and `fault` says why; where a sum
is not what it seems, the block's `warning` does.
"""

import dataclasses
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from resnet_core.errors import ModelError
from resnet_core.models.cifar import PaddedShortcut
from resnet_core.models.describe import LayerDescription, Survey, survey
from resnet_core.models.resnet import Network, ResidualBlock
from resnet_core.models.shapes import CONVOLUTIONS, POOLS, Shape, by

Skip = Literal["none", "identity", "1×1", "padded"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One layer: a convolution, a BatchNorm, a ReLU, a pool, the linear layer."""

    name: str
    kind: str
    detail: str  # as He et al. 2015 write it in figure 3: "7×7, 64, /2"
    output_shape: Shape  # without the batch; empty where no picture arrives
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block of a stage; parameters and MACs are those of all its layers."""

    name: str
    kind: str
    skip: Skip  # what carries the input around the branch
    output_shape: Shape
    parameters: int
    macs: int
    parts: tuple[Part, ...]
    warning: str  # where torch adds what does not fit, one sentence; else empty


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The blocks between two changes of size."""

    name: str
    output_shape: Shape
    parameters: int
    macs: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Stem:
    """What a picture meets before the first stage."""

    output_shape: Shape
    parameters: int
    macs: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Head:
    """Pooling and the linear layer; no parts in a network without a top."""

    output_shape: Shape
    parameters: int
    macs: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The whole network for one size of picture; parameters and MACs are the totals of `describe`."""

    image_size: tuple[int, int]  # height, width in px
    stem: Stem
    stages: tuple[Stage, ...]
    head: Head
    parameters: int
    macs: int
    fault: str  # why a picture of this size does not get through; empty where it does


def make_outline(model: nn.Module, image_size: int | tuple[int, int], *, pooled: bool = True) -> Outline:
    """Return the outline for pictures of image_size (height, width) px; without pooling if `pooled` is False.

    Raises ModelError for a network that has no stages, and for a size that is none.
    """
    if not isinstance(model, Network):
        raise ModelError("Only a network with a stem, stages and a head can be drawn as a map.")
    without = () if pooled or not model.include_top else ("avgpool",)
    found = survey(model, image_size, without=without)
    rows = {row.name: row for row in found.table.layers}
    inside = _leaves_of_blocks(model, found.table.layers)
    return Outline(
        image_size=found.table.image_size,
        stem=Stem(**_group(model, [rows[name] for name in model.stem_names])),
        stages=tuple(_stage(model, found, rows, inside, name) for name in model.stage_names),
        head=Head(**_group(model, [rows[name] for name in ("avgpool", "fc") if name in rows])),
        parameters=found.table.parameters,
        macs=found.table.macs,
        fault=found.fault,
    )


def outline_json(outline: Outline) -> dict[str, Any]:
    """Return the outline for machines: blocks in a row that are alike stand once, with how many they are in `repeat`.

    Parts of a block are called by what comes after the block's name. So ResNet-1202 is as short as ResNet-20.
    """
    told = dataclasses.asdict(dataclasses.replace(outline, stages=()))
    told["stages"] = [
        {
            "name": stage.name,
            "output_shape": stage.output_shape,
            "parameters": stage.parameters,
            "macs": stage.macs,
            "blocks": [_block_json(block, count) for block, count in alike(stage.blocks)],
        }
        for stage in outline.stages
    ]
    return told


def alike(blocks: Iterable[Block]) -> list[tuple[Block, int]]:
    """Return the first of each row of equal blocks, and how many there are."""
    rows = [list(row) for _, row in itertools.groupby(blocks, key=_looks)]
    return [(row[0], len(row)) for row in rows]


def _looks(block: Block) -> tuple[Any, ...]:
    return block.kind, block.skip, block.output_shape, block.parameters, block.macs, bool(block.warning)


def _block_json(block: Block, count: int) -> dict[str, Any]:
    told = dataclasses.asdict(block)
    for part in told["parts"]:
        part["name"] = part["name"].removeprefix(f"{block.name}.")
    return told | {"repeat": count}


def _group(model: nn.Module, rows: list[LayerDescription]) -> dict[str, Any]:
    return {
        "output_shape": rows[-1].output_shape if rows else (),
        "parameters": sum(row.parameters for row in rows),
        "macs": sum(row.macs for row in rows),
        "parts": tuple(_part(model, row) for row in rows),
    }


def _stage(
    model: Network,
    found: Survey,
    rows: dict[str, LayerDescription],
    inside: dict[str, list[LayerDescription]],
    name: str,
) -> Stage:
    row = rows[name]
    blocks = tuple(
        _block(model, found, rows, inside[f"{name}.{index}"], f"{name}.{index}")
        for index in range(len(model.get_submodule(name)))  # type: ignore[arg-type]
    )
    return Stage(name=name, output_shape=row.output_shape, parameters=row.parameters, macs=row.macs, blocks=blocks)


def _block(
    model: Network, found: Survey, rows: dict[str, LayerDescription], leaves: list[LayerDescription], name: str
) -> Block:
    row, module = rows[name], model.get_submodule(name)
    return Block(
        name=name,
        kind=row.kind,
        skip=_skip(module),
        output_shape=row.output_shape,
        parameters=row.parameters,
        macs=row.macs,
        parts=tuple(_part(model, leaf) for leaf in leaves),
        warning=_warning(module, found, rows, name),
    )


def _leaves_of_blocks(model: Network, rows: Iterable[LayerDescription]) -> dict[str, list[LayerDescription]]:
    """The layers of each block "layer1.0", in order of definition."""
    found: dict[str, list[LayerDescription]] = {}
    for row in rows:
        steps = row.name.split(".")
        if row.leaf and steps[0] in model.stage_names and len(steps) > 1:
            found.setdefault(".".join(steps[:2]), []).append(row)
    return found


def _skip(module: nn.Module) -> Skip:
    if not isinstance(module, ResidualBlock) or not module.residual:
        return "none"
    if module.downsample is None:
        return "identity"
    return "padded" if isinstance(module.downsample, PaddedShortcut) else "1×1"


def _warning(module: nn.Module, found: Survey, rows: dict[str, LayerDescription], name: str) -> str:
    """The silent fault of the tutorial: torch stretches the smaller summand over the larger one (broadcasting)."""
    if not isinstance(module, ResidualBlock) or not module.residual:
        return ""
    last_norm = max(child for child, _ in module.named_children() if child.startswith("bn"))
    branch = rows[f"{name}.{last_norm}"].output_shape
    skip = rows[f"{name}.downsample"].output_shape if module.downsample is not None else found.received.get(name, ())
    if not branch or not rows[name].output_shape or branch == skip:
        return ""
    return (
        f"{name} adds a branch of {by(branch)} to a skip of {by(skip)}: torch stretches the smaller one over the "
        "larger without a word. Give the skip a 1×1 convolution with the branch's stride."
    )


def _part(model: nn.Module, row: LayerDescription) -> Part:
    return Part(
        name=row.name,
        kind=row.kind,
        detail=_detail(model.get_submodule(row.name)),
        output_shape=row.output_shape,
        parameters=row.parameters,
        macs=row.macs,
    )


def _detail(module: nn.Module) -> str:
    if isinstance(module, CONVOLUTIONS):
        every = f", /{module.stride[0]}" if module.stride[0] > 1 else ""
        return f"{by(module.kernel_size)}, {module.out_channels}{every}"
    if isinstance(module, POOLS):
        size = module.kernel_size if isinstance(module.kernel_size, int) else module.kernel_size[0]
        stride = module.stride if isinstance(module.stride, int) else (module.stride or (size,))[0]
        return f"{size}×{size}, /{stride}"
    return f"{module.in_features} → {module.out_features}" if isinstance(module, nn.Linear) else ""
