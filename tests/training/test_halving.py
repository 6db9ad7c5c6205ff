"""Where the memory runs out: half the batch, and the same epoch again; told, repeatable, and not for ever."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from observers import Keeper, StopsAtLook, same_weights, story

from resnet_core.data.datasets import DatasetSpec
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Replay
from resnet_core.training.engine import fit
from resnet_core.training.events import (
    Changed,
    EpochEnded,
    Event,
    RunEnded,
    RunStarted,
    StepEnded,
    Warned,
    event_to_json,
)
from resnet_core.training.halving import halved, ran_out_of_memory
from resnet_core.training.learner import Learner

Quick = Callable[..., TrainConfig]
CPU = "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."
SHORT: list[Exception] = [
    MemoryError(),
    RuntimeError(CPU),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)."),
]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine on which a step of more than `pictures` fails from step `first` on with `error`."""
    small: dict[str, Any] = {"pictures": 10**6, "first": 1, "error": MemoryError(), "calls": 0}
    step = Learner.step

    def within(self: Learner, batch: Any, **named: Any) -> Any:
        small["calls"] += 1
        if len(batch.targets) > small["pictures"] and small["calls"] >= small["first"]:
            self.network(batch.images)  # BatchNorm has seen the pictures before the memory ran out
            raise small["error"]
        return step(self, batch, **named)

    monkeypatch.setattr(Learner, "step", within)
    return small


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_half_the_batch_goes_on_and_says_so(
    error: Exception, room: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    room |= {"pictures": 2, "error": error}
    events = list(fit(quick(halve_batch=True, learning_rate=0.1), tiny_flowers))
    [changed] = of(events, Changed)
    assert (changed.epoch, changed.step, changed.settings) == (1, 0, {"batch_size": 2, "learning_rate": 0.05})
    [warned] = of(events, Warned)
    assert "batches of 4" in warned.message
    assert "0.05 instead of 0.1" in warned.message
    assert [event.step for event in of(events, EpochEnded)] == [10, 20]
    assert [event.steps_per_epoch for event in of(events, RunStarted)] == [5, 10]
    assert of(events, RunEnded)[0].status == "finished"


def test_in_the_middle_of_a_run_the_epoch_begins_again_as_if_nothing_had_happened(
    room: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    """A replay, which never runs out, changes the batch at the start of that epoch: all must be the same."""
    config, straight, repeated = quick(epochs=3, halve_batch=True, ema_decay=0.9, drop_path=0.1), Keeper(), Keeper()
    room |= {"pictures": 2, "first": 9}
    told = list(fit(config, tiny_flowers, saver=straight))
    [changed] = of(told, Changed)
    assert (changed.epoch, changed.step) == (2, 10), "five steps of 4 are ten of 2"
    room |= {"pictures": 10**6}
    again = list(fit(config, tiny_flowers, saver=repeated, control=Replay(map(event_to_json, told))))
    one, other = ([row for row in story(events) if row["event"] == "EpochEnded"] for events in (told, again))
    assert one == other
    assert same_weights(straight.weights, repeated.weights)
    assert same_weights(straight.judged, repeated.judged)


def test_taken_up_afterwards_it_goes_on_with_the_smaller_batch(
    room: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config, straight = quick(epochs=3, halve_batch=True), Keeper()
    room |= {"pictures": 2, "first": 8}
    expected = list(fit(config, tiny_flowers, saver=straight))
    for looks in (14, 21):  # in the epoch that began again; in the next
        room["calls"], keeper = 0, Keeper()
        first = list(fit(config, tiny_flowers, saver=keeper, control=StopsAtLook(looks)))
        room["calls"] = 100
        second = list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state))
        steps = [row for row in story(first) + story(second) if row["event"] == "StepEnded"]
        assert steps == [row for row in story(expected) if row["event"] == "StepEnded"], looks
        assert same_weights(keeper.weights, straight.weights), looks


def test_in_the_validation_too(
    room: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_core.training import session as sessions

    validate, failed = sessions.validate, []

    def short(*arguments: Any, **named: Any) -> Any:
        if not failed:
            failed.append(True)
            raise MemoryError
        return validate(*arguments, **named)

    monkeypatch.setattr(sessions, "validate", short)
    events = list(fit(quick(halve_batch=True), tiny_flowers))
    assert of(events, Changed)[0].settings["batch_size"] == 2
    assert of(events, RunEnded)[0].status == "finished"


def test_without_the_option_it_ends_with_a_sentence(
    room: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    room |= {"pictures": 2}
    events = list(fit(quick(), tiny_flowers))
    assert not of(events, Changed)
    assert of(events, RunEnded)[0].reason == "The memory ran out; use a smaller batch or picture size."


def test_three_times_and_no_more(room: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec) -> None:
    room |= {"pictures": 0}
    events = list(fit(quick(batch_size=32, halve_batch=True), tiny_flowers))
    assert [changed.settings["batch_size"] for changed in of(events, Changed)] == [16, 8, 4]
    assert "memory ran out" in of(events, RunEnded)[0].reason
    small = list(fit(quick(batch_size=4, halve_batch=True), tiny_flowers))
    assert [changed.settings["batch_size"] for changed in of(small, Changed)] == [2]


def test_another_failure_is_none_of_it(room: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec) -> None:
    room |= {"pictures": 2, "error": RuntimeError("shapes do not match")}
    events = list(fit(quick(halve_batch=True), tiny_flowers))
    assert not of(events, Changed)
    assert "unexpectedly" in of(events, RunEnded)[0].reason


@pytest.mark.parametrize(("optimizer", "share"), [("sgd", 0.5), ("adam", 0.5**0.5), ("adamw", 0.5**0.5)])
def test_a_picture_keeps_its_weight(optimizer: str, share: float) -> None:
    settings = halved(TrainConfig(optimizer=optimizer, learning_rate=0.1, batch_size=32))
    assert settings is not None
    assert settings["batch_size"] == 16
    assert settings["learning_rate"] == pytest.approx(0.1 * share, rel=1e-5)


def test_the_smallest_batch_is_not_halved() -> None:
    assert halved(TrainConfig(learning_rate=0.1, optimizer="sgd", batch_size=3)) is None


def test_what_counts_as_out_of_memory() -> None:
    assert all(ran_out_of_memory(error) for error in SHORT)
    assert not ran_out_of_memory(ValueError("out of memory"))
    assert not ran_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_no_step_of_the_failed_try_is_left_in_the_sums(
    room: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    room |= {"pictures": 2, "first": 4}
    told = list(fit(quick(epochs=1, halve_batch=True, learning_rate=0.1), tiny_flowers))
    assert of(told, Changed)[0].step == 0
    plain = list(fit(quick(epochs=1, batch_size=2, learning_rate=0.05), tiny_flowers))
    mine, theirs = of(told, EpochEnded)[0], of(plain, EpochEnded)[0]
    assert (mine.train_loss, mine.val_loss) == (theirs.train_loss, theirs.val_loss)
    assert [event.step for event in of(told, StepEnded)] == [1, 2, 3, *range(1, 11)]
