"""What a network says without one channel of one of its layers: set to zero, or to any other number, everywhere.

ablate(classifier, inputs, "layer3", 17, 0.0).after        # the photo's probabilities without the channel
with ablating(model, "layer3", {17: 0.0}): model(images)
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from resnet_core.activations.capture import fitting_inputs, observing, run_forward
from resnet_core.activations.layers import find_layers
from resnet_core.activations.picture_sample import PictureSample
from resnet_core.errors import CheckpointError, DatasetError, ModelError
from resnet_core.inference.classifier import Classifier
from resnet_core.models.logits import compute_logits

ACCURACY_PICTURES = 200
BATCH = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Ablation:
    """Calibrated probabilities [K] of one photo with the channel and without it."""

    before: Tensor
    after: Tensor


@dataclass(frozen=True, kw_only=True)
class AblatedAccuracy:
    """How many of the same pictures are answered right with the channel and without it, in [0, 1]."""

    before: float
    after: float
    count: int


@contextlib.contextmanager
def ablating(model: nn.Module, layer: str, numbers: Mapping[int, float]) -> Iterator[None]:
    """While open, each of those channels of the layer's output is that number, in this thread.

    Everything is given back, also after an error. Raises ModelError for a layer that cannot be observed, and when the
    model runs, for a channel the layer lacks.
    """

    def replace(_: str, output: Tensor) -> Tensor:
        channels = output.shape[1]
        if any(not 0 <= channel < channels for channel in numbers):
            raise ModelError(f"There is no such channel; {layer} has the channels 0 to {channels - 1}.")
        changed = output.clone()  # what comes after may still need the other, as a skip does
        for channel, number in numbers.items():
            changed[:, channel] = number
        return changed

    with observing(model, find_layers(model, [layer]), replace):
        yield


def ablate(classifier: Classifier, inputs: Tensor, layer: str, channel: int, number: float = 0.0) -> Ablation:
    """What the model says of one preprocessed photo [1,3,H,W], and what with that channel at that number.

    Both by the plain network, so that nothing but the channel differs. Raises ModelError for another layer or channel.
    """
    before = answer(classifier, inputs)[0]
    with ablating(classifier.model, layer, {channel: number}):
        return Ablation(before=before, after=answer(classifier, inputs)[0])


def ablated_accuracy(
    classifier: Classifier,
    sample: PictureSample,
    layer: str,
    channel: int,
    number: float = 0.0,
    *,
    progress: Callable[[int, int], None] | None = None,
    in_turn: Callable[[Callable[[], tuple[int, int]]], tuple[int, int]] | None = None,
) -> AblatedAccuracy:
    """How many pictures of a sample are answered right with and without the channel.

    Raises DatasetError where the pictures have other classes than the model.
    """
    check_classes(classifier, sample)
    right, right_without = 0, 0
    for start in range(0, len(sample), BATCH):
        indices = range(start, min(start + BATCH, len(sample)))
        work = partial(_count_right, classifier, sample, indices, layer, channel, number)
        hits = in_turn(work) if in_turn else work()
        right, right_without = right + hits[0], right_without + hits[1]
        if progress:
            progress(indices.stop, len(sample))
    return AblatedAccuracy(before=right / len(sample), after=right_without / len(sample), count=len(sample))


def check_classes(classifier: Classifier, sample: PictureSample) -> None:
    """Raises DatasetError where the pictures have other classes than the model."""
    if sample.class_names != classifier.class_names:
        raise DatasetError(
            f"The pictures of {sample.dataset} have other classes than this model, so its answers to them cannot be "
            "right or wrong; choose the pictures it was trained on."
        )


def _count_right(
    classifier: Classifier, sample: PictureSample, indices: range, layer: str, channel: int, number: float
) -> tuple[int, int]:
    inputs, targets = sample.inputs(indices), sample.targets[list(indices)]
    right = int((answer(classifier, inputs).argmax(1) == targets).sum())
    with ablating(classifier.model, layer, {channel: number}):
        return right, int((answer(classifier, inputs).argmax(1) == targets).sum())


def answer(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Calibrated probabilities [N,K] of preprocessed inputs [N,3,H,W], by the plain network and no other engine."""
    checkpoint = classifier.checkpoint
    with torch.inference_mode():
        images = fitting_inputs(classifier.model, inputs)
        logits = compute_logits(partial(run_forward, classifier.model), images, flip_average=checkpoint.flip_average)
    if logits.ndim != 2:
        raise ModelError("This network ends without classes, so it gives no answer that could change.")
    probabilities = torch.softmax(logits.cpu() / checkpoint.temperature, dim=1)
    if not torch.isfinite(probabilities).all():
        raise CheckpointError("The model returned invalid numbers for this picture; use another checkpoint.")
    return probabilities
