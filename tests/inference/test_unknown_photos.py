"""The shipped checkpoint on real photos: it knows flowers, and it says so when there is none."""

import io
import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from resnet_core.data.datasets import load_dataset
from resnet_core.data.rendered import CLASS_NAMES, render_flower
from resnet_core.data.rendered_others import KINDS, render_other
from resnet_core.errors import ImageError
from resnet_core.inference.catalog import SHIPPED
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.evaluation import evaluate
from resnet_core.inference.reading import Source

EXAMPLES = sorted((SHIPPED.parent / "examples").glob("*.png"))


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    loaded = Classifier.load(SHIPPED)
    assert loaded.checkpoint.unknown is not None, "the shipped checkpoint has a score of its own"
    loaded.warm_up()
    return loaded


def refused(classifier: Classifier, sources: Sequence[Source]) -> float:
    """The share of the pictures that is refused."""
    answers = list(classifier.classify_many(sources, top_k=1))
    assert not [answer for answer in answers if isinstance(answer, ImageError)]
    return sum(answer.unknown for answer in answers if not isinstance(answer, ImageError)) / len(answers)


def photos(folder: Path, pattern: str, count: int) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        pytest.skip(f"There are no pictures {pattern} in the shared data.")
    return found[:: max(1, len(found) // count)]


def cifar(data: Path, count: int) -> Iterator[Source]:
    if not (data / "cifar10.zip").is_file():
        pytest.skip("cifar10.zip is not in the shared data.")
    dataset = load_dataset("cifar10", data_dir=data)
    for picture in islice(dataset.val, 0, None, len(dataset.val) // count):
        yield partial(dataset.source.load, picture.path)


def test_few_flowers_are_refused(classifier: Classifier, shared_data: Path) -> None:
    assert refused(classifier, photos(shared_data / "flower_photos", "val/*/*.jpg", 550)) <= 0.05


def test_the_numbers_it_is_shipped_with_are_measured_again(classifier: Classifier, shared_data: Path) -> None:
    told = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    measured = evaluate(classifier, load_dataset("flower_photos", data_dir=shared_data))
    if measured.n != told["n"]:
        pytest.skip("These are not the photos that the shipped model was measured on.")
    assert measured.top1 == pytest.approx(told["top1"], abs=0.002)
    assert measured.ece == pytest.approx(told["ece"], abs=0.002)
    for row in measured.per_class:
        assert vars(row) == pytest.approx({"label": row.label, **told["per_class"][row.label]}, abs=0.02)


def test_pictures_of_cifar10_are_refused(classifier: Classifier, shared_data: Path) -> None:
    assert refused(classifier, list(cifar(shared_data, 300))) >= 0.9


def test_dogs_are_refused(classifier: Classifier, shared_data: Path) -> None:
    assert refused(classifier, photos(shared_data / "not_flowers", "dog/*.jpg", 400)) >= 0.9


def test_the_app_s_own_examples_are_known(classifier: Classifier) -> None:
    assert len(EXAMPLES) == 5
    assert refused(classifier, EXAMPLES) == 0


def test_rendered_flowers_are_known(classifier: Classifier) -> None:
    drawn = [partial(render_flower, name, index, seed=4242) for name in CLASS_NAMES for index in range(8)]
    assert refused(classifier, drawn) <= 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_and_no_flower_is_refused(classifier: Classifier, kind: str) -> None:
    drawn = [partial(render_other, kind, index, seed=31337) for index in range(30)]
    assert refused(classifier, drawn) >= (0.7 if kind == "noise" else 0.85)  # noise with a photo's spectrum is hardest


@pytest.mark.parametrize("size", [(8, 8), (300, 20), (64, 64)])
def test_one_colour_is_refused_at_any_size(classifier: Classifier, size: tuple[int, int]) -> None:
    for color in ("black", "white", "red", "#2e8b57", "yellow", "magenta", "gold", "orange"):
        stream = io.BytesIO()
        Image.new("RGB", size, color).save(stream, "PNG")
        assert refused(classifier, [stream.getvalue()]) == 1, color
