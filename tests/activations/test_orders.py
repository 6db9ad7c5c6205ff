"""Channels stand in the order that was asked for, and a click on the sheet finds them there."""

import math

import numpy as np
import pytest
import torch
from shown_networks import lived
from torch import Tensor, nn

from resnet_core.activations.color_map import COLOR_MAPS, NEUTRAL, SIGNED, palette
from resnet_core.activations.orders import channel_relevance, order_channels
from resnet_core.activations.render import channel_at, render_channel, render_sheet, tile_box
from resnet_core.errors import ConfigError, ModelError

GREY = tuple(bytes.fromhex(NEUTRAL[1:]))


def pictures(count: int = 1, edge: int = 64) -> Tensor:
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(3))


def by_strength_naively(activation: Tensor) -> list[int]:
    """The mean magnitude of each channel by a plain loop, sorted by hand."""
    means = []
    for number, channel in enumerate(activation):
        values = [abs(value) for value in channel.flatten().tolist()]
        means.append((-sum(values) / len(values), number))
    return [number for _, number in sorted(means)]


@pytest.mark.parametrize("shape", [(24, 5, 7), (1, 3, 3), (40, 1, 1), (17,)])
def test_the_strongest_channel_comes_first(shape: tuple[int, ...]) -> None:
    activation = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * torch.arange(1.0, shape[0] + 1).view(
        -1, *[1] * (len(shape) - 1)
    )
    assert list(order_channels(activation, "strength")) == by_strength_naively(activation)
    assert order_channels(activation, "index") == tuple(range(shape[0]))


def test_equal_channels_stand_by_index_and_what_is_no_number_comes_last() -> None:
    maps = torch.tensor([1.0, math.nan, 3.0, 3.0, -3.0, 0.0]).view(6, 1, 1).expand(6, 2, 2)
    assert order_channels(maps, "strength") == (2, 3, 4, 0, 5, 1)
    relevance = torch.tensor([0.0, 5.0, math.nan, -1.0, 5.0, 7.0])
    assert order_channels(maps, "relevance", relevance) == (5, 1, 4, 0, 3, 2)


def test_unknown_orders_and_a_missing_class_are_sentences() -> None:
    with pytest.raises(ConfigError, match="There is no order “beauty”; choose index, strength, relevance"):
        order_channels(torch.zeros(3, 2, 2), "beauty")
    for relevance in (None, torch.zeros(2)):
        with pytest.raises(ConfigError, match="needs a class"):
            order_channels(torch.zeros(3, 2, 2), "relevance", relevance)


def later_part(model: nn.Module, after: str, features: Tensor) -> Tensor:
    """The rest of a network behind one of its stages, written out."""
    stages = ("layer1", "layer2", "layer3", "layer4")
    for name in stages[stages.index(after) + 1 :]:
        features = getattr(model, name)(features)
    return model.fc(torch.flatten(model.avgpool(features), 1))


@pytest.mark.parametrize("layer", ["layer1", "layer3"])
def test_relevance_is_gradient_times_activation_summed_over_places(layer: str) -> None:
    model, images = lived("resnet18", width=16), pictures()
    features = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    for name in ("layer1", "layer2", "layer3")[: int(layer[-1])]:
        features = getattr(model, name)(features)
    features = features.detach().requires_grad_()
    later_part(model, layer, features)[0, 2].backward()
    expected = (features * features.grad)[0].sum(dim=(1, 2)).detach()
    torch.testing.assert_close(channel_relevance(model, images, layer, 2), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layer", ["layer4", "avgpool"])
def test_behind_the_last_relu_relevance_is_weight_times_mean_and_adds_up_to_the_logit(layer: str) -> None:
    model, images = lived("resnet18", width=16), pictures()
    with torch.no_grad():
        features = model.forward_features(images)[0]
        logits = model(images)[0]
    best = int(logits.argmax())
    expected = model.fc.weight[best].detach() * features.mean(dim=(1, 2))
    found = channel_relevance(model, images, layer)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    assert float(found.sum() + model.fc.bias[best].detach()) == pytest.approx(float(logits[best]), rel=1e-4)


def test_a_relu_right_behind_changes_no_relevance() -> None:
    model = lived("resnet18", width=16)
    before, after = (channel_relevance(model, pictures(), layer, 1) for layer in ("layer2.0.bn1", "layer2.0.relu1"))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=1e-5)


def test_the_answers_themselves_are_relevant_only_to_their_own_class() -> None:
    model = lived("resnet20")
    found = channel_relevance(model, pictures(edge=32), "fc", 3)
    assert found.nonzero().flatten().tolist() == [3]


def test_asking_for_relevance_leaves_the_network_as_it_was() -> None:
    model = lived("resnet18", width=16).requires_grad_(False)
    model.layer2.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    channel_relevance(model, pictures(), "layer2")
    with pytest.raises(ModelError, match="There is no class 9; this network has the classes 0 to 4"):
        channel_relevance(model, pictures(), "layer2", 9)
    assert model.layer2.training
    assert not model.layer1.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_click_on_an_ordered_sheet_finds_the_channel_that_stands_there() -> None:
    maps = torch.randn(30, 4, 4, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5)).tolist()
    plain = render_sheet(maps, tile=8)
    for page in (1, 2):
        sheet = render_sheet(maps, tile=8, order=order, limit=20, page=page)
        assert list(sheet.order or ()) == order[(page - 1) * 20 : page * 20]
        for place, channel in enumerate(sheet.order or ()):
            left, top, right, bottom = tile_box(sheet, channel)
            assert (left // 10, top // 10) == (place % sheet.columns, place // sheet.columns)
            assert channel_at(sheet, left + 1, top + 1) == channel
            assert sheet.image.crop((left, top, right, bottom)).tobytes() == (
                plain.image.crop(tile_box(plain, channel)).tobytes()
            )
    with pytest.raises(ModelError, match="Channel 31 is not on this page"):
        tile_box(sheet, 31)
    for wrong in ([0, 0, *range(2, 30)], list(range(29)), list(range(1, 31))):
        with pytest.raises(ConfigError, match="each of the 30 channels once"):
            render_sheet(maps, order=wrong)


def test_dead_channels_are_crossed_out_and_only_they() -> None:
    maps = torch.rand(9, 5, 7, generator=torch.Generator().manual_seed(0))
    dead = torch.tensor([False, True, False, False, True, False, False, False, True])
    order = [8, 0, 1, 2, 3, 4, 5, 6, 7]
    plain, marked = (render_sheet(maps, tile=21, order=order, marked=each) for each in (None, dead))
    for channel in range(9):
        box = tile_box(marked, channel)
        before, after = (np.asarray(sheet.image.convert("RGB").crop(box)) for sheet in (plain, marked))
        grey = (after == GREY).all(axis=2)
        assert grey.any() == bool(dead[channel])
        assert np.array_equal(before[~grey], after[~grey])
        if dead[channel]:
            assert grey[-1, 0]
            assert grey[0, -1]
            assert not grey[0, 0]


@pytest.mark.parametrize("scale", ["channel", "shared"])
def test_in_signed_colours_zero_has_the_middle_colour_and_signs_have_their_own(scale: str) -> None:
    maps = torch.tensor([[[0.0, 1.0, -4.0, 2.0]], [[0.0, 0.5, 0.0, -0.1]], [[0.0, 0.0, 0.0, 0.0]]])
    sheet = render_sheet(maps, tile=4, scale=scale, colors="blue-orange")  # type: ignore[arg-type]
    middle = palette("blue-orange")[127]
    assert tuple(middle) == (247, 247, 247)
    for channel in range(3):
        pixels = np.asarray(sheet.image.convert("RGB").crop(tile_box(sheet, channel)))[0].astype(int)
        for value, color in zip(maps[channel, 0].tolist(), pixels, strict=True):
            if value == 0:
                assert tuple(color) == tuple(middle)
            else:
                assert (color[0] - color[2] > 0) == (value > 0), (value, color)


def test_automatic_colours_follow_the_signs() -> None:
    signed = torch.tensor([[[-1.0, 2.0]]])
    for maps, fitting in ((signed, "blue-orange"), (signed.relu(), "viridis")):
        automatic, chosen = (render_channel(maps, 0, colors=colors).tobytes() for colors in ("auto", fitting))
        assert automatic == chosen
    with pytest.raises(ConfigError, match="There are no colors called “rainbow”; choose auto, viridis, cividis"):
        render_sheet(signed, colors="rainbow")


def seen_by(colors: np.ndarray, kind: str) -> np.ndarray:
    """Linear RGB as protanopes and deuteranopes see it (Viénot, Brettel and Mollon 1999)."""
    rows = {
        "everyone": np.eye(3),
        "protan": np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
        "deutan": np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
    }
    return (colors / 255.0) ** 2.2 @ rows[kind].T


@pytest.mark.parametrize("kind", ["everyone", "protan", "deutan"])
@pytest.mark.parametrize("colors", list(COLOR_MAPS))
def test_every_colour_map_keeps_its_order_for_the_colour_blind(colors: str, kind: str) -> None:
    light = seen_by(palette(colors)[:255:8], kind) @ np.array([0.2126, 0.7152, 0.0722])
    if colors not in SIGNED:
        assert (np.diff(light) > 0).all()
        return
    middle = len(light) // 2
    assert (np.diff(light[: middle + 1]) > 0).all()
    assert (np.diff(light[middle:]) < 0).all()
    ends = seen_by(palette(colors)[[60, 194]], kind)  # as far below zero as above
    assert np.abs(ends[0] - ends[1]).max() > 0.25
