"""The fitted temperature undoes an overconfidence of known size."""

import pytest
import torch

from resnet_core.training.calibration import (
    calibrate_sureness,
    cautious_temperature,
    expected_calibration_error,
    fit_temperature,
    held_out_probabilities,
)


@pytest.mark.parametrize("overconfidence", [0.4, 1.0, 2.5, 6.0])
def test_logits_scaled_by_a_factor_get_that_factor_back(overconfidence: float) -> None:
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(20_000, 5, generator=generator) * 2
    targets = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(honest * overconfidence, targets) == pytest.approx(overconfidence, rel=0.05)


def test_a_few_right_answers_do_not_ask_for_endless_sureness() -> None:
    logits, targets = torch.eye(3).repeat(4, 1) * 2, torch.arange(3).repeat(4)
    assert fit_temperature(logits, targets) == pytest.approx(0.1, rel=0.01)
    sure = (logits / cautious_temperature(logits, targets)).softmax(1).max()
    assert sure == pytest.approx(1 - 1 / 14, abs=0.01)  # as Platt's 13 right answers out of 14


def test_sureness_is_measured_on_pictures_that_the_temperature_was_not_fitted_to() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(30, 4, generator=generator)
    targets = torch.multinomial((logits * 1.5).softmax(1), 1, generator=generator)[:, 0]
    honest = held_out_probabilities(logits, targets, fit=cautious_temperature)
    told = calibrate_sureness(logits, targets)
    assert told.ece == pytest.approx(expected_calibration_error(honest, targets))
    assert sum(bin.count for bin in told.reliability) == 30
    moved = 0
    for picture in range(30):
        other = targets.clone()
        other[picture] = (other[picture] + 1) % 4
        changed = held_out_probabilities(logits, other, fit=cautious_temperature)
        assert torch.equal(changed[picture], honest[picture]), "its own label says nothing about its own sureness"
        moved += int((changed != honest).any(1).sum())
    assert moved > 0


@pytest.mark.parametrize(
    ("logits", "targets"),
    [
        (torch.tensor([[3.0], [4.0]]), torch.tensor([0, 0])),
        (torch.tensor([[1.0, float("-inf")], [2.0, 1.0]]), torch.tensor([1, 0])),
    ],
    ids=["one class", "an endless loss"],
)
def test_where_no_temperature_helps_it_stays_one(logits: torch.Tensor, targets: torch.Tensor) -> None:
    assert fit_temperature(logits, targets) == 1.0
    assert calibrate_sureness(logits, targets).temperature == 1.0


def test_one_picture_is_enough_for_a_number() -> None:
    told = calibrate_sureness(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0]))
    assert 0.2 <= told.temperature <= 5
    assert [bin.count for bin in told.reliability] == [1]


def test_of_very_many_pictures_some_tell_the_temperature() -> None:
    generator = torch.Generator().manual_seed(3)
    honest = torch.randn(30_000, 5, generator=generator) * 2
    targets = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    told = calibrate_sureness(honest * 2.5, targets)
    assert told.temperature == pytest.approx(2.5, rel=0.05)
    assert told.ece < 0.02
    assert sum(bin.count for bin in told.reliability) == 10_000


def test_calibrated_answers_have_a_smaller_calibration_error() -> None:
    generator = torch.Generator().manual_seed(1)
    honest = torch.randn(5_000, 5, generator=generator)
    targets = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    boastful = honest * 4
    temperature = fit_temperature(boastful, targets)
    before = expected_calibration_error(boastful.softmax(1), targets)
    after = expected_calibration_error((boastful / temperature).softmax(1), targets)
    assert after < before / 4
    assert after < 0.03
