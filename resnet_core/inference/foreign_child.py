"""A process of its own that reads one PyTorch file and writes its tensors as safetensors: `foreign_child.py IN OUT`.

It runs as a plain script and imports nothing of ours, so that it starts fast. What it holds when it fails is gone
with it: its parent gives it a time limit, and it gives itself a memory limit. It prints one line of JSON:

    {"wrapper": "state_dict", "class_names": [...]}   or   {"reason": "code" | "memory" | …, "detail": "…"}
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import torch

SPARE_BYTES = 512 << 20  # for torch's own needs beyond three times the file
MAX_CLASSES = 100_000
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
CLASS_LISTS = ("class_names", "classes", "categories", "class_to_idx", "idx_to_class", "labels")


class Refused(Exception):
    """Why the file is not taken: a reason the parent knows, and details."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.answer = {"reason": reason, "detail": detail[:300]}


def convert(source: str, target: str) -> dict[str, Any]:
    """Reads, unwraps, compares sizes, writes; what the parent is told."""
    content = load(source)
    wrapper, tensors = find_weights(content)
    check_sizes(tensors, os.path.getsize(source))
    from safetensors.torch import save_file

    save_file(plain(tensors), target)
    return {"wrapper": wrapper, "class_names": find_class_names(content)}


def load(source: str) -> Any:
    """What the file holds; pickles that are not pure tensors are refused by torch."""
    limit_memory(3 * os.path.getsize(source) + SPARE_BYTES)
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise Refused("code" if named else "pickle", named[1] if named else str(error)) from error
    except MemoryError as error:
        raise Refused("memory") from error
    except RuntimeError as error:
        raise Refused("memory" if "allocate" in str(error) else "damaged", str(error)) from error


def limit_memory(extra: int) -> None:
    """This process may take so many bytes of addresses more than it has; where the system knows such a limit."""
    try:
        import resource

        with open("/proc/self/statm", encoding="ascii") as opened:
            taken = int(opened.read().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = taken + extra if hard == resource.RLIM_INFINITY else min(taken + extra, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError, ValueError):
        pass  # not on Linux: the time limit and the gate before remain


def find_weights(content: Any) -> tuple[str, dict[str, torch.Tensor]]:
    """The mapping of names to tensors, and the key it lay under; at most two wrappers deep."""
    best: tuple[str, dict[str, torch.Tensor]] = ("", direct_tensors(content))
    for path, mapping in wrapped(content):
        tensors = direct_tensors(mapping)
        if path.split(".")[-1] in WRAPPERS and len(tensors) >= 2 and len(tensors) > len(best[1]) // 2:
            return path, tensors
        if len(tensors) > len(best[1]):
            best = path, tensors
    if not best[1]:
        raise Refused("no tensors")
    return best


def wrapped(content: Any) -> list[tuple[str, Mapping[Any, Any]]]:
    """The mappings inside, with their keys, likely ones first."""
    found = []
    for key, value in ordered(content):
        found.append((key, value))
        found += [(f"{key}.{inner}", below) for inner, below in ordered(value)]
    return sorted(found, key=lambda each: each[0].count("."))


def ordered(content: Any) -> list[tuple[str, Mapping[Any, Any]]]:
    """The mappings one level below."""
    if not isinstance(content, Mapping):
        return []
    below = [(key, value) for key, value in content.items() if isinstance(key, str) and isinstance(value, Mapping)]
    return sorted(below, key=lambda each: WRAPPERS.index(each[0]) if each[0] in WRAPPERS else len(WRAPPERS))


def direct_tensors(content: Any) -> dict[str, torch.Tensor]:
    """The tensors right in a mapping."""
    if not isinstance(content, Mapping):
        return {}
    return {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}


def check_sizes(tensors: dict[str, torch.Tensor], file_bytes: int) -> None:
    """Refuses kinds of tensors that no ResNet has, and shapes that claim more values than the file can hold."""
    total = 0
    for name, tensor in tensors.items():
        unusual = tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided or tensor.is_meta
        if unusual:
            raise Refused("kind", name)
        total += tensor.numel() * tensor.element_size()
        if tensor.numel() * tensor.element_size() > file_bytes or total > 4 * file_bytes:
            raise Refused("shape", f"{name} {'×'.join(map(str, tensor.shape))}")


def plain(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each with values of its own, in order: safetensors knows neither strides nor shared memory."""
    found: dict[str, torch.Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        alone = tensor.is_contiguous() and place not in taken
        found[name] = tensor.detach() if alone else tensor.detach().clone(memory_format=torch.contiguous_format)
        taken.add(place)
    return found


def find_class_names(content: Any) -> list[str]:
    """The names of the classes where the file has them beside its weights, else none."""
    for place in (content, *(value for _, value in ordered(content))):
        for key in CLASS_LISTS:
            value = place.get(key) if isinstance(place, Mapping) else None
            if names := as_names(value):
                return names
    return []


def as_names(value: Any) -> list[str]:
    """A list of names, {name: index} or {index: name}, as a list."""
    if isinstance(value, Mapping) and len(value) <= MAX_CLASSES:
        pairs = [(v, k) if isinstance(v, int) else (k, v) for k, v in value.items()]
        try:
            by_index = {int(index): name for index, name in pairs}
        except (TypeError, ValueError):
            return []
        value = [by_index.get(index) for index in range(len(pairs))]
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_CLASSES:
        return []
    return list(value) if all(isinstance(name, str) for name in value) else []


def main(source: str, target: str) -> None:
    """Prints the answer and leaves without tidying up: deep structures take long to take apart."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        answer = convert(source, target)
    except Refused as refused:
        answer = refused.answer
    except MemoryError:
        answer = {"reason": "memory", "detail": ""}
    except Exception as error:  # whatever a hostile file makes torch raise
        answer = {"reason": "damaged", "detail": f"{type(error).__name__}: {error}"[:300]}
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(answer))
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:3])
