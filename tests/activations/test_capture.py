"""What is captured equals torchvision's feature extractor, and everything borrowed is given back."""

import math
import threading
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from resnet_core.activations.capture import capture_activations, describe_activation, observing
from resnet_core.activations.layers import find_layers, list_layers
from resnet_core.errors import ModelError
from resnet_core.models.zoo import build_model

LAYERS = ("bn1", "maxpool", "layer1", "layer2.0.conv1", "layer2.0.downsample", "layer3.1", "layer4", "avgpool", "fc")


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms statistics as training would, so that eval and train mode differ."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(module.num_features, generator=generator) * 0.5 + 0.2)
            module.bias.data.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
    return model


def small_model(name: str = "resnet18", **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    return lively(build_model(name, num_classes=5, **{"width": 16, **arguments}))


def pictures(count: int = 2, edge: int = 48, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(seed))


def borrowed_state(model: nn.Module) -> dict[str, Any]:
    """All that an observer touches or might touch, in a form that compares with ==."""
    hooks = {
        (name, table): len(value)
        for name, module in model.named_modules()
        for table, value in vars(module).items()
        if "_hooks" in table
    }
    return {
        "hooks": hooks,
        "flags": {name: module.training for name, module in model.named_modules()},
        "state": {name: value.tolist() for name, value in model.state_dict().items()},
        "requires_grad": {name: value.requires_grad for name, value in model.named_parameters()},
        "gradients": {name: value.grad is None for name, value in model.named_parameters()},
    }


def mixed_flags(model: nn.Module) -> nn.Module:
    """Bring the train flags into a pattern that neither train() nor eval() would restore."""
    for number, module in enumerate(model.modules()):
        module.training = number % 3 != 0
    return model


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_activations_equal_those_of_torchvision_s_feature_extractor(name: str) -> None:
    torch.manual_seed(3)
    ours = lively(build_model(name, num_classes=7))
    theirs = getattr(torchvision.models, name)(num_classes=7)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    for module in theirs.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # else the extractor's own bn1 would already be rectified
    images = pictures(1, 64)
    with torch.no_grad():
        expected = create_feature_extractor(theirs.eval(), list(LAYERS))(images)
    captured = capture_activations(ours.train(), images, LAYERS)
    assert list(captured) == list(LAYERS)
    for layer in LAYERS:
        assert captured[layer].shape == expected[layer].shape, layer
        torch.testing.assert_close(captured[layer], expected[layer], atol=1e-5, rtol=1e-5, msg=layer)


def test_the_in_place_relu_does_not_rewrite_what_was_captured() -> None:
    model = small_model()
    alone = capture_activations(model, pictures(), ["bn1"])["bn1"]
    followed = capture_activations(model, pictures(), ["bn1", "relu", "layer1.0.bn1", "layer1"])
    assert model.relu.inplace
    assert torch.equal(followed["bn1"], alone)
    assert followed["layer1.0.bn1"].min() < 0
    assert torch.equal(followed["relu"], alone.relu())


def test_captured_tensors_are_private_float32_copies_without_history() -> None:
    model = small_model().double().to(memory_format=torch.channels_last)
    images = pictures().requires_grad_()
    captured = capture_activations(model, images, list_layers(model))
    assert len({tensor.untyped_storage().data_ptr() for tensor in captured.values()}) == len(captured)
    for layer, tensor in captured.items():
        assert tensor.dtype == torch.float32, layer
        assert tensor.device.type == "cpu"
        assert tensor.is_contiguous()
        assert not tensor.requires_grad
    images.detach().zero_()
    assert captured["conv1"].abs().sum() > 0


def test_a_captured_tensor_can_enter_autograd_even_when_captured_in_inference_mode() -> None:
    with torch.inference_mode():
        activation = capture_activations(small_model(), pictures(), ["layer3"])["layer3"]
    assert not activation.is_inference()
    weight = torch.ones((), requires_grad=True)
    (activation * weight).sum().backward()
    assert torch.allclose(weight.grad, activation.sum(), rtol=1e-4)


def test_everything_borrowed_is_given_back() -> None:
    model = mixed_flags(small_model())
    before = borrowed_state(model)
    capture_activations(model, pictures(), list_layers(model))
    assert borrowed_state(model) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("layers", [["layer1"], ["conv1", "layer4", "fc"]])
def test_everything_borrowed_is_given_back_when_the_forward_pass_raises(layers: list[str]) -> None:
    def fail(*_: object) -> None:
        raise OSError("unplugged")

    model = mixed_flags(small_model())
    model.layer1[1].register_forward_pre_hook(fail)
    before = borrowed_state(model)
    with pytest.raises(OSError, match="unplugged"):
        capture_activations(model, pictures(), layers)
    assert borrowed_state(model) == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("layers", [["layer2.0.bn1"], ["layer2.0.bn1", "conv1"], ["conv1", "layer2.0.bn1"]])
def test_the_forward_pass_ends_at_the_deepest_layer_asked_for(layers: list[str]) -> None:
    model = small_model()
    ran: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    assert list(capture_activations(model, pictures(), layers)) == layers
    assert ran[-1] == "layer2.0.bn1"
    assert len(ran) == len(set(ran))


def test_nothing_asked_for_costs_no_forward_pass() -> None:
    model = small_model()
    model.register_forward_pre_hook(lambda *_: pytest.fail("it ran"))
    assert capture_activations(model, pictures(), []) == {}


def test_asking_twice_for_a_layer_gives_it_once() -> None:
    assert list(capture_activations(small_model(), pictures(), ["fc", "fc"])) == ["fc"]


def test_another_thread_using_the_same_model_is_not_observed() -> None:
    model = small_model().eval()
    images = pictures()
    expected = model(images)
    seen: list[str] = []
    answers: list[Tensor] = []

    def observe(name: str, output: Tensor) -> Tensor:
        seen.append(name)
        return torch.zeros_like(output)

    with observing(model, find_layers(model, ["fc"]), observe):
        thread = threading.Thread(target=lambda: answers.append(model(images)))
        thread.start()
        thread.join()
        assert seen == []
        assert not model(images).any()
    assert torch.equal(answers[0], expected)
    assert seen == ["fc"]


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32), (0, 3, 32, 32), (1, 3, 0, 32), (1, 3, 32, 32, 1)])
def test_inputs_of_another_shape_are_refused_with_a_sentence(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"\[N, 3, H, W\], not \["):
        capture_activations(small_model(), torch.zeros(shape), ["layer1"])


def test_a_picture_too_small_for_the_network_is_refused_with_the_cure() -> None:
    model = build_model("tutorial-cifar")
    with pytest.raises(ModelError, match=r"2×2 pixels is too small.*at least 3×3"):
        capture_activations(model, torch.zeros(1, 3, 2, 2), ["fc"])


def test_unknown_layers_are_refused_before_anything_runs() -> None:
    model = small_model()
    model.register_forward_pre_hook(lambda *_: pytest.fail("it ran"))
    with pytest.raises(ModelError, match="did you mean layer"):
        capture_activations(model, pictures(), ["conv1", "layer9"])


def test_statistics_of_an_activation() -> None:
    stats = describe_activation(torch.tensor([[[0.0, -1.0], [0.0, 5.0]]]))
    assert stats.shape == (1, 2, 2)
    assert (stats.minimum, stats.maximum, stats.zero_share) == (-1.0, 5.0, 0.5)
    assert stats.mean == pytest.approx(1)
    assert stats.std == pytest.approx(math.sqrt(22 / 4))


def test_statistics_leave_out_what_is_not_finite() -> None:
    stats = describe_activation(torch.tensor([0.0, 4.0, math.inf, -math.inf, math.nan]))
    assert (stats.minimum, stats.maximum) == (0.0, 4.0)
    assert (stats.mean, stats.std, stats.zero_share) == pytest.approx((2.0, 2.0, 0.2))


@pytest.mark.parametrize("values", [torch.tensor([math.nan, math.inf]), torch.empty(0, 3)])
def test_statistics_of_nothing_finite_are_nan(values: Tensor) -> None:
    stats = describe_activation(values)
    assert all(math.isnan(number) for number in (stats.mean, stats.std, stats.minimum, stats.maximum))
    assert stats.zero_share == 0
    assert stats.shape == tuple(values.shape)
