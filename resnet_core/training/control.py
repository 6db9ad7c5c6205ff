"""What people may ask of a training while it runs. Safe to call from any thread; the training looks once a step."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ConfigError
from resnet_core.training.event_log import whole_of

# settings that may change while a run is on, from its next epoch
CHANGEABLE = ("epochs", "learning_rate", "augment", "mixup", "cutmix", "drop_path", "clip_norm", "patience", "freeze")


class StopAsked(Exception):
    """Raised inside the training when it is asked to stop now."""


def check_changeable(settings: Mapping[str, Any]) -> None:
    """Raises ConfigError where one of these settings is fixed once a run has begun, or left open.

    A time budget can be lifted: `budget_minutes` may become 0.
    """
    fixed = [
        name for name, value in settings.items() if name not in CHANGEABLE and (name, value) != ("budget_minutes", 0)
    ]
    if fixed:
        shown = ", ".join(visible_text(str(name))[:60] for name in fixed[:5])
        raise ConfigError(f"{shown} cannot change while a run is on; {', '.join(CHANGEABLE)} can.")
    check_given(settings)


def check_given(settings: Mapping[str, Any]) -> None:
    """Raises ConfigError where a setting of a run that has begun would be left open again."""
    empty = [name for name, value in settings.items() if value is None]
    if empty:
        raise ConfigError(f"{', '.join(empty)} cannot be left open once a run has begun; give a value.")


def lifting_budget(settings: Mapping[str, Any], budget_minutes: float) -> dict[str, Any]:
    """The same changes; epochs that a person asks for end a time budget, which would change them again."""
    return {**settings, "budget_minutes": 0.0} if budget_minutes and "epochs" in settings else dict(settings)


class Control:
    """Pause, resume, stop now, stop after this epoch; each may be asked twice without harm."""

    def __init__(self) -> None:
        self._going = threading.Event()
        self._going.set()
        self._stop_now = threading.Event()
        self._stop_after_epoch = threading.Event()
        self._asked_changes: dict[str, Any] = {}
        self._planned: dict[int, dict[str, Any]] = {}  # by epoch
        self._changing = threading.Lock()

    def pause(self) -> None:
        """Waits after the current step."""
        self._going.clear()

    def resume(self) -> None:
        """Goes on after a pause."""
        self._going.set()

    def stop(self, *, after_epoch: bool = False) -> None:
        """Ends after the current step, or after the current epoch; also ends a pause."""
        (self._stop_after_epoch if after_epoch else self._stop_now).set()
        self._going.set()

    def change(self, /, **settings: Any) -> None:
        """Other settings from the next epoch on; asked twice, the later value counts. Raises ConfigError for a setting
        that is fixed once a run has begun."""
        check_changeable(settings)
        with self._changing:
            self._asked_changes |= settings

    @property
    def asked_changes(self) -> dict[str, Any]:
        """What is to change with the next epoch."""
        with self._changing:
            return dict(self._asked_changes)

    def forget(self, settings: Mapping[str, Any]) -> None:
        """Takes back what was asked for with just these values; what was asked for since then stays."""
        with self._changing:
            kept = {name: value for name, value in self._asked_changes.items() if settings.get(name) != value}
            self._asked_changes = kept

    def plan_changes(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Repeats the changes among these events of a run, each with its epoch."""
        with self._changing:
            for event in events:
                if event.get("event") == "Changed" and isinstance(event.get("settings"), dict):
                    self._planned.setdefault(whole_of(event, "epoch"), {}).update(event["settings"])

    def take_changes(self, epoch: int) -> dict[str, Any]:
        """What changes with this epoch, told once; what is asked for now outweighs what was planned."""
        with self._changing:
            changes = self._planned.pop(epoch, {}) | self._asked_changes
            self._asked_changes = {}
        return changes

    def give_back(self, epoch: int, changes: Mapping[str, Any]) -> None:
        """Plans what was taken for this epoch again, as it could not be carried out before a stop."""
        with self._changing:
            self._planned[epoch] = dict(changes)

    def pending(self) -> dict[str, Any]:
        """What is still to change, for a resume file: plain dicts and texts."""
        with self._changing:
            planned = {str(epoch): dict(settings) for epoch, settings in self._planned.items()}
            return {"planned": planned, "asked": dict(self._asked_changes)}

    def recall(self, pending: Mapping[str, Any], epoch: int) -> None:
        """Takes up what `pending` held when the run was saved in that epoch; what is known here already counts more."""
        with self._changing:
            for when, settings in pending.get("planned", {}).items():
                self._planned[int(when)] = dict(settings) | self._planned.get(int(when), {})
            self._planned = {when: settings for when, settings in self._planned.items() if when >= epoch}
            self._asked_changes = _given(pending.get("asked", {})) | self._asked_changes

    @property
    def pausing(self) -> bool:
        """True from `pause` to `resume`."""
        return not self._going.is_set()

    @property
    def stopping(self) -> bool:
        """True once a stop was asked for."""
        return self._stop_now.is_set() or self._stop_after_epoch.is_set()

    @property
    def stopping_now(self) -> bool:
        """True once a stop after the current step was asked for."""
        return self._stop_now.is_set()

    @property
    def ends_after_epoch(self) -> bool:
        """True once a stop after this epoch was asked for."""
        return self._stop_after_epoch.is_set()

    def check(self) -> None:
        """Raises StopAsked if a stop now was asked for."""
        if self._stop_now.is_set():
            raise StopAsked

    def check_alone(self) -> None:
        """The same between two pictures that are prepared, where other processes may be doing something else."""
        self.check()

    def rest(self, seconds: float) -> None:
        """Returns after so many seconds. Raises StopAsked as soon as a stop now is asked for."""
        if self._stop_now.wait(seconds):
            raise StopAsked

    def wait(self) -> None:
        """Returns once the pause is over. Raises StopAsked, even where someone paused right after asking to stop."""
        while not self._going.wait(0.5):
            self.check()
        self.check()


def _given(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, without what earlier versions let be left open: no epoch could begin with it."""
    return {name: value for name, value in asked.items() if value is not None}


class Replay(Control):
    """A control that repeats the changes among the events of a run, beside those asked for now."""

    def __init__(self, events: Iterable[Mapping[str, Any]]) -> None:
        super().__init__()
        self.plan_changes(events)
