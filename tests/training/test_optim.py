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
from resnet_core.training.muon import Muon, _orthogonal
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


@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (40, 2, 3, 3), (9, 1, 3, 3), (5, 20)])
def test_muon_s_direction_is_the_nearest_orthogonal_matrix(shape: tuple[int, ...]) -> None:
    update = torch.randn(shape, generator=torch.Generator().manual_seed(len(shape))) * 1e-3
    answer = _orthogonal(update)
    assert answer.shape == update.shape
    u, _, vh = torch.linalg.svd(update.flatten(1), full_matrices=False)
    assert float((answer.flatten(1) * (u @ vh)).sum() / answer.norm() / (u @ vh).norm()) > 0.95
    stretched = torch.linalg.svdvals(answer.flatten(1))
    assert stretched.max() < 1.3
    assert stretched.median() > 0.5
    assert torch.equal(_orthogonal(torch.zeros(shape)), torch.zeros(shape))


def test_muon_turns_convolutions_and_leaves_the_rest_to_sgd() -> None:
    torch.manual_seed(0)
    model = build_model("resnet8", num_classes=5, width=8)
    twin = copy.deepcopy(model)
    optimizer = make_optimizer(model, "muon", learning_rate=0.2, weight_decay=0.01, momentum=0.7)
    set_learning_rate(optimizer, 0.2)
    by_sgd = {"fc.weight", *(name for name, p in model.named_parameters() if p.ndim == 1)}
    oracle = torch.optim.SGD(
        [
            {"params": [p], "lr": 0.2 * 0.25, "weight_decay": 0.01 if name == "fc.weight" else 0.0}
            for name, p in twin.named_parameters()
            if name in by_sgd
        ],
        momentum=0.7,
        nesterov=True,
    )
    for step in range(3):
        for network in (model, twin):
            generator = torch.Generator().manual_seed(step)
            for parameter in network.parameters():
                if parameter.requires_grad:
                    parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        oracle.step()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        if name in by_sgd:
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6), name
        elif name == "conv1.weight":
            assert torch.equal(ours, theirs), "the stem is frozen"
        else:
            before = theirs.detach() / theirs.detach().norm() * len(theirs) ** 0.5
            assert 0.1 < float((ours.detach() - before).norm() / before.norm()) < 1.0, name


def test_muon_keeps_convolutions_at_the_norm_of_an_orthogonal_matrix() -> None:
    kernel = nn.Parameter(torch.randn(16, 4, 3, 3) * 7)
    optimizer = Muon([{"params": [kernel], "orthogonal": True}], lr=1e-9, momentum=0.5)
    kernel.grad = torch.randn_like(kernel)
    optimizer.step()
    assert float(kernel.detach().norm()) == pytest.approx(4.0, rel=1e-4)


def test_muon_goes_on_from_its_state_as_if_it_had_not_stopped() -> None:
    def training(stop: int | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        model = build_model("resnet8", num_classes=3, width=8)
        optimizer = make_optimizer(model, "muon", learning_rate=0.1, weight_decay=0.0, momentum=0.6)
        for step in range(4):
            if step == stop:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = make_optimizer(model, "muon", learning_rate=0.1, weight_decay=0.0, momentum=0.6)
                optimizer.load_state_dict(state)
            optimizer.zero_grad()
            images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(step))
            model(images).square().mean().backward()
            optimizer.step()
        return model.state_dict()

    whole, broken_off = training(None), training(2)
    assert all(torch.equal(tensor, broken_off[name]) for name, tensor in whole.items())


def test_muon_learns_what_its_network_can() -> None:
    torch.manual_seed(0)
    model = build_model("resnet8", num_classes=2, width=8)
    optimizer = make_optimizer(model, "muon", learning_rate=0.1, weight_decay=0.0, momentum=0.6)
    images = torch.randn(32, 3, 16, 16)
    targets = (images[:, 0].mean((1, 2)) > 0).long()
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


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
