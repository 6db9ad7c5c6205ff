"""A way that answers differently is told apart by its mistake; each mistake is made here by other means than there."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import small_network
from PIL import Image
from torch import nn

from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.export import Source
from resnet_core.inference.mismatch import Steps, largest_difference, name_cause
from resnet_core.inference.verification import SHAPES, Verification, verify, write_test_pictures
from resnet_core.inference.ways import LIMIT, UNTOLD, NotAsked, Way, ask_app, in_label_order
from resnet_core.training.checkpoint import Checkpoint

NAMES = tuple(f"class {letter}" for letter in "abcdefg")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_test_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def images(pictures: list[Path]) -> list[Image.Image]:
    return [read_image(picture) for picture in pictures]


@pytest.fixture(scope="module")
def source() -> Source:
    network = small_network("resnet20", {})
    with torch.no_grad():  # sure enough that a mistake shows, not so sure that none does
        network.fc.weight.mul_(0.5)  # type: ignore[operator, union-attr]
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 7},
        class_names=NAMES,
        preprocessing=Preprocessing(resize=44, crop=40, mean=MEAN, std=STD),
        flip_average=True,
        temperature=1.6,
    )
    return Source(name="test", checkpoint=checkpoint, network=network)


@pytest.fixture(scope="module")
def steps(source: Source, images: list[Image.Image]) -> Steps:
    return Steps(source.checkpoint, source.network, images)


def answer(
    network: nn.Module, inputs: torch.Tensor, *, flip: bool = True, temperature: float = 1.6, soft: bool = True
) -> torch.Tensor:
    with torch.no_grad():
        logits = network(inputs)
        if flip:
            logits = (logits + network(torch.flip(inputs, [3]))) / 2
    return (logits / temperature).softmax(1) if soft else logits


def scaled(images: list[Image.Image]) -> torch.Tensor:
    """Our squares as 0–1, without our own normalising."""
    preprocessing = Preprocessing(resize=44, crop=40)
    rows = [torch.from_numpy(np.array(preprocessing.square(image))) for image in images]
    return torch.stack(rows).permute(0, 3, 1, 2) / 255


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def stretched(images: list[Image.Image]) -> torch.Tensor:
    """Each picture squeezed to the network's square, as 0–1."""
    small = [image.resize((40, 40), Image.Resampling.BILINEAR) for image in images]
    rows = [torch.from_numpy(np.array(image)) for image in small]
    return torch.stack(rows).permute(0, 3, 1, 2) / 255


MISTAKES: dict[str, tuple[str, Callable[[nn.Module, list[Image.Image]], torch.Tensor]]] = {
    "order": ("another order", lambda net, pics: answer(net, normalized(scaled(pics)))[:, [0, 1, 5, 3, 4, 2, 6]]),
    "flip": ("leaves out the mirror image.", lambda net, pics: answer(net, normalized(scaled(pics)), flip=False)),
    "temperature": ("temperature of 1.6", lambda net, pics: answer(net, normalized(scaled(pics)), temperature=1.0)),
    "both": (
        "mirror image, and leaves out the temperature",
        lambda net, pics: answer(net, normalized(scaled(pics)), flip=False, temperature=1.0),
    ),
    "logits": ("logits instead", lambda net, pics: answer(net, normalized(scaled(pics)), soft=False)),
    "colours": ("blue, green, red", lambda net, pics: answer(net, normalized(scaled(pics)[:, [2, 1, 0]]))),
    "plain": ("not normalised", lambda net, pics: answer(net, scaled(pics))),
    "twice": ("normalised twice", lambda net, pics: answer(net, normalized(normalized(scaled(pics))))),
    "undivided": ("not divided by 255", lambda net, pics: answer(net, normalized(scaled(pics) * 255))),
    "squeezed": ("squeezed", lambda net, pics: answer(net, normalized(stretched(pics)))),
    "nan": ("not numbers", lambda net, pics: answer(net, normalized(scaled(pics))) * float("nan")),
    "count": ("answers for 8×6", lambda net, pics: answer(net, normalized(scaled(pics)))[:, :6]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake: str, source: Source, steps: Steps, images: list[Image.Image]) -> None:
    words, make = MISTAKES[mistake]
    answers = make(source.network, images)
    assert largest_difference(answers, steps.probabilities()) > LIMIT
    sentence = name_cause(answers, steps, limit=LIMIT)
    assert words in sentence
    assert sentence.endswith(".")


def test_without_a_mistake_nothing_differs(source: Source, steps: Steps, images: list[Image.Image]) -> None:
    assert largest_difference(answer(source.network, normalized(scaled(images))), steps.probabilities()) < 1e-5


def test_other_weights_are_told_as_a_difference_of_the_logits(
    source: Source, steps: Steps, images: list[Image.Image]
) -> None:
    other = small_network("resnet20", {})
    with torch.no_grad():
        other.fc.bias.copy_(torch.arange(7.0))  # type: ignore[operator, union-attr]
    sentence = name_cause(answer(other, normalized(scaled(images))), steps, limit=LIMIT)
    assert "logits differ by up to" in sentence
    assert "the weights or the arithmetic" in sentence


def test_the_order_names_the_class_that_moved(source: Source, steps: Steps) -> None:
    turned = steps.probabilities()[:, [1, 0, 2, 3, 4, 5, 6]]
    sentence = name_cause(turned, steps, limit=LIMIT)
    assert "its class 1 is “class b” here" in sentence or "its class 2 is “class a” here" in sentence


def test_what_is_not_told_is_not_compared(steps: Steps) -> None:
    answers = steps.probabilities()
    answers[:, 3:] = UNTOLD
    assert largest_difference(answers, steps.probabilities()) == 0
    answers[0, 0] += 0.5
    assert largest_difference(answers, steps.probabilities()) == pytest.approx(0.5)
    assert largest_difference(torch.full_like(answers, UNTOLD), steps.probabilities()) == float("inf")
    assert "logits differ" in name_cause(answers, steps, limit=LIMIT)


def test_labels_find_their_places_whatever_their_order() -> None:
    rows = in_label_order([[("b", 0.7), ("a", 0.3)], [("a", 1.0)]], ("a", "b"))
    assert rows.tolist() == [[pytest.approx(0.3), pytest.approx(0.7)], [1.0, UNTOLD]]
    twins = in_label_order([[("a", 0.7), ("a", 0.3)]], ("a", "a"))
    assert sorted(twins[0].tolist()) == [pytest.approx(0.3), pytest.approx(0.7)]
    with pytest.raises(CheckpointError, match="no class of this model"):
        in_label_order([[("c", 1.0)]], ("a", "b"))


# Verification


def test_the_pictures_are_eight_of_different_kinds_and_always_the_same(pictures: list[Path], tmp_path: Path) -> None:
    again = write_test_pictures(tmp_path)
    assert len(pictures) == len(SHAPES) == 8
    assert [one.read_bytes() for one in again] == [one.read_bytes() for one in pictures]
    kinds, lying = set(), []
    for picture in pictures:
        with Image.open(picture) as stored:
            kinds.add(stored.mode)
            lying += [picture.name] if stored.size != read_image(picture).size else []
    assert kinds == {"RGB", "RGBA", "L"}
    assert lying == ["3-turned.png"]


def verified(source: Source, pictures: list[Path], *ways: Way) -> Verification:
    return verify(source, ways, pictures)


def test_each_way_is_compared_and_one_that_differs_fails_the_whole(source: Source, pictures: list[Path]) -> None:
    classifier = Classifier(source.checkpoint, source.network, engine="plain")
    good = Way(name="app", ask=ask_app(classifier), engine=lambda: classifier.engine_name)
    cold = Classifier(replace(source.checkpoint, temperature=1.0), source.network, engine="plain")
    bad = Way(name="file", ask=ask_app(cold))

    checked = verified(source, pictures, good)
    assert checked.agrees
    assert checked.compared[0].difference is not None
    assert checked.compared[0].difference < 1e-5
    assert checked.compared[0].engine == "plain"

    checked = verified(source, pictures, good, bad)
    assert not checked.agrees
    assert [one.agrees for one in checked.compared] == [True, False]
    assert "temperature" in checked.compared[1].cause
    assert checked.to_json()["ways"][1]["agrees"] is False


def test_a_way_that_rounds_may_differ_by_what_rounding_costs(source: Source, pictures: list[Path]) -> None:
    def rounded(asked: object) -> torch.Tensor:
        return Steps(source.checkpoint, source.network, [read_image(p) for p in pictures]).probabilities() + 0.01

    assert not verified(source, pictures, Way(name="api", ask=rounded)).agrees
    assert verified(source, pictures, Way(name="api", ask=rounded, limit=lambda: 0.02)).agrees


def test_a_way_that_cannot_be_asked_is_told_and_does_not_count(source: Source, pictures: list[Path]) -> None:
    def away(asked: object) -> torch.Tensor:
        raise NotAsked("this app asks for a password")

    def broken(asked: object) -> torch.Tensor:
        raise CheckpointError("It answers “cat”, which is no class of this model.")

    checked = verified(source, pictures, Way(name="api", ask=away))
    assert checked.agrees
    assert checked.compared[0].cause == "Not asked: this app asks for a password."
    checked = verified(source, pictures, Way(name="api", ask=broken))
    assert not checked.agrees
    assert checked.to_json()["ways"][0]["difference"] is None
    assert "cat" in checked.compared[0].cause


def test_a_wrong_score_of_the_unknown_is_noticed(source: Source, pictures: list[Path]) -> None:
    steps = Steps(source.checkpoint, source.network, [read_image(picture) for picture in pictures])
    right = Way(name="file_score", ask=lambda asked: steps.scores()[:, None], scores=True)
    wrong = Way(name="file_score", ask=lambda asked: 1 - steps.scores()[:, None], scores=True)
    assert verified(source, pictures, right).agrees
    checked = verified(source, pictures, wrong)
    assert not checked.agrees
    assert "score" in checked.compared[0].cause
