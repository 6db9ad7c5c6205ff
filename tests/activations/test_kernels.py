"""Kernels are shown as they are: every number is the network's weight, every colour its sign."""

import numpy as np
import pytest
import torch
from shown_networks import lived

from resnet_core.activations.kernels import (
    has_color_kernels,
    incoming_channels,
    kernel_layer,
    kernel_numbers,
    kernel_sheet,
)
from resnet_core.errors import ModelError


def test_the_numbers_of_any_kernel_are_the_weights() -> None:
    model = lived("resnet18", width=16)
    for layer in ("conv1", "layer2.0.conv2", "layer2.0.downsample.0"):
        weight = kernel_layer(model, layer).weight
        assert incoming_channels(model, layer) == weight.shape[1]
        for channel, incoming in ((0, 0), (weight.shape[0] - 1, weight.shape[1] - 1)):
            assert torch.equal(kernel_numbers(model, layer, channel, incoming), weight[channel, incoming])
    assert torch.equal(kernel_numbers(model, "fc", 3), model.fc.weight[3])


def test_a_colour_kernel_has_its_own_colours_around_grey() -> None:
    model = lived("resnet18", width=4)
    weight = torch.zeros(4, 3, 7, 7)
    weight[0, 0, 0, 0], weight[0, 2, 6, 6] = 2.0, -2.0  # red in the upper left, no blue in the lower right
    weight[1, 1] = 0.5
    model.conv1.weight.data.copy_(weight)
    pixels = np.asarray(kernel_sheet(model, "conv1"))
    assert pixels.shape[2] == 3
    assert tuple(pixels[0, 0]) == (255, 128, 128)
    assert tuple(pixels[41, 41]) == (128, 128, 0)
    assert tuple(pixels[20, 20]) == (128, 128, 128)
    assert tuple(pixels[20, 44 + 20]) == (128, 255, 128)
    shared = np.asarray(kernel_sheet(model, "conv1", scale="shared"))
    assert tuple(shared[20, 44 + 20]) == (128, 159, 128)


def test_the_kernels_of_a_channel_are_blue_below_zero_and_orange_above() -> None:
    model = lived("resnet20")
    model.layer1[0].conv1.weight.data[2] = 0.0
    model.layer1[0].conv1.weight.data[2, 0, 1, 1] = 1.0
    model.layer1[0].conv1.weight.data[2, 1, 1, 1] = -1.0
    sheet = np.asarray(kernel_sheet(model, "layer1.0.conv1", 2).convert("RGB")).astype(int)
    tinted = sheet[..., 0] - sheet[..., 2]
    assert (tinted > 40).any()
    assert (tinted < -40).any()


def test_what_has_no_kernels_is_a_sentence() -> None:
    model = lived("resnet18", width=16)
    assert has_color_kernels(model, "conv1")
    assert not has_color_kernels(model, "layer1.0.conv1")
    for layer, sentence in (
        ("bn1", "“bn1” has no kernels"),
        ("layer1", "“layer1” has no kernels"),
        ("layer9", "There is no layer called 'layer9'"),
    ):
        with pytest.raises(ModelError, match=sentence):
            kernel_numbers(model, layer, 0)
    with pytest.raises(ModelError, match="There is no channel 16; this layer has 16, from 0 to 15"):
        kernel_numbers(model, "conv1", 16)
    with pytest.raises(ModelError, match="There is no incoming channel -1"):
        kernel_numbers(model, "conv1", 0, -1)
    with pytest.raises(ModelError, match="16 channels, not at colours"):
        kernel_sheet(model, "layer1.0.conv1")
