"""Many pictures: in order, decoded ahead, and one that is broken does not stop the rest."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from networks import small_network
from PIL import Image

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, ImageError
from resnet_core.inference.classifier import Classification, Classifier, network_inputs
from resnet_core.inference.reading import read_ahead
from resnet_core.training.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 7},
        class_names=tuple("abcdefg"),
        preprocessing=Preprocessing(resize=16, crop=16),
    )
    return Classifier(checkpoint, small_network("resnet20", {}), engine="plain")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{index}.png" for index in range(21)]
    for index, path in enumerate(paths):
        noise = torch.randint(256, (20, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        Image.fromarray(noise.numpy()).save(path)
    return paths


def test_paths_bytes_and_readers_are_answered_in_order_as_one_by_one(classifier: Classifier, files: list[Path]) -> None:
    kinds = itertools.cycle([lambda path: path, Path.read_bytes, lambda path: lambda: Image.open(path).convert("RGB")])
    answers = list(classifier.classify_many([next(kinds)(path) for path in files], top_k=2))
    assert len(answers) == len(files)
    for path, answer in zip(files, answers, strict=True):
        alone = classifier.classify(Image.open(path).convert("RGB"), top_k=2)
        assert isinstance(answer, Classification)
        assert [each.label for each in answer.predictions] == [each.label for each in alone.predictions]
        assert answer.predictions[0].probability == pytest.approx(alone.predictions[0].probability, abs=1e-5)
        assert answer.seen.tobytes() == alone.seen.tobytes()


def test_a_broken_picture_is_an_error_in_its_place(classifier: Classifier, files: list[Path]) -> None:
    broken = {0, 7, 8, 20}
    for index in broken:
        files[index].write_bytes(b"\x89PNG\r\n\x1a\n broken")
    answers = list(classifier.classify_many(files))
    assert {index for index, answer in enumerate(answers) if isinstance(answer, ImageError)} == broken
    only_broken = list(classifier.classify_many([files[0], files[0].with_name("missing.png")]))
    assert [type(answer) for answer in only_broken] == [ImageError, ImageError]
    assert list(classifier.classify_many([])) == []


def test_a_picture_whose_answer_is_no_number_is_an_error_in_its_place(
    classifier: Classifier, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = network_inputs([classifier.classify(Image.open(files[9])).seen], classifier.checkpoint.preprocessing)[0]
    rows = classifier.answer_rows

    def overflowing(inputs: torch.Tensor) -> torch.Tensor:
        hit = torch.tensor([torch.equal(picture, odd) for picture in inputs])
        return rows(inputs).masked_fill(hit[:, None], torch.inf)

    whole = [answer.predictions for answer in classifier.classify_many(files) if isinstance(answer, Classification)]
    monkeypatch.setattr(classifier, "answer_rows", overflowing)
    answers = list(classifier.classify_many(files))
    assert [index for index, answer in enumerate(answers) if isinstance(answer, CheckpointError)] == [9]
    for index in {*range(len(files))} - {9}:
        answer = answers[index]
        assert isinstance(answer, Classification)
        assert [each.label for each in answer.predictions] == [each.label for each in whole[index]]


def test_only_a_few_are_read_ahead_and_stopping_early_is_fine() -> None:
    asked: list[int] = []

    def endless() -> Iterator[bytes]:
        for index in itertools.count():
            asked.append(index)
            yield b"not a picture"

    before = threading.active_count()
    batches = read_ahead(endless(), lambda image: image, draft_size=None, batch=4)
    assert len(next(batches)) == 4
    assert len(asked) <= 8
    assert len(next(batches)) == 4
    assert len(asked) <= 12
    batches.close()  # type: ignore[attr-defined]
    for thread in threading.enumerate():
        if thread.name.startswith("reading"):
            thread.join(30)
    assert threading.active_count() <= before


def test_an_error_that_is_no_picture_s_fault_is_not_swallowed(classifier: Classifier) -> None:
    def reader() -> Image.Image:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(classifier.classify_many([reader]))
