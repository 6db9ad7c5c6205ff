"""What a place sees: against the textbook's recursion, and against what really changes it."""

import copy

import pytest
import torch
from torch import nn

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.receptive_field import receptive_field
from resnet_core.errors import ModelError
from resnet_core.models.zoo import build_model


def textbook(steps: list[tuple[int, int, int]], place: int, size: int) -> tuple[int, int]:
    """First and last pixel seen by a place behind steps of (kernel, stride, padding), within the picture."""
    first = last = place
    for kernel, stride, padding in reversed(steps):
        first, last = first * stride - padding, last * stride - padding + kernel - 1
    return max(0, first), min(size - 1, last)


STEM = [(7, 2, 3), (3, 2, 1)]


@pytest.mark.parametrize(
    ("layer", "steps", "side"),
    [
        ("conv1", STEM[:1], 80),
        ("maxpool", STEM, 40),
        ("layer1.0.conv1", [*STEM, (3, 1, 1)], 40),
        ("layer1", [*STEM, *[(3, 1, 1)] * 4], 40),
        ("layer2.0", [*STEM, *[(3, 1, 1)] * 4, (3, 2, 1), (3, 1, 1)], 20),
    ],
)
def test_the_longest_path_through_the_blocks_decides(layer: str, steps: list[tuple[int, int, int]], side: int) -> None:
    model = build_model("resnet18", num_classes=5, width=8)
    for place in (0, side // 2, side - 1):
        field = receptive_field(model, (160, 160), layer, row=place, column=side // 2)
        assert (field.top, field.bottom) == textbook(steps, place, 160), (layer, place)
        assert (field.left, field.right) == textbook(steps, side // 2, 160)


def test_a_shortcut_alone_sees_less_than_its_block() -> None:
    model = build_model("resnet18", num_classes=5, width=8)
    short = receptive_field(model, (128, 128), "layer2.0.downsample", row=8, column=8)
    block = receptive_field(model, (128, 128), "layer2.0", row=8, column=8)
    assert block.top < short.top <= short.bottom < block.bottom
    assert short.height == textbook([*STEM, *[(3, 1, 1)] * 4, (1, 2, 0)], 8, 128)[1] - short.top + 1


def test_what_lies_outside_cannot_change_the_number_and_the_inside_can() -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", num_classes=5).eval()
    field = receptive_field(model, (48, 40), "layer2.1", row=12, column=9)
    image = torch.randn(1, 3, 48, 40)

    def number(picture: torch.Tensor) -> torch.Tensor:
        return capture_activations(model, picture, ["layer2.1.bn2"])["layer2.1.bn2"][0, :, 12, 9]

    inside = torch.zeros(48, 40, dtype=torch.bool)
    inside[field.top : field.bottom + 1, field.left : field.right + 1] = True
    outside_changed, inside_changed = image.clone(), image.clone()
    outside_changed[..., ~inside] += 3
    inside_changed[..., inside] += 3
    assert (~inside).any()
    assert torch.equal(number(outside_changed), number(image))
    assert not torch.equal(number(inside_changed), number(image))


def test_the_model_itself_is_not_touched_and_dead_units_hide_nothing() -> None:
    model = build_model("resnet20", num_classes=5)
    expected = receptive_field(model, (32, 32), "layer1", row=4, column=4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.fill_(-100)  # every ReLU is off
    before = copy.deepcopy(model.state_dict())
    assert receptive_field(model, (32, 32), "layer1", row=4, column=4) == expected
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training


def test_layers_without_maps_and_places_outside_are_a_sentence() -> None:
    model = build_model("resnet20", num_classes=5)
    with pytest.raises(ModelError, match="sees the whole picture"):
        receptive_field(model, (32, 32), "fc", row=0, column=0)
    with pytest.raises(ModelError, match="32×32 places"):
        receptive_field(model, (32, 32), "conv1", row=32, column=0)
