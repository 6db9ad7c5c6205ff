"""Opens a file that export.py wrote and asks it: pixels in, answers out, and what it says about itself.

Only for files of our own making: `torch.export.load` trusts its file.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnet_core.errors import CheckpointError
from resnet_core.inference.classifier import Classifier, Judgement
from resnet_core.inference.export import EXTRA_FILE, INPUT, OUTPUTS, check_format, require

BATCH = 8  # pictures at a time


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An opened file; `about` is its description as JSON."""

    format: str
    about: dict[str, Any]
    run: Callable[[Tensor], Judgement]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in the order of the answers."""
        return tuple(self.about["class_names"])

    def judge(self, pixels: Tensor) -> Judgement:
        """Probabilities [N,K] and scores [N] of RGB pixels uint8 [N,3,S,S]."""
        parts = [self.run(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
        return Judgement(
            probabilities=torch.cat([part.probabilities for part in parts]),
            scores=torch.cat([part.scores for part in parts]),
        )


def open_exported(path: Path, *, format: str) -> Exported:
    """The file, ready to be asked. Raises CheckpointError if it cannot be read, DeviceError for a missing package."""
    check_format(format)
    if format == "onnx":
        runtime = require("onnxruntime", "Checking an ONNX file")
    try:
        if format == "onnx":
            return _open_onnx(path, runtime)
        return _open_pt2(path) if format == "pt2" else _open_safetensors(path)
    except CheckpointError:
        raise
    except Exception as error:  # onnxruntime and torch raise what they like
        raise CheckpointError(f"The exported file cannot be read again ({type(error).__name__}).") from error


def _open_onnx(path: Path, runtime: Any) -> Exported:
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only; it writes to stderr itself
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map

    def run(pixels: Tensor) -> Judgement:
        answers = session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(pixels.numpy())})
        probabilities, scores = (torch.from_numpy(np.array(answer)) for answer in answers)
        return Judgement(probabilities=probabilities, scores=scores)

    return Exported(format="onnx", about={key: json.loads(value) for key, value in told.items()}, run=run)


def _open_pt2(path: Path) -> Exported:
    extra = {EXTRA_FILE: ""}
    with path.open("rb") as opened, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch 2.11 about its own doing
        content = torch.export.load(opened, extra_files=extra)
    network = content.module()

    def run(pixels: Tensor) -> Judgement:
        with torch.inference_mode():
            probabilities, scores = network(pixels)
        return Judgement(probabilities=probabilities, scores=scores)

    return Exported(format="pt2", about=json.loads(extra[EXTRA_FILE]), run=run)


def _open_safetensors(path: Path) -> Exported:
    classifier = Classifier.load(path, engine="plain")
    preprocessing = classifier.checkpoint.preprocessing
    about = {"class_names": list(classifier.class_names), "preprocessing": preprocessing.to_json()}
    return Exported(
        format="safetensors",
        about=about,
        run=lambda pixels: classifier.judge(preprocessing.normalize(pixels)),
    )
