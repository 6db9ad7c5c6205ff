"""ResNet-8: its whitening stem does what its name says, stays as it is in training, and the rest is a ResNet."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnet_core.errors import ModelError
from resnet_core.models.describe import describe
from resnet_core.models.resnet import Network, ResidualBlock
from resnet_core.models.whitened import ResNet8
from resnet_core.models.zoo import build_model


def photo_like(count: int, edge: int = 16) -> Tensor:
    """Pictures whose neighbouring pixels and colours are alike, as those of photos are."""
    noise = torch.randn(count, 3, edge + 4, edge + 4, generator=torch.Generator().manual_seed(count))
    grey = noise.mean(1, keepdim=True)
    return nn.functional.avg_pool2d(noise + 3 * grey, 5, stride=1) * 2 + 0.3


def small(**arguments: object) -> Network:
    torch.manual_seed(0)
    return build_model("resnet8", width=8, **arguments)  # type: ignore[arg-type]


def test_the_stem_makes_uncorrelated_channels_of_unit_variance() -> None:
    model, images = ResNet8(width=8), photo_like(200)
    model.whiten(images)
    half = model.conv1(images)[:, :12].permute(1, 0, 2, 3).flatten(1).detach()
    second_moments = half @ half.T / half.shape[1]
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).numpy()
    variances = np.linalg.svd(patches, compute_uv=False) ** 2 / len(patches)  # another way to the same numbers
    expected = variances / (variances + 5e-4)
    assert torch.allclose(second_moments, torch.diag(torch.from_numpy(expected)), atol=2e-3)
    assert variances[0] > 20 * variances[-1]  # otherwise there was nothing to whiten


def test_each_direction_comes_with_both_signs_and_the_largest_variance_first() -> None:
    model, images = ResNet8(width=8), photo_like(50)
    model.whiten(images)
    weight = model.conv1.weight
    assert torch.equal(weight[:12], -weight[12:])
    lengths = weight[:12].flatten(1).norm(dim=1)
    assert all(first <= second + 1e-6 for first, second in itertools.pairwise(lengths.tolist()))
    assert (weight[:12].flatten(1).gather(1, weight[:12].flatten(1).abs().argmax(1, keepdim=True)) > 0).all()


def test_the_same_pictures_give_the_same_stem_whatever_was_there_before() -> None:
    first, second = ResNet8(width=8), ResNet8(width=16)
    for model in (first, second):
        torch.manual_seed(len(model.layer1[0].conv.weight))
        model.whiten(photo_like(30))
    assert torch.equal(first.conv1.weight, second.conv1.weight)
    second.whiten(photo_like(31))
    assert not torch.equal(first.conv1.weight, second.conv1.weight)


@pytest.mark.parametrize("images", [torch.zeros(20, 3, 9, 9), torch.full((20, 3, 9, 9), -1.7)])
def test_pictures_without_any_contrast_give_finite_kernels(images: Tensor) -> None:
    model = ResNet8(width=8)
    model.whiten(images)
    assert model.conv1.weight.isfinite().all()
    assert model(images).isfinite().all()


@pytest.mark.parametrize("shape", [(4, 3, 1, 8), (0, 3, 8, 8)])
def test_pictures_smaller_than_a_patch_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"patches of 2×2 px.*\.$"):
        ResNet8(width=8).whiten(torch.zeros(shape))


def test_backward_reaches_every_parameter_but_the_frozen_stem() -> None:
    model = small()
    model(torch.randn(8, 3, 32, 32)).logsumexp(1).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == ["conv1.weight"]
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["conv1.weight"]


def test_a_fresh_network_knows_that_its_stem_is_frozen_and_a_state_dict_carries_it() -> None:
    trained = ResNet8(width=8)
    trained.whiten(photo_like(20))
    again = build_model("resnet8", width=8)
    again.load_state_dict(trained.state_dict())
    assert torch.equal(again.conv1.weight, trained.conv1.weight)  # type: ignore[union-attr]
    assert not again.conv1.weight.requires_grad  # type: ignore[union-attr]


def test_eight_weighted_layers_and_the_shapes_of_its_docstring() -> None:
    model = build_model("resnet8")
    weighted = [name for name, p in model.named_parameters() if p.dim() > 1]
    assert len(weighted) == 8
    shapes = {layer.name: layer.output_shape for layer in describe(model, 32).layers}
    expected = {"relu": (24, 31, 31), "layer1": (64, 15, 15), "layer2": (128, 7, 7), "layer3": (256, 3, 3)}
    assert {name: shapes[name] for name in expected} == expected


def test_macs_are_counted_by_hand() -> None:
    by_hand = (
        24 * 31 * 31 * 12
        + 31 * 31 * 24 * 8 * 9
        + 15 * 15 * 8 * 16 * 9
        + 7 * 7 * 16 * 16 * 9
        + 7 * 7 * 16 * 32 * 9
        + 2 * 3 * 3 * 32 * 32 * 9
        + 32 * 10
    )
    assert describe(small(), 32).macs == by_hand


@pytest.mark.parametrize("name", ["layer2", "layer3"])
def test_its_blocks_are_residual_and_the_plain_twin_has_no_skips(name: str) -> None:
    residual, plain = small().eval(), small(residual=False).eval()
    plain.load_state_dict(residual.state_dict(), strict=True)
    block = getattr(residual, name)[1]
    assert isinstance(block, ResidualBlock)
    x = torch.rand(2, block.conv1.in_channels, 8, 8)
    assert torch.equal(block(x), torch.relu(block.branch(x) + x))
    assert torch.equal(getattr(plain, name)[1](x), torch.relu(block.branch(x)))


@pytest.mark.parametrize("edge", [9, 10, 33, 64])
def test_it_takes_pictures_of_other_sizes(edge: int) -> None:
    assert small().eval()(torch.rand(2, 3, edge, edge)).shape == (2, 10)
