"""Settings changed while a run is on: from the next epoch, recorded, repeatable, and kept when it is taken up again."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from observers import Keeper, StopsAtLook, same_weights, story

from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import ConfigError
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import CHANGEABLE, Control, Replay, StopAsked
from resnet_core.training.engine import fit
from resnet_core.training.events import Changed, EpochEnded, Event, RunEnded, StepEnded, Warned, event_to_json
from resnet_core.training.session import Session

Quick = Callable[..., TrainConfig]


def with_changes(
    config: TrainConfig, dataset: DatasetSpec, wishes: dict[int, dict[str, Any]], **more: Any
) -> list[Event]:
    """The run's events; `wishes[n]` are asked for in the middle of epoch n."""
    control, events = more.pop("control", None) or Control(), []
    for event in fit(config, dataset, control=control, **more):
        events.append(event)
        if isinstance(event, StepEnded) and event.epoch in wishes:
            control.change(**wishes.pop(event.epoch))
    return events


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_change_holds_from_the_next_epoch_and_is_an_event(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config = quick(epochs=3, schedule="constant", learning_rate=0.1)
    events = with_changes(config, tiny_flowers, {1: {"learning_rate": 0.01}})
    [changed] = of(events, Changed)
    assert (changed.epoch, changed.step, changed.settings) == (2, 5, {"learning_rate": 0.01})
    rates = {event.epoch: event.learning_rate for event in of(events, StepEnded)}
    assert rates == {1: 0.1, 2: 0.01, 3: 0.01}


def test_more_epochs_and_fewer_epochs(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    longer = with_changes(quick(epochs=2), tiny_flowers, {2: {"epochs": 4}})
    assert len(of(longer, EpochEnded)) == 4
    shorter = with_changes(quick(epochs=9), tiny_flowers, {2: {"epochs": 2}})
    assert len(of(shorter, EpochEnded)) == 2
    assert all(of(events, RunEnded)[0].status == "finished" for events in (longer, shorter))


@pytest.mark.parametrize(
    "wish",
    [
        {"learning_rate": 0.02, "epochs": 4},
        {"augment": "strong", "mixup": 0.3},
        {"freeze": "layer2", "drop_path": 0.2},
        {"freeze": "layer3", "augment": "flip"},
    ],
    ids=str,
)
def test_replaying_and_resuming_repeat_a_change(wish: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config = quick(epochs=3, ema_decay=0.9)
    straight = Keeper()
    expected = with_changes(config, tiny_flowers, {1: dict(wish)}, saver=straight)
    recorded = [event_to_json(event) for event in expected]

    repeated = Keeper()
    again = list(fit(config, tiny_flowers, saver=repeated, control=Replay(recorded)))
    assert story(again) == story(expected)
    assert same_weights(repeated.weights, straight.weights)

    for looks in (3, 9, 13):  # asked for but not yet applied; in the epoch after the change; in the one after that
        keeper = Keeper()
        first = with_changes(config, tiny_flowers, {1: dict(wish)}, saver=keeper, control=StopsAtLook(looks))
        second = list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state))
        assert story(first) + story(second) == story(expected), looks
        assert same_weights(keeper.weights, straight.weights), looks
        assert same_weights(keeper.judged, straight.judged), looks


def test_killed_after_a_change_the_log_brings_it_back(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    """The state on the disk is from before the change; its event is all that is left of it."""
    config, wish = quick(epochs=3), {"learning_rate": 0.01, "augment": "strong"}
    straight, killed = Keeper(), Keeper()
    expected = with_changes(config, tiny_flowers, {1: dict(wish)}, saver=straight)
    events: list[Event] = []
    control = Control()
    for event in fit(config, tiny_flowers, saver=killed, control=control):
        events.append(event)
        if isinstance(event, StepEnded) and event.epoch == 1:
            control.change(**wish)
        if isinstance(event, StepEnded) and event.step == 8:
            break  # in epoch 2; the newest state is the end of epoch 1
    log = [event_to_json(event) for event in events]
    second = list(fit(config, tiny_flowers, saver=killed, resume=killed.state, control=Replay(log)))
    done = [event for event in events if getattr(event, "epoch", 1) == 1 and not isinstance(event, Changed)]
    assert story(done) + story(second) == story(expected)
    assert same_weights(killed.weights, straight.weights)


def test_a_replay_that_is_stopped_goes_on_with_the_changes_still_to_come(
    quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config, straight, keeper = quick(epochs=3), Keeper(), Keeper()
    expected = with_changes(config, tiny_flowers, {2: {"learning_rate": 0.01}}, saver=straight)
    recorded = [event_to_json(event) for event in expected]

    class Stopping(Replay):
        looks = 0

        def check(self) -> None:
            self.looks += 1
            if self.looks == 3:
                raise StopAsked

    first = list(fit(config, tiny_flowers, saver=keeper, control=Stopping(recorded)))
    second = list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state))
    assert story(first) + story(second) == story(expected)
    assert same_weights(keeper.weights, straight.weights)


def test_a_change_refused_late_leaves_everything_as_it_was(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config = quick(epochs=2, residual=False, zero_init_residual=False, learning_rate=0.05, schedule="constant")
    keeper = Keeper()
    events = with_changes(config, tiny_flowers, {1: {"drop_path": 0.1, "learning_rate": 0.5}}, saver=keeper)
    assert not of(events, Changed)
    assert any("skip connections" in warning.message for warning in of(events, Warned))
    assert {event.learning_rate for event in of(events, StepEnded)} == {0.05}
    assert keeper.state["changes"] == {}
    assert of(list(fit(config, tiny_flowers, resume=keeper.state)), RunEnded)[0].status == "finished"


def test_what_is_frozen_stays_and_what_thaws_learns_again(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    weights: dict[int, dict[str, torch.Tensor]] = {}

    class Watcher(Keeper):
        def save_epoch(self, session: Any, validation: Any) -> None:
            super().save_epoch(session, validation)
            weights[session.position.epoch - 1] = self.weights

    with_changes(
        quick(epochs=3, ema_decay=0.0), tiny_flowers, {1: {"freeze": "layer1"}, 2: {"freeze": "none"}}, saver=Watcher()
    )
    stem = "conv1.weight"
    assert torch.equal(weights[2][stem], weights[1][stem])
    assert not torch.equal(weights[3][stem], weights[2][stem])
    assert not torch.equal(weights[2]["fc.weight"], weights[1]["fc.weight"])


@pytest.mark.parametrize("fixed", ["model", "batch_size", "seed", "dataset", "nonsense"])
def test_what_is_fixed_is_refused_at_once(fixed: str) -> None:
    control = Control()
    with pytest.raises(ConfigError, match=f"{fixed} cannot change"):
        control.change(**{fixed: 1}, epochs=3)
    assert control.asked_changes == {}
    assert fixed not in CHANGEABLE


def test_what_does_not_fit_the_rest_changes_nothing_and_the_run_goes_on(
    quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config = quick(epochs=3, augment="standard", start_image_size=16, image_size=24, resize=24)
    events = with_changes(config, tiny_flowers, {1: {"augment": "none", "learning_rate": 0.5}})
    assert not of(events, Changed)
    assert any("random cuts" in warning.message for warning in of(events, Warned))
    assert of(events, RunEnded)[0].status == "finished"
    assert max(event.learning_rate for event in of(events, StepEnded)) < 0.5


def test_asked_twice_the_later_counts_and_it_is_told_once() -> None:
    control = Control()
    control.change(learning_rate=0.1)
    control.change(learning_rate=0.2, epochs=7)
    assert control.asked_changes == {"learning_rate": 0.2, "epochs": 7}
    assert control.take_changes(2) == {"learning_rate": 0.2, "epochs": 7}
    assert control.take_changes(3) == {}


def test_nothing_can_be_left_open_once_a_run_has_begun(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    control = Control()
    with pytest.raises(ConfigError, match="learning_rate cannot be left open"):
        control.change(learning_rate=None, epochs=3)
    assert control.asked_changes == {}
    for name in ("momentum", "mixup", "patience"):
        with pytest.raises(ConfigError, match="must be a"):
            quick(**{name: None})


def test_a_run_saved_with_an_empty_wish_can_be_taken_up(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    """Earlier versions took one, and no epoch could begin with it."""
    control = Control()
    control.recall({"planned": {}, "asked": {"learning_rate": None, "mixup": 0.2}}, 2)
    assert control.take_changes(2) == {"mixup": 0.2}


def test_a_stop_while_a_change_is_prepared_keeps_the_change(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, keeper = quick(epochs=3), Keeper()

    def stopped(*_: Any, **__: Any) -> None:
        raise StopAsked

    with monkeypatch.context() as patched:
        patched.setattr(Session, "change", stopped)
        first = with_changes(config, tiny_flowers, {1: {"augment": "flip"}}, saver=keeper)
    assert of(first, RunEnded)[0].status == "stopped"
    second = list(fit(config, tiny_flowers, resume=keeper.state))
    [changed] = of(second, Changed)
    assert (changed.epoch, changed.settings) == (2, {"augment": "flip"})
    straight = with_changes(config, tiny_flowers, {1: {"augment": "flip"}})
    assert story(first + second) == story(straight)
