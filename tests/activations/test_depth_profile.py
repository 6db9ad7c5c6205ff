"""Signal and gradient over depth, held against autograd on torchvision's network."""

import pytest
import torch
import torchvision
from test_residual import trained_looking
from torch import nn
from torch.nn.functional import cross_entropy

from resnet_core.activations.depth_profile import depth_profile
from resnet_core.errors import ModelError
from resnet_core.models.zoo import build_model


def test_points_are_those_of_retained_gradients_in_torchvisions_network() -> None:
    torch.manual_seed(0)
    reference = torchvision.models.resnet18(weights=None, num_classes=5).eval()
    ours = build_model("resnet18", num_classes=5)
    ours.load_state_dict(reference.state_dict())
    inputs, outputs = torch.randn(1, 3, 64, 64), {}
    for stage in range(1, 5):
        for index in range(2):
            key = f"layer{stage}.{index}"

            def keep(_module, _inputs, output, key=key):
                output.retain_grad()
                outputs[key] = output

            reference.get_submodule(key).register_forward_hook(keep)
    cross_entropy(reference(inputs), torch.tensor([3])).backward()
    points = depth_profile(ours.requires_grad_(False), inputs, 3)
    assert [point.name for point in points] == list(outputs)
    for point in points:
        values = outputs[point.name]
        assert point.activation == pytest.approx(float(values.detach().square().mean().sqrt()), rel=1e-4)
        assert point.gradient == pytest.approx(float(values.grad.square().mean().sqrt()), rel=1e-3)


@pytest.mark.parametrize("name", ["resnet50", "resnet110", "tutorial-cifar", "resnet8"])
@pytest.mark.parametrize("residual", [True, False])
def test_every_family_and_its_plain_twin_has_a_profile_and_stays_as_it_was(name: str, residual: bool) -> None:
    model = trained_looking(name, residual=residual).requires_grad_(False).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    points = depth_profile(model, torch.randn(2, 3, 32, 32), 0)
    assert len(points) == sum(len(getattr(model, stage)) for stage in model.stage_names)  # type: ignore[union-attr]
    assert all(torch.isfinite(torch.tensor([point.activation, point.gradient])).all() for point in points)
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_what_has_no_profile_is_a_sentence() -> None:
    with pytest.raises(ModelError, match="stages and a head"):
        depth_profile(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8), 0)
    with pytest.raises(ModelError, match="no class 5"):
        depth_profile(build_model("resnet20", num_classes=5), torch.zeros(1, 3, 32, 32), 5)
