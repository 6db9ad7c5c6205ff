"""A bad setting is refused in one sentence before anything starts; presets reproduce the two tutorials."""

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from resnet_core.data.augment import get_policy
from resnet_core.data.datasets import DatasetSpec, rendered_flowers
from resnet_core.data.loaders import make_loaders
from resnet_core.device import choose_device
from resnet_core.errors import ConfigError, ModelError, ResNetLabError
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import EpochEnded, RunEnded, StepEnded
from resnet_core.training.presets import PRESET_TITLES, PRESETS, make_config
from resnet_core.training.resolve import make_preprocessing, model_arguments, resolve
from resnet_core.training.starting_weights import build_starting_model

BAD: list[dict[str, Any]] = [
    {"epochs": 0},
    {"epochs": -3},
    {"epochs": 2.5},
    {"epochs": True},
    {"epochs": "3"},
    {"batch_size": 0},
    {"batch_size": 1},
    {"batch_size": 10**9},
    {"learning_rate": 0},
    {"learning_rate": -1},
    {"learning_rate": math.nan},
    {"learning_rate": math.inf},
    {"learning_rate": "fast"},
    {"momentum": 1.0},
    {"weight_decay": -0.1},
    {"warmup": 1.0},
    {"label_smoothing": 1.0},
    {"ema_decay": 1.0},
    {"image_size": 4},
    {"image_size": 100_000},
    {"seed": -1},
    {"seed": 10**400},
    {"num_threads": 0},
    {"width": 7},
    {"optimizer": "sdg"},
    {"schedule": "one cycle"},
    {"augment": "very"},
    {"normalize": "yes"},
    {"class_weights": "no"},
    {"stem": "large"},
    {"precision": "fp8"},
    {"precision": "x" * 5000},
    {"residual": "no"},
    {"as_published": 1},
    {"pretrained": None},
    {"dataset": None},
    {"dataset": 5},
    {"name": ["a"]},
    {"model": "resnet19"},
    {"model": 18},
    {"pretrained": True, "init_from": "x.safetensors"},
    {"resize": 32, "image_size": 64},
    {"start_image_size": 64, "image_size": 32},
    {"start_image_size": 16, "image_size": 32, "augment": "none"},
]


@pytest.mark.parametrize("settings", BAD, ids=str)
def test_a_bad_setting_is_refused_at_birth_in_one_short_sentence(settings: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, ModelError)) as caught:
        TrainConfig(**settings)
    message = str(caught.value)
    assert len(message) < 300
    assert "\n" not in message
    assert message.endswith((".", "?"))


def test_a_bad_value_cannot_slip_in_by_replace_or_file() -> None:
    config = TrainConfig()
    with pytest.raises(ConfigError):
        config.replace(learning_rate=math.nan)
    with pytest.raises(ConfigError, match="warp_speed"):
        TrainConfig.from_json({"warp_speed": 9})
    with pytest.raises(ConfigError):
        TrainConfig.from_json({"epochs": "many"})


def test_json_round_trip_of_every_preset() -> None:
    for preset in PRESETS:
        config = make_config(preset, name="Ünï 🌼", seed=2**62)
        assert TrainConfig.from_json(json.loads(json.dumps(config.to_json(), allow_nan=False))) == config
    assert PRESET_TITLES.keys() == PRESETS.keys()


def test_presets_give_way_to_settings_but_not_to_none() -> None:
    config = make_config("tutorial-flowers", epochs=7, batch_size=None, seed=0)
    assert (config.epochs, config.batch_size, config.preset) == (7, 16, "tutorial-flowers")
    with pytest.raises(ConfigError, match="tutorial-cifar10"):
        make_config("tutorial")
    with pytest.raises(ConfigError) as caught:
        make_config("x" * 9000)
    assert len(str(caught.value)) < 300


def test_tutorial_flowers_is_t1() -> None:
    config = make_config("tutorial-flowers")
    got = (config.dataset, config.model, config.image_size, config.resize, config.batch_size, config.epochs)
    assert got == ("flower_photos", "resnet34", 224, 256, 16, 3)
    assert (config.optimizer, config.learning_rate, config.schedule) == ("adam", 1e-4, "constant")
    assert (config.weight_decay, config.label_smoothing, config.ema_decay) == (0, 0, 0)
    assert (config.normalize, config.precision, config.flip_average) == ("imagenet", "fp32", False)
    policy = get_policy(config.augment or "")
    assert policy.area == (0.08, 1.0), "RandomResizedCrop's own range"
    assert policy.ratio == pytest.approx((3 / 4, 4 / 3))
    assert policy.flip
    assert (policy.color, policy.rotate, policy.erase) == (0, 0, 0)


def test_tutorial_cifar10_is_t2() -> None:
    config = make_config("tutorial-cifar10")
    got = (config.dataset, config.model, config.image_size, config.resize, config.batch_size)
    assert got == ("cifar10", "tutorial-cifar", 32, 32, 32)
    assert (config.optimizer, config.learning_rate, config.schedule) == ("adam", 1e-3, "constant")
    assert (config.normalize, config.augment, config.as_published) == ("none", "none", False)
    model = build_starting_model(config.replace(num_threads=1), 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == 9_817_354
    published = build_starting_model(config.replace(as_published=True), 10)
    assert sum(parameter.numel() for parameter in published.parameters()) == 9_553_674


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("tutorial-cifar10", {"batch_size": 4}),
        ("tutorial-flowers", {"batch_size": 4, "model": "resnet18", "width": 8, "image_size": 32, "resize": 36}),
    ],
)
def test_a_tutorial_epoch_equals_the_loop_its_readers_wrote(
    preset: str, changes: dict[str, Any], tiny_flowers: DatasetSpec
) -> None:
    """The tutorials' plain loop over the same batches from the same weights gives the same losses."""
    config = make_config(preset, epochs=1, num_threads=1, device="cpu", **changes)
    where = choose_device("cpu", precision="fp32", num_threads=1)
    resolved, _ = resolve(config, tiny_flowers, where)
    loaders = make_loaders(
        tiny_flowers,
        make_preprocessing(resolved),
        policy=get_policy(resolved.augment or ""),
        batch_size=4,
        seed=config.seed,
        device=where.device,
    )
    model = build_starting_model(resolved, 5)
    optimizer = torch.optim.Adam(model.parameters(), lr=resolved.learning_rate or 0)
    model.train()
    losses, hits = [], 0
    for batch in loaders.train.epoch(1):
        optimizer.zero_grad()
        logits = model(batch.images)
        loss = cross_entropy(logits, batch.targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        hits += int((logits.argmax(1) == batch.targets).sum())
    model.eval()
    with torch.no_grad():
        right = sum(int((model(batch.images).argmax(1) == batch.targets).sum()) for batch in loaders.val)

    events = list(fit(config, tiny_flowers))
    told = [event.loss for event in events if isinstance(event, StepEnded)]
    assert told[:2] == pytest.approx(losses[:2], rel=1e-3)
    assert told == pytest.approx(losses, rel=2e-2), "Adam enlarges rounding: a bias before a BatchNorm has no gradient"
    [epoch] = [event for event in events if isinstance(event, EpochEnded)]
    assert epoch.train_loss == pytest.approx(sum(losses) / len(losses), rel=1e-2)
    assert epoch.train_top1 == pytest.approx(hits / 20, abs=0.051)
    assert epoch.val_top1 == pytest.approx(right / 10, abs=0.11)


def test_resolve_leaves_nothing_open_and_keeps_what_was_asked(tiny_flowers: DatasetSpec) -> None:
    where = choose_device("cpu", precision="fp32", num_threads=1)
    free_to_stay_open = {"init_from", "max_pictures", "start_image_size", "num_threads", "stem", "width"}
    for preset in PRESETS:
        config, notes = resolve(make_config(preset), tiny_flowers, where)
        still_open = {key for key, value in config.to_json().items() if value is None}
        assert still_open <= free_to_stay_open, preset
        for key, value in PRESETS[preset].items():
            assert getattr(config, key) == value, (preset, key)
        assert resolve(config, tiny_flowers, where) == (config, ()), "nothing is left to choose"
        assert all(note.endswith(".") for note in notes)


def test_small_pictures_get_a_small_network_and_large_ones_the_imagenet_stem() -> None:
    where = choose_device("cpu", precision="fp32", num_threads=1)
    small, notes = resolve(TrainConfig(), rendered_flowers(train=1, val=1, size=32), where)
    large, _ = resolve(TrainConfig(), rendered_flowers(train=1, val=1, size=96), where)
    assert (small.model, small.image_size) == ("resnet20", 32)
    assert (large.model, large.stem) == ("resnet18", "imagenet")
    assert any("resnet20" in note for note in notes)


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "resnet20", "as_published": True},
        {"model": "resnet18", "as_published": True},
        {"model": "tutorial-cifar", "as_published": True, "residual": False},
        {"model": "resnet18", "pretrained": True, "stem": "small"},
        {"model": "resnet18", "pretrained": True, "residual": False},
        {"model": "resnet20", "pretrained": True},
        {"device": "quantum"},
        {"device": "cuda:99"},
        {"precision": "fp16"},
        {"init_from": "/nowhere/secret.safetensors"},
        {"rendered_share": 0.5, "dataset": "x"},
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_end_in_one_sentence(
    settings: dict[str, Any], tiny_flowers: DatasetSpec
) -> None:
    dataset = dataclasses.replace(tiny_flowers, class_names=("a", "b", "c", "d", "e"))
    config = TrainConfig(**{"epochs": 1, "num_threads": 1, "device": "cpu", **settings})
    [*_, ended] = fit(config, dataset)
    assert isinstance(ended, RunEnded)
    assert ended.status == "failed"
    assert "unexpectedly" not in ended.reason
    assert "/nowhere" not in ended.reason
    assert len(ended.reason) < 300


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before(
    quick: Callable[..., TrainConfig], tiny_flowers: DatasetSpec
) -> None:
    where = choose_device("cpu", precision="fp32", num_threads=1)
    for model in ("resnet20", "resnet18", "tutorial-cifar"):
        config, _ = resolve(quick(model=model, width=None), tiny_flowers, where)
        torch.manual_seed(1)
        one = build_starting_model(config, 5).state_dict()
        torch.manual_seed(2)
        other = build_starting_model(config, 5).state_dict()
        third = build_starting_model(config.replace(seed=1), 5).state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one), model
        assert not torch.equal(one["conv1.weight"], third["conv1.weight"]), model


def test_model_arguments_are_those_the_network_knows(tiny_flowers: DatasetSpec) -> None:
    config, _ = resolve(make_config("flowers"), tiny_flowers, choose_device("cpu", precision="fp32"))
    assert model_arguments(config) == {"stem": "imagenet", "residual": True, "zero_init_residual": True, "width": 48}


def test_errors_are_of_the_tree() -> None:
    assert issubclass(ConfigError, ResNetLabError)
    assert issubclass(ModelError, ResNetLabError)
