"""A taught model can show which of its pictures are most like a photo: small copies are kept when it is taught."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.rendered import render_flower
from resnet_core.inference import neighbour_index, taught
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.neighbours import photo_features
from resnet_core.inference.shelf import ModelShelf
from resnet_core.inference.taught import recall_pictures, remember_pictures
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint
from resnet_core.training.examples import Example
from resnet_core.training.looking import make_backbone
from resnet_core.training.teaching import Taught, teach

NAMES = ("roses", "tulips")
EACH = 5


def picture(label: str, index: int) -> Image.Image:
    return render_flower(label, index, seed=3, size=80)


@pytest.fixture(scope="module")
def lesson() -> Taught:
    """Two classes taught to a small network."""
    torch.manual_seed(0)
    network = build_model("resnet20", num_classes=4).eval()
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(network.architecture_arguments),
        class_names=tuple("abcd"),
        preprocessing=Preprocessing(resize=72, crop=64),
        flip_average=True,
    )

    def example(label: str, index: int) -> Example:
        name = f"{label} {index}"
        return Example(label=label, name=name, key=name, read=lambda _: picture(label, index))

    examples = [example(label, index) for label in NAMES for index in range(EACH)]
    return teach(examples, make_backbone("small", checkpoint, network))


@pytest.fixture
def shelf(tmp_path: Path) -> ModelShelf:
    return ModelShelf(tmp_path / "models")


def stored(shelf: ModelShelf, lesson: Taught) -> str:
    """Its name there, once its pictures lie beside it."""
    name = shelf.add(lesson.checkpoint, lesson.state_dict, name="garden").name
    remember_pictures(lesson, shelf.pictures(name))
    return name


def test_the_nearest_of_a_taught_picture_is_itself_with_its_class_and_copy(
    shelf: ModelShelf, lesson: Taught, tmp_path: Path
) -> None:
    name = stored(shelf, lesson)
    classifier = Classifier(*load_checkpoint(shelf.path(name)), engine="plain")
    index = recall_pictures(classifier.checkpoint, shelf.pictures(name))
    assert index is not None
    assert sorted(index.paths) == [f"{label} {number}" for label in NAMES for number in range(EACH)]
    for label in NAMES:
        photo = picture(label, 2)
        best, second = index.nearest(photo_features(classifier, photo), 2)
        assert (best.path, best.label) == (f"{label} 2", label)
        assert best.similarity == pytest.approx(1, abs=1e-4)
        assert second.similarity < best.similarity
        (tmp_path / "copy.jpg").write_bytes(index.thumbnail(best.place))
        square = classifier.checkpoint.preprocessing.square(photo).resize((96, 96), Image.Resampling.BILINEAR)
        gap = np.abs(np.asarray(Image.open(tmp_path / "copy.jpg"), dtype=float) - np.asarray(square, dtype=float))
        assert gap.mean() < 6


def test_the_pictures_go_with_the_model_and_no_other_model_has_them(shelf: ModelShelf, lesson: Taught) -> None:
    name = stored(shelf, lesson)
    file = shelf.pictures(name)
    assert recall_pictures(replace(lesson.checkpoint, training={}), file) is None
    assert recall_pictures(replace(lesson.checkpoint, class_names=("roses",)), file) is None
    shelf.remove(name)
    assert not file.exists()
    assert list(shelf.folder.iterdir()) == []
    file.write_bytes(b"of a model that was deleted by hand")
    assert shelf.pictures(shelf.add(lesson.checkpoint, lesson.state_dict, name="garden").name) == file
    assert not file.exists()


def test_of_very_many_pictures_some_of_each_class_are_kept(
    shelf: ModelShelf, lesson: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taught, "MOST_COPIES", 4)
    index = recall_pictures(lesson.checkpoint, shelf.pictures(stored(shelf, lesson)))
    assert index is not None
    assert len(index) == 4
    assert {path.split()[0] for path in index.paths} == set(NAMES)


def test_a_full_disk_costs_the_copies_only(shelf: ModelShelf, lesson: Taught, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    name = shelf.add(lesson.checkpoint, lesson.state_dict, name="garden").name
    monkeypatch.setattr(neighbour_index, "replacing", full)
    remember_pictures(lesson, shelf.pictures(name))
    assert recall_pictures(lesson.checkpoint, shelf.pictures(name)) is None
    assert shelf.path(name).is_file()
