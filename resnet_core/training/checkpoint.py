"""One `.safetensors` file that is all a trained model needs: weights, architecture, class names, preprocessing,
calibration, metrics, and where it came from. Safetensors holds no code; checksums over the weights and over the
description notice flipped bits, which load silently otherwise.
"""

import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, ModelError, ResNetLabError
from resnet_core.files import replacing
from resnet_core.models.pooled import stage_channels
from resnet_core.models.resnet import Network
from resnet_core.training.hollow import build_hollow
from resnet_core.training.unknown_score import THRESHOLD, UnknownScore

FORMAT_VERSION = 2  # 2 has an unknown score beside the weights; a file without one is still written as 1
UNKNOWN_PREFIX = "unknown."  # of the tensors that belong to the unknown score, not to the network
MAX_FILE_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything but the weights. `metrics` are those of the validation pictures when the file was written."""

    architecture: str
    architecture_arguments: dict[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    flip_average: bool = False  # predictions average the picture and its mirror image
    temperature: float = 1.0  # logits are divided by it before the softmax
    unknown_threshold: float | None = None  # below this score the answer is "I do not know this"
    unknown: UnknownScore | None = None  # what the score is; without it the largest probability
    metrics: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)  # the resolved TrainConfig and where the run stood
    data_fingerprint: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def split_seed(self) -> int:
        """The seed by which the training split a data set that has no folders for both sides."""
        config = self.training.get("config")
        seed = config.get("seed") if isinstance(config, dict) else None
        return seed if isinstance(seed, int) else 0

    def with_metrics(self, **metrics: Any) -> "Checkpoint":
        """A copy with further metrics."""
        return replace(self, metrics={**self.metrics, **metrics})

    def with_unknown(self, score: UnknownScore) -> "Checkpoint":
        """A copy that refuses pictures by this score, at the threshold it was fitted for."""
        return replace(self, unknown=score, unknown_threshold=THRESHOLD)


def save_checkpoint(
    path: Path, checkpoint: Checkpoint, state_dict: Mapping[str, torch.Tensor], *, half: bool = False
) -> None:
    """Writes the file as a whole. With `half`, convolution and linear weights are stored in float16;
    BatchNorm's small running variances would underflow there and stay as they are."""
    tensors = {name: _portable(tensor, half) for name, tensor in state_dict.items()}
    unknown = checkpoint.unknown
    if unknown:
        tensors |= {UNKNOWN_PREFIX + name: _portable(tensor, False) for name, tensor in unknown.tensors().items()}
    header = {
        "format_version": FORMAT_VERSION if unknown else 1,
        "architecture": checkpoint.architecture,
        "architecture_arguments": checkpoint.architecture_arguments,
        "class_names": list(checkpoint.class_names),
        "preprocessing": checkpoint.preprocessing.to_json(),
        "flip_average": checkpoint.flip_average,
        "temperature": checkpoint.temperature,
        "unknown_threshold": checkpoint.unknown_threshold,
        **({"unknown": unknown.to_json()} if unknown else {}),
        "metrics": checkpoint.metrics,
        "training": checkpoint.training,
        "data_fingerprint": checkpoint.data_fingerprint,
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "sha256": _checksum(tensors),
    }
    text = json.dumps({**header, "description_sha256": _description_checksum(header)})
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"resnet_lab": text})


def read_checkpoint(path: Path) -> Checkpoint:
    """What the file says about itself, without its weights. Raises CheckpointError."""
    header = _read_header(path)
    return _parse(header, path, _read_tensors(path, only=UNKNOWN_PREFIX) if header.get("unknown") else {})


def load_checkpoint(path: Path) -> tuple[Checkpoint, nn.Module]:
    """The description and the model in eval mode, float32, on the CPU. Raises CheckpointError if anything is off."""
    header = _read_header(path)
    tensors = _read_tensors(path)
    if _checksum(tensors) != header.get("sha256"):
        raise CheckpointError(_damaged(path))
    extra = {name: tensors.pop(name) for name in list(tensors) if name.startswith(UNKNOWN_PREFIX)}
    checkpoint = _parse(header, path, extra)
    model = _build_described(checkpoint, path)
    expected = model.state_dict()
    _check_fit(expected, tensors, path)
    filled = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}
    model.load_state_dict(filled, assign=True)
    return checkpoint, model.eval()


def _portable(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = tensor.detach().to("cpu").contiguous().clone()
    return tensor.to(torch.float16) if half and tensor.ndim > 1 and tensor.is_floating_point() else tensor


def _checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _description_checksum(header: Mapping[str, Any]) -> str:
    content = {key: value for key, value in header.items() if key != "description_sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read_header(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):
        raise CheckpointError(f"There is no checkpoint {_shown(path)}.")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise CheckpointError(f"{_shown(path)} is larger than 2 GB; ResNets are not.")
    try:
        with safe_open(path, framework="pt") as opened:
            text = (opened.metadata() or {}).get("resnet_lab")
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{_shown(path)} is not a readable checkpoint; a .safetensors file was expected."
        ) from error
    if text is None:
        raise CheckpointError(
            f"{_shown(path)} holds weights but not what they belong to; it was not written by ResNet Lab."
        )
    try:
        header = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{_shown(path)} has a damaged description.") from error
    if not isinstance(header, dict) or not isinstance(header.get("format_version"), int):
        raise CheckpointError(f"{_shown(path)} has a damaged description.")
    if header["format_version"] > FORMAT_VERSION:
        raise CheckpointError(f"{_shown(path)} was written by a newer ResNet Lab; update this one to open it.")
    if header.get("description_sha256", (right := _description_checksum(header))) != right:
        raise CheckpointError(_damaged(path))
    return header


def _read_tensors(path: Path, *, only: str = "") -> dict[str, torch.Tensor]:
    """All tensors, or those whose name begins with `only`."""
    try:
        with safe_open(path, framework="pt") as opened:
            names = [name for name in opened.keys() if name.startswith(only)]  # noqa: SIM118 (not a dict)
            return {name: opened.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{_shown(path)} cannot be read to its end; copy it again.") from error


def _parse(header: dict[str, Any], path: Path, extra: Mapping[str, torch.Tensor]) -> Checkpoint:
    """The description; `extra` are the tensors under UNKNOWN_PREFIX."""
    try:
        threshold = header.get("unknown_threshold")
        return Checkpoint(
            architecture=str(header["architecture"]),
            architecture_arguments=dict(header["architecture_arguments"]),
            class_names=_class_names(header["class_names"]),
            preprocessing=Preprocessing.from_json(header["preprocessing"]),
            flip_average=bool(header.get("flip_average", False)),
            temperature=_temperature(header.get("temperature", 1.0)),
            unknown_threshold=None if threshold is None else float(threshold),
            unknown=_unknown(header.get("unknown"), extra),
            metrics=dict(header.get("metrics", {})),
            training=dict(header.get("training", {})),
            data_fingerprint=str(header.get("data_fingerprint", "")),
            versions=dict(header.get("versions", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ResNetLabError) as error:
        raise CheckpointError(f"{_shown(path)} has an incomplete description ({visible_text(str(error))}).") from error


def _class_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError("class_names is not a list of names")
    return tuple(value)


def _unknown(fields: Any, extra: Mapping[str, torch.Tensor]) -> UnknownScore | None:
    if not fields and not extra:
        return None
    return UnknownScore.from_stored(fields, {name.removeprefix(UNKNOWN_PREFIX): extra[name] for name in extra})


def _temperature(value: Any) -> float:
    if not 0 < float(value) < math.inf:
        raise ValueError("temperature is not above 0")
    return float(value)


def _build_described(checkpoint: Checkpoint, path: Path) -> nn.Module:
    """The network the file describes, without memory: a forged description cannot ask for gigabytes."""
    arguments = checkpoint.architecture_arguments
    try:
        if "pretrained" in arguments:
            raise ModelError("a checkpoint has its own weights")
        model = build_hollow(checkpoint.architecture, **arguments)
    except (ModelError, TypeError) as error:
        reason = visible_text(str(error))
        raise CheckpointError(f"{_shown(path)} describes a network this version cannot build: {reason}") from error
    if model.num_classes != len(checkpoint.class_names):
        raise CheckpointError(
            f"{_shown(path)} names {len(checkpoint.class_names)} classes, but its network has another number."
        )
    if checkpoint.unknown and isinstance(model, Network) and checkpoint.unknown.width != 2 * sum(stage_channels(model)):
        raise CheckpointError(f"{_shown(path)} judges what it knows by features that its network does not have.")
    return model


def _check_fit(expected: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Names, shapes and finiteness are compared before a single value is taken over."""
    if expected.keys() != tensors.keys():
        odd = sorted(expected.keys() ^ tensors.keys())
        raise CheckpointError(
            f"{_shown(path)} does not fit its network: {len(odd)} layers differ, first {display_name(odd[0])}."
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            want, have = tuple(expected[name].shape), tuple(tensor.shape)
            raise CheckpointError(f"{_shown(path)}: {name} has shape {have}, but the network needs {want}.")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{_shown(path)} holds values that are not numbers in {name}; it cannot be used.")


def _damaged(path: Path) -> str:
    return f"{_shown(path)} is damaged: its checksum does not match; copy it again or use another."


def _shown(path: Path) -> str:
    return f"“{display_name(path.name)}”"
