"""What a number was measured on. `python -m benchmarks.machine` prints it as JSON.

The benchmarks' parent asks a process of its own, so that it never loads torch itself.
"""

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TELLING_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Processor, memory and library versions."""

    processor: str
    cores: int  # that this process may use
    physical_cores: int | None
    memory_gb: float | None
    flags: list[str] = field(default_factory=list)  # those of TELLING_FLAGS the processor has
    capability: str  # what torch's own kernels use, such as "AVX2"
    gpu: str | None
    system: str
    python: str
    torch: str
    torchvision: str | None
    torch_threads: int

    @property
    def amx(self) -> bool:
        """Whether the processor multiplies bf16 matrices in hardware."""
        return "amx_bf16" in self.flags

    def sentence(self) -> str:
        """One line for people."""
        memory = f", {self.memory_gb:g} GB" if self.memory_gb else ""
        threads = f"{self.cores} cores ({self.torch_threads} torch threads){memory}"
        flags = ", ".join(self.flags) or "no vector flags known"
        versions = f"torch {self.torch}, torchvision {self.torchvision or 'missing'}, Python {self.python}"
        return f"{self.processor}, {threads}, {flags}, GPU: {self.gpu or 'none'}; {versions}; {self.system}"


def ask_machine() -> Machine:
    """This machine, described by a process that imports torch in our place."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.machine"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    return Machine(**json.loads(answer.stdout.splitlines()[-1]))


def describe_machine() -> Machine:
    """This machine; imports torch and torchvision."""
    import torch

    from resnet_core.device import default_num_threads

    cpu = _cpu_lines()
    flags = set(next((text for key, text in cpu if key == "flags"), "").split())
    return Machine(
        processor=next((text for key, text in cpu if key == "model name"), platform.processor() or platform.machine()),
        cores=default_num_threads(),
        physical_cores=_physical_cores(cpu),
        memory_gb=_memory_gb(),
        flags=[flag for flag in TELLING_FLAGS if flag in flags],
        capability=torch.backends.cpu.get_cpu_capability(),
        gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        torchvision=_torchvision_version(),
        torch_threads=torch.get_num_threads(),
    )


def _cpu_lines() -> list[tuple[str, str]]:
    """Keys and texts of /proc/cpuinfo, empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    split = [line.partition(":") for line in lines]
    return [(key.strip(), text.strip()) for key, _, text in split]


def _physical_cores(cpu: list[tuple[str, str]]) -> int | None:
    """Distinct pairs of socket and core; None where the system does not tell."""
    sockets = [text for key, text in cpu if key == "physical id"]
    cores = [text for key, text in cpu if key == "core id"]
    return len(set(zip(sockets, cores, strict=True))) if cores and len(sockets) == len(cores) else None


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _torchvision_version() -> str | None:
    try:
        from importlib.metadata import version

        return version("torchvision")
    except ImportError:  # PackageNotFoundError is one
        return None


if __name__ == "__main__":
    print(json.dumps(asdict(describe_machine())))
