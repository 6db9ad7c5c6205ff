"""A plan answers as its network does and leaves it alone."""

from typing import Any

import pytest
import torch
from networks import NAMES, NETWORKS, assert_as_good, small_network, some_pictures
from torch import nn

from resnet_core.inference.plan import Convolve, Relu, Scale, UnknownNetwork, convert_plan, make_plan, run_plan
from resnet_core.models.resnet import BasicBlock, ResNet
from resnet_core.models.zoo import build_model


@pytest.mark.parametrize(("name", "arguments"), NETWORKS, ids=NAMES)
def test_a_plan_answers_as_the_network_does(name: str, arguments: dict[str, Any]) -> None:
    model, images = small_network(name, arguments), some_pictures(3, name)
    untouched = images.clone()
    assert_as_good(model, images, run_plan(make_plan(model), images))
    assert torch.equal(images, untouched)


def test_the_network_stays_as_it_was() -> None:
    model = small_network("resnet18", {})
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modules = dict(model.named_modules())
    steps = make_plan(model)
    run_plan(steps, some_pictures(2, "resnet18"))
    for tensor in (tensor for step in steps for tensor in vars(step).values() if isinstance(tensor, torch.Tensor)):
        tensor.fill_(7)  # of the folded weights none may be the network's own, but for the last layer's
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items() if not name.startswith("fc."))
    assert all(module is modules[name] for name, module in model.named_modules())


def test_a_relu_that_comes_first_does_not_write_to_what_it_was_given() -> None:
    images = torch.randn(1, 3, 4, 4)
    before = images.clone()
    assert torch.equal(run_plan([Relu()], images), before.clamp(min=0))
    assert torch.equal(images, before)


def test_no_batchnorm_after_a_convolution_is_left_and_one_elsewhere_is_a_scale() -> None:
    assert not [step for step in make_plan(small_network("resnet34", {})) if isinstance(step, Scale)]
    assert [step for step in make_plan(small_network("resnet8", {})) if isinstance(step, Scale)]


def test_a_converted_plan_computes_in_the_other_precision_and_the_old_one_does_not_change() -> None:
    model = small_network("resnet20", {})
    steps = make_plan(model)
    half = convert_plan(steps, device=torch.device("cpu"), dtype=torch.bfloat16, memory_format=torch.channels_last)
    images = some_pictures(2, "resnet20")
    answers, exact = run_plan(half, images.bfloat16()), run_plan(steps, images)
    assert answers.dtype == torch.bfloat16
    assert isinstance(steps[0], Convolve)
    assert steps[0].weight.dtype == torch.float32
    assert 0 < (answers.float() - exact).abs().max() < 0.1 * exact.std() + 0.1


class Squared(ResNet):
    """A network of another forward pass, whose modules alone do not tell what it computes."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).square()


def test_what_no_plan_can_express_is_refused() -> None:
    grouped = build_model("resnet18", width=8)
    grouped.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, padding_mode="reflect", bias=False)
    foreign = build_model("resnet18", width=8)
    foreign.layer2 = nn.Sequential(nn.GELU())
    forgetful = build_model("resnet18", width=8)
    forgetful.bn1 = nn.BatchNorm2d(8, track_running_stats=False)
    headless = build_model("resnet18", width=8, include_top=False)
    others = (nn.Linear(2, 2), nn.Sequential(), Squared(BasicBlock, (1, 1, 1, 1), width=8))
    for model in (grouped, foreign, forgetful, headless, *others):
        with pytest.raises(UnknownNetwork):
            make_plan(model)
