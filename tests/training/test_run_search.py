"""Finding runs by words: all of them, anywhere, whatever the case and the accents."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_core.errors import ConfigError
from resnet_core.training.config import TrainConfig
from resnet_core.training.run_search import LONGEST, fold, search_runs
from resnet_core.training.runs import RunStore, RunSummary

PLAIN = RunSummary(
    run_id="20260101-120000-resnet18-meadow-ab12",
    name="Spring Blümchen",
    status="finished",
    model="resnet18",
    dataset="meadow",
    epochs_done=3,
    epochs=3,
    best_top1=0.9,
    best_epoch=2,
    started=1.0,
    size_bytes=10,
    note="Low rate,\nnot enough epochs",
    tags=("baseline", "Slow Start"),
)
OTHER = replace(PLAIN, run_id="x-1", name="", model="resnet50", dataset="cifar10", status="failed", note="", tags=())


@pytest.mark.parametrize(
    "words",
    [
        "",
        "   ",
        "spring",
        "SPRING blumchen",
        "blümchen",
        "ＳＰＲＩＮＧ",  # wide letters
        "ab12",
        "resnet18 meadow finished",
        "low",
        '"low rate"',
        '"rate, not enough"',  # over a line's end
        "#base",
        "#slow",
        "slow",
        '#baseline "spring bl"',
        '"',
        "#",
    ],
)
def test_what_finds_the_run(words: str) -> None:
    assert PLAIN in search_runs([PLAIN, OTHER], words)


@pytest.mark.parametrize("words", ["spring cifar10", '"rate low"', "#rate", "#start", "resnet18 failed", "zzz"])
def test_what_does_not(words: str) -> None:
    assert PLAIN not in search_runs([PLAIN, OTHER], words)


def test_without_words_all_come_in_their_order() -> None:
    assert search_runs([OTHER, PLAIN], "") == (OTHER, PLAIN)


def test_signs_are_looked_for_as_they_are_and_are_no_pattern() -> None:
    assert search_runs([PLAIN], ".*") == ()
    assert search_runs([PLAIN], "(") == ()
    assert search_runs([replace(PLAIN, name="a[0]*.(x)")], "[0]*.(") != ()


@pytest.mark.parametrize("words", ["x" * (LONGEST + 1), None, 3, ["a"]])
def test_a_search_too_long_or_no_text_is_a_sentence(words: object) -> None:
    with pytest.raises(ConfigError, match="at most"):
        search_runs([PLAIN], words)  # type: ignore[arg-type]


@given(st.text(max_size=60))
def test_every_word_of_a_note_finds_it(note: str) -> None:
    summary = replace(OTHER, note=note)
    words = [word for word in note.split() if not set(word) & set('"#')][:3]
    assert search_runs([summary], " ".join(words)[:LONGEST]) == (summary,)


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_the_store_searches_what_is_on_the_disk(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    first = store.create(TrainConfig(name="one", dataset="tulips.zip"))
    second = store.create(TrainConfig(name="two", model="resnet50"))
    store.describe(second.run_id, note="with more light", tags=["garden"])
    assert {found.run_id for found in store.search()} == {first.run_id, second.run_id}
    assert [found.run_id for found in store.search("tulips one")] == [first.run_id]
    assert [found.run_id for found in store.search("#garden light resnet50")] == [second.run_id]
    assert store.search("interrupted")  # the status counts, too
