"""Whether torch and torchvision belong together, read from their version files without importing either.

A CPU-only torch beside a CUDA torchvision (or the other way round) fails at import with "operator torchvision::nms does
not exist"; that is told in one sentence before anyone meets it.
"""

import importlib.util
import re
from pathlib import Path

CURE = {
    "cpu": "pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu",
    "cuda": "pip install --force-reinstall torch torchvision",
}


def installation_problem() -> str | None:
    """A sentence that names the cure, or None when the two fit (or one is not installed)."""
    torch, torchvision = _build("torch"), _build("torchvision")
    if torch is None or torchvision is None or torch == torchvision:
        return None
    return mismatch_sentence(torch)


def mismatch_sentence(torch_build: str) -> str:
    """What to do when torchvision was built for another torch; `torch_build` is "cpu" or "cuda"."""
    return (
        "torchvision was built for another torch than the one installed and cannot be loaded, so ImageNet weights and "
        f"the CIFAR-10 download do not work: run «{CURE[torch_build]}»."
    )


def _build(package: str) -> str | None:
    """ "cpu" or "cuda", as the package's version file says; None when it is not installed or says neither."""
    try:
        spec = importlib.util.find_spec(package)
        text = (Path(str(spec.origin)).parent / "version.py").read_text(encoding="utf-8") if spec else ""
    except (OSError, ValueError, ImportError):
        return None
    tag = re.search(r"__version__\s*=\s*['\"][^'\"]*\+(cpu|cu\d)", text)
    return None if tag is None else "cpu" if tag.group(1) == "cpu" else "cuda"
