"""What a place sees: against the textbook's recursion, and against what really changes it."""

import copy

import pytest
import torch
from torch import nn

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.receptive_field import field_spans, receptive_field
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


def brute_force(
    model: nn.Module, size: tuple[int, int], layer: str, row: int, column: int
) -> tuple[int, int, int, int]:
    """Top, bottom, left, right by the gradient through all channels, every weight positive."""
    twin = copy.deepcopy(model).double().eval()
    for name, module in list(twin.named_modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / module.weight[0].numel())
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.reset_parameters()
        elif isinstance(module, nn.MaxPool2d):
            parent = twin.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.AvgPool2d(module.kernel_size, module.stride, module.padding))
    seen: list[torch.Tensor] = []
    twin.get_submodule(layer).register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    image = torch.ones(1, 3, *size, dtype=torch.float64, requires_grad=True)
    twin(image)
    (gradient,) = torch.autograd.grad(seen[0][0, :, row, column].sum(), image)
    touched = gradient[0].ne(0).any(0)
    rows, columns = (touched.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    return rows[0], rows[-1], columns[0], columns[-1]


@pytest.mark.parametrize(
    ("name", "arguments", "size", "layer"),
    [
        ("resnet50", {"width": 8}, (96, 80), "layer3.0"),
        ("resnet18", {"width": 8, "residual": False}, (96, 96), "layer3"),
        ("resnet20", {}, (48, 48), "layer2.0"),
        ("resnet8", {}, (32, 32), "layer2"),
        ("tutorial-cifar", {"as_published": True}, (32, 32), "layer4"),
    ],
)
def test_one_channel_sees_what_all_channels_together_see(
    name: str, arguments: dict[str, object], size: tuple[int, int], layer: str
) -> None:
    model = build_model(name, num_classes=5, **arguments)
    rows, columns = field_spans(model, size, layer)
    for row, column in {(0, 0), (len(rows) // 2, len(columns) // 2), (len(rows) - 1, 0)}:
        expected = brute_force(model, size, layer, row, column)
        assert (*rows[row], *columns[column]) == expected
        field = receptive_field(model, size, layer, row=row, column=column)
        assert (field.top, field.bottom, field.left, field.right) == expected


def test_a_picture_too_small_is_told_with_the_least_size() -> None:
    with pytest.raises(ModelError, match="at least 9×9"):
        field_spans(build_model("resnet8", num_classes=5), (4, 4), "layer2")
