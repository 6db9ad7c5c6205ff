"""From a picture to ranked answers, with the checkpoint's own preprocessing, class names and temperature.

classifier = Classifier.load(path)
classifier.classify(image).predictions[0]     # Prediction(label="tulips", probability=0.93)
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from resnet_core.data.preprocessing import Preprocessing, to_pixels
from resnet_core.errors import CheckpointError
from resnet_core.models.logits import compute_logits
from resnet_core.models.pretrained import load_pretrained
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint


@dataclass(frozen=True)
class Prediction:
    """One ranked answer; the probability lies in [0, 1]."""

    label: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Classification:
    """All answers for one picture, the most probable first."""

    predictions: tuple[Prediction, ...]
    unknown: bool  # the checkpoint has a threshold and the picture falls below it
    seen: Image.Image  # the picture as the network saw it
    seconds: float  # preprocessing and network


class Classifier:
    """A model that answers; it is never trained and never changes, so threads may share it."""

    def __init__(self, checkpoint: Checkpoint, model: nn.Module, *, device: torch.device | None = None) -> None:
        self.checkpoint = checkpoint
        self.device = device or torch.device("cpu")
        model = model.to(self.device).to(memory_format=torch.channels_last)
        self.model: nn.Module = model.eval().requires_grad_(False)

    @classmethod
    def load(cls, path: Path, *, device: torch.device | None = None) -> "Classifier":
        """The classifier of a checkpoint file. Raises CheckpointError."""
        return cls(*load_checkpoint(path), device=device)

    @classmethod
    def pretrained(cls, name: str, *, device: torch.device | None = None) -> "Classifier":
        """torchvision's published ImageNet model of 1000 classes. Raises ModelError when it cannot be had."""
        weights = load_pretrained(name)
        model = build_model(name)
        model.load_state_dict(weights.state_dict)
        preprocessing = Preprocessing(resize=weights.resize, crop=weights.crop, mean=weights.mean, std=weights.std)
        checkpoint = Checkpoint(
            architecture=name,
            architecture_arguments=dict(model.architecture_arguments),
            class_names=tuple(weights.class_names),
            preprocessing=preprocessing,
        )
        return cls(checkpoint, model, device=device)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""
        return self.checkpoint.class_names

    def classify(self, image: Image.Image, *, top_k: int | None = None) -> Classification:
        """The answer for one RGB picture."""
        return self.classify_batch([image], top_k=top_k)[0]

    def classify_batch(self, images: Sequence[Image.Image], *, top_k: int | None = None) -> list[Classification]:
        """The answers for some RGB pictures, in their order. Raises CheckpointError if they are not numbers."""
        if not images:
            return []
        started = time.perf_counter()
        preprocessing = self.checkpoint.preprocessing
        squares = [preprocessing.square(image) for image in images]
        inputs = torch.stack([preprocessing.normalize(to_pixels(square)) for square in squares])
        probabilities = self.probabilities(inputs)
        seconds = (time.perf_counter() - started) / len(images)
        return [self._answer(row, square, seconds, top_k) for row, square in zip(probabilities, squares, strict=True)]

    @torch.inference_mode()
    def probabilities(self, inputs: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities float32 `[N, K]` on the CPU, of preprocessed inputs `[N, 3, H, W]`."""
        inputs = inputs.to(self.device).contiguous(memory_format=torch.channels_last)
        logits = compute_logits(self.model, inputs, flip_average=self.checkpoint.flip_average).cpu()
        if not torch.isfinite(logits).all():
            raise CheckpointError("The model returned invalid numbers for this picture; use another checkpoint.")
        return torch.softmax(logits / self.checkpoint.temperature, dim=1)

    def _answer(self, row: torch.Tensor, square: Image.Image, seconds: float, top_k: int | None) -> Classification:
        count = len(row) if top_k is None else max(1, min(top_k, len(row)))
        best = row.topk(count)
        predictions = tuple(
            Prediction(self.class_names[index], float(value))
            for value, index in zip(best.values, best.indices.tolist(), strict=True)
        )
        threshold = self.checkpoint.unknown_threshold
        unknown = threshold is not None and predictions[0].probability < threshold
        return Classification(predictions=predictions, unknown=unknown, seen=square, seconds=seconds)
