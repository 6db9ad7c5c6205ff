"""What a pickle would call when it is loaded, read off its bytes: nothing is executed, nothing is imported.

A pickle is a program. Weights need a handful of harmless names (`torch._utils._rebuild_tensor_v2`, a storage class,
`collections.OrderedDict`); whatever else a file names is the reason why it is refused.
"""

import io
import itertools
import pickletools
import re
from collections.abc import Iterator

MAX_STEPS = 150_000  # a ResNet-152 with its optimizer takes about 60,000; torch's own check still follows
MAX_PICKLES = 6  # PyTorch's format from before 1.6 has five in a row

# what torch.load(weights_only=True) may build, as pickles spell it: module, space, name
_HARMLESS = re.compile(
    r"collections (OrderedDict|Counter)|torch\._utils _rebuild_\w+|torch\.nn\.parameter Parameter|torch\.storage \w+"
    r"|torch (\w+Storage|Size|Tensor|device|[a-z]+\d+\w*|bool)|torch\.serialization _get_layout"
    r"|torch\._tensor _rebuild_from_type_v2|_codecs encode|(builtins|__builtin__) (bytearray|set|complex)"
)
_HARMFUL = re.compile(
    r"(os|posix|nt|sys|subprocess|shutil|pty|socket|runpy|importlib|ctypes|webbrowser|builtins|__builtin__|code|codeop"
    r"|_?pickle|marshal|operator|functools|types|asyncio|multiprocessing|threading|urllib|http|requests|_io|io"
    r"|pip|timeit|cProfile|pdb|site|tempfile|torch\.(hub|jit|utils|serialization|package))(\.|$)"
)
_MODEL = re.compile(r"(torch\.nn\.modules|torchvision\.models|timm|transformers|torch\.fx)(\.|$)")


def refusal(content: bytes) -> str | None:
    """Why these bytes, one pickle or several in a row, must not be loaded, as the rest of a sentence.

    None when they name nothing but what tensors need, as far as they can be read.
    """
    odd = [name for name in _names(content) if not _HARMLESS.fullmatch(name)]
    harmful = next((name for name in odd if _HARMFUL.match(name.split(" ")[0])), None)
    if harmful:
        return f"contains code ({_shown(harmful)}) and was not opened"
    if any(_MODEL.match(name.split(" ")[0]) for name in odd):
        return "holds a whole model, which is code, and was not opened"
    return f"holds more than tensors ({_shown(odd[0])}), which takes code, and was not opened" if odd else None


def _names(content: bytes) -> Iterator[str]:
    """`module name` of everything the pickles import, in order; ends where the bytes stop being a pickle."""
    stream = io.BytesIO(content)
    texts: list[str] = []  # the last two strings: protocol 4 takes the names from the stack
    steps = itertools.count()
    for _ in range(MAX_PICKLES):
        try:
            for operation, argument, _ in pickletools.genops(stream):
                if next(steps) > MAX_STEPS:
                    return
                if operation.name in ("GLOBAL", "INST"):
                    yield str(argument)
                elif operation.name == "STACK_GLOBAL":
                    yield " ".join(texts[-2:]) if len(texts) > 1 else "an unreadable name"
                elif isinstance(argument, str):
                    texts = [*texts[-1:], argument]
        except (ValueError, OverflowError, MemoryError, RecursionError):
            return


def _shown(name: str) -> str:
    dotted = ".".join(name.split(" ")[:2])
    return re.sub(r"[^\w.]", "?", dotted)[:60]
