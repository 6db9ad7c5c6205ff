"""A run with so many minutes ends by them, its learning rate down, however the machine's speed changes. Fake clocks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from observers import Keeper, StopsAtLook, same_weights, story

from resnet_core.data.datasets import DatasetSpec
from resnet_core.device import choose_device
from resnet_core.errors import ConfigError
from resnet_core.training import budget, budget_choice
from resnet_core.training.budget import MOST_EPOCHS, Budget, as_decided
from resnet_core.training.budget_choice import choose_by_budget
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control, Replay, lifting_budget
from resnet_core.training.engine import fit
from resnet_core.training.events import Changed, EpochEnded, Event, RunEnded, RunStarted, StepEnded, event_to_json
from resnet_core.training.learner import Learner
from resnet_core.training.plan import Plan

Quick = Callable[..., TrainConfig]
MINUTES = 1.0
TIMED: dict[str, Any] = {"epochs": None, "budget_minutes": MINUTES, "batch_size": 10}  # two steps an epoch


class FakeClock:
    """Time passes with each training step alone, `pace(seconds so far)` seconds of it."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.began = self.time
        self.pace: Callable[[float], float] = lambda _: 1.2

    def __call__(self) -> float:
        return self.time

    @property
    def passed(self) -> float:
        return self.time - self.began


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake, step = FakeClock(), Learner.step

    def slowly(self: Learner, *arguments: Any, **named: Any) -> Any:
        fake.time += fake.pace(fake.passed)
        return step(self, *arguments, **named)

    monkeypatch.setattr(budget, "now", fake)
    monkeypatch.setattr(budget_choice, "TRIALS", 2)
    monkeypatch.setattr(Learner, "step", slowly)
    return fake


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def check_ending(events: list[Event], keeper: Keeper, seconds: float) -> None:
    [ended] = of(events, RunEnded)
    assert ended.status == "finished", ended.reason
    assert seconds <= 1.1 * MINUTES * 60
    assert "best" in keeper.saved
    rates = [event.learning_rate for event in of(events, StepEnded)]
    assert rates[-1] < 0.01 * max(rates), "the learning rate is not down"


@pytest.mark.parametrize(
    ("name", "pace"),
    [
        ("steady", lambda passed: 1.2),
        ("slower later", lambda passed: 0.6 if passed < 20 else 1.8),
        ("faster later", lambda passed: 2.0 if passed < 20 else 0.7),
        ("slow for a while", lambda passed: 3.7 if 25 < passed < 40 else 0.7),
    ],
)
def test_it_ends_in_time_with_its_learning_rate_down(
    name: str, pace: Callable[[float], float], clock: FakeClock, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    clock.pace, keeper = pace, Keeper()
    events = list(fit(quick(**TIMED), tiny_flowers, saver=keeper))
    check_ending(events, keeper, clock.passed)
    assert clock.passed > 0.75 * MINUTES * 60, "time was left unused"
    assert any("Budget: 1 minute." in note for note in of(events, RunStarted)[0].notes)


def test_a_number_of_epochs_beside_a_budget_is_not_kept(
    clock: FakeClock, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    keeper = Keeper()
    events = list(fit(quick(**TIMED | {"epochs": 500}), tiny_flowers, saver=keeper))
    check_ending(events, keeper, clock.passed)
    assert len(of(events, EpochEnded)) < 40


def test_a_pause_and_the_time_between_stop_and_resume_do_not_count(
    clock: FakeClock, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config, keeper = quick(**TIMED), Keeper()

    class Resting(StopsAtLook):
        def wait(self) -> None:
            clock.time += 5_000

    control = Resting(30)
    control.pause()
    waited = 0
    first = []
    for event in fit(config, tiny_flowers, saver=keeper, control=control):
        first.append(event)
        if isinstance(event, StepEnded) and event.step == 3:
            control.resume()
    waited = clock.passed - 1.2 * (len(of(first, StepEnded)) + budget_choice.TRIALS)
    assert waited >= 5_000
    used = clock.passed - waited
    clock.time += 100_000
    before = clock.time
    second = list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state))
    check_ending([*first[:-1], *second], keeper, used + clock.time - before)
    assert used + clock.time - before > 0.75 * MINUTES * 60


def test_a_replay_repeats_what_the_clock_decided_without_a_clock(
    clock: FakeClock, quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.pace, straight = (lambda passed: 0.7 if passed < 25 else 1.9), Keeper()
    config = quick(**TIMED)
    expected = list(fit(config, tiny_flowers, saver=straight))
    assert of(expected, Changed)
    recorded = [event_to_json(event) for event in expected]
    clock.pace, repeated = (lambda passed: 60.0), Keeper()
    again = list(fit(as_decided(config, recorded), tiny_flowers, saver=repeated, control=Replay(recorded)))
    assert story(again) == story(expected)
    assert same_weights(repeated.weights, straight.weights)


def test_killed_after_a_decision_the_log_brings_it_back(
    clock: FakeClock, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    clock.pace = lambda passed: 0.7 if passed < 15 else 2.4
    config, killed, events = quick(**TIMED), Keeper(), []
    for event in fit(config, tiny_flowers, saver=killed):
        events.append(event)
        if of(events, Changed) and isinstance(event, StepEnded):
            break
    [changed] = of(events, Changed)
    log = [event_to_json(event) for event in events]
    second = list(fit(config, tiny_flowers, saver=killed, resume=killed.state, control=Replay(log)))
    assert of(second, Changed)[0].settings == changed.settings
    assert of(second, RunEnded)[0].status == "finished"


def test_without_a_budget_the_clock_decides_nothing(clock: FakeClock, quick: Quick, tiny_flowers: DatasetSpec) -> None:
    clock.pace = lambda passed: 10_000.0
    events = list(fit(quick(), tiny_flowers))
    assert not of(events, Changed)
    assert len(of(events, EpochEnded)) == 2


def test_a_person_outweighs_the_clock_for_an_epoch(clock: FakeClock, quick: Quick, tiny_flowers: DatasetSpec) -> None:
    control, events = Control(), []
    for event in fit(quick(**TIMED), tiny_flowers, control=control):
        events.append(event)
        if isinstance(event, StepEnded) and event.step == 2:
            control.change(epochs=2)
    assert of(events, Changed)[0].settings == {"epochs": 2}


# ---- The stopwatch alone --------------------------------------------------------------------------------------

PLAN = Plan(config=TrainConfig(epochs=25, image_size=32, learning_rate=0.1, schedule="one-cycle"), steps_per_epoch=10)


@given(factors=st.lists(st.floats(0.75, 1.35), min_size=MOST_EPOCHS, max_size=MOST_EPOCHS))
def test_whatever_the_epochs_take_the_budget_is_kept_and_used(factors: list[float]) -> None:
    time = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "now", lambda: time)
        watch, plan, done = Budget(10.0), PLAN, 0
        watch.begin_training()
        while True:
            epochs = watch.epochs(plan, done)
            plan = Plan(config=plan.config.replace(epochs=epochs), steps_per_epoch=10)
            if done >= epochs:
                break
            time += 22 * factors[done]
            done += 1
    assert 0.8 * 600 < time <= 1.1 * 600


def test_growing_pictures_are_weighed_by_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    time = 0.0
    monkeypatch.setattr(budget, "now", lambda: time)
    config = PLAN.config.replace(start_image_size=16, image_size=64, resize=64, augment="standard", epochs=30)
    watch, plan, done = Budget(10.0), Plan(config=config, steps_per_epoch=10), 0
    watch.begin_training()
    while done < (epochs := watch.epochs(plan, done)):
        plan = Plan(config=plan.config.replace(epochs=epochs), steps_per_epoch=10)
        done += 1
        time += 20 * (plan.image_size(done) / 64) ** 2
    assert 0.85 * 600 < time <= 1.05 * 600


@pytest.mark.parametrize(("spent", "expected"), [(570.0, 12), (640.0, 11)])
def test_a_last_epoch_is_begun_where_it_ends_within_a_tenth_over(
    spent: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An epoch of about 52 s: from 570 s it ends at 622, from 640 it would end at 692."""
    time = 0.0
    monkeypatch.setattr(budget, "now", lambda: time)
    watch = Budget(10.0)
    watch.begin_training()
    time = spent
    assert watch.epochs(PLAN, 11) == expected


# ---- What is chosen -------------------------------------------------------------------------------------------


def chosen(
    config: TrainConfig, dataset: DatasetSpec, patch: pytest.MonkeyPatch, *, macs_a_second: float
) -> tuple[TrainConfig, str]:
    def time_step(candidate: TrainConfig, num_classes: int, where: Any) -> float:
        assert candidate.batch_size is not None
        return 3 * budget_choice._macs(candidate) * candidate.batch_size / macs_a_second

    patch.setattr(budget_choice, "time_step", time_step)
    where = choose_device("cpu", precision="fp32", num_threads=1, memory_format="contiguous")
    decided, [sentence] = choose_by_budget(config, dataset, where, Budget(config.budget_minutes))
    return decided, sentence


def test_more_time_or_a_faster_machine_gets_a_larger_network_or_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_core.data.datasets import rendered_flowers

    flowers, costs = rendered_flowers(), []
    for minutes, speed in ((1, 2e10), (10, 2e10), (100, 2e10), (100, 1e12)):
        config, sentence = chosen(TrainConfig(budget_minutes=minutes), flowers, monkeypatch, macs_a_second=speed)
        assert config.epochs
        assert config.epochs >= 8
        assert f"{minutes} minute" in sentence
        assert str(config.image_size) in sentence
        costs.append(budget_choice._macs(config.replace(stem="imagenet", zero_init_residual=True)))
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


def test_what_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_core.data.datasets import rendered_flowers

    asked = TrainConfig(budget_minutes=30, model="resnet34", width=48, image_size=64, batch_size=16, max_pictures=500)
    config, _ = chosen(asked, rendered_flowers(), monkeypatch, macs_a_second=1e10)
    kept = ("model", "width", "image_size", "batch_size", "max_pictures")
    assert [getattr(config, name) for name in kept] == [getattr(asked, name) for name in kept]


def test_where_not_even_a_few_epochs_fit_fewer_pictures_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_core.data.datasets import rendered_flowers

    config, sentence = chosen(TrainConfig(budget_minutes=0.2), rendered_flowers(), monkeypatch, macs_a_second=5e9)
    assert config.max_pictures is not None
    assert config.max_pictures < 1600
    assert "1,600 training pictures" in sentence


def test_the_trial_is_the_median_of_real_steps(quick: Quick, clock: FakeClock) -> None:
    where = choose_device("cpu", precision="fp32", num_threads=1)
    clock.pace = lambda passed: 0.25
    config = quick(learning_rate=0.1, optimizer="sgd", weight_decay=0.0, zero_init_residual=True)
    assert budget_choice.time_step(config, 5, where) == pytest.approx(0.25)
    assert clock.passed == 0.25 * budget_choice.TRIALS


def test_a_trial_without_memory_is_no_candidate(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*arguments: Any, **named: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Learner, "step", short)
    where = choose_device("cpu", precision="fp32", num_threads=1)
    config = quick(learning_rate=0.1, optimizer="sgd", weight_decay=0.0)
    assert budget_choice.time_step(config, 5, where) == float("inf")


@pytest.mark.parametrize("minutes", [-1, float("nan"), float("inf"), "15", 1e9, True])
def test_impossible_budgets_are_refused(minutes: Any) -> None:
    with pytest.raises(ConfigError, match="Budget minutes must be"):
        TrainConfig(budget_minutes=minutes)


def test_epochs_that_a_person_asks_for_end_the_budget(
    clock: FakeClock, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config, control, keeper = quick(**TIMED), Control(), Keeper()
    wish = lifting_budget({"epochs": 60}, config.budget_minutes)
    assert wish == {"epochs": 60, "budget_minutes": 0.0}
    assert lifting_budget({"epochs": 60}, 0.0) == {"epochs": 60}
    events = []
    for event in fit(config, tiny_flowers, saver=keeper, control=control):
        events.append(event)
        if isinstance(event, EpochEnded) and event.epoch == 2:
            control.change(**wish)
        if isinstance(event, EpochEnded) and event.epoch == 40:
            control.stop()
    assert of(events, EpochEnded)[-1].epoch == 40, "the budget cut it"
    resumed = list(fit(config, tiny_flowers, resume=keeper.state))
    assert of(resumed, EpochEnded)[-1].epoch == 60
    assert of(resumed, RunEnded)[0].status == "finished"
