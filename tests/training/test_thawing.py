"""Stages that thaw while the run goes on: when, and that it is kept, repeated and taken up like any change."""

from collections.abc import Callable

import pytest
import torch
from observers import Keeper, StopsAtLook, same_weights, story

from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import ConfigError
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control, Replay
from resnet_core.training.engine import fit
from resnet_core.training.events import Changed, Event, RunEnded, RunStarted, StepEnded, event_to_json
from resnet_core.training.thawing import begin_thawing, frozen_at, parse_thaw, plan_thaw, write_thaw

Quick = Callable[..., TrainConfig]
THAW = "layer3@2,layer2@3"


def changes(events: list[Event]) -> list[tuple[int, dict[str, object]]]:
    return [(event.epoch, event.settings) for event in events if isinstance(event, Changed)]


@pytest.mark.parametrize(
    "text",
    ["layer4", "layer4@", "@3", "layer9@2", "layer4@0", "layer4@two", "layer4@3;layer3@5", "fc@2", ",",
     "layer4@99999999", "layer3@2,layer4@3", "layer4@5,layer3@3", "layer4@2,layer4@3", "gradually"],
)  # fmt: skip
def test_what_is_no_thaw_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(thaw=text)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 250


def test_it_reads_what_it_writes() -> None:
    assert write_thaw(parse_thaw(" layer4@3 , layer3@5")) == "layer4@3,layer3@5"


def test_what_is_frozen_in_each_epoch() -> None:
    thaws = parse_thaw("layer4@3,layer2@5")
    frozen = [frozen_at(thaws, "none", "resnet18", epoch) for epoch in range(1, 7)]
    assert frozen == ["layer4", "layer4", "layer3", "layer3", "layer1", "layer1"]


def test_gradual_goes_from_the_head_to_the_stem_in_the_first_half() -> None:
    config = TrainConfig(model="resnet18", epochs=20, thaw="gradual")
    thaws = plan_thaw(config)
    assert [stage for _, stage in thaws] == ["layer4", "layer3", "layer2", "layer1", "stem"]
    epochs = [epoch for epoch, _ in thaws]
    assert epochs == sorted(epochs)
    assert epochs[0] >= 2
    assert epochs[-1] <= 11
    assert frozen_at(thaws, "none", "resnet18", epochs[-1]) == "none"
    begun, notes = begin_thawing(config)
    assert (begun.freeze, begun.thaw) == ("layer4", write_thaw(thaws))
    assert "layer4" in notes[0]


def test_gradual_begins_where_the_freeze_ends() -> None:
    thaws = plan_thaw(TrainConfig(model="resnet18", epochs=8, thaw="gradual", freeze="layer2"))
    assert [stage for _, stage in thaws] == ["layer2", "layer1", "stem"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "resnet20", "thaw": "layer4@2"}, "no stage layer4"),
        ({"model": "resnet18", "thaw": "layer4@2", "freeze": "layer1"}, "layer4 cannot thaw"),
    ],
)
def test_a_thaw_of_what_is_not_frozen_or_not_there_fails_in_a_sentence(
    settings: dict[str, str], words: str, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    [ended] = fit(quick(**settings), tiny_flowers)
    assert isinstance(ended, RunEnded)
    assert words in ended.reason


def test_a_stage_learns_from_its_epoch_on(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    weights: list[dict[str, torch.Tensor]] = []

    class Watcher(Keeper):
        def save_epoch(self, session: object, validation: object) -> None:
            super().save_epoch(session, validation)  # type: ignore[arg-type]
            weights.append(self.weights)

    events = list(fit(quick(epochs=3, thaw=THAW), tiny_flowers, saver=Watcher()))
    assert changes(events) == [(2, {"freeze": "layer2"}), (3, {"freeze": "layer1"})]
    for stage, learns in (("layer3", (False, True, True)), ("layer2", (False, False, True)), ("layer1", (False,) * 3)):
        name = f"{stage}.0.conv1.weight"
        first = weights[0][name]
        moved = [not torch.equal(after[name], first) for after in weights]
        assert moved[1:] == list(learns[1:]), stage
    assert not torch.equal(weights[0]["fc.weight"], weights[1]["fc.weight"])
    started = events[0]
    assert isinstance(started, RunStarted)
    assert started.settings["freeze"] == "layer3"
    assert any("frozen at first" in note for note in started.notes)


@pytest.mark.parametrize("thaw", [THAW, "gradual"])
def test_resuming_anywhere_and_replaying_repeat_it(thaw: str, quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config, straight = quick(epochs=4, thaw=thaw), Keeper()
    expected = list(fit(config, tiny_flowers, saver=straight))
    assert len(changes(expected)) >= 2
    for looks in (5, 10, 16):
        keeper = Keeper()
        first = list(fit(config, tiny_flowers, saver=keeper, control=StopsAtLook(looks)))
        second = list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state))
        assert story(first) + story(second) == story(expected), looks
        assert same_weights(keeper.weights, straight.weights), looks
    repeated = Keeper()
    again = list(fit(config, tiny_flowers, saver=repeated, control=Replay(map(event_to_json, expected))))
    assert story(again) == story(expected)
    assert changes(again) == changes(expected)
    assert same_weights(repeated.weights, straight.weights)


def test_what_a_person_freezes_outweighs_a_thaw_of_that_epoch(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    control, events = Control(), []
    for event in fit(quick(epochs=3, thaw=THAW), tiny_flowers, control=control):
        events.append(event)
        if isinstance(event, StepEnded) and event.step == 2:
            control.change(freeze="none")
    assert changes(events)[0] == (2, {"freeze": "none"})


def test_the_rest_is_chosen_as_for_a_network_that_learns_all_over(quick: Quick, drawn_folder: object) -> None:
    """Not for the head alone, whose pictures would only be mirrored."""
    from resnet_core.data.datasets import load_dataset
    from resnet_core.training.session import Session

    colors = load_dataset(str(drawn_folder), data_dir=drawn_folder)  # type: ignore[arg-type]
    session = Session(quick(thaw="gradual"), colors)
    assert session.config.augment == "standard"
    assert session.config.freeze == "layer3"
