"""Weights from elsewhere, opened without trust: a `.pth`, `.pt` or `.safetensors` becomes plain tensors or a sentence.

weights = open_foreign(path, scratch=folder)     gate, then a process of its own that can be ended
weights.shapes                                   every tensor's name, shape and precision; no values read yet
weights.read()                                   the tensors
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name
from resnet_core.errors import CheckpointError
from resnet_core.inference.foreign_gate import MAX_MEMBERS, judge_file
from resnet_core.training.checkpoint import UNKNOWN_PREFIX

SECONDS = 20.0  # for the reading process; a ResNet-152 takes 4 on two busy cores
_CHILD = Path(__file__).with_name("foreign_child.py")
_ADVICE = "where it comes from, save only the weights: torch.save(model.state_dict(), …)"

Shape = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """What a file says about one tensor."""

    shape: Shape
    precision: str  # as safetensors calls it: F32, F16, BF16, I64 …

    def count(self) -> int:
        """How many values."""
        count = 1
        for edge in self.shape:
            count *= edge
        return count


@dataclass(frozen=True, kw_only=True)
class ForeignWeights:
    """A file from elsewhere that has passed the gate; its tensors lie in `path` as safetensors."""

    path: Path
    name: str  # the file's own, safe to show as text
    form: str  # "torch", "safetensors", or "ours" for a checkpoint of ResNet Lab
    wrapper: str  # the key the weights lay under, e.g. "state_dict"; "" when they were all of the file
    class_names: tuple[str, ...]  # those the file brings along, else empty
    shapes: dict[str, TensorEntry]

    def read(self) -> dict[str, torch.Tensor]:
        """All tensors by name, on the CPU. Raises CheckpointError."""
        return dict(self.stream())

    def stream(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The tensors one at a time. Raises CheckpointError."""
        try:
            with safe_open(self.path, framework="pt") as opened:
                for name in self.shapes:
                    yield name, opened.get_tensor(name)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"“{self.name}” cannot be read to its end; copy it again.") from error


def open_foreign(
    path: Path, *, scratch: Path, name: str | None = None, seconds: float = SECONDS, make_room: bool = False
) -> ForeignWeights:
    """The weights of a file nobody vouches for; tensors of a pickle are rewritten into the folder `scratch`.

    `name` is what to call the file in messages. With `make_room` the file itself is deleted once it is no longer
    needed. Raises CheckpointError with the reason.
    """
    shown_name = display_name(name or path.name)
    form = judge_file(path, f"“{shown_name}”")
    if form == "safetensors":
        return _describe(path, shown_name, form, {})
    target = scratch / "weights.safetensors"
    answer = _convert(path, target, shown_name, seconds)
    if make_room:
        path.unlink(missing_ok=True)
    return _describe(target, shown_name, form, answer)


def _convert(source: Path, target: Path, name: str, seconds: float) -> dict[str, Any]:
    """Lets a process of its own read the pickle; it is ended after `seconds`."""
    command = [sys.executable, "-P", str(_CHILD), str(source.resolve()), str(target.resolve())]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=surroundings, check=False
        )
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(
            f"Reading “{name}” took longer than {seconds:g} s and was ended; weights never need that: {_ADVICE}."
        ) from error
    except ValueError as error:  # the process died before it could answer
        raise _unreadable(name) from error
    if not isinstance(answer, dict) or "reason" in answer:
        raise _refused(name, answer if isinstance(answer, dict) else {})
    return answer


def _refused(name: str, answer: dict[str, Any]) -> CheckpointError:
    detail = visible_text(str(answer.get("detail", "")))
    sentences = {
        "code": f"“{name}” contains code ({detail}) and was not opened: {_ADVICE}.",
        "pickle": f"“{name}” holds more than tensors and was not opened: {_ADVICE}.",
        "memory": f"“{name}” asks for more memory than weights of its size need and was not opened.",
        "no tensors": f"“{name}” holds no weights: no names with tensors were found in it; {_ADVICE}.",
        "kind": f"“{name}” holds a tensor no ResNet has ({detail}: sparse, quantized, complex or empty).",
        "shape": f"“{name}” claims a tensor far larger than the file ({detail}); its shapes do not match its content.",
    }
    sentence = sentences.get(str(answer.get("reason")))
    return CheckpointError(sentence) if sentence else _unreadable(name)


def _describe(path: Path, name: str, form: str, answer: dict[str, Any]) -> ForeignWeights:
    try:
        with safe_open(path, framework="pt") as opened:
            names = list(opened.keys())
            if len(names) > MAX_MEMBERS:
                raise CheckpointError(f"“{name}” has more than {MAX_MEMBERS:,} tensors, as no ResNet has.")
            described = opened.metadata() or {}
            shapes = {key: _entry(opened.get_slice(key)) for key in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(name) from error
    if "resnet_lab" in described:  # the description's own tensors are no part of the network
        form, shapes = "ours", {key: entry for key, entry in shapes.items() if not key.startswith(UNKNOWN_PREFIX)}
    return ForeignWeights(
        path=path,
        name=name,
        form=form,
        wrapper=visible_text(str(answer.get("wrapper", ""))),
        class_names=tuple(map(str, answer.get("class_names", ()))) or _listed(described.get("class_names")),
        shapes=shapes,
    )


def _entry(piece: Any) -> TensorEntry:
    return TensorEntry(shape=tuple(piece.get_shape()), precision=str(piece.get_dtype()))


def _listed(text: str | None) -> tuple[str, ...]:
    """Class names in the metadata of a safetensors file, a JSON list."""
    try:
        names = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return ()
    return tuple(names) if isinstance(names, list) and all(isinstance(each, str) for each in names) else ()


def _unreadable(name: str) -> CheckpointError:
    return CheckpointError(f"“{name}” is not a readable checkpoint: it is incomplete or damaged; copy it again.")
