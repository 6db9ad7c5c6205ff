"""The finder leaves no trace, and suggests rates at which a network learns."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_core.data.datasets import DatasetSpec, load_dataset
from resnet_core.errors import ConfigError
from resnet_core.training.config import TrainConfig
from resnet_core.training.learner import Learner
from resnet_core.training.rate_finder import find_learning_rate, smooth, suggest
from resnet_core.training.session import Session

Quick = Callable[..., TrainConfig]


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [(key, item) for key in value for item in flat(value[key])]
    if isinstance(value, list | tuple):
        return [entry for item in value for entry in flat(item)]
    return [value]


def same(one: Any, other: Any) -> bool:
    first, second = flat(one), flat(other)
    return len(first) == len(second) and all(
        torch.equal(a[-1], b[-1]) if isinstance(a, tuple) and isinstance(a[-1], torch.Tensor) else str(a) == str(b)
        for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("settings", [{"ema_decay": 0.9}, {"optimizer": "adamw", "drop_path": 0.2}], ids=str)
def test_everything_is_bit_by_bit_as_before(settings: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec) -> None:
    session = Session(quick(**settings), tiny_flowers)
    list(session.train_epoch())  # so that the optimizer has a memory that could be spoilt
    before = copy.deepcopy(session.learner.state())
    scan = find_learning_rate(session, steps=20)
    assert len(scan.losses) == len(scan.learning_rates) > 5
    assert same(session.learner.state(), before)
    assert all(parameter.grad is None for parameter in session.model.parameters())


def test_also_after_it_broke_off(quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(quick(), tiny_flowers)
    before = copy.deepcopy(session.learner.state())
    step, calls = Learner.step, 0

    def breaks(self: Learner, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise MemoryError
        return step(self, *arguments, **named)

    monkeypatch.setattr(Learner, "step", breaks)
    with pytest.raises(MemoryError):
        find_learning_rate(session, steps=20)
    assert same(session.learner.state(), before)


def test_smoothing_has_no_lag_and_keeps_a_constant() -> None:
    assert smooth([2.0] * 30) == pytest.approx([2.0] * 30)
    step = [1.0] * 50 + [0.0] * 50
    middle = next(place for place, value in enumerate(smooth(step)) if value < 0.5)
    assert abs(middle - 50) <= 2


def test_the_suggested_rate_learns_and_a_ten_thousandth_of_it_does_not(quick: Quick, drawn_folder: Path) -> None:
    config = quick(epochs=6, schedule="constant", label_smoothing=0.0, augment="none")
    colors = load_dataset(str(drawn_folder), data_dir=drawn_folder)
    suggested = find_learning_rate(Session(config, colors), steps=60).suggested
    assert suggested is not None

    def loss_after(rate: float) -> float:
        session = Session(config.replace(learning_rate=rate), colors)
        for _ in range(6):
            last = [event for event in session.train_epoch() if event][-1]
            session.position.epoch += 1
            session.position.step_in_epoch = 0
        return last.loss

    assert loss_after(suggested) < 0.9 * loss_after(suggested / 10_000)


def test_the_suggestion_is_where_a_known_curve_falls_fastest() -> None:
    rates = tuple(10 ** (-6 + 0.07 * number) for number in range(100))
    losses = tuple(2 - math.tanh(2 * (math.log10(rate) + 3)) + max(0, math.log10(rate)) * 5 for rate in rates)
    assert math.log10(suggest(rates, losses) or 1) == pytest.approx(-3, abs=0.15)


def test_a_loss_that_only_rises_has_no_suggestion() -> None:
    rates = tuple(10.0 ** (number / 10) for number in range(20))
    assert suggest(rates, rates) is None
    assert suggest((), ()) is None


@pytest.mark.parametrize("wrong", [{"lowest": 0.0}, {"lowest": 1.0, "highest": 0.5}, {"steps": 3}], ids=str)
def test_a_range_without_rates_is_refused(wrong: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec) -> None:
    with pytest.raises(ConfigError, match="finder needs"):
        find_learning_rate(Session(quick(), tiny_flowers), **wrong)
