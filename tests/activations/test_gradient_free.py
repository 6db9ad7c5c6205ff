"""Ablation-CAM equals a loop that takes one channel away at a time, and leaves the network as it was."""

from typing import Any

import pytest
import torch
from borrowed import state
from torch import Tensor, nn

from resnet_core.activations import ablation_cam as module
from resnet_core.activations.ablation_cam import FEWEST, ablation_cam, affordable
from resnet_core.activations.heat import heat_map
from resnet_core.errors import ConfigError, ModelError
from resnet_core.models.zoo import build_model


def lively(name: str = "resnet18", **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(name, **{"num_classes": 5, **arguments}).eval()
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_(0, 0.1)
            each.running_var.uniform_(0.5, 1.5)
            each.bias.data.normal_(0, 0.1)
    return model


def pictures(count: int = 1, edge: int = 64) -> Tensor:
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(1))


def naive(model: nn.Module, image: Tensor, layer: str, class_index: int, channels: list[int] | None = None) -> Tensor:
    """Ramaswamy & Desai 2020 for one image [1,3,H,W]: a whole forward pass a channel, by hooks of one's own."""
    seen: dict[str, Tensor] = {}

    def run(left_out: int | None) -> float:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            changed = output.clone()
            seen.setdefault("maps", output.clone())
            if left_out is not None:
                changed[:, left_out] = 0
            return changed

        handle = model.get_submodule(layer).register_forward_hook(hook)
        with torch.no_grad():
            logit = float(model(image)[0, class_index])
        handle.remove()
        return logit

    whole = run(None)
    heat = torch.zeros(seen["maps"].shape[2:])
    for channel in channels if channels is not None else range(seen["maps"].shape[1]):
        heat += (whole - run(channel)) * seen["maps"][0, channel]
    heat = heat.clamp(min=0)
    return heat / heat.max() if heat.any() else heat


@pytest.mark.parametrize(
    ("name", "arguments", "layers"),
    [
        ("resnet18", {"width": 8}, ("layer2", "layer3.0.conv1", "layer2.0.downsample", "layer1.1.bn1", "layer4")),
        ("resnet50", {"width": 8}, ("layer3.1.conv2",)),
        ("resnet20", {}, ("layer2.0", "relu")),
        ("resnet18", {"width": 8, "residual": False}, ("layer2",)),
    ],
)
def test_heat_equals_a_loop_over_the_channels(name: str, arguments: dict[str, Any], layers: tuple[str, ...]) -> None:
    model = lively(name, **arguments)
    proven = 0
    for layer in layers:
        for class_index in (0, 3):
            found = ablation_cam(model, pictures(), layer, class_index)
            expected = naive(model, pictures(), layer, class_index)
            torch.testing.assert_close(found.heat[0], expected, atol=1e-3, rtol=0, msg=layer)
            assert found.used == found.channels
            proven += bool(expected.any())
    assert proven > len(layers) / 2


def test_only_the_strongest_channels_are_tried_and_the_number_is_told() -> None:
    model = lively(width=8)
    maps = {}
    handle = model.layer2.register_forward_hook(lambda _m, _i, output: maps.update(it=output))
    model(pictures())
    handle.remove()
    strength = maps["it"][0].detach().abs().mean(dim=(1, 2))
    strongest = sorted(range(16), key=lambda channel: -float(strength[channel]))[:5]
    found = ablation_cam(model, pictures(), "layer2", 1, limit=5)
    assert (found.used, found.channels) == (5, 16)
    expected = naive(model, pictures(), "layer2", 1, strongest)
    torch.testing.assert_close(found.heat[0], expected, atol=1e-3, rtol=0)


def test_the_earlier_the_layer_the_fewer_channels_are_affordable() -> None:
    model = build_model("resnet34", num_classes=5)
    numbers = [affordable(model, (224, 224), layer) for layer in ("layer1", "layer2", "layer3", "layer4")]
    assert numbers == sorted(numbers)
    assert numbers[0] == FEWEST < 64
    assert numbers[-1] >= 512  # only the head is left to run


def test_small_batches_of_copies_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively(width=8)
    whole = ablation_cam(model, pictures(), "layer2", 1).heat
    monkeypatch.setattr(module, "COPIES", 3)
    torch.testing.assert_close(ablation_cam(model, pictures(), "layer2", 1).heat, whole, atol=1e-4, rtol=0)


def test_each_picture_is_explained_alone_and_for_its_own_answer() -> None:
    model = lively(width=8)
    images = pictures(2)
    together = ablation_cam(model, images, "layer3").heat
    with torch.no_grad():
        answers = model(images).argmax(1).tolist()
    for number, answer in enumerate(answers):
        alone = ablation_cam(model, images[number : number + 1], "layer3", answer).heat[0]
        torch.testing.assert_close(together[number], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("failing", [False, True])
def test_everything_borrowed_is_given_back(failing: bool) -> None:
    model = lively(width=8)
    for number, each in enumerate(model.modules()):
        each.training = number % 3 != 0
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.5) if number % 4 == 0 else None

    def fail(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if failing and len(inputs[0]) > 1:
            raise OSError("unplugged")

    model.layer4.register_forward_pre_hook(fail)
    before = state(model)
    if failing:
        with pytest.raises(OSError, match="unplugged"):
            ablation_cam(model, pictures(), "layer2", 1)
    else:
        with torch.inference_mode():
            ablation_cam(model, pictures(), "layer2", 1)
    assert state(model) == before


def test_layers_and_classes_that_cannot_be_explained_are_a_sentence() -> None:
    model = lively(width=8)
    for layer, edge, sentence in (
        ("fc", 64, "no map of places"),
        ("layer4", 32, "single place"),
        ("leyer4", 64, "mean"),
    ):
        with pytest.raises(ModelError, match=sentence):
            ablation_cam(model, pictures(1, edge), layer)
    with pytest.raises(ModelError, match=r"no class 5; .* 0 to 4\."):
        ablation_cam(model, pictures(), "layer2", 5)
    with pytest.raises(ModelError, match="without classes"):
        ablation_cam(lively(width=8, include_top=False), pictures(), "layer2")
    with pytest.raises(ConfigError, match="gradcam or ablation"):
        heat_map(model, pictures(), "layer2", 1, method="magic")


def test_both_methods_point_at_much_the_same_place_in_the_last_stage() -> None:
    model = lively(width=16)
    heats = [heat_map(model, pictures(), "layer3", 2, method=method).heat for method in ("gradcam", "ablation")]
    assert torch.corrcoef(torch.stack([heat.flatten() for heat in heats]))[0, 1] > 0.5
    assert not torch.equal(*heats)
