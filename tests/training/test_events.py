"""An event on disk: its name, its fields, strict JSON."""

import dataclasses
import json
import math
import typing

import pytest

from resnet_core.training import events
from resnet_core.training.events import EpochEnded, RunEnded, RunStarted, StepEnded, Warned, event_to_json


def an_epoch(**changes: float) -> EpochEnded:
    numbers = dict.fromkeys(("train_loss", "train_top1", "val_loss", "val_top1", "learning_rate"), 0.5)
    numbers |= dict.fromkeys(("images_per_second", "seconds", "waited"), 1.0) | changes
    return EpochEnded(epoch=3, step=309, best=True, **numbers)


def test_epoch_has_the_fields_readers_rely_on() -> None:
    row = event_to_json(an_epoch())
    assert row["event"] == "EpochEnded"
    promised = "epoch step train_loss train_top1 val_loss val_top1 learning_rate images_per_second"
    assert set(promised.split()) <= row.keys()


def test_step_has_exactly_the_promised_fields() -> None:
    row = event_to_json(StepEnded(step=1, epoch=1, loss=2.0, learning_rate=0.1))
    assert row == {"event": "StepEnded", "step": 1, "epoch": 1, "loss": 2.0, "learning_rate": 0.1}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_become_null(value: float) -> None:
    row = event_to_json(an_epoch(val_loss=value))
    assert row["val_loss"] is None
    json.dumps(row, allow_nan=False)


def test_not_finite_numbers_are_found_at_any_depth() -> None:
    started = RunStarted(
        model="m",
        dataset="d",
        class_names=("a",),
        parameters=1,
        n_train=1,
        n_val=1,
        epochs=1,
        steps_per_epoch=1,
        device="cpu",
        precision="fp32",
        settings={"list": [math.nan, {"deep": (math.inf, 1.0)}]},
    )
    row = event_to_json(started)
    assert row["settings"] == {"list": [None, {"deep": [None, 1.0]}]}
    assert row["class_names"] == ["a"]


def test_events_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Warned(message="a").message = "b"  # type: ignore[misc]


def test_every_event_says_what_it_means() -> None:
    """The dataclasses are the documentation."""
    kinds = typing.get_args(events.Event)
    promised = "RunStarted StepEnded EpochEnded CheckpointSaved Warned Paused Resumed Changed RunEnded"
    assert [kind.__name__ for kind in kinds] == promised.split()
    assert RunEnded in kinds
    for kind in kinds:
        assert kind.__doc__
        assert not kind.__doc__.startswith(f"{kind.__name__}("), f"{kind.__name__} has no sentence of its own"
