"""What differs between the settings of two to eight runs: the settings they really had, as people read them.

A run's settings are those its RunStarted tells, where nothing is left open any more; a run that never got that far is
judged by what it was asked for. Changes made while it ran are told in the order they came: "0.1, 0.02 from epoch 5".
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name
from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.event_log import whole_of
from resnet_core.training.runs import Run

FEWEST, MOST = 2, 8  # runs; more columns than that nobody reads
OPEN = "auto"  # a setting that was still to be chosen
FILES = ("dataset", "init_from")  # may be paths: only their last part is shown
NOT_COMPARED = ("name",)
LONGEST = 120  # characters of a value


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A setting and what each run had, in the order of the runs; None where a run does not know the setting."""

    setting: str  # a field of TrainConfig
    title: str  # the same in words
    values: tuple[str | None, ...]


def compare_runs(runs: Sequence[Run]) -> tuple[Difference, ...]:
    """What differs, in the order of TrainConfig's fields. Raises RunError for fewer than two or more than eight runs.

    A run whose settings cannot be read has None everywhere.
    """
    if not FEWEST <= len(runs) <= MOST:
        raise RunError(f"Choose {FEWEST} to {MOST} runs to compare, not {len(runs)}.")
    return differing([settled(run) for run in runs])


def differing(settings: Sequence[Mapping[str, str]]) -> tuple[Difference, ...]:
    """The settings whose texts are not the same in all of these, as `settled` gives them."""
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    foreign = sorted({name for each in settings for name in each} - set(known))
    found = [
        Difference(setting=name, title=title_of(name), values=tuple(each.get(name) for each in settings))
        for name in (*known, *foreign)
        if name not in NOT_COMPARED
    ]
    return tuple(each for each in found if len(set(each.values)) > 1)


def settled(run: Run) -> dict[str, str]:
    """A run's settings as texts; empty where nothing of them can be read."""
    events = run.events()
    started = next((event for event in events if event["event"] == "RunStarted"), None)
    settings = started.get("settings") if started else None
    if not isinstance(settings, dict):
        try:
            settings = run.config().to_json()
        except RunError:
            return {}
    told = {str(name): _text(str(name), value) for name, value in settings.items()}
    for epoch, changes in _changes(events):
        for name, value in changes.items():
            told[name] = f"{told.get(name, OPEN)}, {_text(name, value)} from epoch {epoch}"
    return told


def title_of(setting: str) -> str:
    """The name of a setting in words."""
    return visible_text(setting.replace("_", " ")).capitalize()


def _changes(events: Sequence[Mapping[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """(epoch, settings) of each change; one that a run taken up again repeats is told once."""
    made: dict[int, dict[str, Any]] = {}
    for event in events:
        if event["event"] == "Changed" and isinstance(event.get("settings"), dict):
            made.setdefault(whole_of(event, "epoch"), {}).update(event["settings"])
    return sorted(made.items())


def _text(name: str, value: Any) -> str:
    if value is None:
        return OPEN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str):
        shown = display_name(Path(value).name) if name in FILES and value else visible_text(value, LONGEST)
        return shown or "–"
    return visible_text(json.dumps(value, ensure_ascii=False), LONGEST)
