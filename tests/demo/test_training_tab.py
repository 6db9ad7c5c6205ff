"""The training form: what its fields become, which buttons can be pressed."""

import math
from pathlib import Path
from typing import Any

import pytest

from demo.training_tab import FIELDS, _show_preset, buttons_for, config_from_form
from resnet_core.errors import ConfigError
from resnet_core.training.config import TrainConfig
from resnet_core.training.presets import PRESETS, make_config

UNTOUCHED: dict[str, Any] = {
    "dataset": "rendered-flowers",
    "preset": "default",
    "pretrained": False,
    "residual": True,
    "seed": 0,
    "device": "auto",
    "precision": "auto",
    "freeze": "none",
    "memory_format": "auto",
    "compile": "auto",
}


def filled(own_data: str | None = None, **changes: Any) -> TrainConfig:
    form = {**dict.fromkeys(FIELDS, ""), **UNTOUCHED, **changes}
    return config_from_form(tuple(form[field] for field in FIELDS), own_data=own_data)


def test_an_untouched_form_is_the_default():
    assert filled() == TrainConfig()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_choosing_a_preset_and_pressing_start_is_exactly_that_preset(preset: str):
    shown = _show_preset(preset, "rendered-flowers")
    form = {**dict.fromkeys(FIELDS, ""), **UNTOUCHED, **dict(zip(FIELDS[:7], shown, strict=True))}
    dataset = PRESETS[preset].get("dataset", "rendered-flowers")
    assert config_from_form(tuple(form[field] for field in FIELDS)) == make_config(preset, dataset=dataset)


def test_a_preset_without_a_data_set_keeps_the_one_chosen():
    assert _show_preset("default", "cifar10")[0] == "cifar10"


def test_typed_values_win_over_the_presets():
    config = filled(preset="tutorial-flowers", epochs="7", learning_rate="0,002", batch_size=" 8 ", optimizer="sgd")
    assert (config.epochs, config.learning_rate, config.batch_size, config.optimizer) == (7, 0.002, 8, "sgd")
    assert config.augment == PRESETS["tutorial-flowers"]["augment"]


def test_numbers_may_be_written_as_people_write_them():
    config = filled(epochs="3.0", learning_rate="1e-3", image_size=64)
    assert (config.epochs, config.learning_rate, config.image_size) == (3, 1e-3, 64)


def test_how_to_compute_can_be_overridden():
    config = filled(memory_format="contiguous", compile="on", freeze="layer3", precision="fp32")
    assert (config.memory_format, config.compile, config.freeze, config.precision) == (
        "contiguous",
        True,
        "layer3",
        "fp32",
    )
    assert filled(compile="off").compile is False


def test_skip_connections_off_is_the_plain_twin():
    assert filled(residual=False).residual is False


def test_own_pictures_win_over_the_named_data_set(tmp_path: Path):
    assert filled(own_data=str(tmp_path)).dataset == str(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("epochs", "0", "Epochs"),
        ("epochs", "2.5", "Epochs"),
        ("epochs", "ten", "Epochs"),
        ("epochs", "1e400", "Epochs"),
        ("batch_size", "0", "Batch size"),
        ("batch_size", "-4", "Batch size"),
        ("learning_rate", "-1", "Learning rate"),
        ("learning_rate", "nan", "Learning rate"),
        ("learning_rate", "inf", "Learning rate"),
        ("learning_rate", "fast", "Learning rate"),
        ("image_size", "7", "Image size"),
        ("seed", -1, "Seed"),
        ("optimizer", "rmsprop", "Optimizer"),
        ("precision", "int8", "Precision"),
    ],
)
def test_an_impossible_value_is_refused_by_the_name_of_its_field(field: str, value: Any, name: str):
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        filled(**{field: value})


def test_an_empty_seed_is_zero():
    assert filled(seed=None).seed == 0
    assert not math.isnan(filled(seed=3).seed)


@pytest.mark.parametrize(
    ("status", "pause", "resume", "stop", "stop_after_epoch"),
    [
        ("none", False, False, False, False),
        ("queued", False, False, True, False),
        ("preparing", True, False, True, True),
        ("running", True, False, True, True),
        ("paused", False, True, True, False),
        ("stopping", False, False, True, False),  # stop now, after “stop after this epoch”
        ("finished", False, False, False, False),
        ("stopped", False, True, False, False),
        ("failed", False, True, False, False),
        ("interrupted", False, True, False, False),
    ],
)
def test_only_what_makes_sense_can_be_pressed(
    status: str, pause: bool, resume: bool, stop: bool, stop_after_epoch: bool
):
    assert buttons_for(status) == (pause, resume, stop, stop_after_epoch)
