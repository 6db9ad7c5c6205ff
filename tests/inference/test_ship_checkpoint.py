"""What the shipped model's card says is what was measured of the file that is shipped."""

import json
from typing import Any

import pytest

from resnet_core.errors import CheckpointError
from resnet_core.inference.catalog import SHIPPED
from resnet_core.training.checkpoint import read_checkpoint
from tools.ship_checkpoint import CARD, NUMBERS, with_numbers


@pytest.fixture(scope="module")
def scores() -> dict[str, Any]:
    return json.loads(NUMBERS.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def card() -> str:
    return CARD.read_text(encoding="utf-8")


def test_the_card_and_its_numbers_agree(card: str, scores: dict[str, Any]) -> None:
    assert with_numbers(card, scores) == card


def test_the_numbers_are_those_of_the_shipped_file(scores: dict[str, Any]) -> None:
    checkpoint = read_checkpoint(SHIPPED)
    assert tuple(scores["per_class"]) == checkpoint.class_names
    assert scores["n"] == checkpoint.metrics["n_val"] == sum(row["n"] for row in scores["per_class"].values())
    assert scores["temperature"] == checkpoint.temperature
    assert scores["bytes"] == SHIPPED.stat().st_size
    for name, recorded in (("top1", "val_top1"), ("ece", "val_ece"), ("ece_held_out", "val_ece_held_out")):
        assert scores[name] == pytest.approx(checkpoint.metrics[recorded], abs=0.002), name


def test_other_numbers_make_another_table_and_leave_the_rest_of_the_card(card: str, scores: dict[str, Any]) -> None:
    rows = {label: {"n": 1000, "recall": 0.5, "precision": 0.25} for label in scores["per_class"]}
    changed = with_numbers(card, {**scores, "per_class": rows, "top1": 0.123, "ece": 0.077})
    assert "| daisy | 1000 | 50.0 % | 25.0 % |" in changed
    assert "**12.3 %**" in changed
    assert "calibration error 7.7 %" in changed
    assert with_numbers(changed, scores) == card


def test_a_card_without_a_place_for_the_numbers_is_refused_with_a_sentence(scores: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="has no place for the numbers; put"):
        with_numbers("# Model card", scores)
