"""Taking up a training where it was saved: its place, and the settings it began with."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from resnet_core.device import DeviceChoice, choose_device, find_device, prepare_backends
from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig

STATE_VERSION = 1
COMPUTED_BY = ("precision", "memory_format", "compile")  # settings that suit one kind of device


@dataclass
class Position:
    """Where the training stands; `step` counts all optimizer updates done, `step_in_epoch` those of this epoch."""

    epoch: int = 1
    step: int = 0
    step_in_epoch: int = 0
    best_top1: float = -1.0
    best_loss: float = math.inf
    best_epoch: int = 0


def start_computing(config: TrainConfig) -> DeviceChoice:
    """Chooses device and way of computing where the config leaves it open, and readies them. Raises DeviceError."""
    where = choose_device(
        config.device,
        precision=config.precision,
        num_threads=config.num_threads,
        memory_format=config.memory_format,
    )
    prepare_backends(where)
    torch.set_num_threads(where.num_threads)  # binds only the thread that calls it
    return where


def with_computing(config: TrainConfig, where: DeviceChoice) -> TrainConfig:
    """The config with what was chosen for this device written into it."""
    layout = "channels-last" if where.memory_format == torch.channels_last else "contiguous"
    return config.replace(precision=where.precision, memory_format=layout)


def as_begun(config: TrainConfig, state: Mapping[str, Any]) -> TrainConfig:
    """The config with what it leaves open as it was chosen when the run of this state began, and later changes.

    How to compute is chosen anew on another kind of device. So a run goes on bit by bit on its own machine, and goes on
    at all on another, where other choices would make another network or other batches.
    """
    begun = state.get("config", {})
    device = find_device(config.device)
    elsewhere = COMPUTED_BY if state.get("device", device.type) != device.type else ()
    fixed = {
        field.name: begun[field.name]
        for field in dataclasses.fields(config)
        if getattr(config, field.name) in (None, "auto") and field.name in begun
        if field.name not in state.get("changes", {})
        if field.name not in ("device", "num_threads", *elsewhere)
    }
    return config.replace(**fixed, **state.get("changes", {}))


def check_state(state: Mapping[str, Any], data_fingerprint: str) -> None:
    """Raises RunError when the state belongs to other data or another version."""
    if state.get("state_version") != STATE_VERSION:
        raise RunError("This run was saved by another version of ResNet Lab and cannot be taken up by this one.")
    if state["data_fingerprint"] != data_fingerprint:
        raise RunError("The pictures of this run have changed since it stopped; start a new run on them instead.")
