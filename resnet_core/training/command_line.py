"""The command that trains what a config says, option by option; `train` reads it back as the same config."""

import dataclasses
import os
import shlex
import subprocess

from resnet_core.training.config import TrainConfig
from resnet_core.training.presets import PRESETS, make_config

NOT_ASKED = ("preset", "forked_from")  # the first is said otherwise, the second says where a run came from
ACTED_ON = '&|<>()^%"'  # by cmd.exe
SWITCHES = ("zero_init_residual", "flip_average", "compile")  # options with a --no- before them


def train_command(config: TrainConfig) -> list[str]:
    """`python -m resnet_core train …` as single words, with every option that differs from preset and default.

    A preset that says what this config leaves open is left out: then its settings are all told one by one.
    """
    base = _preset_of(config)
    words = ["python", "-m", "resnet_core", "train"]
    if base.preset != "default":
        words += ["--preset", base.preset]
    for field in dataclasses.fields(TrainConfig):
        value = getattr(config, field.name)
        if field.name not in NOT_ASKED and value != getattr(base, field.name):
            words += _option(field.name, value)
    return words


def quoted(words: list[str]) -> str:
    """The words as a line for this system's shell."""
    return quoted_for_windows(words) if os.name == "nt" else shlex.join(words)


def quoted_for_windows(words: list[str]) -> str:
    """The words as a line for cmd.exe; where none holds % or a quotation mark, for PowerShell too."""
    return " ".join(map(_for_windows, words))


def _for_windows(word: str) -> str:
    """The word as programs read it (list2cmdline), with what the shell would act on in quotes or behind carets."""
    plain = subprocess.list2cmdline([word])
    if not any(sign in word for sign in ACTED_ON):
        return plain
    if "%" in word or '"' in word:  # in quotes cmd still puts in variables, and an inner quote would end them
        return "".join(f"^{letter}" if letter in ACTED_ON else letter for letter in plain)
    spaced = subprocess.list2cmdline([f" {word}"])  # in quotes for sure, with backslashes before the last one doubled
    return spaced[0] + spaced[2:]


def _preset_of(config: TrainConfig) -> TrainConfig:
    """The settings of the config's preset, or those by themselves where that preset says more than the config."""
    base = make_config(config.preset) if config.preset in PRESETS else TrainConfig()
    more = [name for name, value in base.to_json().items() if value is not None and getattr(config, name) is None]
    lost = [name for name in ("pretrained", "as_published", "halve_batch") if getattr(base, name)]
    return TrainConfig() if more or any(not getattr(config, name) for name in lost) else base


def _option(name: str, value: object) -> list[str]:
    option = "--" + name.replace("_", "-")
    if name == "residual":
        return ["--plain"]
    if isinstance(value, bool):
        return [option if value else f"--no-{option[2:]}"] if name in SWITCHES else [option]
    text = repr(value) if isinstance(value, float) else str(value)
    return [f"{option}={text}"] if text.startswith("-") else [option, text]
