"""Schedules against torch's own and against their formulas; the weight average against its recurrence."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from resnet_core.models.zoo import build_model
from resnet_core.training.config import SCHEDULES
from resnet_core.training.optim import WeightAverage, learning_rate_at, make_optimizer, set_learning_rate


def curve(schedule: str, *, total: int, warmup: float = 0.15, peak: float = 0.1) -> list[float]:
    return [
        learning_rate_at(step, schedule=schedule, peak=peak, total_steps=total, warmup=warmup)
        for step in range(1, total + 1)
    ]


@pytest.mark.parametrize("total", [7, 50, 333])
@pytest.mark.parametrize("warmup", [0.15, 0.3, 0.5])
def test_one_cycle_is_torchs(total: int, warmup: float) -> None:
    """torch lets the rise end at step pct·total, ours at warmup·(total − 1) + 1: the same curve, other units."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.1,
        total_steps=total,
        pct_start=(warmup * (total - 1) + 1) / total,
        div_factor=25,
        final_div_factor=1e4,
        cycle_momentum=False,
    )
    expected = []
    for _ in range(total):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step() if len(expected) < total else None
    assert curve("one-cycle", total=total, warmup=warmup) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_one_cycle_starts_at_a_25th_and_ends_10_000_times_lower() -> None:
    rates = curve("one-cycle", total=101, warmup=0.2)
    assert rates[0] == pytest.approx(0.1 / 25)
    assert rates[20] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.1 / 25 / 1e4)


def test_cosine_after_warm_up_is_half_a_cosine_to_zero() -> None:
    rates = curve("cosine", total=101, warmup=0.2)
    assert rates[0] == pytest.approx(0.1 / 20.2)
    assert rates[60] == pytest.approx(0.05), "half of the peak in the middle of the fall"
    assert rates[40] == pytest.approx(0.05 * (1 + math.cos(math.pi / 4)))
    assert rates[-1] == pytest.approx(0, abs=1e-15)


def test_step_divides_by_ten_at_half_and_at_three_quarters() -> None:
    rates = curve("step", total=101)
    assert [rates[index] for index in (0, 49, 50, 74, 75, 100)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@settings(max_examples=200, deadline=None)
@given(
    schedule=st.sampled_from(SCHEDULES),
    total=st.integers(1, 500),
    warmup=st.floats(0, 0.9),
    peak=st.floats(1e-6, 10),
)
def test_no_schedule_ever_leaves_zero_to_peak(schedule: str, total: int, warmup: float, peak: float) -> None:
    rates = curve(schedule, total=total, warmup=warmup, peak=peak)
    assert all(0 <= rate <= peak * (1 + 1e-9) for rate in rates)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_biases_and_batch_norm_are_not_decayed(name: str) -> None:
    model = build_model("resnet20", num_classes=5)
    before = copy.deepcopy(model.state_dict())
    optimizer = make_optimizer(model, name, learning_rate=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, parameter in model.named_parameters():
        changed = not torch.equal(parameter, before[key])
        assert changed == (parameter.ndim > 1), key


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    model = build_model("resnet18", num_classes=3, width=8)
    model.conv1.weight.requires_grad_(False)
    optimizer = make_optimizer(model, "sgd", learning_rate=0.1, weight_decay=0.0)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    set_learning_rate(optimizer, 0.25)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25}


def test_weight_average_follows_its_recurrence() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(model, 0.9)
    expected = {name: tensor.clone().double() for name, tensor in model.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    for update in range(1, 100):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(torch.randint(1, 5, tensor.shape, generator=generator).to(tensor.dtype))
        average.update(model)
        decay = min(0.9, (1 + update) / (10 + update))
        for name, tensor in model.state_dict().items():
            whole = not tensor.is_floating_point()
            mixed = decay * expected[name] + (1 - decay) * tensor.double()
            expected[name] = tensor.clone().double() if whole else mixed
    for name, tensor in average.model.state_dict().items():
        assert torch.allclose(tensor.double(), expected[name], rtol=1e-4), name


def test_weight_average_does_not_share_memory_and_cannot_be_trained() -> None:
    model = nn.Linear(2, 2)
    average = WeightAverage(model, 0.99)
    before = average.model.weight.clone()
    with torch.no_grad():
        model.weight.add_(1)
    assert torch.equal(average.model.weight, before)
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    assert not average.model.training
