"""Settings as a file: what a run was asked to be, to be kept, sent to others and started again."""

import json

from resnet_core.errors import ConfigError
from resnet_core.training.config import TrainConfig

LARGEST = 65_536  # bytes; ours have about 1,300


def write_settings(config: TrainConfig) -> str:
    """The settings as JSON for people, what is left open as null; `read_settings` reads it."""
    return json.dumps(config.to_json(), indent=2, ensure_ascii=False) + "\n"


def read_settings(content: bytes) -> TrainConfig:
    """The settings of a file; those it does not name are left as they are by themselves. Raises ConfigError."""
    if len(content) > LARGEST:
        raise ConfigError("This file is too large for settings; choose one that “Save settings” wrote.")
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError("This file is no JSON; choose one that “Save settings” wrote.") from error
    if not isinstance(fields, dict):
        raise ConfigError("This file holds no settings; choose one that “Save settings” wrote.")
    return TrainConfig.from_json(fields).replace(forked_from="")  # what is started from a file begins anew
