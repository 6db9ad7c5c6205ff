"""What is told before Start is what the run then does."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from resnet_core.data import cache
from resnet_core.data.datasets import DatasetSpec
from resnet_core.device import choose_device
from resnet_core.errors import ConfigError, ModelError
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import Changed, EpochEnded, Event, RunStarted, StepEnded
from resnet_core.training.preview import Preview, preview

Quick = Callable[..., TrainConfig]


def planned(config: TrainConfig, dataset: DatasetSpec) -> Preview:
    return preview(config, dataset, choose_device("cpu", precision="fp32", num_threads=1))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"epochs": 3, "schedule": "cosine", "batch_size": 3},
        {"epochs": 4, "augment": "standard", "image_size": 48, "resize": 48, "start_image_size": 16},
        {"epochs": 4, "thaw": "layer3@2,layer2@4"},
        {"sampling": "balanced", "max_pictures": 10},
        {"model": None, "image_size": None, "resize": None, "epochs": 1, "batch_size": None},
    ],
    ids=str,
)
def test_the_run_keeps_what_the_preview_promises(
    settings: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config = quick(**settings)
    told = planned(config, tiny_flowers)
    events: list[Event] = list(fit(config, tiny_flowers))
    started = events[0]
    assert isinstance(started, RunStarted)
    assert started.settings == told.config.to_json()
    assert (started.steps_per_epoch, started.epochs) == (told.steps_per_epoch, len(told.epochs))
    assert (started.n_train, started.n_val) == (told.n_train, told.n_val)
    assert set(told.notes) <= set(started.notes)
    rates = {event.step: event.learning_rate for event in events if isinstance(event, StepEnded)}
    frozen = {event.epoch: event.settings["freeze"] for event in events if isinstance(event, Changed)}
    now = told.epochs[0].freeze
    for epoch in told.epochs:
        assert rates[(epoch.epoch - 1) * told.steps_per_epoch + 1] == epoch.learning_rate
        assert rates[epoch.epoch * told.steps_per_epoch] == epoch.last_learning_rate
        now = frozen.get(epoch.epoch, now)
        assert epoch.freeze == now
    assert [e.epoch for e in events if isinstance(e, EpochEnded)] == [epoch.epoch for epoch in told.epochs]


def test_growing_pictures_are_told(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    told = planned(quick(epochs=10, augment="standard", image_size=64, resize=64, start_image_size=16), tiny_flowers)
    sizes = [epoch.image_size for epoch in told.epochs]
    assert sizes[0] == 16
    assert sizes[-1] == 64
    assert sizes == sorted(sizes)


def test_the_curve_has_its_ends_and_its_peak(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    told = planned(quick(epochs=40, learning_rate=0.3, warmup=0.25), tiny_flowers)
    places, rates = zip(*told.curve, strict=True)
    assert list(places) == sorted(places)
    assert places[-1] == 40
    assert max(rates) == pytest.approx(0.3, rel=1e-3)
    assert rates[-1] < 1e-4 * rates[0]
    assert len(told.curve) <= 402


def test_nothing_is_decoded_for_it(quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("pixels were asked for")

    monkeypatch.setattr(cache, "load_pixels", refuse)
    monkeypatch.setattr("resnet_core.data.loaders.load_pixels", refuse)
    assert planned(quick(), tiny_flowers).n_train == 20


def test_a_budget_is_not_timed_for_it(quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_core.training.budget_choice.time_step", None)
    assert planned(quick(budget_minutes=3), tiny_flowers).epochs


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_size": 64, "resize": None, "model": "resnet20", "freeze": "layer4"}, "no stage layer4"),
        ({"thaw": "layer3@2", "freeze": "stem"}, "cannot thaw"),
    ],
)
def test_what_could_not_begin_is_said_at_once(
    settings: dict[str, Any], words: str, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    with pytest.raises((ConfigError, ModelError), match=words):
        planned(quick(**settings), tiny_flowers)


def test_it_is_plain_for_machines(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    told = planned(quick(epochs=2), tiny_flowers)
    row = told.to_json()["epochs"][0]
    assert row.keys() == {field.name for field in dataclasses.fields(told.epochs[0])}
    assert told.sentence().startswith("ResNet-20 (CIFAR), 16 px, 2 epochs of 5 steps, batch 4, sgd")
