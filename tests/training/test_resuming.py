"""A run goes on as it began: what was chosen then is not chosen again, and old files still load."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from observers import Keeper, StopsAtLook, same_weights, story

from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import ConfigError
from resnet_core.training import resolve as resolving
from resnet_core.training.config import FREEZE, MEMORY_FORMATS, TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded, RunStarted
from resnet_core.training.resuming import COMPUTED_BY, as_begun
from resnet_core.training.session import Session

Quick = Callable[..., TrainConfig]
OPEN = {"batch_size": None, "model": None, "learning_rate": None, "precision": "auto"}


def test_an_automatic_batch_stays_as_it_was_when_the_memory_has_changed(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the position in the epoch would mean other pictures."""
    config = quick(**OPEN)
    straight, keeper = Keeper(), Keeper()
    monkeypatch.setattr(resolving, "free_memory", lambda _: 12_000_000)
    expected = story(list(fit(config, tiny_flowers, saver=straight)))
    assert straight.state["config"]["batch_size"] < 32
    told = story(list(fit(config, tiny_flowers, saver=keeper, control=StopsAtLook(2))))
    monkeypatch.setattr(resolving, "free_memory", lambda _: 1 << 40)
    second = list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state))
    assert told + story(second) == expected
    assert same_weights(keeper.weights, straight.weights)
    assert isinstance(second[0], RunStarted)
    assert second[0].settings == straight.state["config"]


def test_what_was_chosen_is_in_the_settings(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    started = next(iter(fit(quick(**OPEN, memory_format="auto"), tiny_flowers)))
    assert isinstance(started, RunStarted)
    chosen = {key: started.settings[key] for key in COMPUTED_BY}
    assert chosen["precision"] == started.precision in ("fp32", "bf16")
    assert chosen["memory_format"] in ("channels-last", "contiguous")
    assert chosen["compile"] is False, "never by itself on a CPU"


@pytest.mark.parametrize("memory_format", ["channels-last", "contiguous"])
def test_the_memory_format_asked_for_is_the_one_used(
    memory_format: str, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    session = Session(quick(memory_format=memory_format), tiny_flowers)
    assert session.config.memory_format == memory_format
    batch = next(iter(session.loaders.train.epoch(1)))
    last = memory_format == "channels-last"
    for tensor in (batch.images, next(iter(session.loaders.val)).images, session.model.layer3[0].conv2.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last) is last
        assert tensor.is_contiguous() is not last


def test_both_memory_formats_learn_the_same(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    one, other = (story(list(fit(quick(memory_format=name, epochs=1), tiny_flowers))) for name in MEMORY_FORMATS[1:])
    for left, right in zip(one, other, strict=True):
        for key in {"loss", "train_loss", "val_loss"} & left.keys():
            assert left[key] == pytest.approx(right[key], rel=1e-3)


# ---- as_begun -------------------------------------------------------------------------------------------------

BEGUN = TrainConfig(
    model="resnet20", epochs=3, batch_size=8, learning_rate=0.1, optimizer="adam", precision="bf16",
    memory_format="contiguous", compile=True, image_size=32, resize=32, num_threads=7,
).to_json()  # fmt: skip


def test_what_was_left_open_is_as_it_was_chosen_and_what_was_asked_stays() -> None:
    config = as_begun(TrainConfig(batch_size=4, device="cpu"), {"config": BEGUN, "device": "cpu"})
    assert (config.batch_size, config.model, config.optimizer, config.epochs) == (4, "resnet20", "adam", 3)
    assert (config.precision, config.memory_format, config.compile) == ("bf16", "contiguous", True)
    assert config.num_threads is None, "the machine's own"


def test_another_kind_of_device_computes_in_its_own_way_but_the_same_network() -> None:
    config = as_begun(TrainConfig(device="cpu"), {"config": BEGUN, "device": "cuda"})
    assert (config.precision, config.memory_format, config.compile) == ("auto", "auto", None)
    assert (config.model, config.batch_size, config.image_size) == ("resnet20", 8, 32)
    asked = as_begun(TrainConfig(device="cpu", precision="fp32"), {"config": BEGUN, "device": "cuda"})
    assert asked.precision == "fp32"


def test_a_run_begun_in_fp16_on_a_gpu_goes_on_on_a_cpu(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    keeper = Keeper()
    list(fit(quick(precision="auto"), tiny_flowers, saver=keeper, control=StopsAtLook(3)))
    state = keeper.state
    state["device"] = "cuda"
    state["config"] |= {"precision": "fp16", "compile": True, "memory_format": "channels-last"}
    state["scaler"] = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}
    state["scaler"]["_growth_tracker"] = 3
    events = list(fit(quick(precision="auto"), tiny_flowers, resume=state))
    assert isinstance(events[-1], RunEnded)
    assert events[-1].status == "finished", events[-1].reason
    assert isinstance(events[0], RunStarted)
    assert events[0].settings["precision"] in ("fp32", "bf16")


def test_a_state_from_before_the_new_settings_goes_on(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    straight, keeper = Keeper(), Keeper()
    expected = story(list(fit(quick(), tiny_flowers, saver=straight)))
    told = story(list(fit(quick(), tiny_flowers, saver=keeper, control=StopsAtLook(3))))
    state = keeper.state
    del state["device"]
    for key in ("memory_format", "compile", "freeze"):
        del state["config"][key]
    state["config"]["precision"] = "auto"
    told += story(list(fit(quick(), tiny_flowers, saver=keeper, resume=state)))
    assert told == expected
    assert same_weights(keeper.weights, straight.weights)


@pytest.mark.parametrize("begun", [{"batch_size": "many"}, {"model": "resnet19"}, {"optimizer": 3}], ids=str)
def test_a_tampered_state_is_one_sentence(begun: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec) -> None:
    keeper = Keeper()
    list(fit(quick(epochs=1), tiny_flowers, saver=keeper))
    state = keeper.state
    state["config"] |= begun
    config = quick(**dict.fromkeys(begun))
    [ended] = fit(config, tiny_flowers, resume=state)
    assert isinstance(ended, RunEnded)
    assert ended.status == "failed"
    assert "unexpectedly" not in ended.reason


# ---- The config -----------------------------------------------------------------------------------------------


def test_a_config_from_before_the_new_settings_still_loads() -> None:
    old = TrainConfig(model="resnet20").to_json()
    for key in ("memory_format", "compile", "freeze"):
        del old[key]
    loaded = TrainConfig.from_json(json.loads(json.dumps(old)))
    assert loaded == TrainConfig(model="resnet20")
    assert (loaded.memory_format, loaded.compile, loaded.freeze) == ("auto", None, "none")


@pytest.mark.parametrize(
    "settings",
    [
        {"memory_format": "nhwc"},
        {"memory_format": None},
        {"memory_format": True},
        {"compile": "yes"},
        {"compile": 1},
        {"freeze": "head"},
        {"freeze": ["stem"]},
    ],
    ids=str,
)
def test_bad_values_of_the_new_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig(**settings)
    assert len(str(caught.value)) < 300
    assert str(caught.value).endswith(".")


settings_of_a_run = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["resnet18", "resnet20", "resnet8", "tutorial-cifar"]),
        "freeze": st.sampled_from(FREEZE),
        "compile": st.sampled_from([None, False]),
        "memory_format": st.sampled_from(MEMORY_FORMATS),
        "augment": st.sampled_from(["none", "flip", "shift-flip", "crop-flip", "standard", "strong"]),
        "optimizer": st.sampled_from(["sgd", "adam", "adamw", "muon"]),
        "batch_size": st.integers(2, 64),
        "image_size": st.sampled_from([16, 24]),
        "ema_decay": st.sampled_from([0.0, 0.9]),
        "flip_average": st.booleans(),
        "class_weights": st.sampled_from(["none", "balanced"]),
        "init_from": st.none(),
    },
)


@hypothesis_settings(max_examples=15)
@given(settings=settings_of_a_run, looks=st.integers(1, 4))
def test_any_config_resolves_completely_trains_and_resumes_or_says_why_not(
    settings: dict[str, Any], looks: int, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config = quick(
        **{
            "model": None,
            "resize": 24,
            "epochs": 1,
            "width": 8 if settings.get("model") == "resnet18" else None,
            **settings,
        }
    )
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    straight, keeper = Keeper(), Keeper()
    expected = list(fit(config, tiny_flowers, saver=straight))
    ended = expected[-1]
    assert isinstance(ended, RunEnded)
    if ended.status == "failed":
        assert "choose one of" in ended.reason, ended.reason
        assert settings["freeze"] == "layer4"
        return
    started = expected[0]
    assert isinstance(started, RunStarted)
    may_stay_open = {"init_from", "max_pictures", "start_image_size", "num_threads", "stem", "width"}
    assert {key for key, value in started.settings.items() if value is None} <= may_stay_open
    assert not {key for key, value in started.settings.items() if value == "auto"} - {"device"}
    told = list(fit(config, tiny_flowers, saver=keeper, control=StopsAtLook(looks + 3)))
    if isinstance(told[-1], RunEnded) and told[-1].status == "stopped" and keeper.content:
        told += fit(config, tiny_flowers, saver=keeper, resume=keeper.state)
        assert story(told) == story(expected)
        assert same_weights(keeper.weights, straight.weights)


def test_every_setting_survives_a_round_trip_through_a_state() -> None:
    """A setting that is forgotten by `as_begun` would be chosen again."""
    begun = dict(BEGUN)
    left_open = [field.name for field in dataclasses.fields(TrainConfig) if field.default in (None, "auto")]
    config = as_begun(TrainConfig(device="cpu"), {"config": begun, "device": "cpu"})
    kept = {name for name in left_open if getattr(config, name) == begun[name]}
    assert set(left_open) - kept <= {"device", "num_threads"}
