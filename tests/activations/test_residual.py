"""What a block adds, and what the network does without it."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.residual import block_parts, block_shares, list_blocks, switching_off
from resnet_core.errors import ModelError
from resnet_core.models.zoo import build_model


def trained_looking(name: str, **arguments: Any) -> nn.Module:
    """A network whose BatchNorms have statistics of their own, as after a training."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=5, **arguments)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def by_hand(block: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Branch and identity of a basic block, written with functional operations only."""

    def norm(values: Tensor, bn: nn.BatchNorm2d) -> Tensor:
        return functional.batch_norm(values, bn.running_mean, bn.running_var, bn.weight, bn.bias)

    inner = norm(functional.conv2d(x, block.conv1.weight, stride=block.conv1.stride, padding=1), block.bn1).relu()
    branch = norm(functional.conv2d(inner, block.conv2.weight, padding=1), block.bn2)
    if block.downsample is None:
        return branch, x
    conv, bn = block.downsample
    return branch, norm(functional.conv2d(x, conv.weight, stride=conv.stride), bn)


@pytest.mark.parametrize("name", ["layer1.0", "layer2.0", "layer4.1"])
def test_the_parts_are_those_of_the_paper(name: str, images: Tensor) -> None:
    model = trained_looking("resnet18", width=16)
    parts = block_parts(model, images, name)
    before = list_blocks(model)[list_blocks(model).index(name) - 1] if name != "layer1.0" else "maxpool"
    came_in = capture_activations(model, images, [before])[before]
    with torch.no_grad():
        branch, identity = by_hand(model.get_submodule(name), came_in)
    assert parts.identity is not None
    assert torch.allclose(parts.branch, branch, atol=1e-5)
    assert torch.allclose(parts.identity, identity, atol=1e-5)
    assert torch.allclose(parts.total, branch + identity, atol=1e-5)
    assert torch.allclose(parts.output, (branch + identity).relu(), atol=1e-5)
    assert torch.equal(parts.output, capture_activations(model, images, [name])[name])


def test_shares_are_norms_of_the_parts_and_a_silent_branch_adds_nothing(images: Tensor) -> None:
    model = trained_looking("resnet18", width=16)
    model.layer2[1].bn2.weight.data.zero_()  # type: ignore[union-attr,index]
    model.layer2[1].bn2.bias.data.zero_()  # type: ignore[union-attr,index]
    shares = {share.name: share for share in block_shares(model, images)}
    assert tuple(shares) == list_blocks(model)
    assert shares["layer2.1"].ratio == 0
    parts = block_parts(model, images, "layer3.0")
    assert parts.identity is not None
    assert shares["layer3.0"].branch == pytest.approx(float(parts.branch.flatten(1).norm(dim=1).mean()), rel=1e-5)
    assert shares["layer3.0"].identity == pytest.approx(float(parts.identity.flatten(1).norm(dim=1).mean()), rel=1e-5)


def test_without_its_branch_a_block_hands_its_input_on(images: Tensor) -> None:
    model = trained_looking("resnet18", width=16)
    with switching_off(model, {"layer3.1": "branch"}):
        seen = capture_activations(model, images, ["layer3.0", "layer3.1"])
    assert torch.equal(seen["layer3.1"], seen["layer3.0"])


def test_without_its_skip_a_block_is_a_plain_one(images: Tensor) -> None:
    model = trained_looking("resnet18", width=16)
    parts = block_parts(model, images, "layer3.1")
    with switching_off(model, {"layer3.1": "skip"}):
        seen = capture_activations(model, images, ["layer3.1"])["layer3.1"]
    assert torch.allclose(seen, parts.branch.relu(), atol=1e-6)


def test_without_all_skips_the_network_is_its_plain_twin(images: Tensor) -> None:
    model = trained_looking("resnet18", width=16)
    plain = build_model("resnet18", num_classes=5, width=16, residual=False).eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if "downsample" not in key})
    with torch.no_grad(), switching_off(model, dict.fromkeys(list_blocks(model), "skip")):
        assert torch.allclose(model(images), plain(images), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet20", "resnet50", "tutorial-cifar", "resnet8"])
def test_every_family_with_blocks_can_be_looked_into(name: str) -> None:
    model = trained_looking(name)
    small = torch.randn(1, 3, 32, 32)
    shares = block_shares(model, small)
    assert [share.name for share in shares] == list(list_blocks(model))
    assert all(share.identity > 0 for share in shares)
    before = model(small)
    for share in shares[:2]:
        for off in ("branch", "skip"):
            with torch.no_grad(), switching_off(model, {share.name: off}):  # type: ignore[dict-item]
                assert torch.isfinite(model(small)).all()
    assert torch.equal(model(small), before), "everything is on again"


def test_everything_is_given_back_also_after_an_error(images: Tensor) -> None:
    model = trained_looking("resnet18", width=16).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ZeroDivisionError), switching_off(model, {"layer1.0": "branch", "layer2.0": "skip"}):
        raise ZeroDivisionError
    block_parts(model, images, "layer1.0")
    with pytest.raises(ModelError):
        block_parts(model, images[:, :2], "layer1.0")
    assert all(getattr(module, "off", None) is None for module in model.modules())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_cannot_be_switched_is_a_sentence(images: Tensor) -> None:
    plain = build_model("resnet18", num_classes=5, width=16, residual=False)
    with pytest.raises(ModelError, match="plain one"), switching_off(plain, {"layer1.0": "skip"}):
        pass
    parts = block_parts(plain, images, "layer1.0")
    assert parts.identity is None
    assert torch.equal(parts.total, parts.branch)
    assert block_shares(plain, images) == ()
    model = build_model("resnet18", num_classes=5, width=16)
    with (
        pytest.raises(ModelError, match="is no block; choose one of"),
        switching_off(model, {"conv1": "skip"}),
    ):
        pass
    with pytest.raises(ModelError, match="branch” or “skip"), switching_off(model, {"layer1.0": "all"}):  # type: ignore[dict-item]
        pass


def test_the_sum_is_what_the_last_relu_gets_also_when_something_is_off(images: Tensor) -> None:
    model = trained_looking("resnet18", width=16)
    whole = block_parts(model, images, "layer3.1")
    for off, left in (("branch", whole.identity), ("skip", whole.branch)):
        with switching_off(model, {"layer3.1": off}):  # type: ignore[dict-item]
            parts = block_parts(model, images, "layer3.1")
        assert left is not None
        assert torch.allclose(parts.total, left, atol=1e-6)
        assert torch.allclose(parts.output, left.relu(), atol=1e-6)
        assert torch.allclose(parts.branch, whole.branch, atol=1e-6), "what was left out is still shown"


def test_a_blocks_name_is_looked_up_without_walking_the_network(
    monkeypatch: pytest.MonkeyPatch, images: Tensor
) -> None:
    model = build_model("resnet110", num_classes=5).eval()
    walks: list[int] = []
    original = nn.Module.named_modules

    def named_modules(module: nn.Module, *args: Any, **options: Any) -> Any:
        walks.append(module is model and "prefix" not in options)
        return original(module, *args, **options)

    monkeypatch.setattr(nn.Module, "named_modules", named_modules)
    shares = block_shares(model, images[:1, :, :16, :16])
    assert len(shares) == 54
    assert sum(walks) < 54
