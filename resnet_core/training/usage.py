"""What a training takes from its machine while it runs, a line about once a second in `usage.jsonl`.

Kept apart from the events: those are the same for the same seed, these never are.
"""

import contextlib
import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from resnet_core.memory import device_memory, held_memory
from resnet_core.processor import read_cores
from resnet_core.training.events import EpochEnded, Event, RunStarted, StepEnded

PERIOD = 1.0  # seconds between two lines, at least
ROWS = 1000  # after so many seconds the gaps grow with the time that has passed: a day is 5,500 lines, 1 MB


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One look at the machine after `step`; memory in bytes, loads as shares in [0, 1]; None where nobody can tell."""

    step: int
    images_per_second: float | None
    memory: int | None  # main memory this program holds
    device_memory: int | None  # memory of the GPU that torch holds
    load: float  # of the processor cores this program may use
    device_load: float | None


class UsageLog:
    """Told of every event of one run, measures now and then; times are those of the monotonic clock."""

    def __init__(self, path: Path, *, period: float = PERIOD) -> None:
        self._path = path
        self._period = period
        self._began = self._written = time.perf_counter()
        self._worked = time.process_time()
        self._cores = read_cores().usable
        self._device = torch.device("cpu")
        self._pictures = 0.0  # a step
        self._mark: tuple[int, float] | None = None  # step and time since which the training was not interrupted
        self._tells_load = True

    def note(self, event: Event) -> None:
        """Takes the event in; writes a line where one is due."""
        now = time.perf_counter()
        match event:
            case RunStarted():
                self._device = torch.device(event.device)
                self._pictures = event.n_train / max(1, event.steps_per_epoch)
                self._mark = None
            case StepEnded():
                self._stepped(event, now)
            case EpochEnded():
                if self._is_due(now):
                    self._write(event.step, event.images_per_second, now)
                self._mark = None  # validating and saving is no training time
            case _:
                self._mark = None

    def _stepped(self, event: StepEnded, now: float) -> None:
        if self._mark is None:
            self._mark = (event.step, now)
        elif self._is_due(now):
            step, since = self._mark
            self._write(event.step, (event.step - step) * self._pictures / max(1e-9, now - since), now)
            self._mark = (event.step, now)

    def _is_due(self, now: float) -> bool:
        return now - self._written >= max(self._period, (now - self._began) / ROWS)

    def _write(self, step: int, images_per_second: float, now: float) -> None:
        worked = time.process_time()
        load = (worked - self._worked) / max(1e-9, now - self._written) / self._cores
        self._written, self._worked = now, worked
        measured = Measured(
            step=step,
            images_per_second=round(images_per_second, 2),
            memory=held_memory(),
            device_memory=device_memory(self._device),
            load=round(min(1.0, max(0.0, load)), 4),
            device_load=self._device_load(),
        )
        line = json.dumps({"event": "Measured", **dataclasses.asdict(measured), "time": round(time.time(), 3)})
        with contextlib.suppress(OSError), self._path.open("ab") as opened:  # a full disk must not end the training
            opened.write(line.encode() + b"\n")

    def _device_load(self) -> float | None:
        """Share of the last moment in which the GPU computed; needs NVIDIA's pynvml, which many do not have."""
        if self._device.type != "cuda" or not self._tells_load:
            return None
        try:
            return torch.cuda.utilization(self._device) / 100
        except Exception:  # no library, no driver, no right to ask: many kinds, one meaning
            self._tells_load = False
            return None
