"""Scores against numbers worked out by hand and against torch."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from resnet_core.data.datasets import DatasetSpec, folder_dataset, rendered_flowers
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import DatasetError
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.evaluation import evaluate, score
from resnet_core.models.zoo import build_model
from resnet_core.training.calibration import expected_calibration_error, reliability
from resnet_core.training.checkpoint import Checkpoint

NAMES = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


@pytest.fixture(scope="module")
def flowers() -> DatasetSpec:
    return rendered_flowers(train=1, val=3, size=40)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    model = build_model("resnet20", num_classes=5)
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(model.architecture_arguments),
        class_names=NAMES,
        preprocessing=Preprocessing(resize=36, crop=32),
        temperature=0.5,
        flip_average=True,
    )
    return Classifier(checkpoint, model)


def test_calibration_error_by_hand() -> None:
    """Two sure answers (0.95), one right: bin gap |1.90 − 1| ; two unsure (0.55), both right: |1.10 − 2|."""
    probabilities = torch.tensor([[0.95, 0.05], [0.95, 0.05], [0.55, 0.45], [0.55, 0.45]])
    targets = torch.tensor([0, 1, 0, 0])
    assert expected_calibration_error(probabilities, targets) == pytest.approx((0.9 + 0.9) / 4)


def test_calibration_error_of_perfect_answers_is_zero_and_of_sure_wrong_ones_is_one() -> None:
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert expected_calibration_error(sure, torch.tensor([0, 1])) == 0
    assert expected_calibration_error(sure, torch.tensor([1, 0])) == 1


def test_over_and_under_confidence_in_one_bin_cancel() -> None:
    probabilities = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    assert expected_calibration_error(probabilities, torch.tensor([0, 1])) == pytest.approx(0)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 60), classes=st.integers(2, 7), bins=st.integers(1, 20))
def test_calibration_error_equals_the_papers_formula(seed: int, count: int, classes: int, bins: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(count, classes, generator=generator).mul(3).softmax(1)
    targets = torch.randint(classes, (count,), generator=generator)
    expected = 0.0
    confidence, answers = probabilities.double().max(1)
    for index in range(bins):
        inside = (confidence > index / bins) & (confidence <= (index + 1) / bins)
        if inside.any():
            accuracy = (answers == targets)[inside].double().mean()
            expected += float(inside.double().mean() * (accuracy - confidence[inside].mean()).abs())
    assert expected_calibration_error(probabilities, targets, bins=bins) == pytest.approx(expected, abs=1e-9)


def test_reliability_by_hand() -> None:
    """0.95 and 1.0 share the last bin, one of them right; 0.5 belongs to the bin that ends there."""
    probabilities = torch.tensor([[0.95, 0.05], [0.0, 1.0], [0.5, 0.5]])
    low, high = reliability(probabilities, torch.tensor([0, 0, 0]))
    assert (high.confidence, high.accuracy, high.count) == (pytest.approx(0.975), 0.5, 2)
    assert (low.confidence, low.accuracy, low.count) == (pytest.approx(0.5), 1.0, 1)
    assert high.to_json() == [0.975, 0.5, 2]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 60), bins=st.integers(1, 20))
def test_the_diagram_s_gaps_add_up_to_the_calibration_error(seed: int, count: int, bins: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(count, 4, generator=generator).mul(3).softmax(1)
    targets = torch.randint(4, (count,), generator=generator)
    found = reliability(probabilities, targets, bins=bins)
    assert sum(bin.count for bin in found) == count
    assert [bin.confidence for bin in found] == sorted(bin.confidence for bin in found)
    gaps = sum(bin.count * abs(bin.confidence - bin.accuracy) for bin in found) / count
    assert gaps == pytest.approx(expected_calibration_error(probabilities, targets, bins=bins), abs=1e-6)


def test_the_share_that_is_refused_is_told_where_the_model_refuses(
    classifier: Classifier, flowers: DatasetSpec
) -> None:
    assert evaluate(classifier, flowers).unknown_rate is None
    inputs = torch.stack([classifier.checkpoint.preprocessing(flowers.source.load(p.path)) for p in flowers.val])
    scores = classifier.judge(inputs).scores
    threshold = float(scores.sort().values[5])
    refusing = Classifier(replace(classifier.checkpoint, unknown_threshold=threshold), classifier.model)
    content = evaluate(refusing, flowers).to_json()
    assert content["unknown_rate"] == pytest.approx(float((scores < threshold).double().mean()), abs=1 / 14)
    assert sum(row["n"] for row in content["reliability"]) == content["n"]


def test_score_by_hand() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]])
    scores = score(probabilities, torch.tensor([0, 1, 2, 1]), ("a", "b", "c"))
    assert (scores.n, scores.top1, scores.top5) == (4, 0.75, 1.0)
    assert scores.confusion == ((1, 0, 0), (1, 1, 0), (0, 0, 1))
    assert scores.loss == pytest.approx(-torch.tensor([0.7, 0.3, 0.7, 0.8]).log().mean().item())
    assert [(row.label, row.n, row.recall, row.precision) for row in scores.per_class] == [
        ("a", 1, 1.0, 0.5),
        ("b", 2, 0.5, 1.0),
        ("c", 1, 1.0, 1.0),
    ]


def test_the_held_out_error_is_that_of_the_network_not_of_the_temperature_it_came_with() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(600, 4, generator=generator) * 2
    targets = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    told = [score((logits / warmth).softmax(1), targets, tuple("abcd")) for warmth in (0.2, 1.0, 5.0)]
    assert told[0].ece > 0.1
    assert told[2].ece > 0.1
    for scores in told:
        assert scores.ece_held_out == pytest.approx(told[1].ece_held_out, abs=2e-3)
        assert scores.ece_held_out < 0.06
    assert told[0].to_json()["ece_held_out"] == told[0].ece_held_out


def test_a_class_without_pictures_or_answers_divides_by_nothing() -> None:
    scores = score(torch.tensor([[0.9, 0.1, 0.0]]), torch.tensor([0]), ("a", "b", "c"))
    assert [(row.n, row.recall, row.precision) for row in scores.per_class][1:] == [(0, 0.0, 0.0)] * 2


def test_a_sure_wrong_answer_has_a_finite_loss() -> None:
    scores = score(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), ("a", "b"))
    assert 20 < scores.loss < 100
    json.dumps(scores.to_json(), allow_nan=False)


def test_evaluation_equals_one_picture_at_a_time(classifier: Classifier, flowers: DatasetSpec) -> None:
    scores = evaluate(classifier, flowers, batch_size=4)
    rows, targets = [], []
    for picture in flowers.val:
        answer = classifier.classify(flowers.source.load(picture.path))
        by_label = {prediction.label: prediction.probability for prediction in answer.predictions}
        rows.append([by_label[name] for name in NAMES])
        targets.append(picture.class_index)
    probabilities, labels = torch.tensor(rows), torch.tensor(targets)
    assert scores.n == 15
    assert scores.top1 == pytest.approx(float((probabilities.argmax(1) == labels).double().mean()))
    assert scores.loss == pytest.approx(float(cross_entropy(probabilities.log(), labels)), rel=1e-4)
    assert sum(map(sum, scores.confusion)) == 15


def test_the_promised_keys(classifier: Classifier, flowers: DatasetSpec) -> None:
    content = evaluate(classifier, flowers).to_json()
    promised = {"n", "top1", "top5", "loss", "ece", "class_names", "confusion", "per_class"}
    assert promised <= content.keys()
    assert list(content["per_class"]) == list(NAMES)
    json.dumps(content, allow_nan=False)


def test_the_train_split_can_be_scored_too_and_no_other(classifier: Classifier, flowers: DatasetSpec) -> None:
    assert evaluate(classifier, flowers, split="train").n == 5
    with pytest.raises(DatasetError):
        evaluate(classifier, flowers, split="test")


def test_other_classes_or_another_order_cannot_be_compared(classifier: Classifier, flowers: DatasetSpec) -> None:
    for names in (NAMES[::-1], NAMES[:4], tuple(f"class {index}" for index in range(1000))):
        with pytest.raises(DatasetError, match="cannot be compared") as caught:
            evaluate(classifier, replace(flowers, class_names=names))
        assert len(str(caught.value)) < 300


def test_broken_pictures_are_named_and_not_counted(classifier: Classifier, make_folder: Callable[..., Path]) -> None:
    paths = [f"{split}/{name}/{index}.png" for split in ("train", "val") for name in NAMES for index in range(2)]
    folder = make_folder(paths)
    (folder / "val" / "roses" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    scores = evaluate(classifier, folder_dataset(folder, name="mine"))
    assert scores.n == 9
    [(path, reason)] = scores.skipped
    assert path.endswith("roses/1.png")
    assert str(folder) not in reason
