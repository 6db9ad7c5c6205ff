"""What the page says about sureness is what the checkpoint says, at whatever threshold the visitor sets."""

import math
import re
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from demo.classify.sureness import (
    BINS,
    LEAST_IN_A_BIN,
    as_share,
    as_times,
    at_threshold,
    bin_of,
    cost_words,
    diagram_card,
    page_threshold,
    per_cent,
    reliability_rows,
    reliable_words,
    score_words,
)
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.inference.classifier import Classification, Prediction
from resnet_core.training.calibration import reliability
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.unknown_score import Curve, UnknownScore

ROWS = [[0.55, 0.6, 40], [0.86, 0.9, 200], [0.97, 0.968, 300]]


def described(**changes: Any) -> Checkpoint:
    fields: dict[str, Any] = {
        "architecture": "resnet20",
        "architecture_arguments": {},
        "class_names": ("a", "b"),
        "preprocessing": Preprocessing(resize=32, crop=32),
        "metrics": {"reliability": ROWS},
        "unknown_threshold": 0.5,
        "unknown": scored(),
    }
    return Checkpoint(**fields | changes)


def scored(*, others: bool = True) -> UnknownScore:
    """Known pictures score 0.4 … 1, others 0 … 0.6."""
    curve = Curve.of(torch.linspace(0, 0.6, 200)) if others else None
    one = torch.ones(1)
    return UnknownScore(
        width=1,
        columns=torch.zeros(1, dtype=torch.int64),
        mean=one,
        scale=one,
        known=Curve.of(torch.linspace(0.4, 1, 200)),
        others=curve,
    )


def answer(probability: float = 0.86, score: float | None = 0.7) -> Classification:
    return Classification(
        predictions=(Prediction("a", probability), Prediction("b", 1 - probability)),
        unknown=False,
        score=score,
        seen=SimpleNamespace(),  # type: ignore[arg-type]
        seconds=0.1,
    )


# The verdict


def refused(score: float | None, checkpoint: Checkpoint, threshold: float | None, probability: float = 0.86) -> bool:
    return at_threshold(answer(probability, score), checkpoint, threshold).unknown


def test_the_page_s_threshold_decides_and_without_one_the_answer_stays():
    for threshold, unknown in ((0.7, False), (0.71, True), (0.0, False), (1.0, True)):
        assert refused(0.7, described(), threshold) is unknown
    given = answer()
    assert at_threshold(given, described(), None) is given
    words = score_words(answer(), described(), "en", 0.8)
    assert words == "looks known: 70 of 100; below 80 the answer is refused"
    assert "below 50" in score_words(answer(), described(), "en", None)


def test_a_score_just_below_the_threshold_is_not_rounded_onto_it():
    assert "looks known: 49.96 of 100" in score_words(answer(score=0.4996), described(), "en", None)


def test_a_higher_threshold_never_lets_more_through():
    verdicts = [refused(0.42, described(), step / 100) for step in range(101)]
    assert verdicts == sorted(verdicts)
    assert len(set(verdicts)) == 2


def test_a_model_without_threshold_never_refuses():
    never = described(unknown_threshold=None, unknown=None)
    assert not refused(0.01, never, 0.9)
    assert score_words(answer(), never, "en", 0.9) == ""


def test_the_old_threshold_on_the_probability_still_works():
    old = described(unknown=None, unknown_threshold=0.6)
    assert refused(None, old, 0.6, probability=0.55)
    assert not refused(None, old, 0.6, probability=0.65)
    assert cost_words(old, 0.6, "en") == "What this costs was never measured for this model."


def test_a_threshold_belongs_to_the_model_it_was_moved_for():
    assert page_threshold("70@flowers", "flowers") == 0.7
    assert page_threshold("900@a@b", "a@b") == 1.0
    for moved in (None, "", "70@other", "70@", "flowers", "x@flowers", "@flowers", 7, ["70@flowers"]):
        assert page_threshold(moved, "flowers") is None


def test_how_often_such_answers_are_right_is_said_from_enough_pictures_only():
    def words(probability: float, rows: Any = ROWS, language: str = "en") -> str:
        return reliable_words(described(metrics={"reliability": rows}), answer(probability), language)

    assert words(0.86) == "answers 80 to 90 % sure are right 9 times out of 10"
    assert words(0.99) == "answers 90 to 100 % sure are right 19 times out of 20"
    assert words(0.3) == ""
    assert words(0.86, [[0.86, 0.9, LEAST_IN_A_BIN - 1]]) == ""
    assert (
        words(0.99, [[0.99, 1.0, 310]])
        == "all its answers to 310 pictures kept back that were 90 to 100 % sure were right"
    )
    assert "10 次中有 9 次" in words(0.86, language="zh")


NO_BINS: list[Any] = [None, "x", [7], [[0.5]], [["<b>", 1, 2]], [[2, 0.5, 9]], [[0.5, 0.5, 0]], [[math.nan, 0.5, 9]]]


@pytest.mark.parametrize("metrics", [{}, *({"reliability": rows} for rows in NO_BINS)])
def test_bins_that_make_no_sense_are_no_bins(metrics: dict[str, Any]):
    checkpoint = described(metrics=metrics)
    assert reliability_rows(checkpoint) == []
    assert reliable_words(checkpoint, answer(), "en") == ""
    assert "never measured" in diagram_card(checkpoint, "en")


def test_a_share_becomes_words_that_are_near_it_and_never_always():
    for step in range(1000):
        share = step / 1000
        times, out_of = as_times(share)
        assert times < out_of
        assert abs(times / out_of - share) <= 0.025


def test_the_page_s_bins_are_those_of_the_evaluation():
    probabilities = torch.rand(3000, 2, generator=torch.Generator().manual_seed(0)).softmax(1)
    targets = torch.zeros(3000, dtype=torch.int64)
    for bin in reliability(probabilities, targets, bins=BINS):
        inside = probabilities.max(1).values[[bin_of(p) == bin_of(bin.confidence) for p in probabilities.max(1).values]]
        assert len(inside) == bin.count
    assert [bin_of(value) for value in (0, 0.1, 0.1001, 0.9, 0.95, 1)] == [0, 0, 1, 8, 9, 9]


# The cost


def test_the_cost_of_a_threshold_comes_from_the_curves():
    assert cost_words(described(), 0.5, "en") == (
        "Refuses 17% of real photos of its classes; lets 17% of pictures of other things through."
    )
    assert cost_words(described(), 0.0, "en").startswith("Refuses 0% of real photos")
    assert "lets 0% of pictures" in cost_words(described(), 1.0, "en")
    assert (
        cost_words(described(unknown=scored(others=False)), 0.5, "en") == "Refuses 17% of real photos of its classes."
    )
    assert "never refuses" in cost_words(described(unknown=None, unknown_threshold=None), 0.5, "en")


def test_nearly_nothing_is_not_nothing():
    assert [per_cent(share) for share in (0, 0.004, 0.5, 0.997, 1)] == ["0%", "<1%", "50%", ">99%", "100%"]


@pytest.mark.parametrize(
    ("value", "share"),
    [(50, 0.5), (0, 0.0), (100, 1.0), (-3, 0.0), (900, 1.0), (None, 0.0), (math.nan, 0.0), ("7", 0.0)],
)
def test_whatever_the_slider_sends_is_a_threshold(value: Any, share: float):
    assert as_share(value) == share


# The diagram


def svg(card: str) -> ElementTree.Element:
    found = re.search(r"<svg.*</svg>", card)
    assert found
    return ElementTree.fromstring(found[0])


def test_the_diagram_has_a_dot_a_bin_where_it_belongs_and_says_the_same_in_words():
    card = diagram_card(described(), "en")
    drawn = svg(card)
    dots = drawn.findall("circle")
    assert [float(dot.get("cx", "")) for dot in dots] == pytest.approx([110, 172, 194])
    assert [float(dot.get("cy", "")) for dot in dots] == pytest.approx([80, 20, 6.4])
    sizes = [float(dot.get("r", "")) for dot in dots]
    assert sizes == sorted(sizes)
    assert drawn.get("role") == "img"
    assert "86% sure: right 90% of the time (200 pictures)" in (drawn.get("aria-label") or "")
    assert "On 540 pictures kept back its sureness is off by" in card


def test_the_held_out_error_is_shown_where_it_is_known():
    card = diagram_card(described(metrics={"reliability": ROWS, "val_ece_held_out": 0.0312}), "en")
    assert "off by 3.1 points" in card


def test_nothing_in_the_cards_is_run_as_a_script():
    for language in ("en", "zh"):
        card = diagram_card(described(), language)
        assert "${" not in card
        assert "<script" not in card
