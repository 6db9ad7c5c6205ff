"""The fitted temperature undoes an overconfidence of known size."""

import pytest
import torch

from resnet_core.inference.calibration import fit_temperature
from resnet_core.inference.evaluation import expected_calibration_error


@pytest.mark.parametrize("overconfidence", [0.4, 1.0, 2.5, 6.0])
def test_logits_scaled_by_a_factor_get_that_factor_back(overconfidence: float) -> None:
    generator = torch.Generator().manual_seed(0)
    honest = torch.randn(20_000, 5, generator=generator) * 2
    targets = torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(honest * overconfidence, targets) == pytest.approx(overconfidence, rel=0.05)


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
