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
from resnet_core.training.distributed import ALONE, Team

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


def start_computing(config: TrainConfig, team: Team = ALONE) -> DeviceChoice:
    """Chooses device and way of computing where the config leaves it open, and readies them. Raises DeviceError."""
    where = team.in_turn(  # so that only one process of a machine measures how it computes best
        lambda: choose_device(
            team.device(config.device),
            precision=config.precision,
            num_threads=config.num_threads,
            memory_format=config.memory_format,
        )
    )
    where = _as_the_first(where, team, own_threads=config.num_threads is not None)
    prepare_backends(where)
    torch.set_num_threads(where.num_threads)  # binds only the thread that calls it
    return where


def with_computing(config: TrainConfig, where: DeviceChoice) -> TrainConfig:
    """The config with what was chosen for this device written into it."""
    layout = "channels-last" if where.memory_format == torch.channels_last else "contiguous"
    return config.replace(precision=where.precision, memory_format=layout)


def as_begun(config: TrainConfig, state: Mapping[str, Any], team: Team = ALONE) -> TrainConfig:
    """The config with what it leaves open as it was chosen when the run of this state began, and later changes.

    How to compute is chosen anew on another kind of device. So a run goes on bit by bit on its own machine, and goes on
    at all on another, where other choices would make another network or other batches.
    """
    begun = state.get("config", {})
    device = find_device(team.device(config.device))
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
    check_version(state)
    if state["data_fingerprint"] != data_fingerprint:
        raise RunError("The pictures of this run have changed since it was saved; resume it again to see what changed.")


def check_version(state: Mapping[str, Any]) -> None:
    """Raises RunError when the state is of a version this one cannot go on from."""
    version = state.get("state_version")
    if isinstance(version, int) and version > STATE_VERSION:
        raise RunError("This run was saved by a newer version of ResNet Lab; update this one to go on with it.")
    if version != STATE_VERSION:
        raise RunError("This run was saved by another version of ResNet Lab and cannot be taken up by this one.")


def stretch(position: Position, steps_then: int, steps_now: int) -> None:
    """Moves to the same share of the run, where an epoch has another number of steps now: the schedule still ends."""
    if steps_then != steps_now:
        position.step_in_epoch = round(position.step_in_epoch * steps_now / steps_then)
        position.step = (position.epoch - 1) * steps_now + position.step_in_epoch


def _as_the_first(where: DeviceChoice, team: Team, *, own_threads: bool) -> DeviceChoice:
    """How this process computes: as the first one does, with its part of the machine's cores unless told otherwise."""
    if team.size == 1:
        return where
    precision, channels_last, reasons = team.first(
        lambda: (where.precision, where.memory_format == torch.channels_last, where.reasons)
    )
    threads = where.num_threads if own_threads else max(1, where.num_threads // team.local_size)
    together = (
        f"Processes: {team.size}, each with its part of every batch; BatchNorm takes the statistics of a process's own "
        "part."
    )
    return dataclasses.replace(
        where,
        precision=precision,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
        num_threads=threads,
        reasons=(*reasons, together),
    )
