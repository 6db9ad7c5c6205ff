"""The layers one may observe: all that run once, in forward order, and sentences for the others."""

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from resnet_core.activations.layers import find_layer, find_layers, list_layers
from resnet_core.errors import ModelError
from resnet_core.models.zoo import build_model, list_models


class Oddities(nn.Module):
    """A network with one module of every kind that cannot be observed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.twice = nn.ReLU()
        self.never = nn.Linear(1, 1)
        self.halves = Halves()
        self.last = nn.Conv2d(2, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        first, second = self.halves(self.twice(self.conv(images)))
        return self.twice(self.last(first + second))  # type: ignore[no-any-return]


class Halves(nn.Module):
    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        return maps[:, :2], maps[:, 2:]


def on_meta(name: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, **arguments)


@pytest.mark.parametrize("name", [name for name in list_models() if name not in ("resnet152", "resnet1202")])
def test_every_module_of_our_networks_can_be_observed(name: str) -> None:
    model = on_meta(name)
    assert sorted(list_layers(model)) == sorted(name for name, _ in model.named_modules() if name)


def test_layers_come_in_the_order_in_which_their_activations_appear() -> None:
    model = build_model("resnet18", width=8, num_classes=3).eval()
    finished: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: finished.append(name))
    model(torch.zeros(1, 3, 32, 32))
    assert list_layers(model) == tuple(finished[:-1])  # the last to finish is the network itself
    assert list_layers(model, 64) == list_layers(model, (40, 80)) == list_layers(model)


def test_a_network_without_its_top_ends_with_the_last_stage() -> None:
    layers = list_layers(on_meta("resnet18", include_top=False))
    assert layers[-1] == "layer4"


def test_only_layers_that_run_once_and_return_one_tensor_are_offered() -> None:
    assert list_layers(Oddities()) == ("conv", "last")


def test_torchvision_s_shared_relu_is_not_offered() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    layers = list_layers(model)
    assert "layer1.0.relu" not in layers
    assert {"relu", "layer1.0", "layer1.0.bn2", "avgpool", "fc"} <= set(layers)
    with pytest.raises(ModelError, match=r"'layer1.0.relu' runs 2 times .* such as layer1.0\.$"):
        find_layer(model, "layer1.0.relu")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("twice", r"'twice' runs 2 times in one forward pass.*\.$"),
        ("never", r"'never' never runs .*\.$"),
        ("halves", r"'halves' does not return one tensor.*\.$"),
        ("cnov", r"no layer called 'cnov'; did you mean conv\?$"),
        ("🌼", r"no layer called '🌼' in this network; choose one of conv, last, or a layer inside\.$"),
        ("", r"no layer called ''"),
        (None, r"no layer called None"),
    ],
)
def test_what_cannot_be_observed_is_answered_with_its_own_sentence(name: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        find_layer(Oddities(), name)


def test_near_names_are_named() -> None:
    with pytest.raises(ModelError, match=r"did you mean .*layer4\.1"):
        find_layer(on_meta("resnet18"), "layer4.7")


def test_the_module_found_is_the_network_s_own() -> None:
    model = on_meta("resnet18")
    assert find_layer(model, "layer2.0.conv1") is model.get_submodule("layer2.0.conv1")
    assert list(find_layers(model, ["fc", "conv1"])) == ["fc", "conv1"]


def test_a_network_that_was_rebuilt_in_place_is_looked_at_again() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    assert list_layers(model) == ("0", "1")
    model.append(nn.Conv2d(4, 2, 1))
    assert list_layers(model) == ("0", "1", "2")


def test_the_network_is_not_run_to_list_its_layers() -> None:
    model = build_model("resnet18", width=8, num_classes=3).train()
    calls: list[str] = []
    model.conv1.register_forward_hook(lambda *_: calls.append("conv1"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert list_layers(model)
    assert not calls
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("size", [2, (2, 64), 0, -3, "64", (64, 64, 64), 2.5])
def test_an_impossible_picture_size_is_answered_with_a_sentence(size: Any) -> None:
    with pytest.raises(ModelError, match=r"\.$"):
        list_layers(on_meta("tutorial-cifar"), size)
