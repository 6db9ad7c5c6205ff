"""Which device, precision, memory format and threads a computation gets, and why.

Every choice can be overridden; `DeviceChoice.reasons` says in a sentence each what was picked. On a CPU the self-test
decides what was left open. What concerns CUDA and MPS was tested with stand-ins only, not on such a device.
"""

import contextlib
import hashlib
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from resnet_core.errors import DeviceError
from resnet_core.processor import Cores, has_bf16, read_cores
from resnet_core.self_test import Findings, find_out

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MEMORY_FORMATS = ("auto", "channels-last", "contiguous")

_FORMATS = {"channels-last": torch.channels_last, "contiguous": torch.contiguous_format}


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """Where and how to compute: `precision` "fp32", "bf16" or "fp16" (autocast), `reasons` as sentences for people."""

    device: torch.device
    precision: str
    memory_format: torch.memory_format
    num_threads: int
    reasons: tuple[str, ...]

    def autocast(self) -> AbstractContextManager[Any]:
        """The mixed-precision context of this choice; does nothing for "fp32"."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)


def choose_device(
    requested: str = "auto",
    *,
    precision: str = "auto",
    num_threads: int | None = None,
    memory_format: str = "auto",
) -> DeviceChoice:
    """The best device there is, or the requested one, and how to compute on it. Raises DeviceError.

    On a CPU, what is left at "auto" or None may need the self-test: up to 2 s once on a machine, nothing afterwards.
    """
    device, why_device = _pick_device(requested)
    chosen, why_precision = _pick_precision(device, precision)
    layout, why_layout = _pick_memory_format(device, chosen, memory_format)
    threads, why_threads = _pick_threads(device, num_threads)
    return DeviceChoice(
        device=device,
        precision=chosen,
        memory_format=_FORMATS[layout],
        num_threads=threads,
        reasons=(why_device, why_precision, why_layout, why_threads),
    )


def find_device(requested: str = "auto") -> torch.device:
    """The device alone, without choosing how to compute on it. Raises DeviceError where it does not exist."""
    return _pick_device(requested)[0]


def offered_devices() -> tuple[str, ...]:
    """What a form offers to train on; with more than one GPU also "all", a process for each."""
    several = torch.cuda.is_available() and torch.cuda.device_count() > 1
    return ("auto", "cpu", "cuda", "mps", *(("all",) if several else ()))


def default_num_threads() -> int:
    """How many threads can run at once: as many as this process may use cores by affinity and by quota."""
    return read_cores().usable


def prepare_backends(choice: DeviceChoice) -> None:
    """Sets what CUDA keeps for the whole process: kernels chosen by trying them, and TF32 unless fp32 is wanted.

    TF32 keeps 10 bits of the mantissa in sums that stay in float32; whoever asks for fp32 gets all 23. Other devices
    need nothing. Set through the names of torch 2.9, since reading or writing the older ones beside them raises.
    """
    if choice.device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = True  # picture sizes repeat, so trying the kernels once pays
    numbers = "ieee" if choice.precision == "fp32" else "tf32"
    cudnn: Any = torch.backends.cudnn
    for place in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn):
        place.fp32_precision = numbers


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
    requested = "cuda" if requested == "all" else requested  # several processes each have one of them
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
    if requested == "bf16" and device.type == "cpu" and not has_bf16():
        return "bf16", "Precision: bf16, as asked; this CPU has to emulate it, which is many times slower than fp32."
    if requested != "auto":
        return requested, f"Precision: {requested}, as asked."
    if device.type == "cuda":
        return _cuda_precision(device)
    if device.type == "cpu":
        return _cpu_precision(find_out()) if has_bf16() else ("fp32", "Precision: fp32, since this CPU has no bf16.")
    return "fp32", "Precision: fp32, the surest on Apple GPUs."


def _cuda_precision(device: torch.device) -> tuple[str, str]:
    """bf16 from Ampere (8.0) on, fp16 with a scaled loss on Volta and Turing (7.x), which have tensor cores for it."""
    major, _ = torch.cuda.get_device_capability(device)
    if major >= 8 or torch.version.hip:
        return "bf16", "Precision: bf16, which this GPU computes in hardware."
    if major == 7:
        return "fp16", "Precision: fp16 with a scaled loss, which this GPU computes in hardware; it has no bf16."
    return "fp32", "Precision: fp32, since this GPU computes nothing shorter in hardware."


def _cpu_precision(found: Findings) -> tuple[str, str]:
    if found.bf16_gain is None or found.bf16_error is None:
        return "fp32", "Precision: fp32, since the self-test could not try bf16 on this CPU."
    speed, error = f"{found.bf16_gain:.2f}× as fast as fp32", f"{found.bf16_error:.1%}"
    if found.bf16_pays:
        return "bf16", f"Precision: bf16, measured {speed} on this CPU with results within {error}."
    if found.bf16_right:
        return "fp32", f"Precision: fp32, since bf16 was measured only {speed} on this CPU."
    return "fp32", f"Precision: fp32, since bf16 results were off by {error} on this CPU."


def _pick_memory_format(device: torch.device, precision: str, requested: str) -> tuple[str, str]:
    if requested not in MEMORY_FORMATS:
        raise DeviceError(f"“{requested}” is not a memory format; use one of {', '.join(MEMORY_FORMATS)}.")
    if requested != "auto":
        return requested, f"Memory format: {requested}, as asked."
    if device.type == "mps":
        return "contiguous", "Memory format: contiguous, which Apple GPUs compute in."
    if device.type == "cuda":
        return "channels-last", "Memory format: channels-last, which tensor cores read without reordering."
    if precision == "bf16":
        return "channels-last", "Memory format: channels-last, which bf16 convolutions on a CPU are written for."
    gain = find_out().training_gain
    if find_out().contiguous_pays:
        return "contiguous", f"Memory format: contiguous, measured {1 / gain:.2f}× as fast as channels-last here."
    if gain >= 1:
        return "channels-last", f"Memory format: channels-last, measured {gain:.2f}× as fast as contiguous here."
    return "channels-last", f"Memory format: channels-last, measured {gain:.2f}× as fast as contiguous, no clear loss."


def _pick_threads(device: torch.device, requested: int | None) -> tuple[int, str]:
    if requested is not None and requested < 1:
        raise DeviceError(f"{requested} threads cannot compute; use 1 or more, or leave the number open.")
    if requested is not None:
        return requested, f"Threads: {requested}, as asked."
    cores = read_cores()
    logical = device.type != "cpu" or cores.usable <= cores.physical or find_out().hyperthreads_pay
    threads = cores.usable if logical else cores.physical
    return threads, f"Threads: {threads}, {_why_threads(cores, threads)}."


def _why_threads(cores: Cores, threads: int) -> str:
    if threads < cores.usable:
        return f"one for each physical core; all {cores.usable} hyperthreads were not clearly faster"
    if cores.quota is not None and cores.usable < cores.allowed:
        return f"since this process gets the time of {cores.quota:g} of {cores.present} cores (control group)"
    if cores.allowed < cores.present:
        return f"since this process may run on {cores.allowed} of {cores.present} cores (affinity)"
    return "one for each core" if cores.usable <= cores.physical else "one for each hyperthread"
