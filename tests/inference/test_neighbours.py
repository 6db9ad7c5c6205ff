"""The nearest training pictures: found as brute force finds them, kept between starts, never more than fits."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cosine_similarity

from resnet_core.data.datasets import DatasetSpec, folder_dataset, load_dataset, rendered_flowers
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, ConfigError, DatasetError, ModelError
from resnet_core.inference import neighbour_index, neighbours
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.neighbour_index import NeighbourIndex
from resnet_core.inference.neighbours import (
    load_neighbours,
    photo_features,
    pooled_features,
    spread,
)
from resnet_core.inference.training_pictures import training_pictures
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


def make_classifier(*, seed: int = 0, class_names: tuple[str, ...] = FLOWERS, dataset: str = "") -> Classifier:
    torch.manual_seed(seed)
    model = build_model("resnet18", num_classes=len(class_names), width=8).eval()
    training = {"config": {"dataset": dataset, "seed": 0}} if dataset else {}
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments=dict(model.architecture_arguments),
        class_names=class_names,
        preprocessing=Preprocessing(resize=48, crop=40),
        training=training,
    )
    return Classifier(checkpoint, model, engine="plain")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return make_classifier()


@pytest.fixture(scope="module")
def garden() -> DatasetSpec:
    return rendered_flowers(train=6, val=2, size=56)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def index(classifier: Classifier, garden: DatasetSpec, root: Path) -> NeighbourIndex:
    return load_neighbours(classifier, garden, root=root)


def picture_of(dataset: DatasetSpec, number: int) -> Image.Image:
    return dataset.source.load(dataset.train[number].path)


def test_the_nearest_are_those_that_brute_force_finds(
    classifier: Classifier, garden: DatasetSpec, index: NeighbourIndex
):
    assert len(index) == len(garden.train) == 30
    stranger = garden.source.load(garden.val[3].path)
    preprocessing = classifier.checkpoint.preprocessing
    with torch.no_grad():
        vectors = [
            classifier.model.forward_features(preprocessing(image)[None]).mean(dim=(2, 3))[0].double()
            for image in [stranger, *(picture_of(garden, number) for number in range(30))]
        ]
    similarity = torch.stack([cosine_similarity(vectors[0], other, dim=0) for other in vectors[1:]])
    expected = similarity.argsort(descending=True)[:7].tolist()
    found = index.nearest(photo_features(classifier, stranger), 7)
    assert [neighbour.path for neighbour in found] == [garden.train[place].path for place in expected]
    assert [neighbour.label for neighbour in found] == [FLOWERS[garden.train[p].class_index] for p in expected]
    assert [n.similarity for n in found] == pytest.approx(similarity[expected].tolist(), abs=1e-5)


def test_a_training_picture_is_its_own_nearest(classifier: Classifier, garden: DatasetSpec, index: NeighbourIndex):
    for number in (0, 7, 29):
        found = index.nearest(photo_features(classifier, picture_of(garden, number)))
        assert len(found) == 6
        assert found[0].path == garden.train[number].path
        assert found[0].similarity == pytest.approx(1, abs=1e-5)
        assert found[1].similarity < 1


def test_the_copy_shows_the_square_the_network_saw(classifier: Classifier, garden: DatasetSpec, index: NeighbourIndex):
    for place in (0, 12):
        with Image.open(io.BytesIO(index.thumbnail(place))) as copy:
            assert (copy.format, copy.size) == ("JPEG", (96, 96))
            shown = np.asarray(copy.convert("RGB"), dtype=float)
        square = classifier.checkpoint.preprocessing.square(picture_of(garden, place))
        expected = np.asarray(square.resize((96, 96), Image.Resampling.BILINEAR), dtype=float)
        assert np.abs(shown - expected).mean() < 4


def test_asking_for_more_gives_all_and_for_less_than_one_is_refused(index: NeighbourIndex):
    features = np.ones(index.features.shape[1], dtype=np.float32)
    assert len(index.nearest(features, 99)) == 30
    with pytest.raises(ConfigError):
        index.nearest(features, 0)
    with pytest.raises(ModelError, match="another network"):
        index.nearest(features[:-1])


def test_a_picture_that_stirs_nothing_is_like_nothing(index: NeighbourIndex):
    found = index.nearest(np.zeros(index.features.shape[1], dtype=np.float32), 3)
    assert [neighbour.similarity for neighbour in found] == [0, 0, 0]


def test_the_second_time_nothing_is_computed(
    classifier: Classifier, garden: DatasetSpec, index: NeighbourIndex, root: Path, monkeypatch: pytest.MonkeyPatch
):
    def unwanted(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(neighbours, "load_pixels", unwanted)
    monkeypatch.setattr(neighbours, "pooled_features", unwanted)
    again = load_neighbours(classifier, garden, root=root)
    assert np.array_equal(again.features, index.features)
    assert again.paths == index.paths
    assert again.thumbnail(5) == index.thumbnail(5)


def test_other_weights_and_other_pictures_make_an_index_of_their_own(
    classifier: Classifier, garden: DatasetSpec, index: NeighbourIndex, root: Path
):
    files = set((root / "neighbours").iterdir())
    retrained = load_neighbours(make_classifier(seed=1), garden, root=root)
    assert not np.allclose(retrained.features, index.features)
    smaller = load_neighbours(classifier, rendered_flowers(train=2, val=1, size=56), root=root)
    assert len(smaller) == 10
    assert len(set((root / "neighbours").iterdir()) - files) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "words", "pickle"])
def test_a_damaged_file_is_computed_again(classifier: Classifier, tmp_path: Path, damage: str):
    dataset = rendered_flowers(train=2, val=1, size=56)
    whole = load_neighbours(classifier, dataset, root=tmp_path)
    (file,) = (tmp_path / "neighbours").iterdir()
    content = file.read_bytes()
    file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "words": b"words"}.get(damage, b""))
    if damage == "pickle":
        with file.open("wb") as out:
            np.savez(out, features=np.array([{"a": 1}], dtype=object))
    assert np.array_equal(load_neighbours(classifier, dataset, root=tmp_path).features, whole.features)
    assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_costs_time_only(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(neighbour_index, "replacing", full)
    assert len(load_neighbours(classifier, rendered_flowers(train=1, val=1, size=56), root=tmp_path)) == 5


def test_old_files_go_and_the_newest_stays(classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(neighbour_index, "FILES_KEPT", 2)
    folder = tmp_path / "neighbours"
    for count in (1, 2, 3):
        before = set(folder.glob("*.npz"))
        load_neighbours(classifier, rendered_flowers(train=count, val=1, size=56), root=tmp_path)
        (newest,) = set(folder.glob("*.npz")) - before
        for file in before & set(folder.glob("*.npz")):  # the clock of some file systems is coarse
            os.utime(file, (0, file.stat().st_mtime - 10))
    assert newest.is_file()
    assert len(list(folder.iterdir())) == 2


def test_a_large_data_set_is_thinned_evenly_over_its_classes(
    classifier: Classifier, garden: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(neighbours, "MOST_PICTURES", 10)
    few = load_neighbours(classifier, garden, root=tmp_path / "few")
    assert len(few) == 10
    assert np.bincount(few.targets).tolist() == [2, 2, 2, 2, 2]
    monkeypatch.setattr(neighbours, "MOST_PICTURES", 10_000)
    monkeypatch.setattr(neighbours, "MOST_BYTES", 4 * few.features.shape[1] * 7)
    fewer = load_neighbours(classifier, garden, root=tmp_path / "fewer")
    assert fewer.features.nbytes <= neighbours.MOST_BYTES


@pytest.mark.parametrize(("count", "most"), [(5, 9), (9, 9), (100, 7), (7, 1), (50_000, 20_000)])
def test_a_thinned_choice_has_no_repeats_and_reaches_both_ends(count: int, most: int):
    chosen = spread(count, most)
    assert len(chosen) == len(set(chosen)) == min(count, most)
    assert chosen == sorted(chosen)
    assert chosen[0] == 0
    assert chosen[-1] == count - 1 or most == 1


def test_only_a_few_pictures_are_in_the_network_at_a_time_and_each_lot_waits_its_turn(
    classifier: Classifier, garden: DatasetSpec, tmp_path: Path
):
    lots: list[int] = []
    told: list[tuple[int, int]] = []

    def in_turn(work: Callable[[], torch.Tensor]) -> torch.Tensor:
        result = work()
        lots.append(len(result))
        return result

    load_neighbours(
        classifier, garden, progress=lambda done, of: told.append((done, of)), in_turn=in_turn, root=tmp_path
    )
    assert sum(lots) == 30
    assert max(lots) <= 8
    assert told[-1] == (30, 30)
    assert all(done <= of == 30 for done, of in told)


def test_pictures_that_cannot_be_read_are_left_out(
    classifier: Classifier, make_folder: Callable[..., Path], tmp_path: Path
):
    folder = make_folder([f"train/{name}/{i}.png" for name in ("a", "b") for i in range(3)])
    (folder / "train" / "a" / "1.png").write_bytes(b"broken")
    make_folder(["val/a/1.png", "val/b/1.png"])
    index = load_neighbours(classifier, folder_dataset(folder, name="set"), root=tmp_path / "cache")
    assert sorted(index.paths) == sorted(
        ["train/a/0.png", "train/a/2.png", "train/b/0.png", "train/b/1.png", "train/b/2.png"]
    )
    assert np.bincount(index.targets).tolist() == [2, 3]


def test_a_network_without_a_head_or_with_broken_weights_is_a_sentence(classifier: Classifier, garden: DatasetSpec):
    headless = make_classifier()
    headless.model = build_model("resnet18", num_classes=5, width=8, include_top=False).eval()
    with pytest.raises(ModelError, match="no head"):
        photo_features(headless, picture_of(garden, 0))
    broken = make_classifier()
    with torch.no_grad():
        broken.model.conv1.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="invalid numbers"):
        pooled_features(broken, torch.zeros(1, 3, 40, 40))


# Which pictures


def test_the_models_own_pictures_are_taken_where_they_are_here(make_folder: Callable[..., Path], tmp_path: Path):
    folder = make_folder([f"{side}/{name}/{i}.png" for side in ("train", "val") for name in "ab" for i in range(2)])
    own = make_classifier(class_names=("a", "b"), dataset=str(folder))
    found = training_pictures(own.checkpoint, tmp_path)
    assert not found.stand_in
    assert found.dataset.fingerprint == load_dataset(str(folder), data_dir=tmp_path).fingerprint


def test_visitors_from_elsewhere_see_no_folder_of_this_machine(make_folder: Callable[..., Path], tmp_path: Path):
    folder = make_folder([f"{side}/{name}/{i}.png" for side in ("train", "val") for name in "ab" for i in range(2)])
    own = make_classifier(class_names=("a", "b"), dataset=str(folder))
    with pytest.raises(DatasetError, match="not on this machine") as refused:
        training_pictures(own.checkpoint, tmp_path, allow_paths=False)
    assert str(tmp_path) not in str(refused.value)
    rendered = make_classifier(dataset="rendered-flowers")
    assert not training_pictures(rendered.checkpoint, tmp_path, allow_paths=False).stand_in


def test_flowers_stand_in_for_photos_that_are_gone_but_for_nothing_else(tmp_path: Path):
    shipped = make_classifier(dataset="flower_photos")
    found = training_pictures(shipped.checkpoint, tmp_path)
    assert (found.dataset.name, found.stand_in) == ("rendered-flowers", True)
    for gone in (
        make_classifier(class_names=("a", "b"), dataset=str(tmp_path / "gone")),
        make_classifier(class_names=("a",)),
    ):
        with pytest.raises(DatasetError, match="not on this machine"):
            training_pictures(gone.checkpoint, tmp_path)
