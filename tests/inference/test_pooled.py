"""The pooled stages are mean and spread of every channel, of every network, however it is computed."""

from typing import Any

import pytest
import torch
from networks import NAMES, NETWORKS, small_network, some_pictures
from torch import Tensor, nn

from resnet_core.activations.capture import capture_activations
from resnet_core.inference.engines import FoldedEngine, PlainEngine
from resnet_core.inference.openvino_engine import OpenVinoEngine, import_openvino
from resnet_core.models.pooled import answer_with_features, pool_stage, stage_channels, stage_columns
from resnet_core.models.resnet import Network

CPU = torch.device("cpu")


def by_hand(model: Network, images: Tensor) -> Tensor:
    """The logits and, channel by channel, what a hook sees at the end of each stage."""
    maps = capture_activations(model, images, list(model.stage_names))
    parts = [model(images)]
    for name in model.stage_names:
        channels = maps[name].flatten(2)
        parts += [channels.mean(2), channels.std(2, correction=0)]
    return torch.cat(parts, 1)


def network_of(name: str, arguments: dict[str, Any]) -> Network:
    model = small_network(name, arguments)
    assert isinstance(model, Network)
    return model


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=NAMES)
def test_features_stand_behind_the_logits_in_the_order_of_the_stages(name: str, arguments: dict[str, Any]) -> None:
    model, images = network_of(name, arguments), some_pictures(2, name)
    with torch.no_grad():
        expected, found = by_hand(model, images), answer_with_features(model, images)
    channels = stage_channels(model)
    assert found.shape == (2, 7 + 2 * sum(channels))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    columns = stage_columns(channels)
    assert [part.stop - part.start for part in columns] == [2 * count for count in channels]
    assert (columns[0].start, columns[-1].stop) == (0, 2 * sum(channels))


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "resnet50", "resnet8", "tutorial-cifar"])
def test_every_engine_gives_the_same_features(name: str) -> None:
    model = network_of(name, {})
    engines: list[Any] = [
        FoldedEngine(model, CPU, dtype=torch.float32, channels_last=last, features=True) for last in (True, False)
    ]
    try:
        import_openvino()
        engines.append(OpenVinoEngine(model, features=True))
    except ImportError:
        pass  # tests of that engine say so
    for count in (1, 3):
        images = some_pictures(count, name)
        expected = PlainEngine(model, CPU, features=True)(images)
        for engine in engines:
            found = engine(images)
            assert found.shape == expected.shape
            assert torch.allclose(found, expected, rtol=1e-3, atol=2e-4 * float(expected.abs().max())), engine.name


def test_without_being_asked_engines_give_logits_alone() -> None:
    model, images = network_of("resnet20", {}), some_pictures(2, "resnet20")
    with torch.no_grad():
        assert PlainEngine(model, CPU)(images).shape == model(images).shape == (2, 7)
    folded = FoldedEngine(model, CPU, dtype=torch.float32, channels_last=True)(images)
    assert folded.shape == (2, 7)


def test_a_map_of_one_pixel_has_no_spread_and_pooling_changes_no_map() -> None:
    maps = torch.randn(2, 3, 1, 1)
    before = maps.clone()
    assert torch.equal(pool_stage(maps), torch.cat([maps[..., 0, 0], torch.zeros(2, 3)], 1))
    assert torch.equal(maps, before)


def test_half_precision_maps_are_pooled_in_full() -> None:
    maps = torch.full((1, 1, 64, 64), 0.1, dtype=torch.bfloat16)
    pooled = pool_stage(maps)
    assert pooled.dtype == torch.float32
    assert pooled[0, 0] == pytest.approx(float(maps[0, 0, 0, 0]), rel=1e-5)


def test_what_is_a_stage_s_width_does_not_depend_on_running_it() -> None:
    model = network_of("resnet50", {})
    ran: list[nn.Module] = []
    model.register_forward_hook(lambda *_: ran.append(model))
    assert stage_channels(model) == (32, 64, 128, 256)
    assert not ran
