"""What the form's fields say as a TrainConfig, and a TrainConfig as what the fields say.

Settings without a field of their own travel beside the form as JSON (“others”), so that loading the settings of any
run and starting it again loses nothing.
"""

import json
from typing import Any

from demo.text import say
from demo.typed_numbers import number, whole
from resnet_core.data.images import display_name
from resnet_core.errors import ConfigError
from resnet_core.processor import read_cores
from resnet_core.training.config import TrainConfig
from resnet_core.training.presets import PRESETS, make_config
from resnet_core.training.run_notes import MAX_NAME

AUTO = ""  # a setting left to `resolve`
LARGEST_EXACT = 2**53  # beyond, a browser's number is no longer exact
# the settings of the form, in the order of its components; the first seven a preset shows
FIELDS = (
    "dataset", "model", "preset", "epochs", "batch_size", "learning_rate", "image_size",
    "budget_minutes", "pretrained", "init_from", "residual", "drop_path", "freeze", "thaw",
    "augment", "mixup", "cutmix", "class_weights", "sampling",
    "optimizer", "schedule", "clip_norm", "patience",
    "device", "precision", "memory_format", "compile", "halve_batch", "name", "seed", "keep",
)  # fmt: skip
SHOWN_BY_PRESET = FIELDS[:7]
WHOLE = ("epochs", "batch_size", "image_size", "patience")
TYPED = ("learning_rate", "budget_minutes", "drop_path", "mixup", "cutmix", "clip_norm")
NOT_CARRIED = ("forked_from",)  # where a run came from is its own story; what is started from its settings begins anew


def config_from_form(values: tuple[Any, ...], *, others: str = "", own_data: str | None = None) -> TrainConfig:
    """The settings of a filled-in form; what is empty is left to be chosen. Raises ConfigError."""
    form = dict(zip(FIELDS, values, strict=True))
    if own_data:
        form["dataset"] = own_data
    for field in TYPED:
        form[field] = number(form[field])
    for field in WHOLE:
        form[field] = whole(form[field])
    form["seed"] = int(form["seed"] or 0)
    form["residual"] = None if form["residual"] else False
    form["pretrained"] = form["pretrained"] or None
    form["halve_batch"] = form["halve_batch"] or None
    form["compile"] = {"on": True, "off": False}.get(form["compile"])
    settings = {field: None if _is_open(field, value) else value for field, value in form.items() if field != "preset"}
    return make_config(form["preset"], **{**settings, **read_others(others)})


def _is_open(field: str, value: Any) -> bool:
    return value == AUTO or (value == "auto" and field not in ("name", "dataset"))


def read_others(text: str) -> dict[str, Any]:
    """The settings beside the form. Raises ConfigError for a text this page never wrote."""
    if not text:
        return {}
    try:
        others = json.loads(text)
    except ValueError:
        others = None
    if not isinstance(others, dict) or set(others) & (set(FIELDS) - {"seed"}):
        raise ConfigError("The loaded settings were damaged on their way; load them again.")
    return {field: value for field, value in others.items() if field not in NOT_CARRIED}


def form_from_config(config: TrainConfig) -> tuple[tuple[Any, ...], str]:
    """The values of the fields, and the settings beside them; `config_from_form` makes the same config of both.

    Where a preset fixes what the config leaves open, the fields say it without that preset.
    """
    base = make_config(config.preset) if config.preset in PRESETS else TrainConfig()
    if any(getattr(config, field) is None and value is not None for field, value in base.to_json().items()):
        base = TrainConfig()
    settings = config.to_json()
    values = tuple(base.preset if field == "preset" else _shown(field, settings[field]) for field in FIELDS)
    others = {
        field: value
        for field, value in settings.items()
        if field not in (*FIELDS, *NOT_CARRIED) and value != getattr(base, field)
    }
    if config.seed > LARGEST_EXACT:
        others["seed"] = config.seed
    return values, json.dumps(others) if others else ""


def shown_by_preset(preset: str, dataset: str) -> tuple[Any, ...]:
    """The form's first fields as the preset has them; its data set only if it names one."""
    settings = {"dataset": dataset, "model": None, "preset": preset, **PRESETS[preset]}
    return tuple(_shown(field, settings.get(field)) for field in SHOWN_BY_PRESET)


def check_allowed(config: TrainConfig, *, local: bool) -> None:
    """Raises ConfigError where somebody at another machine asks too much of this one."""
    if local:
        return
    cores = read_cores().usable
    for field in ("processes", "num_threads"):
        if (getattr(config, field) or 0) > cores:
            raise ConfigError(f"{field} must be at most {cores}, the cores of the machine that trains.")


def check_name(name: Any) -> None:
    """Raises ConfigError for a run's name that no list has room for."""
    if isinstance(name, str) and len(name) > MAX_NAME:
        raise ConfigError(f"The name of a run has at most {MAX_NAME} characters, not {len(name):,}.")


def shareable(config: TrainConfig, *, local: bool) -> TrainConfig:
    """The settings as they may be shown: to people elsewhere files of this machine by their name alone."""
    return config if local else config.replace(**_names_only(config.to_json()))


def shareable_event(event: dict[str, Any], *, local: bool) -> dict[str, Any]:
    """The same for an event of a run, or anything else that tells settings."""
    settings = event.get("settings")
    if local or not isinstance(settings, dict):
        return event
    return {**event, "settings": {**settings, **_names_only(settings)}}


def _names_only(settings: dict[str, Any]) -> dict[str, str]:
    paths = {field: settings.get(field) for field in ("dataset", "init_from")}
    return {field: display_name(path) for field, path in paths.items() if isinstance(path, str) and path}


def others_in_words(others: str, language: str) -> str:
    """A sentence with the settings that have no field; "" where there are none."""
    settings = read_others(others)
    told = ", ".join(f"{name} {value}" for name, value in settings.items())
    return say("form_others", language, settings=told) if told else ""


def _shown(field: str, value: Any) -> Any:
    """How a setting stands in its field."""
    if field == "compile":
        return "auto" if value is None else "on" if value else "off"
    if field in (*TYPED, *WHOLE):
        nothing = value is None or (value == 0 and field not in ("learning_rate", *SHOWN_BY_PRESET))
        return "" if nothing else _digits(value)
    return AUTO if value is None else value


def _digits(value: float) -> str:
    """As short as it can be said without losing anything."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
