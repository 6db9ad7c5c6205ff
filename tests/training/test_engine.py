"""The loop: one RunEnded whatever happens, the same events for the same seed, and stop + resume changes nothing."""

import contextlib
import errno
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from observers import Keeper, StopsAtLook, facts, same_weights, story
from PIL import Image

from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import ImageError, RunError
from resnet_core.models.zoo import build_model
from resnet_core.training import engine
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.engine import KeepNothing, fit
from resnet_core.training.events import (
    CheckpointSaved,
    EpochEnded,
    Event,
    Paused,
    Resumed,
    RunEnded,
    RunStarted,
    StepEnded,
    Warned,
)
from resnet_core.training.session import Session, Validation

Quick = Callable[..., TrainConfig]

RECIPES: list[dict[str, Any]] = [
    {"ema_decay": 0.9, "start_image_size": 16, "image_size": 24, "resize": 24, "augment": "strong"},
    {"optimizer": "adamw", "schedule": "cosine", "augment": "flip", "class_weights": "balanced", "flip_average": False},
    {"mixup": 0.4, "cutmix": 1.0, "drop_path": 0.3, "clip_norm": 1.0, "patience": 5, "augment": "shift-flip"},
]


def ending(events: list[Event]) -> RunEnded:
    endings = [event for event in events if isinstance(event, RunEnded)]
    assert len(endings) == 1, "exactly one RunEnded"
    assert events[-1] is endings[0], "and it is the last"
    return endings[0]


def test_the_story_of_a_run_in_order(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    keeper = Keeper()
    events = list(fit(quick(), tiny_flowers, saver=keeper))
    assert isinstance(events[0], RunStarted)
    assert (events[0].n_train, events[0].n_val, events[0].steps_per_epoch) == (20, 10, 5)
    assert events[0].class_names == tiny_flowers.class_names
    steps = [event for event in events if isinstance(event, StepEnded)]
    assert [(step.epoch, step.step) for step in steps] == [(1 + i // 5, 1 + i) for i in range(10)]
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    assert [(epoch.epoch, epoch.step) for epoch in epochs] == [(1, 5), (2, 10)]
    for epoch in epochs:
        assert 0 <= epoch.train_top1 <= 1
        assert 0 <= epoch.val_top1 <= 1
        assert 0 <= epoch.waited <= 1
        own = [step.loss for step in steps if step.epoch == epoch.epoch]
        assert epoch.train_loss == pytest.approx(sum(own) / len(own)), "equal batches: the mean of the steps"
    saved = [(event.kind, event.epoch) for event in events if isinstance(event, CheckpointSaved)]
    assert saved[:2] == [("best", 1), ("last", 1)]
    assert saved[-1] == ("last", 2)
    assert [kind for kind, _ in saved] == keeper.saved
    assert ending(events).status == "finished"


def test_best_is_the_highest_accuracy_and_then_the_lowest_loss(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    events = list(fit(quick(epochs=4), tiny_flowers))
    best = (-1.0, float("-inf"))
    for event in events:
        if isinstance(event, EpochEnded):
            assert event.best == ((event.val_top1, -event.val_loss) > best)
            best = max(best, (event.val_top1, -event.val_loss))


def test_many_steps_are_reported_a_hundred_times_an_epoch(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    class Grey:
        def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
            return Image.new("RGB", (8, 8), "grey")

    many = replace(tiny_flowers, train=tiny_flowers.train * 11, source=Grey(), fingerprint="grey")
    events = list(fit(quick(epochs=1, batch_size=2, image_size=8, resize=8), many))
    steps = [event for event in events if isinstance(event, StepEnded)]
    assert len(steps) == 55, "110 steps, two at a time"
    assert steps[-1].step == 110


# ---- Reproducible ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def noise() -> Iterator[None]:
    """Another thread that draws random numbers, sets seeds and builds models without pause."""
    done = threading.Event()

    def hammer() -> None:
        torch.set_num_threads(1)
        while not done.is_set():
            torch.manual_seed(random.randrange(1000))
            random.seed(torch.rand(1).item())
            build_model("resnet20", num_classes=3).eval()
            torch.randperm(100)

    thread = threading.Thread(target=hammer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("recipe", RECIPES, ids=("growing-ema-sgd", "adamw-cosine", "mixed-dropped"))
def test_other_threads_do_not_change_a_seeded_run(
    recipe: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    alone, disturbed = Keeper(), Keeper()
    expected = list(fit(quick(**recipe), tiny_flowers, saver=alone))
    with noise():
        events = list(fit(quick(**recipe), tiny_flowers, saver=disturbed))
    assert facts(events) == facts(expected)
    assert same_weights(disturbed.weights, alone.weights)


def test_another_seed_is_another_run(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    one, other = (list(fit(quick(epochs=1, seed=seed), tiny_flowers)) for seed in (0, 1))
    assert story(one) != story(other)


def test_training_does_not_touch_the_global_generator_of_its_caller(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    """Beyond building the network, which torch's constructors draw for, nothing is drawn step by step."""
    events = fit(quick(), tiny_flowers)
    next(event for event in events if isinstance(event, StepEnded))
    before = torch.get_rng_state()
    list(events)
    assert torch.equal(torch.get_rng_state(), before)


# ---- Stop and resume ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES, ids=("growing-ema-sgd", "adamw-cosine", "mixed-dropped"))
def test_stop_anywhere_and_resume_equals_going_straight(
    recipe: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    straight = Keeper()
    expected = list(fit(quick(**recipe), tiny_flowers, saver=straight))
    stopped = 0
    for looks in range(1, 40, 1 if recipe is RECIPES[0] else 5):
        keeper = Keeper()
        first = list(fit(quick(**recipe), tiny_flowers, saver=keeper, control=StopsAtLook(looks)))
        if ending(first).status == "finished":
            break
        stopped += 1
        assert ending(first).status == "stopped"
        second = list(fit(quick(**recipe), tiny_flowers, saver=keeper, resume=keeper.state))
        assert ending(second) == ending(expected)
        started = next(event for event in second if isinstance(event, RunStarted))
        [resumed] = [event for event in second if isinstance(event, Resumed)]
        assert started.first_step == resumed.step + 1
        assert story(first) + story(second) == story(expected), f"stopped at look {looks}"
        assert same_weights(keeper.weights, straight.weights), f"stopped at look {looks}"
        assert same_weights(keeper.judged, straight.judged), f"stopped at look {looks}"
    assert stopped >= (12 if recipe is RECIPES[0] else 3), "ten steps and two validations were interrupted"


def test_resume_twice_from_a_stop_right_after_a_stop(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    straight, keeper = Keeper(), Keeper()
    expected = story(list(fit(quick(), tiny_flowers, saver=straight)))
    told = story(list(fit(quick(), tiny_flowers, saver=keeper, control=StopsAtLook(2))))
    for looks in (1, 3, 1):
        events = list(fit(quick(), tiny_flowers, saver=keeper, resume=keeper.state, control=StopsAtLook(looks)))
        told += story(events)
    told += story(list(fit(quick(), tiny_flowers, saver=keeper, resume=keeper.state)))
    assert told == expected
    assert same_weights(keeper.weights, straight.weights)


def test_stop_after_the_epoch_ends_it_first_and_resumes_with_the_next(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    straight, keeper, control = Keeper(), Keeper(), Control()
    expected = story(list(fit(quick(), tiny_flowers, saver=straight)))
    first = []
    for event in fit(quick(), tiny_flowers, saver=keeper, control=control):
        first.append(event)
        control.stop(after_epoch=True)
    assert ending(first).status == "stopped"
    assert sum(isinstance(event, EpochEnded) for event in first) == 1
    second = list(fit(quick(), tiny_flowers, saver=keeper, resume=keeper.state))
    assert story(first) + story(second) == expected
    assert same_weights(keeper.weights, straight.weights)


def test_stop_after_the_last_epoch_is_a_finish(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    control = Control()
    control.stop(after_epoch=True)
    assert ending(list(fit(quick(epochs=1), tiny_flowers, control=control))).status == "finished"


def test_a_run_saved_at_its_very_end_only_finishes(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    """Killed between the last checkpoint and RunEnded."""
    keeper = Keeper()
    list(fit(quick(), tiny_flowers, saver=keeper))
    again = list(fit(quick(), tiny_flowers, resume=keeper.state))
    assert story(again) == []
    assert ending(again).status == "finished"


def test_stop_while_pictures_are_decoded(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    control = Control()
    fresh = replace(tiny_flowers, fingerprint="decoded-for-the-stop-test")
    events = list(fit(quick(), fresh, control=control, progress=lambda done, total: control.stop()))
    assert [type(event) for event in events] == [RunEnded]
    assert ending(events).status == "stopped"
    assert ending(list(fit(quick(epochs=1), fresh))).status == "finished", "no half cache stays behind"


def test_resume_refuses_other_pictures_and_other_versions(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    keeper = Keeper()
    list(fit(quick(epochs=1), tiny_flowers, saver=keeper))
    changed = replace(tiny_flowers, fingerprint="something else")
    assert "changed" in ending(list(fit(quick(), changed, resume=keeper.state))).reason
    for state in ({**keeper.state, "state_version": 99}, {}, {**keeper.state, "model": {}}):
        assert ending(list(fit(quick(), tiny_flowers, resume=state))).status == "failed"


def test_resume_does_not_need_the_checkpoint_the_run_started_from(
    quick: Quick, tiny_flowers: DatasetSpec, tmp_path: Any
) -> None:
    from resnet_core.training.checkpoint import save_checkpoint

    class Best(KeepNothing):
        def save_best(self, session: Session, validation: Validation) -> None:
            save_checkpoint(tmp_path / "start.safetensors", session.checkpoint(validation), session.model.state_dict())

    list(fit(quick(epochs=1), tiny_flowers, saver=Best()))
    keeper = Keeper()
    config = quick(init_from=str(tmp_path / "start.safetensors"))
    list(fit(config, tiny_flowers, saver=keeper, control=StopsAtLook(3)))
    (tmp_path / "start.safetensors").unlink()
    assert ending(list(fit(config, tiny_flowers, resume=keeper.state))).status == "finished"
    assert ending(list(fit(config, tiny_flowers))).status == "failed", "a fresh start does need it"


# ---- Pause ----------------------------------------------------------------------------------------------------


def test_pause_saves_waits_and_goes_on_unchanged(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    expected = story(list(fit(quick(), tiny_flowers)))
    keeper, control = Keeper(), Control()
    events = []
    for event in fit(quick(), tiny_flowers, saver=keeper, control=control):
        events.append(event)
        if isinstance(event, StepEnded) and event.step == 3:
            control.pause()
            control.pause()
        if isinstance(event, Paused):
            assert keeper.saved[-1] == "resume", "safe to switch off while paused"
            threading.Timer(0.05, control.resume).start()
    assert [type(event) for event in events if isinstance(event, Paused | Resumed)] == [Paused, Resumed]
    assert story(events) == expected


def test_stop_ends_a_pause(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    control = Control()
    control.pause()
    events = []
    for event in fit(quick(), tiny_flowers, control=control):
        events.append(event)
        if isinstance(event, Paused):
            control.stop()
            control.pause()  # a late click on Pause must not hang a stopping run
    assert ending(events) == RunEnded(status="stopped", reason="Stopped after step 1, as asked.")


# ---- Whatever happens -----------------------------------------------------------------------------------------


class Breaks(KeepNothing):
    def __init__(self, where: str, error: BaseException) -> None:
        self.where, self.error = where, error

    def save_best(self, session: Session, validation: Validation) -> None:
        self._maybe("best")

    def save_epoch(self, session: Session, validation: Validation) -> None:
        self._maybe("epoch")

    def save_resume(self, session: Session) -> None:
        self._maybe("resume")

    def _maybe(self, here: str) -> None:
        if here == self.where:
            raise self.error


ERRORS = [
    (OSError(errno.EACCES, "Permission denied", "/srv/secret"), "Permission denied"),
    (OSError("odd /srv/secret"), "OSError"),
    (RuntimeError("/srv/secret"), "RuntimeError"),
    (RunError("A sentence of ours."), "A sentence of ours."),
    (MemoryError(), "smaller batch"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "smaller batch"),
]


@pytest.mark.parametrize("where", ["best", "epoch", "resume"])
@pytest.mark.parametrize(("error", "said"), ERRORS, ids=lambda value: type(value).__name__)
def test_a_broken_saver_ends_the_run_once(
    where: str, error: Exception, said: str, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    control = StopsAtLook(2) if where == "resume" else Control()
    events = list(fit(quick(epochs=1), tiny_flowers, saver=Breaks(where, error), control=control))
    ended = ending(events)
    stopped_anyway = where == "resume" and isinstance(error, OSError)
    assert ended.status == ("stopped" if stopped_anyway else "failed")
    assert said in ended.reason
    assert "/srv/secret" not in ended.reason


def test_an_exception_in_the_data_ends_the_run_once(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_core.data import loaders

    calls = iter(range(1000))

    def torn(pixels: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        if next(calls) == 2:
            raise ValueError("torn")
        return pixels.float()

    monkeypatch.setattr(loaders, "augment_batch", torn)
    threads = threading.active_count()
    events = list(fit(quick(), tiny_flowers))
    assert ending(events).status == "failed"
    assert sum(isinstance(event, StepEnded) for event in events) == 2
    assert threading.active_count() == threads, "the prefetching thread is gone"


def test_pictures_that_vanish_or_break_are_named_and_left_out(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    class Broken:
        def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
            if path.endswith("/1"):
                raise ImageError(f"{path} is incomplete (truncated); copy it again.")
            return tiny_flowers.source.load(path, draft_size=draft_size)

    dataset = replace(tiny_flowers, source=Broken(), fingerprint="some broken")
    events = list(fit(quick(epochs=1), dataset))
    [warned] = [event for event in events if isinstance(event, Warned)]
    assert warned.message.startswith("5 pictures could not be read")
    assert "truncated" in warned.message
    assert events[0].n_train == 15  # type: ignore[union-attr]

    class Gone:
        def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
            raise ImageError(f"{path} cannot be read.")

    events = list(fit(quick(), replace(tiny_flowers, source=Gone(), fingerprint="all broken")))
    assert ending(events).status == "failed"
    assert len(events) == 1


def test_a_loss_that_is_not_a_number_stops_before_the_update(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[dict[str, torch.Tensor]] = []
    step = Session._step

    def poisoned(self: Session, batch: Any) -> None:
        if self.position.step == 7:
            batch.images.fill_(float("nan"))
            taken.append({name: p.detach().clone() for name, p in self.model.named_parameters()})
        try:
            step(self, batch)
        finally:
            if len(taken) == 1:
                taken.append({name: p.detach().clone() for name, p in self.model.named_parameters()})

    monkeypatch.setattr(Session, "_step", poisoned)
    keeper = Keeper()
    events = list(fit(quick(), tiny_flowers, saver=keeper))
    assert ending(events).status == "failed"
    assert "step 8" in ending(events).reason
    assert "smaller learning rate" in ending(events).reason
    assert same_weights(*taken), "the weights are those before the bad batch"
    assert keeper.saved == ["best", "last"], "epoch 1 is kept"


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_a_gradient_that_is_not_a_number_stops_before_the_update(
    clip_norm: float, quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of that step is fine: only the way back overflows."""
    taken: list[dict[str, torch.Tensor]] = []
    step = Session._step

    def weights(session: Session) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in session.model.named_parameters()}

    def overflowing(self: Session, batch: Any) -> None:
        if self.position.step != 7:
            return step(self, batch)
        taken.append(weights(self))
        hook = self.model.fc.weight.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[union-attr, operator]
        try:
            step(self, batch)
        finally:
            hook.remove()
            taken.append(weights(self))

    monkeypatch.setattr(Session, "_step", overflowing)
    keeper = Keeper()
    ended = ending(list(fit(quick(clip_norm=clip_norm), tiny_flowers, saver=keeper)))
    assert ended.status == "failed"
    assert ended.reason.startswith("The gradient is no longer a number at step 8;")
    assert same_weights(*taken), "the weights are those before the bad step"
    assert keeper.saved == ["best", "last"], "epoch 1 is kept"


@pytest.mark.parametrize("act", [Control.pause, Control.stop])
def test_weights_that_are_no_numbers_never_replace_a_saved_state(
    act: Callable[[Control], None], quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where nobody looks at the loss of every step: a pause or stop comes before the ruin is noticed."""
    step, control, keeper = Session._step, Control(), Keeper()

    def ruinous(self: Session, batch: Any) -> None:
        step(self, batch)
        if self.position.step == 7:
            torch.nn.init.constant_(self.model.fc.bias, float("nan"))  # type: ignore[union-attr, arg-type]
            act(control)

    monkeypatch.setattr(Session, "_step", ruinous)
    ended = ending(list(fit(quick(), tiny_flowers, saver=keeper, control=control)))
    assert ended.status == "failed"
    assert ended.reason.startswith("A weight is no longer a number at step 7;")
    assert keeper.saved == ["best", "last"], "epoch 1 can still be gone on from"


def test_a_huge_learning_rate_never_leaves_a_best_model_of_nans(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    class Finite(KeepNothing):
        def save_best(self, session: Session, validation: Validation) -> None:
            assert torch.isfinite(validation.logits).all()

    for epochs, settings in ((1, {}), (3, {"batch_size": 20}), (3, {"optimizer": "adam"})):
        config = quick(epochs=epochs, learning_rate=100.0, schedule="constant", **settings)
        ended = ending(list(fit(config, tiny_flowers, saver=Finite())))
        assert "unexpectedly" not in ended.reason


def test_a_network_that_validates_to_nans_is_not_the_best(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last update of an epoch can ruin the weights while every loss so far was fine."""
    step = Session._step

    def ruinous(self: Session, batch: Any) -> None:
        step(self, batch)
        if self.position.step_in_epoch == self.steps_per_epoch:
            torch.nn.init.constant_(self.model.fc.bias, float("nan"))  # type: ignore[union-attr, arg-type]

    monkeypatch.setattr(Session, "_step", ruinous)
    keeper = Keeper()
    events = list(fit(quick(), tiny_flowers, saver=keeper))
    assert ending(events).status == "failed"
    assert keeper.saved == []


def test_a_full_disk_pauses_until_there_is_room(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)

    class Full(Keeper):
        refusals = 3

        def save_epoch(self, session: Session, validation: Validation) -> None:
            if self.refusals:
                self.refusals -= 1
                raise OSError(errno.ENOSPC, "No space left on device, 0 MB free")
            super().save_epoch(session, validation)

    expected, full = Keeper(), Full()
    straight = list(fit(quick(), tiny_flowers, saver=expected))
    events = list(fit(quick(), tiny_flowers, saver=full))
    assert full.refusals == 0
    assert sum(isinstance(event, Paused) for event in events) == 1, "said once, not at every attempt"
    [warned] = [event for event in events if isinstance(event, Warned)]
    assert "0 MB free" in warned.message
    assert story(events) == story(straight)
    assert same_weights(full.weights, expected.weights)


def test_a_full_disk_can_be_left_by_stop(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    control = Control()
    events = []
    for event in fit(quick(), tiny_flowers, saver=Breaks("best", OSError(errno.ENOSPC, "No space")), control=control):
        events.append(event)
        if isinstance(event, Paused):
            control.stop()
    assert ending(events).status == "stopped"


def test_a_consumer_that_walks_away_leaves_no_thread(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    threads = threading.active_count()
    events = fit(quick(), tiny_flowers)
    for event in events:
        if isinstance(event, StepEnded):
            break
    events.close()  # type: ignore[attr-defined]
    assert threading.active_count() == threads


def test_no_mode_leaks_into_the_consumer(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    for _ in fit(quick(epochs=1), tiny_flowers):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


def test_growing_pictures_end_at_the_size_of_prediction(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config = quick(epochs=10, start_image_size=16, image_size=64, resize=64, augment="crop-flip")
    session = Session(config, tiny_flowers)
    sizes = []
    for epoch in range(1, 11):
        session.position.epoch = epoch
        sizes.append(session.image_size())
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (16, 64)
    assert set(sizes) == {16, 32, 48, 64}
    batch = next(iter(session.loaders.train.epoch(1, image_size=sizes[0])))
    assert batch.images.shape[-2:] == (16, 16)
