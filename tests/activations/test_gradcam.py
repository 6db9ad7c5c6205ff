"""Grad-CAM equals an implementation with backward hooks on an out-of-place network, and leaves nothing behind."""

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from borrowed import state
from PIL import Image
from torch import Tensor, nn

from resnet_core.activations.color_map import ANCHORS
from resnet_core.activations.gradcam import grad_cam, overlay
from resnet_core.errors import ConfigError, ModelError
from resnet_core.models.zoo import build_model


def small_model(name: str = "resnet18", **arguments: Any) -> nn.Module:
    """A network whose batch norms look trained, so that maps, gradients and both modes differ."""
    torch.manual_seed(0)
    model = build_model(name, **{"num_classes": 5, **arguments})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.2, 0.7)
            module.bias.data.normal_(0, 0.1)
    return model


def pictures(count: int = 2, edge: int = 64) -> Tensor:
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(1))


def reference_cam(model: nn.Module, image: Tensor, layer: str, class_index: int) -> Tensor:
    """Selvaraju et al. 2017, equations 1 and 2, for one image [3,H,W], with hooks both ways."""
    seen: dict[str, Tensor] = {}
    module = model.get_submodule(layer)
    handles = [
        module.register_forward_hook(lambda _m, _i, output: seen.update(maps=output)),
        module.register_full_backward_hook(lambda _m, _i, gradients: seen.update(gradient=gradients[0])),
    ]
    model(image[None].clone().requires_grad_())[0, class_index].backward()
    for handle in handles:
        handle.remove()
    heat = torch.zeros(seen["maps"].shape[2:])
    for channel in range(seen["maps"].shape[1]):
        heat += seen["gradient"][0, channel].mean() * seen["maps"][0, channel].detach()
    heat = heat.clamp(min=0)
    return heat / heat.max() if heat.any() else heat


@pytest.mark.parametrize(
    ("name", "layers"),
    [("resnet18", ("layer1.0.bn1", "layer2", "layer3.1.conv2", "layer4")), ("resnet50", ("layer3.2", "layer4.0.bn2"))],
)
def test_heat_equals_an_independent_implementation(name: str, layers: tuple[str, ...]) -> None:
    ours = small_model(name)
    theirs = getattr(torchvision.models, name)(num_classes=5)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    theirs.eval()
    for module in theirs.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    images = pictures(1)
    for layer in layers:
        supported = 0
        for class_index in range(5):
            heat = grad_cam(ours, images, layer, class_index)[0]
            expected = reference_cam(theirs, images[0], layer, class_index)
            torch.testing.assert_close(heat, expected, atol=1e-4, rtol=0, msg=layer)
            if expected.any():
                supported += 1
                assert np.corrcoef(heat.flatten(), expected.flatten())[0, 1] >= 0.999, layer
        assert supported, f"no class of {layer} has any support, so this proves nothing"


def test_heat_lies_between_0_and_1_and_touches_1() -> None:
    heat = grad_cam(small_model(), pictures(3), "layer2")
    assert heat.shape == (3, 8, 8)
    assert heat.dtype == torch.float32
    assert not heat.requires_grad
    assert heat.min() >= 0
    assert torch.equal(heat.amax(dim=(1, 2)), torch.ones(3))


def test_each_picture_is_explained_as_if_it_were_alone() -> None:
    model = small_model()
    images = pictures(3)
    together = grad_cam(model, images, "layer3")
    for number in range(3):
        alone = grad_cam(model, images[number : number + 1], "layer3")[0]
        torch.testing.assert_close(together[number], alone, atol=1e-4, rtol=0)


def test_without_a_class_the_predicted_one_is_explained() -> None:
    model = small_model().eval()
    images = pictures()
    predicted = model(images).argmax(dim=1).tolist()
    heat = grad_cam(model, images, "layer3")
    for number, class_index in enumerate(predicted):
        assert torch.equal(heat[number], grad_cam(model, images, "layer3", class_index)[number])
        other = grad_cam(model, images, "layer3", (class_index + 1) % 5)[number]
        assert not torch.allclose(heat[number], other, atol=1e-2)


def test_a_frozen_network_gives_the_same_heat() -> None:
    model = small_model()
    free = grad_cam(model, pictures(), "layer2.0.bn1")
    frozen = grad_cam(model.requires_grad_(False), pictures(), "layer2.0.bn1")
    torch.testing.assert_close(frozen, free)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_heat_can_be_asked_for_inside_inference_mode() -> None:
    model = small_model()
    expected = grad_cam(model, pictures(), "layer4")
    with torch.inference_mode():
        heat = grad_cam(model, pictures(), "layer4")
    torch.testing.assert_close(heat, expected)
    with torch.no_grad():
        torch.testing.assert_close(grad_cam(model, pictures(), "layer4"), expected)


def test_a_map_without_any_support_stays_zero() -> None:
    model = small_model()
    nn.init.zeros_(model.fc.weight)
    assert torch.equal(grad_cam(model, pictures(), "layer3"), torch.zeros(2, 4, 4))


def test_a_layer_the_answer_does_not_depend_on_has_no_heat() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

        def forward(self, images: Tensor) -> Tensor:
            self.unused(images)
            return self.used(images).mean(dim=(2, 3))

    assert not grad_cam(Aside(), pictures(), "unused").any()
    assert not grad_cam(Aside().requires_grad_(False), pictures(), "unused").any()


@pytest.mark.parametrize("failing", [False, True])
def test_everything_borrowed_is_given_back(failing: bool) -> None:
    model = small_model(width=8)
    for number, module in enumerate(model.modules()):
        module.training = number % 3 != 0
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.5) if number % 4 == 0 else None
    images = pictures().requires_grad_()

    def fail(*_: object) -> None:
        if failing:
            raise OSError("unplugged")

    model.layer4.register_forward_pre_hook(fail)
    before = state(model)
    if failing:
        with pytest.raises(OSError, match="unplugged"):
            grad_cam(model, images, "layer2")
    else:
        grad_cam(model, images, "layer2")
    assert state(model) == before
    assert images.grad is None


@pytest.mark.parametrize(
    ("layer", "edge", "sentence"),
    [
        ("fc", 64, "'fc' has no map of places"),
        ("avgpool", 64, r"'avgpool' has a single place \(1×1\)"),
        ("layer4", 32, r"'layer4' has a single place \(1×1\)"),
        ("layer5", 64, "did you mean"),
    ],
)
def test_a_layer_without_places_is_refused_with_a_sentence(layer: str, edge: int, sentence: str) -> None:
    model = small_model(width=8)
    before = state(model)
    with pytest.raises(ModelError, match=sentence):
        grad_cam(model, pictures(1, edge), layer)
    assert state(model) == before


@pytest.mark.parametrize("class_index", [-1, 5, 10**9])
def test_a_class_the_network_lacks_is_refused(class_index: int) -> None:
    with pytest.raises(ModelError, match=rf"no class {class_index}; .* 0 to 4\."):
        grad_cam(small_model(width=8), pictures(), "layer2", class_index)


def test_a_network_without_classes_is_refused() -> None:
    with pytest.raises(ModelError, match="without classes"):
        grad_cam(small_model(width=8, include_top=False), pictures(), "layer2")


def test_overlay_runs_from_the_bare_picture_to_the_bare_heat() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8))
    heat = torch.zeros(3, 5)
    assert overlay(photo, heat, 0).tobytes() == photo.tobytes()
    bare = overlay(photo, heat, 1)
    assert bare.size == photo.size
    assert bare.getcolors() == [(1500, tuple(bytes.fromhex(ANCHORS[0][1:])))]
    half = np.asarray(overlay(photo, heat, 0.5), dtype=int)
    mean = (np.asarray(photo, dtype=int) + np.asarray(bare, dtype=int)) / 2
    assert np.abs(half - mean).max() <= 1


def test_overlay_puts_the_heat_where_it_is() -> None:
    heat = torch.zeros(4, 8)
    heat[0, 7] = 1
    bright = np.asarray(overlay(Image.new("L", (160, 80)), heat, 1).convert("L"))
    top, left = np.unravel_index(bright.argmax(), bright.shape)
    assert (top < 20, left >= 140) == (True, True)
    assert bright[70, 5] == bright.min()


def test_overlay_takes_broken_heat_and_refuses_nonsense() -> None:
    photo = Image.new("RGB", (20, 20))
    broken = torch.tensor([[float("nan"), float("inf")], [-3.0, 9.0]])
    assert overlay(photo, broken).size == (20, 20)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            overlay(photo, torch.zeros(2, 2), strength)
    with pytest.raises(ModelError, match=r"\[h, w\]"):
        overlay(photo, torch.zeros(1, 2, 2))
