"""Statistics, histograms and dead channels against plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from shown_networks import Runs, lived
from torch import Tensor

from resnet_core.activations.field_size import field_size
from resnet_core.activations.layers import list_layers
from resnet_core.activations.receptive_field import receptive_field
from resnet_core.activations.statistics import (
    can_be_dead,
    channel_statistics,
    dead_channels,
    dead_in_all,
    dead_on_photo,
    histogram,
)
from resnet_core.errors import ModelError

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True, min_value=None, max_value=None)


def naively(values: list[float]) -> tuple[float, float, float, float, float]:
    finite = [value for value in values if math.isfinite(value)]
    zeros = sum(value == 0 for value in values) / len(values)
    if not finite:
        return math.nan, math.nan, math.nan, math.nan, zeros
    mean = math.fsum(finite) / len(finite)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / len(finite))
    return mean, spread, min(finite), max(finite), zeros


@settings(max_examples=60)
@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0]),
    )
)
def test_the_numbers_of_every_channel_are_those_of_a_plain_loop(maps: np.ndarray) -> None:
    found = channel_statistics(torch.from_numpy(maps.copy()))
    for channel, one in enumerate(maps):
        expected = naively(one.flatten().tolist())
        given_ = (found.mean, found.std, found.minimum, found.maximum, found.zero_share)
        for told, wanted in zip(given_, expected, strict=True):
            value = float(told[channel])
            assert (math.isnan(value) and math.isnan(wanted)) or value == pytest.approx(wanted, rel=1e-5, abs=1e-3)


@settings(max_examples=60)
@given(
    arrays.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1000, 1000, width=32)),
    st.integers(1, 50),
)
def test_a_histogram_counts_as_numpy_does(values: np.ndarray, bins: int) -> None:
    found = histogram(torch.from_numpy(values.copy()), bins)
    assert sum(found.counts) == len(values)
    if values.min() == values.max():
        assert found.low < values[0] < found.high
        return
    assert (found.low, found.high) == (values.min(), values.max())
    edges = np.linspace(found.low, found.high, bins + 1)
    expected = np.histogram(values.astype(np.float64), bins=edges)[0]
    # a value on an edge may be counted on either side of it by rounding
    assert np.abs(np.cumsum(found.counts) - np.cumsum(expected)).max() <= sum(
        np.isclose(values.astype(np.float64), edge, rtol=1e-9, atol=1e-9).sum() for edge in edges[1:-1]
    )


def test_a_histogram_leaves_out_what_is_no_number() -> None:
    found = histogram(torch.tensor([math.nan, 1.0, math.inf, 3.0]), 4)
    assert (found.low, found.high, found.counts, found.left_out) == (1.0, 3.0, (1, 0, 0, 1), 2)
    nothing = histogram(torch.tensor([math.nan, math.inf]), 3)
    assert (nothing.counts, nothing.left_out) == ((0, 0, 0), 2)


def test_dead_is_never_above_zero() -> None:
    maps = torch.tensor([[[0.0, 0.0]], [[-1.0, -0.5]], [[0.0, 1e-30]], [[-5.0, 5.0]], [[math.nan, 0.0]]])
    assert dead_channels(maps).tolist() == [True, True, False, False, True]
    assert dead_channels(torch.tensor([0.0, 2.0, -1.0])).tolist() == [True, False, True]


def test_only_beside_a_relu_does_never_above_zero_mean_silence() -> None:
    model = lived("resnet18", width=16)
    negative = -torch.rand(16, 4, 4)
    assert dead_on_photo(model, "conv1", negative) is None
    assert dead_on_photo(model, "layer1.0.bn2", negative) is None
    for layer in ("bn1", "layer1", "layer1.0.relu1"):
        dead = dead_on_photo(model, layer, negative)
        assert dead is not None
        assert dead.all()
    assert can_be_dead(negative.relu(), "none")  # a pooling behind a ReLU
    assert not can_be_dead(negative, "none")


def batches(count: int, size: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, 3, 32, 32, generator=generator) for _ in range(count)]


def test_dead_on_all_pictures_is_dead_on_each() -> None:
    model = lived("resnet20")
    model.bn1.bias.data[5] = -100.0
    model.bn1.weight.data[9] = 0.0
    model.bn1.bias.data[9] = 0.0
    told: list[int] = []
    found = dead_in_all(model, batches(3), "relu", told=told.append)
    by_hand = torch.ones(16, dtype=torch.bool)
    with torch.no_grad():
        for batch in batches(3):
            for picture in batch:
                maps = model.relu(model.bn1(model.conv1(picture[None])))[0]
                by_hand &= torch.tensor([not bool((one > 0).any()) for one in maps])
    assert found.indices == tuple(by_hand.nonzero().flatten().tolist()) == (5, 9)
    assert (found.pictures, told) == (6, [2, 4, 6])


def test_one_picture_that_wakes_a_channel_is_enough() -> None:
    model = lived("resnet20")
    quiet = [torch.zeros(1, 3, 32, 32)] * 3
    alone = dead_in_all(model, quiet, "relu").dead
    together = dead_in_all(model, [*quiet, *batches(4)], "relu").dead
    assert int(together.sum()) < int(alone.sum())
    assert not (together & ~alone).any()


def test_asking_many_pictures_ends_at_the_layer_and_gives_everything_back() -> None:
    model = lived("resnet20")
    model.train()
    list_layers(model)
    runs = Runs(model)
    dead_in_all(model, batches(2), "layer1.0")
    assert runs.forwards == 2
    assert runs.count["layer1.1"] == 0
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(ModelError, match="no pictures"):
        dead_in_all(model, [], "layer1")
    with pytest.raises(ModelError, match="did you mean"):
        dead_in_all(model, batches(1), "layer7")


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "resnet8"])
def test_a_place_sees_as_much_as_the_gradient_says(name: str) -> None:
    model = lived(name, **({"width": 8} if name in ("resnet18", "resnet50") else {}))
    layers = ["layer1", "layer2.0"] if name == "resnet8" else ["conv1", "layer1", "layer2.0.conv2"]
    if name == "resnet18":
        layers += ["maxpool", "layer2.0.downsample", "layer2.0.downsample.0"]
    edge = 256  # px; wide enough that the borders cut nothing off
    for layer in layers:
        size = field_size(model, layer)
        assert size is not None
        with torch.no_grad():
            side = _maps_edge(model, layer, edge)
        field = receptive_field(model, (edge, edge), layer, row=side // 2, column=side // 2)
        assert (field.height, field.width) == size, layer
    assert field_size(model, "fc") is None


def _maps_edge(model: torch.nn.Module, layer: str, edge: int) -> int:
    from resnet_core.activations.capture import capture_activations

    return int(capture_activations(model, torch.zeros(1, 3, edge, edge), [layer])[layer].shape[-1])
