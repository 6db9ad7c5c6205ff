"""Which device, precision, memory format and threads a computation gets, and why.

Every choice can be overridden; `DeviceChoice.reasons` says in sentences what was picked. bfloat16 without
hardware support is a trap (20 times slower on AVX2), so on a CPU it needs the capability *and* a short test of its
speed.
"""

import contextlib
import functools
import hashlib
import os
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from resnet_core.errors import DeviceError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """Where and how to compute: `precision` "fp32", "bf16" or "fp16" (autocast), `reasons` as sentences for people."""

    device: torch.device
    precision: str
    num_threads: int
    reasons: tuple[str, ...]

    @property
    def memory_format(self) -> torch.memory_format:
        """channels_last: faster for convolutions on CPU and on tensor cores alike."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last

    def autocast(self) -> AbstractContextManager[Any]:
        """The mixed-precision context of this choice; does nothing for "fp32"."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)


def choose_device(requested: str = "auto", *, precision: str = "auto", num_threads: int | None = None) -> DeviceChoice:
    """The best device there is, or the requested one. Raises DeviceError where it does not exist."""
    device, why_device = _pick_device(requested)
    chosen, why_precision = _pick_precision(device, precision)
    threads = num_threads or default_num_threads()
    return DeviceChoice(device=device, precision=chosen, num_threads=threads, reasons=(why_device, why_precision))


def default_num_threads() -> int:
    """As many threads as this process may use cores (a container or `taskset` may allow fewer than exist)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed)


def make_generator(*parts: int | str) -> torch.Generator:
    """A CPU random generator that depends on `parts` alone, so that other threads cannot change a seeded run."""
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()  # a folder's name may be no UTF-8
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def import_torchvision() -> ModuleType:
    """torchvision, or a DeviceError that names the cure when its build does not match torch's."""
    try:
        import torchvision
    except (ImportError, RuntimeError, AttributeError, OSError) as error:  # each was seen with a foreign build
        raise DeviceError(torchvision_cure(str(error))) from error
    return torchvision  # type: ignore[no-any-return]


def torchvision_cure(problem: str) -> str:
    """One sentence for a torchvision that does not load: what is wrong and which command mends it."""
    build = "cpu" if "+cpu" in torch.__version__ else "the same index as torch"
    where = (
        "pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu"
        if build == "cpu"
        else "pip install --force-reinstall torch torchvision"
    )
    reason = re.sub(r"\S*[/\\](?=\S)", "", problem.strip() or "no reason given").splitlines()[0][:120]
    return f"torchvision does not fit the installed torch {torch.__version__} ({reason}): run «{where}»."


def _pick_device(requested: str) -> tuple[torch.device, str]:
    if requested == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"Device: {torch.cuda.get_device_name(0)}, the GPU of this machine."
        if torch.backends.mps.is_available():
            return torch.device("mps"), "Device: the Apple GPU of this machine."
        return torch.device("cpu"), "Device: CPU, since no GPU was found."
    try:
        device = torch.device(requested)
    except (RuntimeError, ValueError) as error:
        raise DeviceError(f"“{requested}” is not a device; use auto, cpu, cuda, cuda:N or mps.") from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"“{requested}” is not supported; use auto, cpu, cuda, cuda:N or mps.")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise DeviceError(f"There is no GPU “{requested}” on this machine; use --device cpu or auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("There is no Apple GPU on this machine; use --device cpu or auto.")
    return device, f"Device: {requested}, as asked."


def _pick_precision(device: torch.device, requested: str) -> tuple[str, str]:
    if requested not in PRECISIONS:
        raise DeviceError(f"“{requested}” is not a precision; use one of {', '.join(PRECISIONS)}.")
    if requested == "fp16" and device.type != "cuda":
        raise DeviceError("fp16 training needs a CUDA GPU; use fp32, bf16 or auto.")
    if requested != "auto":
        return requested, f"Precision: {requested}, as asked."
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "Precision: bf16, which this GPU computes in hardware."
        return "fp32", "Precision: fp32, since this GPU has no bf16 units."
    if device.type == "cpu" and cpu_bf16_gain() >= 1.2:
        return "bf16", f"Precision: bf16, measured {cpu_bf16_gain():.1f}× as fast as fp32 on this CPU."
    return "fp32", "Precision: fp32, since bf16 has no hardware support here or was not faster."


@functools.cache
def cpu_bf16_gain() -> float:
    """How many times faster a bf16 convolution runs here than fp32; 0 without the instructions. Takes < 0.5 s."""
    if not _cpu_has_bf16():
        return 0.0
    return _time_convolution(torch.float32) / _time_convolution(torch.bfloat16)


def _cpu_has_bf16() -> bool:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as opened:
            flags = next((line for line in opened if line.startswith("flags")), "")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _time_convolution(dtype: torch.dtype) -> float:
    images = torch.ones(8, 64, 32, 32, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.ones(64, 64, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(6):
            started = time.perf_counter()
            torch.nn.functional.conv2d(images, kernel, padding=1)
            times.append(time.perf_counter() - started)
    return min(times[1:])
