"""ResNets against torchvision, an implementation we did not write."""

import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from resnet_core.errors import ModelError
from resnet_core.models.resnet import BasicBlock, Network, ResidualBlock, ResNet
from resnet_core.models.zoo import build_model

PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


def lively_oracle(name: str) -> nn.Module:
    """Torchvision's network with BN statistics and scales that differ by channel, so that mix-ups show."""
    torch.manual_seed(0)
    oracle = getattr(torchvision.models, name)()
    for module in oracle.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            nn.init.uniform_(module.weight, 0.2, 0.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return oracle.eval()


def small_resnet(**arguments: object) -> Network:
    torch.manual_seed(1)
    return build_model("resnet18", **{"num_classes": 4, "width": 8, "stem": "small", **arguments})


@pytest.mark.parametrize("name", PARAMETERS)
def test_same_weights_give_torchvisions_logits(name: str) -> None:
    oracle = lively_oracle(name)
    with torch.device("meta"):
        model = build_model(name).eval()
    model.load_state_dict(oracle.state_dict(), strict=True, assign=True)
    images = torch.randn(2, 3, 64, 49)
    with torch.no_grad():
        expected, logits = oracle(images), model(images)
    assert expected.std() > 1e-3  # otherwise equality would say nothing
    assert (logits - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameters_match_to_the_unit_and_torchvision_takes_our_state_dict(name: str, count: int) -> None:
    with torch.device("meta"):
        model, oracle = build_model(name), getattr(torchvision.models, name)()
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    oracle.load_state_dict(model.state_dict(), strict=True, assign=True)


def test_training_step_gives_torchvisions_gradients_and_running_statistics() -> None:
    oracle, model = lively_oracle("resnet18").train(), build_model("resnet18").train()
    model.load_state_dict(oracle.state_dict())
    images = torch.randn(3, 3, 48, 48)
    for network in (oracle, model):
        network(images).square().mean().backward()
    expected = dict(oracle.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-5, msg=name)
    torch.testing.assert_close(model.layer4[1].bn2.running_var, oracle.layer4[1].bn2.running_var)


@pytest.mark.parametrize(
    "arguments", [{}, {"stem": "imagenet"}, {"residual": False}, {"zero_init_residual": True}, {"width": 5}]
)
def test_backward_reaches_every_parameter(arguments: dict[str, object]) -> None:
    model = small_resnet(**arguments)
    for module in model.modules():  # a zeroed scale stops the gradient behind it until its first update
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    model(torch.randn(4, 3, 40, 40)).logsumexp(1).sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_forward_is_head_after_features() -> None:
    model = small_resnet().eval()
    images = torch.randn(2, 3, 32, 32)
    features = model.forward_features(images)
    assert features.shape == (2, 64, 4, 4)  # small stem: three strides only
    assert torch.equal(model.forward_head(features), model(images))


def test_without_the_top_the_last_stage_comes_out_and_no_head_is_left() -> None:
    whole, body = small_resnet().eval(), small_resnet(include_top=False).eval()
    missing = body.load_state_dict(whole.state_dict(), strict=False)
    assert missing.unexpected_keys == ["fc.weight", "fc.bias"]
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(body(images), whole.forward_features(images))
    assert not hasattr(body, "fc")
    assert not hasattr(body, "avgpool")


@pytest.mark.parametrize(("stem", "edge"), [("imagenet", 16), ("small", 64)])
def test_stem_decides_how_much_detail_reaches_the_first_stage(stem: str, edge: int) -> None:
    model = small_resnet(stem=stem, width=4)
    captured: list[Tensor] = []
    model.maxpool.register_forward_hook(lambda _m, _i, output: captured.append(output))
    model(torch.randn(2, 3, 64, 64))
    assert captured[0].shape == (2, 4, edge, edge)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "tutorial-cifar", "resnet8"])
@pytest.mark.parametrize("residual", [True, False])
def test_every_module_runs_exactly_once(name: str, residual: bool) -> None:
    model = build_model(name, residual=residual).eval()
    runs = dict.fromkeys(dict(model.named_modules()), 0)

    def count(key: str) -> None:
        runs[key] += 1

    for key, module in model.named_modules():
        module.register_forward_hook(lambda *_, key=key: count(key))
    model(torch.randn(1, 3, 32, 32))
    assert {key: n for key, n in runs.items() if n != 1} == {}


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "tutorial-cifar"])
def test_a_block_is_the_relu_of_branch_plus_skip(name: str) -> None:
    model = build_model(name).eval()
    block = model.layer2[0]
    assert isinstance(block, ResidualBlock)
    x = torch.rand(2, next(block.parameters()).shape[1], 8, 8)
    before = x.clone()
    output = block(x)
    assert torch.equal(output, torch.relu(block.branch(x) + block.skip(x)))
    assert torch.equal(x, before)  # the in-place ReLUs must not reach the block's input
    assert not torch.equal(output, torch.relu(block.branch(x)))


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "tutorial-cifar"])
def test_the_plain_twin_is_the_same_network_without_shortcuts(name: str) -> None:
    torch.manual_seed(0)
    residual, plain = build_model(name).eval(), build_model(name, residual=False).eval()
    shared = {key: value for key, value in residual.state_dict().items() if "downsample" not in key}
    plain.load_state_dict(shared, strict=True)
    assert not any("downsample" in key for key, _ in plain.named_modules())
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(plain(images), residual(images))
        x = plain.forward_features(images)
    assert x.shape == residual.forward_features(images).shape


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20"])
def test_zero_initialized_blocks_start_as_identities(name: str) -> None:
    model = build_model(name, zero_init_residual=True).train()
    x = torch.rand(2, next(model.layer1[1].parameters()).shape[1], 8, 8)
    assert torch.equal(model.layer1[1](x), x)
    default = build_model(name).train()
    assert not torch.equal(default.layer1[1](x), x)


def test_convolutions_start_kaiming_normal_over_the_fan_out() -> None:
    torch.manual_seed(0)
    model = build_model("resnet18")
    weight = model.layer3[0].conv1.weight.detach()  # 128 → 256 channels, 3×3
    assert float(weight.std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)
    assert float(weight.mean()) == pytest.approx(0.0, abs=1e-3)
    assert set(model.layer3[0].bn1.weight.tolist()) == {1.0}
    assert set(model.layer3[0].bn1.bias.tolist()) == {0.0}


def test_a_plain_network_with_zeroed_branches_is_refused() -> None:
    with pytest.raises(ModelError, match="no skips"):
        small_resnet(residual=False, zero_init_residual=True)


def test_an_unknown_stem_is_refused_by_the_class_itself() -> None:
    with pytest.raises(ModelError, match="'wide'"):
        ResNet(BasicBlock, (1, 1, 1, 1), stem="wide")  # type: ignore[arg-type]


def test_exports_and_compiles_to_one_graph() -> None:
    model = small_resnet(width=4).eval()
    images = torch.randn(2, 3, 16, 16)
    program = torch.export.export(model, (images,))
    torch.testing.assert_close(program.module()(images), model(images), rtol=1e-4, atol=1e-5)
