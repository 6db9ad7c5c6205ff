"""The drawn network is the one that is there: its numbers are those of the layer table and of torchvision."""

import dataclasses
import itertools
import json
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from resnet_core.errors import ModelError
from resnet_core.models.describe import describe, survey
from resnet_core.models.outline import Outline, alike, make_outline, outline_json
from resnet_core.models.resnet import ResidualBlock
from resnet_core.models.zoo import build_model, get_architecture, list_models
from resnet_core.training.hollow import build_hollow

NAMES = [name for name in list_models() if name != "resnet1202"]  # which has a test of its own
TWINS = [(name, {}) for name in NAMES] + [(name, {"residual": False}) for name in NAMES if name != "resnet152"]


def layers_of(outline: Outline) -> list[Any]:
    """Every layer of the drawing, in order."""
    blocks = itertools.chain.from_iterable(stage.blocks for stage in outline.stages)
    inside = itertools.chain.from_iterable(block.parts for block in blocks)
    return [*outline.stem.parts, *inside, *outline.head.parts]


@pytest.mark.parametrize(("name", "arguments"), TWINS, ids=str)
def test_every_network_is_drawn_whole(name: str, arguments: dict[str, Any]) -> None:
    model = build_hollow(name, **arguments)
    size = get_architecture(name).default_image_size
    outline, table = make_outline(model, size), describe(model, size)
    leaves = [row for row in table.layers if row.leaf]
    layers = layers_of(outline)
    assert [(part.name, part.output_shape) for part in layers] == [(row.name, row.output_shape) for row in leaves]
    assert sum(part.parameters for part in layers) == outline.parameters == table.parameters
    assert sum(part.macs for part in layers) == outline.macs == table.macs
    parts = [outline.stem, *outline.stages, outline.head]
    assert sum(part.parameters for part in parts) == table.parameters
    assert sum(part.macs for part in parts) == table.macs
    for stage in outline.stages:
        assert sum(block.macs for block in stage.blocks) == stage.macs
        assert stage.output_shape == stage.blocks[-1].output_shape
    skips = {block.skip for stage in outline.stages for block in stage.blocks}
    assert (skips == {"none"}) == (arguments.get("residual") is False)
    assert not outline.fault
    assert not any(block.warning for stage in outline.stages for block in stage.blocks)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_shapes_and_skips_are_torchvisions(name: str) -> None:
    reference = getattr(torchvision.models, name)(weights=None).eval()
    shapes: dict[str, tuple[int, ...]] = {}
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for index, block in enumerate(getattr(reference, stage)):
            block.register_forward_hook(
                lambda _module, _inputs, output, key=f"{stage}.{index}": shapes.update({key: tuple(output.shape[1:])})
            )
    with torch.no_grad():
        reference(torch.zeros(1, 3, 97, 97))
    outline = make_outline(build_hollow(name), 97)
    blocks = {block.name: block for stage in outline.stages for block in stage.blocks}
    assert {key: block.output_shape for key, block in blocks.items()} == shapes
    for key, block in blocks.items():
        expected = "identity" if reference.get_submodule(key).downsample is None else "1×1"
        assert block.skip == expected
    assert outline.parameters == sum(each.numel() for each in reference.parameters())


def test_the_deepest_cifar_network_is_as_short_as_the_shallowest() -> None:
    told = {depth: outline_json(make_outline(build_hollow(f"resnet{depth}"), 32)) for depth in (20, 1202)}
    assert len(json.dumps(told[1202])) < 1.1 * len(json.dumps(told[20]))
    for depth, outline in told.items():
        blocks = [block for stage in outline["stages"] for block in stage["blocks"]]
        assert sum(block["repeat"] for block in blocks) == (depth - 2) // 2
        assert sum(block["parameters"] * block["repeat"] for block in blocks) == sum(
            stage["parameters"] for stage in outline["stages"]
        )
    assert [block["repeat"] for block in told[1202]["stages"][0]["blocks"]] == [200]
    assert [block["repeat"] for block in told[1202]["stages"][1]["blocks"]] == [1, 199]
    assert [block["skip"] for block in told[1202]["stages"][1]["blocks"]] == ["padded", "identity"]
    assert told[20]["stages"][0]["blocks"][0]["parts"][0]["name"] == "conv1"


def test_equal_blocks_are_told_once_and_others_are_not() -> None:
    stage = make_outline(build_hollow("resnet34"), 64).stages[1]
    assert [(block.name, count) for block, count in alike(stage.blocks)] == [("layer2.0", 1), ("layer2.1", 3)]
    odd = dataclasses.replace(stage.blocks[2], warning="odd")
    mixed = (*stage.blocks[:2], odd, stage.blocks[3])
    assert [count for _, count in alike(mixed)] == [1, 1, 1, 1]


def test_the_shapes_follow_the_picture() -> None:
    model = build_hollow("tutorial-cifar")
    shapes = {size: [stage.output_shape for stage in make_outline(model, size).stages] for size in (32, 64, (96, 33))}
    assert shapes[32] == [(128, 5, 5), (256, 3, 3), (512, 2, 2), (512, 1, 1)]
    assert shapes[64] == [(128, 11, 11), (256, 6, 6), (512, 3, 3), (512, 2, 2)]
    assert shapes[96, 33] == [(128, 16, 6), (256, 8, 3), (512, 4, 2), (512, 2, 1)]


def test_without_pooling_the_tutorials_lesson_appears_with_its_numbers() -> None:
    published = build_hollow("tutorial-cifar", as_published=True)
    outline = make_outline(published, 32, pooled=False)
    assert outline.fault == "Layer fc expects 512 values but receives 2048 (512×2×2): pool to 1×1 first."
    assert outline.head.parts[-1].output_shape == ()
    assert outline.stages[-1].output_shape == (512, 2, 2)
    assert make_outline(build_hollow("tutorial-cifar"), 32, pooled=False).fault == ""  # 512×1×1 fits by luck
    assert "25088 (512×7×7)" in make_outline(build_hollow("resnet34"), 224, pooled=False).fault


def test_the_published_networks_silent_sum_is_pointed_at() -> None:
    outline = make_outline(build_hollow("tutorial-cifar", as_published=True), 32)
    warned = {block.name: block.warning for stage in outline.stages for block in stage.blocks if block.warning}
    assert list(warned) == ["layer4.0"]
    assert "512×1×1" in warned["layer4.0"]
    assert "512×2×2" in warned["layer4.0"]
    assert not outline.fault


def test_what_lies_behind_a_fault_is_not_reached() -> None:
    outline = make_outline(build_hollow("tutorial-cifar"), 2)
    assert "too small" in outline.fault
    assert "3×3" in outline.fault
    assert all(part.output_shape == () for part in layers_of(outline))
    assert outline.macs == 0
    assert outline.parameters == make_outline(build_hollow("tutorial-cifar"), 32).parameters


def test_a_survey_tells_what_describe_refuses() -> None:
    model = build_hollow("tutorial-cifar", as_published=True)
    with pytest.raises(ModelError) as refused:
        describe(model, 2)
    found = survey(model, 2)
    assert found.fault == str(refused.value)
    assert found.received == {"": (3, 2, 2), "conv1": (3, 2, 2)}
    assert survey(model, 32).table == describe(model, 32)


def test_the_network_itself_is_left_alone() -> None:
    model = build_model("resnet20", num_classes=3).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    make_outline(model, 32, pooled=False)
    assert isinstance(model.avgpool, nn.AdaptiveAvgPool2d)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_what_cannot_be_drawn_is_a_sentence() -> None:
    with pytest.raises(ModelError, match="stem, stages and a head"):
        make_outline(nn.Linear(3, 3), 32)
    with pytest.raises(ModelError, match="whole numbers"):
        make_outline(build_hollow("resnet20"), 0)
    headless = make_outline(build_hollow("resnet18", include_top=False), 64, pooled=False)
    assert headless.head.parts == ()
    assert not headless.fault


def test_blocks_are_those_that_can_be_looked_into() -> None:
    model = build_hollow("resnet8")
    blocks = [block for stage in make_outline(model, 32).stages for block in stage.blocks]
    real = {name for name, module in model.named_modules() if isinstance(module, ResidualBlock)}
    assert {block.name for block in blocks if block.skip != "none"} == real
