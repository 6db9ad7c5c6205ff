"""What a number was measured on."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

from resnet_core.device import default_num_threads


def describe_machine() -> dict[str, Any]:
    """Processor, cores, load and library versions."""
    return {
        "processor": _processor(),
        "cores": default_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
