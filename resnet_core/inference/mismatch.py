"""Why do two ways of asking one model differ? The network's own answer step by step, and the usual mistakes tried out.

A foreign answer is only probabilities, so a mistake is recognised by making it: with the temperature left out, or the
colours swapped, the network itself gives the very numbers that came. What no known mistake explains is told as what it
is, a difference of the logits.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn

from resnet_core.data.preprocessing import Preprocessing, center_crop, to_pixels
from resnet_core.inference.ways import UNTOLD
from resnet_core.models.pooled import answer_with_features
from resnet_core.models.resnet import Network
from resnet_core.training.checkpoint import Checkpoint

Picker = Callable[[Image.Image], Image.Image]


class Steps:
    """What the network computes for upright RGB pictures, in float32, with any step left out or done wrong."""

    def __init__(self, checkpoint: Checkpoint, network: nn.Module, images: Sequence[Image.Image]) -> None:
        self.checkpoint, self.network, self.images = checkpoint, network, images
        self.inputs = self._inputs(checkpoint.preprocessing.square)
        self._rows, self._mirrored = self._both(self.inputs)

    def probabilities(self, *, flip_average: bool | None = None, temperature: float | None = None) -> Tensor:
        """float32 [N,K], as the checkpoint says unless told otherwise."""
        return self._answer(self._average(self._rows, self._mirrored, flip_average), temperature)

    def scores(self) -> Tensor:
        """How known each picture looks, float32 [N]."""
        unknown, count = self.checkpoint.unknown, len(self.checkpoint.class_names)
        rows = self._average(self._rows, self._mirrored, None)
        return unknown.score(rows[:, count:]) if unknown else self._answer(rows, None).amax(1)

    def probabilities_of(self, inputs: Tensor) -> Tensor:
        """float32 [N,K] of other network inputs, the rest as the checkpoint says."""
        return self._answer(self._average(*self._both(inputs), None), None)

    def wrong_inputs(self) -> Iterator[tuple[str, Tensor]]:
        """What is wrong, and the network's inputs if it were: one mistake at a time, the commonest first."""
        preprocessing = self.checkpoint.preprocessing
        pixels = self._pixels(preprocessing.square)
        side = (preprocessing.crop, preprocessing.crop)
        yield "the colours come as blue, green, red", preprocessing.normalize(pixels.flip(1))
        yield "the pixels are scaled to 0–1, but not normalised by mean and spread", pixels.float().div(255)
        yield "the pixels are normalised twice", _normalize_again(preprocessing, self.inputs)
        yield "the pixels are not divided by 255", preprocessing.normalize(pixels.float() * 255)
        yield "pictures are squeezed to a square instead of cut", self._inputs(lambda image: image.resize(side, 2))
        yield "pictures are cut without being resized first", self._inputs(_cut_only(preprocessing.crop))
        yield "pictures lie on their side", preprocessing.normalize(pixels.rot90(1, (2, 3)))

    def _pixels(self, pick: Picker) -> Tensor:
        return torch.stack([to_pixels(pick(image)) for image in self.images])

    def _inputs(self, pick: Picker) -> Tensor:
        return self.checkpoint.preprocessing.normalize(self._pixels(pick))

    @torch.inference_mode()
    def _both(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, with features behind them where the score needs them, of the pictures and their mirror images."""
        parameter = next(self.network.parameters())
        inputs = inputs.to(parameter.device, parameter.dtype)
        network: Callable[[Tensor], Tensor] = self.network
        if self.checkpoint.unknown is not None:
            assert isinstance(self.network, Network)
            network = partial(answer_with_features, self.network)
        return network(inputs).float().cpu(), network(inputs.flip(-1)).float().cpu()

    def _average(self, rows: Tensor, mirrored: Tensor, flip_average: bool | None) -> Tensor:
        averaged = self.checkpoint.flip_average if flip_average is None else flip_average
        return (rows + mirrored) / 2 if averaged else rows

    def _answer(self, rows: Tensor, temperature: float | None) -> Tensor:
        warmth = self.checkpoint.temperature if temperature is None else temperature
        return torch.softmax(rows[:, : len(self.checkpoint.class_names)] / warmth, dim=1)


def largest_difference(answers: Tensor, expected: Tensor) -> float:
    """The largest absolute difference of what is told; infinite for other shapes or for what is no number."""
    if answers.shape != expected.shape or not torch.isfinite(answers).all():
        return float("inf")
    told = answers != UNTOLD
    return float((answers - expected)[told].abs().max()) if told.any() else float("inf")


def name_cause(answers: Tensor, steps: Steps, *, limit: float) -> str:
    """One sentence on why answers differ from the network's, as far as it can be told."""
    expected = steps.probabilities()
    if answers.shape != expected.shape:
        return f"It answers for {_by(answers)} pictures and classes, the network for {_by(expected)}."
    if not torch.isfinite(answers).all():
        return "It answers with values that are not numbers."
    return (
        _order(answers, expected, steps.checkpoint.class_names, limit)
        or _after_the_network(answers, steps, limit)
        or _before_the_network(answers, steps, limit)
        or _unexplained(answers, expected, steps)
    )


def _after_the_network(answers: Tensor, steps: Steps, limit: float) -> str:
    checkpoint, expected = steps.checkpoint, steps.probabilities()

    def same(other: Tensor) -> bool:
        return largest_difference(answers, other) <= limit

    for warmth in (1.0, checkpoint.temperature):
        if largest_difference(torch.softmax(answers / warmth, dim=1), expected) <= limit:
            return "It gives logits instead of probabilities."
    flip = not checkpoint.flip_average
    mirror = "averages the mirror image, which this model does not" if flip else "leaves out the mirror image"
    if same(steps.probabilities(flip_average=flip)):
        return f"After the network: it {mirror}."
    if same(steps.probabilities(temperature=1.0)):
        return f"After the network: it leaves out the temperature of {checkpoint.temperature:g}."
    if same(steps.probabilities(flip_average=flip, temperature=1.0)):
        return f"After the network: it {mirror}, and leaves out the temperature of {checkpoint.temperature:g}."
    return ""


def _before_the_network(answers: Tensor, steps: Steps, limit: float) -> str:
    for fault, inputs in steps.wrong_inputs():
        if largest_difference(answers, steps.probabilities_of(inputs)) <= limit:
            return f"Before the network: {fault}."
    return ""


def _order(answers: Tensor, expected: Tensor, names: Sequence[str], limit: float) -> str:
    """A sentence where the same columns stand in another order."""
    if float((answers.sort(1).values - expected.sort(1).values).abs().max()) > limit:
        return ""
    place = int((answers - expected).abs().amax(0).argmax())
    gaps = (answers[:, place, None] - expected).abs().amax(0)
    if float(gaps.min()) > limit:
        return ""
    return f"The classes stand in another order: its class {place + 1} is “{names[int(gaps.argmin())]}” here."


def _unexplained(answers: Tensor, expected: Tensor, steps: Steps) -> str:
    """What remains: by how much the logits differ, told up to the constant that the softmax takes away."""
    temperature = steps.checkpoint.temperature
    answers = torch.where(answers == UNTOLD, expected, answers)
    theirs, ours = (part.clamp_min(1e-9).log() * temperature for part in (answers, expected))
    gap = (theirs - theirs.mean(1, keepdim=True)) - (ours - ours.mean(1, keepdim=True))
    picture = int(gap.abs().amax(1).argmax())
    return (
        f"The network's own logits differ by up to {float(gap.abs().max()):.2g} (most for test picture {picture + 1}); "
        "pixels, mirror image, temperature and class order are not it: the weights or the arithmetic are others."
    )


def _normalize_again(preprocessing: Preprocessing, inputs: Tensor) -> Tensor:
    return preprocessing.normalize(inputs * 255)


def _cut_only(side: int) -> Picker:
    def cut(image: Image.Image) -> Image.Image:
        larger = Image.new("RGB", (max(side, image.width), max(side, image.height)))
        larger.paste(image, ((larger.width - image.width) // 2, (larger.height - image.height) // 2))
        return center_crop(larger, side)

    return cut


def _by(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape))
