"""Takes a model away as one file that answers as the app does and carries what belongs to it.

    onnx          for onnxruntime and other engines, through torch.onnx.export
    pt2           for torch alone: torch.export.load(path).module()(pixels)
    safetensors   our own checkpoint, for ResNet Lab elsewhere

The graphs of the first two take RGB pictures as uint8 [N, 3, S, S] for any N, S being the side of the central cut, and
give calibrated probabilities float32 [N, K] and the score float32 [N] that says how known a picture looks: normalising,
the average with the mirror image, temperature and softmax are inside. Resizing a photo is not, so the file says how:
see `describe_export`.

Tracing changes torch's state for the whole process: a server exports in a process of its own (take_away.py).
"""

import copy
import importlib
import io
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_core.errors import ConfigError, DeviceError, ModelError
from resnet_core.files import replacing
from resnet_core.models.pooled import answer_with_features
from resnet_core.models.resnet import Network
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.unknown_score import UnknownScore

FORMATS = ("onnx", "pt2", "safetensors")
NEEDED = {"onnx": ("onnx", "onnxscript"), "pt2": (), "safetensors": ()}  # packages that writing takes besides torch
EXTRA_FILE = "resnet_lab.json"  # where a .pt2 keeps its description
INPUT, OUTPUTS = "pixels", ("probabilities", "score")  # names in the graph


class Deployed(nn.Module):
    """Pixels in, answers out: everything between the central cut and what `Classifier.judge` says."""

    scale: Tensor
    shift: Tensor

    def __init__(self, checkpoint: Checkpoint, network: nn.Module) -> None:
        super().__init__()
        preprocessing = checkpoint.preprocessing
        mean, std = (torch.tensor(numbers).view(3, 1, 1) for numbers in (preprocessing.mean, preprocessing.std))
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)
        self.network = network
        self.classes = len(checkpoint.class_names)
        self.flip_average = checkpoint.flip_average
        self.temperature = checkpoint.temperature
        self.unknown = _with_own_tensors(checkpoint.unknown)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities float32 [N,K] and scores [N] of RGB pixels 0–255 as uint8 [N,3,S,S]."""
        images = pixels.float() * self.scale + self.shift
        if self.flip_average:  # one pass over both, so that the graph holds the network once
            both = self._rows(torch.cat([images, images.flip(-1)]))
            rows = both.reshape(2, pixels.shape[0], both.shape[1]).mean(0)
        else:
            rows = self._rows(images)
        probabilities = torch.softmax(rows[:, : self.classes] / self.temperature, dim=1)
        if self.unknown is None:
            return probabilities, probabilities.amax(1)
        return probabilities, self.unknown.score(rows[:, self.classes :])

    def _rows(self, images: Tensor) -> Tensor:
        if self.unknown is None:
            return self.network(images)  # type: ignore[no-any-return]
        assert isinstance(self.network, Network)
        return answer_with_features(self.network, images)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A trained model on its way out; `network` is left as it is."""

    name: str  # what people call it here
    checkpoint: Checkpoint
    network: nn.Module

    def deployed(self) -> Deployed:
        """The graph to trace: float32, on the CPU, in eval mode. Raises ModelError for a network without a head."""
        if not getattr(self.network, "include_top", True):
            raise ModelError("This network ends with its last stage and answers nothing; export one with a head.")
        plain = copy.deepcopy(self.network).to("cpu", torch.float32).to(memory_format=torch.contiguous_format)
        return Deployed(self.checkpoint, plain).eval().requires_grad_(False)


def check_format(name: str) -> str:
    """The format, if there is one of that name. Raises ConfigError."""
    if name not in FORMATS:
        raise ConfigError(f"“{name[:40]}” is not a format to export to; use one of {', '.join(FORMATS)}.")
    return name


def require(package: str, purpose: str) -> Any:
    """The module of an optional package. Raises DeviceError that says what to install."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DeviceError(f"{purpose} needs the package {package}: run «pip install {package}».") from error


def export_model(source: Source, path: Path, *, format: str) -> None:
    """Writes the file as a whole. Raises ConfigError, DeviceError for a missing package, ModelError, OSError."""
    check_format(format)
    for package in NEEDED[format]:
        require(package, "Writing ONNX")
    write = {"onnx": _write_onnx, "pt2": _write_pt2, "safetensors": _write_safetensors}[format]
    with replacing(path) as temporary:
        write(source, temporary)


def describe_export(source: Source) -> dict[str, Any]:
    """What a file of every format says about itself, as plain JSON."""
    checkpoint = source.checkpoint
    side = checkpoint.preprocessing.crop
    return {
        "made_by": "ResNet Lab",
        "model": source.name,
        "architecture": checkpoint.architecture,
        "architecture_arguments": checkpoint.architecture_arguments,
        "class_names": list(checkpoint.class_names),
        "input": f"{INPUT}: RGB 0–255, uint8 [N, 3, {side}, {side}]; resized and cut as preprocessing says",
        "output": f"{OUTPUTS[0]}: float32 [N, {len(checkpoint.class_names)}], calibrated, in the order of class_names; "
        f"{OUTPUTS[1]}: float32 [N], below unknown_threshold (if it is a number) the answer is “I do not know this”",
        "preprocessing": checkpoint.preprocessing.to_json(),
        "flip_average": checkpoint.flip_average,
        "temperature": checkpoint.temperature,
        "unknown_threshold": checkpoint.unknown_threshold,
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
    }


def without_places(content: Any) -> Any:
    """The same JSON with every folder taken out of file names, so that a file tells nothing about this machine."""
    if isinstance(content, Mapping):
        return {key: without_places(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_places(value) for value in content]
    if isinstance(content, str) and re.match(r"[A-Za-z]:[\\/]|[\\/~]|\.\.?[\\/]", content):
        return re.split(r"[\\/]", content.rstrip("\\/"))[-1]
    return content


def _with_own_tensors(score: UnknownScore | None) -> UnknownScore | None:
    """A copy none of whose tensors is a view of a larger one, which a .pt2 would store whole."""
    if score is None:
        return None
    named = {"columns", "mean", "scale", "directions", "centres"}
    own: dict[str, Any] = {name: tensor.clone() for name, tensor in score.tensors().items() if name in named}
    return replace(score, head=tuple(tensor.clone() for tensor in score.head), **own)


def _example(source: Source) -> tuple[Tensor]:
    side = source.checkpoint.preprocessing.crop
    return (torch.zeros(2, 3, side, side, dtype=torch.uint8),)  # two: torch takes a size of 1 for a constant


def _write_onnx(source: Source, path: Path) -> None:
    onnx = require("onnx", "Writing ONNX")
    program = torch.onnx.export(
        source.deployed(),
        _example(source),
        input_names=[INPUT],
        output_names=list(OUTPUTS),
        dynamic_shapes={INPUT: {0: "batch"}},
        dynamo=True,
        verbose=False,  # or it prints
    )
    assert program is not None
    proto = program.model_proto
    for node in proto.graph.node:  # where in our source, and on this machine, it comes from
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    onnx.helper.set_model_props(proto, {key: json.dumps(value) for key, value in describe_export(source).items()})
    path.write_bytes(proto.SerializeToString())


def _write_pt2(source: Source, path: Path) -> None:
    batch = torch.export.Dim("batch")
    program = torch.export.export(source.deployed(), _example(source), dynamic_shapes={INPUT: {0: batch}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine
    content = io.BytesIO()  # to a path it would insist on the ending .pt2
    torch.export.save(program, content, extra_files={EXTRA_FILE: json.dumps(describe_export(source))})
    path.write_bytes(content.getvalue())


def _write_safetensors(source: Source, path: Path) -> None:
    weights = source.network.state_dict()
    checkpoint = replace(source.checkpoint, training=without_places(source.checkpoint.training))
    save_checkpoint(path, checkpoint, weights, half=_fits_half(weights))


def _fits_half(weights: Mapping[str, Tensor]) -> bool:
    """True where the large weights came from float16, so that storing them so again loses nothing."""
    large = (tensor.detach().float() for tensor in weights.values() if tensor.ndim > 1 and tensor.is_floating_point())
    return all(torch.equal(tensor.half().float(), tensor) for tensor in large)
