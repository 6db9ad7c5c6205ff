"""What a network answers when some of its blocks leave out their branch F(x) or their skip, asked of a private copy.

    twin = private_copy(classifier)
    compare_answers(twin, image, switches(["layer2.1"], []))
    for so_far in compare_accuracy(twin, sample, off): …      # pictures judged so far, right before and after

Everybody else's answers stay as they are meanwhile, and the copy is whole again afterwards, also after an error.
"""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from resnet_core.activations.residual import switching_off
from resnet_core.data.datasets import DatasetSpec, Picture
from resnet_core.errors import DatasetError, ImageError, ModelError
from resnet_core.inference.classifier import Classification, Classifier, network_inputs
from resnet_core.inference.training_pictures import training_pictures
from resnet_core.models.resnet import Off

COPIES_KEPT = 2  # of networks, at most about 240 MB each (ResNet-152)
SAMPLE = 200  # val pictures that an accuracy is counted on: ±3 % by chance at 80 %
BATCH = 10  # pictures between two looks at whether to go on

InTurn = Callable[[Callable[[], Any]], Any]  # does the work when nobody else uses the network


@dataclass(frozen=True, kw_only=True)
class Switched:
    """The same picture's answer by the whole network and by what is left of it."""

    before: Classification
    after: Classification


@dataclass(frozen=True, kw_only=True)
class ValSample:
    """Some validation pictures of a data set, evenly spread over it; `stand_in`: not the model's own."""

    dataset: DatasetSpec
    pictures: tuple[Picture, ...]
    stand_in: bool


@dataclass(frozen=True, kw_only=True)
class AccuracySoFar:
    """Counts of pictures: judged, to be judged in all, right before and right after."""

    done: int
    total: int
    before: int
    after: int


class PrivateCopies:
    """The copies of the models last asked about; the least recently asked goes first. For any thread."""

    def __init__(self, limit: int = COPIES_KEPT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, tuple[Classifier, Classifier]] = OrderedDict()

    def of(self, classifier: Classifier) -> Classifier:
        """Return the copy of that classifier, made at most once while it is kept."""
        with self._lock:
            known = self._kept.pop(id(classifier), None)
            pair = known or (classifier, private_copy(classifier))  # holding the first keeps its id its own
            self._kept[id(classifier)] = pair
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
            return pair[1]


def private_copy(classifier: Classifier) -> Classifier:
    """Return a classifier of the same checkpoint over a copy of the network, which computes every answer itself."""
    twin = copy.deepcopy(classifier.model)
    return Classifier(classifier.checkpoint, twin, device=classifier.device, engine="plain")


def switches(without_branch: Sequence[str], without_skip: Sequence[str]) -> dict[str, Off]:
    """Return what `switching_off` takes. Raises ModelError for a block that would be left with nothing."""
    both = sorted(set(without_branch) & set(without_skip))
    if both:
        raise ModelError(
            f"{both[0]} would lose both its branch and its skip, and nothing would get through; leave it one of them."
        )
    return {**dict.fromkeys(without_branch, "branch"), **dict.fromkeys(without_skip, "skip")}  # type: ignore[return-value]


def compare_answers(twin: Classifier, image: Image.Image, off: Mapping[str, Off]) -> Switched:
    """Return the answers for an RGB picture before and after. Raises ModelError for what is no block with a skip."""
    with switching_off(twin.model, off):
        after = twin.classify(image)
    return Switched(before=twin.classify(image), after=after)


def val_sample(classifier: Classifier, data_dir: Path, *, allow_paths: bool = True, count: int = SAMPLE) -> ValSample:
    """Return `count` val pictures of the data set the model was trained on, or of rendered flowers in their place.

    Raises DatasetError where neither fits the model, with what to do.
    """
    found = training_pictures(classifier.checkpoint, data_dir, allow_paths=allow_paths)
    dataset = found.dataset
    if dataset.class_names != classifier.class_names:
        raise DatasetError(
            f"The data set {dataset.name} has other classes than this model, so its accuracy there says nothing; "
            "choose a model that was trained on it."
        )
    if not dataset.val:
        raise DatasetError(f"The data set {dataset.name} has no validation pictures to count on.")
    taken = min(count, len(dataset.val))
    pictures = tuple(dataset.val[number * len(dataset.val) // taken] for number in range(taken))
    return ValSample(dataset=dataset, pictures=pictures, stand_in=found.stand_in)


def compare_accuracy(
    twin: Classifier, sample: ValSample, off: Mapping[str, Off], *, in_turn: InTurn = lambda work: work()
) -> Iterator[AccuracySoFar]:
    """Yield how many pictures were judged rightly so far, after every few; pictures that cannot be read are left out.

    Whoever stops asking stops the work. Raises DatasetError where none can be read.
    """
    done, left, before, after = 0, len(sample.pictures), 0, 0
    for start in range(0, len(sample.pictures), BATCH):
        chosen = sample.pictures[start : start + BATCH]
        squares, targets = _read(twin, sample.dataset, chosen)
        left -= len(chosen)
        if not squares:
            continue
        inputs, truth = network_inputs(squares, twin.checkpoint.preprocessing), torch.tensor(targets)

        def judge(inputs: torch.Tensor = inputs, truth: torch.Tensor = truth) -> tuple[int, int]:
            whole = _right(twin, inputs, truth)
            with switching_off(twin.model, off):
                return whole, _right(twin, inputs, truth)

        first, second = in_turn(judge)
        done, before, after = done + len(squares), before + first, after + second
        yield AccuracySoFar(done=done, total=done + left, before=before, after=after)
    if not done:
        raise DatasetError(f"None of the val pictures of {sample.dataset.name} can be read; check its folder.")


def _read(twin: Classifier, dataset: DatasetSpec, pictures: Sequence[Picture]) -> tuple[list[Image.Image], list[int]]:
    squares, targets = [], []
    for picture in pictures:
        try:
            image = dataset.source.load(picture.path, draft_size=twin.draft_size)
        except ImageError:
            continue
        squares.append(twin.checkpoint.preprocessing.square(image))
        targets.append(picture.class_index)
    return squares, targets


def _right(twin: Classifier, inputs: torch.Tensor, truth: torch.Tensor) -> int:
    return int((twin.probabilities(inputs).argmax(1) == truth).sum())
