"""Networks for 32×32 pictures against the numbers of the paper and of the tutorial."""

import pytest
import torch
from torch import Tensor

from resnet_core.errors import ModelError
from resnet_core.models.cifar import CifarResNet, TutorialCifarNet
from resnet_core.models.zoo import build_model

# He et al. 2015, table 6: millions of parameters, as printed.
MILLIONS = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}


@pytest.mark.parametrize(("depth", "millions"), MILLIONS.items())
def test_family_has_the_papers_size_and_depth(depth: int, millions: float) -> None:
    with torch.device("meta"):
        model = build_model(f"resnet{depth}")
    count = sum(parameter.numel() for parameter in model.parameters())
    digits = 2 if millions < 1 else 1
    assert round(count / 1e6, digits) == millions
    weighted = [name for name, p in model.named_parameters() if p.dim() > 1]
    assert len(weighted) == depth  # shortcuts add no weights


def test_stages_halve_the_map_and_double_the_channels() -> None:
    model = CifarResNet(8).eval()
    assert stage_shapes(model, model.stage_names) == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_padded_shortcut_keeps_every_second_pixel_and_adds_silent_channels() -> None:
    shortcut = CifarResNet(8).layer2[0].downsample
    assert list(shortcut.parameters()) == []
    x = torch.rand(2, 16, 7, 5) + 1
    output = shortcut(x)
    assert output.shape == (2, 32, 4, 3)  # odd edges round up, as a 3×3 convolution of stride 2 does
    assert torch.equal(output[:, 8:24], x[:, :, ::2, ::2])
    assert output[:, :8].abs().sum() == output[:, 24:].abs().sum() == 0


@pytest.mark.parametrize("edge", [1, 2, 3, 15, 33])
def test_branch_and_padded_shortcut_agree_at_any_size(edge: int) -> None:
    assert CifarResNet(8).eval()(torch.rand(1, 3, edge, edge)).shape == (1, 10)


@pytest.mark.parametrize("depth", [-4, 0, 2, 7, 19, 21])
def test_impossible_depths_are_refused(depth: int) -> None:
    with pytest.raises(ModelError, match="6n"):
        CifarResNet(depth)


@pytest.mark.parametrize("name", ["resnet20", "tutorial-cifar"])
def test_backward_reaches_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name)
    model(torch.randn(4, 3, 32, 32)).logsumexp(1).sum().backward()
    assert [key for key, p in model.named_parameters() if p.grad is None] == []
    # a bias right before BN has no effect, so its gradient is 0 up to rounding; weights must move
    assert [key for key, p in model.named_parameters() if p.dim() > 1 and not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(("as_published", "count"), [(False, 9_817_354), (True, 9_553_674)])
def test_tutorial_network_has_the_tutorials_parameters_to_the_unit(as_published: bool, count: int) -> None:
    model = TutorialCifarNet(as_published=as_published)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_tutorial_shapes_at_32_pixels() -> None:
    model = TutorialCifarNet().eval()
    assert stage_shapes(model, ("relu", *model.stage_names)) == [
        (64, 10, 10),
        (128, 5, 5),
        (256, 3, 3),
        (512, 2, 2),
        (512, 1, 1),
    ]


def test_the_published_shortcut_broadcasts_silently() -> None:
    torch.manual_seed(0)
    model = TutorialCifarNet(as_published=True).eval()
    block = model.layer4[0]
    x = torch.rand(2, 512, 2, 2)
    assert block.downsample is None
    assert block.skip(x) is x
    assert block.branch(x).shape == (2, 512, 1, 1)
    expected = torch.relu(block.branch(x).expand(2, 512, 2, 2) + x)
    assert torch.equal(block(x), expected)
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)  # nothing complains: that is the fault


def test_the_corrected_network_differs_from_the_published_only_in_that_shortcut() -> None:
    corrected = set(TutorialCifarNet().state_dict())
    published = set(TutorialCifarNet(as_published=True).state_dict())
    assert published < corrected
    assert all(key.startswith("layer4.0.downsample.") for key in corrected - published)


def test_a_published_plain_network_is_refused() -> None:
    with pytest.raises(ModelError, match="not both"):
        TutorialCifarNet(as_published=True, residual=False)


def stage_shapes(model: torch.nn.Module, names: tuple[str, ...]) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []

    def note(_module: torch.nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        shapes.append(tuple(output.shape[1:]))

    for name in names:
        model.get_submodule(name).register_forward_hook(note)
    model(torch.rand(1, 3, 32, 32))
    return shapes
