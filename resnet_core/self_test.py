"""What this processor is good at, measured in under 2 s once and remembered.

Documentation cannot answer it: the same torch trains faster in channels_last on one processor and slower on the next,
and bfloat16 is a trap where it is emulated. `trial` holds what is timed.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from resnet_core import trial
from resnet_core.allocator import give_back_freed
from resnet_core.files import cache_dir, write_json
from resnet_core.processor import Cores, has_bf16, processor_name, read_cores

VERSION = 1  # of what is measured; older findings are measured again
CLEARLY = 1.05  # what is less than 5 % faster may be noise
WORTH_HYPERTHREADS = 1.1  # timed by the wall clock, which other programs disturb more
WORTH_BF16 = 1.2  # below this its coarser numbers are not worth it
BF16_ERROR_LIMIT = 0.02  # 8 bits of mantissa cost 0.4 %; wrong kernels are off by far more
BYTES_LIMIT = 65_536  # of a remembered file; ours has 500

_lock = threading.Lock()
_known: dict["Machine", "Findings"] = {}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What findings hold for; on anything else they are measured again."""

    processor: str
    cores: int  # usable at once
    physical: int
    bf16: bool
    instructions: str  # those torch uses, e.g. "AVX2"
    torch: str
    version: int = VERSION


@dataclass(frozen=True, kw_only=True)
class Findings:
    """How many times as fast one way is as another; None where there was nothing to measure."""

    training_gain: float  # a training step, channels_last over contiguous, float32
    inference_gain: float  # the answer for one picture, channels_last over contiguous, float32
    bf16_gain: float | None = None  # a training step, bfloat16 over the better of both in float32
    bf16_error: float | None = None  # a convolution's largest deviation in bfloat16, over its largest value
    hyperthread_gain: float | None = None  # a training step, one thread per logical core over one per physical core
    seconds: float = 0.0  # the self-test took

    @property
    def bf16_right(self) -> bool:
        """Whether bfloat16 is there and its results agree with float32."""
        return self.bf16_error is not None and self.bf16_error <= BF16_ERROR_LIMIT

    @property
    def bf16_pays(self) -> bool:
        """Whether bfloat16 is there, right and worth it."""
        return self.bf16_right and self.bf16_gain is not None and self.bf16_gain >= WORTH_BF16

    @property
    def contiguous_pays(self) -> bool:
        """Whether training is clearly faster contiguous than in channels_last."""
        return self.training_gain * CLEARLY <= 1

    @property
    def hyperthreads_pay(self) -> bool:
        """Whether one thread per logical core is clearly faster than one per physical core."""
        return self.hyperthread_gain is not None and self.hyperthread_gain >= WORTH_HYPERTHREADS


def find_out() -> Findings:
    """The findings for this machine: known, remembered in `cache_dir()`, or measured now. Never fails."""
    cores = read_cores()
    machine = Machine(
        processor=processor_name(),
        cores=cores.usable,
        physical=cores.physical,
        bf16=has_bf16(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        torch=torch.__version__,
    )
    with _lock:
        if machine not in _known:
            _known[machine] = recall(machine) or _measure_and_remember(machine, cores)
        return _known[machine]


def remembered_at(machine: Machine) -> Path:
    """Where the findings of a machine are kept; machines that share a home folder do not get into each other's way."""
    digest = hashlib.sha256(repr(machine).encode("utf-8", "backslashreplace")).hexdigest()
    return cache_dir() / "self-test" / f"{digest[:16]}.json"


def remember(machine: Machine, findings: Findings) -> None:
    """Writes the findings down in one step; a folder that cannot be written is left alone."""
    content = {"machine": dataclasses.asdict(machine), "findings": dataclasses.asdict(findings)}
    with contextlib.suppress(OSError):
        write_json(remembered_at(machine), content)


def recall(machine: Machine) -> Findings | None:
    """The remembered findings of exactly this machine; None where there are none that can be believed."""
    path = remembered_at(machine)
    try:
        if not path.is_file() or path.stat().st_size > BYTES_LIMIT:  # opening a pipe would wait for ever
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["machine"] != json.loads(json.dumps(dataclasses.asdict(machine))):
            return None
        return _checked(content["findings"])
    except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return None


def measure(machine: Machine, cores: Cores) -> Findings:
    """Runs the self-test. The caller's random numbers, threads and modes stay as they are."""
    started, before = trial.now(), trial.compute_alone()
    few = min(cores.usable, cores.physical)
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
            training, answering = trial.time_training(machine.bf16), trial.time_answering()
            error = trial.bf16_error() if machine.bf16 else None
            hyperthreads = trial.time_threads(few, cores.usable) if cores.usable > few else None
    finally:
        torch.set_num_threads(before)
        give_back_freed()
    plain = min(training["contiguous"], training["channels_last"])
    return Findings(
        training_gain=training["contiguous"] / training["channels_last"],
        inference_gain=answering["contiguous"] / answering["channels_last"],
        bf16_gain=plain / training["bf16"] if "bf16" in training else None,
        bf16_error=error,
        hyperthread_gain=hyperthreads,
        seconds=round(trial.now() - started, 3),
    )


def _measure_and_remember(machine: Machine, cores: Cores) -> Findings:
    try:
        findings = measure(machine, cores)
    except (RuntimeError, MemoryError):  # a torch build that lacks an operation; the training itself will say so
        return Findings(training_gain=1.0, inference_gain=1.0)
    remember(machine, findings)
    return findings


def _checked(fields: Any) -> Findings:
    """Findings from JSON. Raises TypeError or ValueError for anything that no self-test can have found."""
    findings = Findings(**fields)
    for name, value in dataclasses.asdict(findings).items():
        if value is None and name not in ("training_gain", "inference_gain", "seconds"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise TypeError(name)
        if value < 0 or (name.endswith("_gain") and not 1e-3 < value < 1e3):
            raise ValueError(name)
    return findings
