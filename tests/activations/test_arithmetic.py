"""The shown sum is the network's own number, for every kind of layer of every family."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_residual import trained_looking
from torch import nn

from resnet_core.activations.arithmetic import channel_sums, explain_value
from resnet_core.activations.capture import capture_activations
from resnet_core.activations.layers import list_layers
from resnet_core.errors import ModelError
from resnet_core.models.zoo import build_model

EXPLAINED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "tutorial-cifar"])
def test_the_sum_is_the_networks_number_in_every_layer(name: str) -> None:
    model = trained_looking(name, **({"width": 8} if name.startswith("resnet1") or name == "resnet50" else {}))
    images = torch.randn(1, 3, 40, 40)
    layers = [each for each in list_layers(model, 40) if isinstance(model.get_submodule(each), EXPLAINED)]
    assert len(layers) > 10
    seen = capture_activations(model, images, layers)
    draws = torch.Generator().manual_seed(0)
    for layer in layers:
        activation = seen[layer][0]
        place = [int(torch.randint(size, (1,), generator=draws)) for size in activation.shape]
        channel, row, column = (*place, 0, 0)[:3]
        shown = explain_value(model, images, layer, channel=channel, row=row, column=column)
        scale = max(1.0, float(shown.products.abs().sum()))
        assert shown.result == pytest.approx(float(activation[tuple(place)]), abs=1e-5 * scale), layer
        assert shown.value == pytest.approx(float(activation[tuple(place)]), abs=1e-6), layer
        assert float(shown.products.sum()) + shown.bias == pytest.approx(shown.result), layer
        assert shown.inputs.shape == shown.weights.shape == shown.products.shape


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
    data=st.data(),
)
def test_any_convolution_at_any_place(
    kernel: int, stride: int, padding: int, dilation: int, groups: int, bias: bool, data: st.DataObject
) -> None:
    torch.manual_seed(kernel)
    convolution = nn.Conv2d(4, 6, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, bias=bias)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), convolution).eval()
    images = torch.randn(1, 3, 33, 29)
    activation = capture_activations(model, images, ["1"])["1"][0]
    channel, row, column = (data.draw(st.integers(0, size - 1)) for size in activation.shape)
    shown = explain_value(model, images, "1", channel=channel, row=row, column=column)
    assert shown.result == pytest.approx(float(activation[channel, row, column]), abs=1e-4)
    assert shown.window is not None
    top, left, height, width = shown.window
    assert (top, left) == (row * stride - padding, column * stride - padding)
    assert height == width == dilation * (kernel - 1) + 1


def test_a_place_outside_and_a_layer_of_layers_are_a_sentence() -> None:
    model = build_model("resnet20", num_classes=5).eval()
    images = torch.randn(1, 3, 32, 32)
    for place in ({"channel": 16}, {"channel": 0, "row": 32}, {"channel": 0, "column": -1}, {"channel": -1}):
        with pytest.raises(ModelError, match="is none of them"):
            explain_value(model, images, "conv1", **place)
    with pytest.raises(ModelError, match="made of several layers"):
        explain_value(model, images, "layer1", channel=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.integers(1, 3),
    data=st.data(),
)
def test_what_lies_over_the_border_is_told_apart_from_zeros_of_the_map(
    kernel: tuple[int, int], stride: int, padding: tuple[int, int], dilation: int, data: st.DataObject
) -> None:
    """A map without any zero: a zero in the window is then one of the border, and nothing else is."""
    convolution = nn.Conv2d(3, 2, kernel, stride=stride, padding=padding, dilation=dilation, bias=True)
    model = nn.Sequential(convolution).eval()
    images = torch.rand(1, 3, 13, 11) + 1
    activation = capture_activations(model, images, ["0"])["0"][0]
    channel, row, column = (data.draw(st.integers(0, size - 1)) for size in activation.shape)
    shown = explain_value(model, images, "0", channel=channel, row=row, column=column)
    assert torch.equal(shown.inside, shown.inputs[0] != 0)
    assert shown.incoming == (3, 13, 11)


def test_channel_sums_are_sorted_and_lose_nothing() -> None:
    model = trained_looking("tutorial-cifar")  # its convolutions have biases
    images = torch.randn(1, 3, 32, 32)
    for layer, inputs in (("layer2.0.conv1", 128), ("layer2.0.downsample.0", 128), ("fc", 512)):
        shown = explain_value(model, images, layer, channel=3)
        sums = channel_sums(shown)
        assert sorted(each.channel for each in sums) == list(range(inputs))
        assert [abs(each.total) for each in sums] == sorted((abs(each.total) for each in sums), reverse=True)
        assert shown.bias != 0
        assert sum(each.total for each in sums) + shown.bias == pytest.approx(shown.result, abs=1e-9)
        largest = sums[0]
        assert largest.total == pytest.approx(float(shown.products[largest.channel].sum()))


def test_shortcuts_without_weights_can_be_explained() -> None:
    model = trained_looking("resnet20")
    images = torch.randn(1, 3, 32, 32)
    seen = capture_activations(model, images, ["layer2.0.downsample", "layer1.2"])
    for channel in (0, 7, 8, 15, 23, 24, 31):  # the outer ones are new
        shown = explain_value(model, images, "layer2.0.downsample", channel=channel, row=3, column=5)
        assert shown.kind == "padded"
        assert shown.result == shown.value == float(seen["layer2.0.downsample"][0, channel, 3, 5])
        if 8 <= channel < 24:
            assert shown.value == float(seen["layer1.2"][0, channel - 8, 6, 10])
        else:
            assert shown.value == 0
    small = trained_looking("resnet18", width=8, stem="small")
    shown = explain_value(small, images, "maxpool", channel=2, row=1, column=1)
    assert (shown.kind, shown.result) == ("identity", shown.value)
