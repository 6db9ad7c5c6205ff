"""The table of many answers: what spreadsheets read, what is counted, and what folders are taken to say."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnet_core.inference.batch_report import (
    MOST_CONFUSED,
    BatchRow,
    Tally,
    answered_row,
    csv_text,
    text_cell,
    truth_of,
)
from resnet_core.inference.classifier import Classification, Prediction

CLASSES = ("daisy", "roses", "tulips")


def row(*shares: float, **changes: Any) -> BatchRow:
    return BatchRow(**{"name": "a.jpg", "probabilities": shares} | changes)


def broken(**changes: Any) -> BatchRow:
    return BatchRow(**{"name": "b.jpg", "reason": "b.jpg is empty (0 bytes)."} | changes)


def table(rows: list[BatchRow], class_names: tuple[str, ...] = CLASSES) -> list[dict[str, str]]:
    """What a spreadsheet makes of the CSV: bytes, read by the standard library."""
    read = csv_text(rows, class_names).encode("utf-8").decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(read, newline="")))


def test_an_answer_comes_into_label_order_whatever_its_rank() -> None:
    ranked = (Prediction("tulips", 0.5), Prediction("daisy", 0.3), Prediction("roses", 0.2))
    result = Classification(predictions=ranked, unknown=True, seen=Image.new("RGB", (1, 1)), seconds=0.0)
    made = answered_row("x/a.jpg", result, CLASSES, notes=["very small"], truth=1)
    assert list(made.probabilities) == pytest.approx([0.3, 0.2, 0.5])
    assert (made.answer, made.unknown, made.notes, made.truth) == (2, True, ("very small",), 1)
    assert [index for index, _ in made.ranked(2)] == [2, 0]


def test_two_classes_of_one_name_keep_a_probability_each() -> None:
    ranked = (Prediction("crane", 0.6), Prediction("ox", 0.3), Prediction("crane", 0.1))
    result = Classification(predictions=ranked, unknown=False, seen=Image.new("RGB", (1, 1)), seconds=0.0)
    made = answered_row("crane/a.jpg", result, ("ox", "crane", "crane"), truth=1)
    assert list(made.probabilities) == pytest.approx([0.3, 0.6, 0.1])
    assert made.right


def test_every_class_has_its_column_and_a_broken_file_its_reason() -> None:
    good, bad = table([row(0.1, 0.7, 0.2, notes=("very small",), score=0.25), broken()])
    assert list(good) == [
        "file", "answer", "probability", "second answer", "second probability", "unknown", "score", "note", "reason",
        "p(daisy)", "p(roses)", "p(tulips)",
    ]  # fmt: skip
    assert (good["answer"], good["probability"], good["second answer"]) == ("roses", "0.700000", "tulips")
    assert [float(good[f"p({name})"]) for name in CLASSES] == [0.1, 0.7, 0.2]
    assert (good["unknown"], good["score"]) == ("no", "0.250000")
    assert (good["note"], good["reason"], bad["score"]) == ("very small", "", "")
    assert (bad["file"], bad["answer"], bad["unknown"], bad["p(daisy)"]) == ("b.jpg", "", "", "")
    assert bad["reason"] == "b.jpg is empty (0 bytes)."


def test_the_csv_begins_with_a_byte_order_mark_and_ends_lines_as_spreadsheets_do() -> None:
    content = csv_text([row(1.0, 0.0, 0.0, name="花.jpg")], CLASSES).encode("utf-8")
    assert content.startswith(b"\xef\xbb\xbffile,")
    assert content.count(b"\r\n") == content.count(b"\n") == 2


@pytest.mark.parametrize("name", ["=1+1.jpg", "+1.jpg", "-1.jpg", "@SUM(A1).jpg", "\t=1.jpg", " =1.jpg", "＝1.jpg"])
def test_a_name_that_looks_like_a_formula_stays_text(name: str) -> None:
    shown = table([row(1.0, 0.0, 0.0, name=name, notes=("=cmd",))])[0]
    assert shown["file"] == f"'{name}"
    assert shown["note"] == "'=cmd"
    hostile = table([row(0.4, 0.6)], ("-2+3", "=1+1"))[0]
    assert hostile["answer"] == "'=1+1"
    assert not [header for header in hostile if header[:1] in "=+-@"]


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"))))
def test_any_name_comes_back_out_of_the_csv_and_none_is_a_formula(name: str) -> None:
    shown = table([row(1.0, 0.0, 0.0, name=name)])[0]["file"]
    assert shown in (name, f"'{name}")
    assert not shown.lstrip(" ").startswith(("=", "+", "-", "@"))
    assert text_cell("plain.jpg") == "plain.jpg"


@pytest.mark.parametrize(
    ("path", "truth"),
    [
        ("roses/1.jpg", 1),
        ("val/Roses/1.jpg", 1),
        ("a\\tulips\\1.jpg", 2),
        ("roses/better ones/1.jpg", None),
        ("roses.jpg", None),
        ("cactus/1.jpg", None),
        ("", None),
        ("roses", None),
    ],
)
def test_the_own_folder_of_a_picture_says_its_class(path: str, truth: int | None) -> None:
    assert truth_of(path, CLASSES) == truth


def test_accents_typed_in_either_way_are_one_name() -> None:
    assert truth_of("cafe\u0301/1.jpg", ("tea", "caf\u00e9")) == 1


def test_everything_is_counted_once() -> None:
    tally = Tally(classes=3)
    rows = [
        row(0.8, 0.1, 0.1, truth=0),
        row(0.1, 0.8, 0.1, truth=0),
        row(0.1, 0.8, 0.1),
        row(0.4, 0.3, 0.3, unknown=True, truth=0),
        broken(truth=0),
    ]
    for each in rows:
        tally.add(each)
    assert (tally.counts, tally.unknown, tally.broken) == ([1, 2, 0], 1, 1)
    assert sum(tally.counts) + tally.unknown + tally.broken == len(rows)
    assert (tally.judged, tally.right) == (3, 1)
    assert tally.confusion[0] == [1, 1, 0, 1]
    assert [each.right for each in rows] == [True, False, None, False, None]


def test_nothing_is_judged_where_no_folder_says_anything_and_a_huge_table_is_left_out() -> None:
    tally = Tally(classes=3)
    tally.add(row(1.0, 0.0, 0.0))
    assert tally.to_json() == {"counts": [1, 0, 0], "unknown": 0, "broken": 0}
    wide = Tally(classes=MOST_CONFUSED + 1)
    wide.add(row(*([0.0] * MOST_CONFUSED), 1.0, truth=0))
    assert wide.to_json()["judged"] == 1
    assert wide.to_json()["confusion"] == []


def test_the_csv_tells_what_the_folders_say_where_they_say_something() -> None:
    first, second, third = table([row(0.8, 0.1, 0.1, truth=0), row(0.1, 0.8, 0.1, truth=2), row(0.1, 0.8, 0.1)])
    assert (first["folder says"], first["right"]) == ("daisy", "yes")
    assert (second["folder says"], second["right"]) == ("tulips", "no")
    assert (third["folder says"], third["right"]) == ("", "")
