"""The registry: each name builds, remembers how, and refuses what it cannot be."""

import json
from typing import Any

import pytest
import torch

from resnet_core.errors import ModelError
from resnet_core.models.describe import smallest_image_size
from resnet_core.models.zoo import build_model, get_architecture, list_models

QUICK = tuple(name for name in list_models() if name not in ("resnet101", "resnet152", "resnet1202"))


def on_meta(name: str, **arguments: Any) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(name, **arguments)


def test_the_list_is_what_the_reference_names() -> None:
    imagenet = {f"resnet{depth}" for depth in (18, 34, 50, 101, 152)}
    cifar = {f"resnet{depth}" for depth in (20, 32, 44, 56, 110, 1202)}
    assert set(list_models()) == imagenet | cifar | {"tutorial-cifar", "resnet8"}
    assert len(list_models()) == len(set(list_models()))


@pytest.mark.parametrize("name", list_models())
def test_registry_entry_describes_what_it_builds(name: str) -> None:
    architecture = get_architecture(name)
    model = on_meta(name).eval()
    edge = architecture.default_image_size
    logits = model(torch.empty(2, 3, edge, edge, device="meta"))
    assert architecture.name == name
    assert logits.shape == (2, architecture.default_num_classes)


@pytest.mark.parametrize("name", QUICK)
def test_least_image_size_is_true(name: str) -> None:
    assert smallest_image_size(on_meta(name)) == get_architecture(name).min_image_size


@pytest.mark.parametrize("name", QUICK)
def test_a_model_can_be_built_again_from_what_a_checkpoint_stores(name: str) -> None:
    options = get_architecture(name).options
    for key, default in options.items():
        changed = {"stem": "small", "width": 24}.get(key, not default)
        first = on_meta(name, num_classes=7, include_top=key != "residual", **{key: changed})
        stored = json.loads(json.dumps(first.architecture_arguments))
        again = on_meta(first.architecture, **stored)
        assert repr(again) == repr(first)
        assert again.architecture_arguments == first.architecture_arguments
        assert stored[key] == changed
        assert stored["num_classes"] == 7
        assert hasattr(again, "fc") == stored["include_top"] == (key != "residual")


def test_one_model_s_arguments_do_not_leak_into_the_next() -> None:
    first = on_meta("resnet18")
    first.architecture_arguments["width"] = 1
    assert on_meta("resnet18").architecture_arguments["width"] == 64


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet-18", "resnet18"), ("ResNet50", "resnet50"), ("tutorial_cifar", "tutorial-cifar")],
)
def test_a_misspelt_name_is_answered_with_the_near_one(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=f"did you mean.*{near}"):
        build_model(name)


@pytest.mark.parametrize("name", ["", "vgg", "🌼", None, ["resnet18"], 18])
def test_an_unknown_name_is_answered_with_a_sentence(name: Any) -> None:
    with pytest.raises(ModelError, match=r"^There is no network called .*[.?]$"):
        build_model(name)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("resnet18", {"as_published": True}, "no setting called 'as_published'"),
        ("resnet20", {"width": 32}, "no setting called 'width'"),
        ("tutorial-cifar", {"stem": "small"}, "no setting called 'stem'"),
        ("resnet18", {"stem": "large"}, "imagenet, small"),
        ("resnet18", {"stem": ["small"]}, "no stem called"),
        ("resnet18", {"residual": "yes"}, "residual must be true or false"),
        ("resnet18", {"residual": 1}, "residual must be true or false"),
        ("resnet18", {"include_top": None}, "include_top must be true or false"),
        ("resnet18", {"width": 0}, "width must be a whole number"),
        ("resnet18", {"width": 64.0}, "width must be a whole number"),
        ("resnet18", {"width": 10**9}, "width must be a whole number"),
        ("resnet18", {"num_classes": 0}, "num_classes must be a whole number"),
        ("resnet18", {"num_classes": -3}, "num_classes must be a whole number"),
        ("resnet18", {"num_classes": True}, "num_classes must be a whole number"),
        ("resnet18", {"num_classes": "5"}, "num_classes must be a whole number"),
        ("resnet18", {"num_classes": 10**9}, "num_classes must be a whole number"),
    ],
)
def test_settings_a_network_cannot_have_are_refused(name: str, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        build_model(name, **arguments)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_same_seed_gives_the_same_network() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(build_model("resnet20").state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
