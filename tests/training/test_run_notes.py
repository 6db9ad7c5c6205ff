"""Names, notes and tags of runs: text stays text, limits hold, nothing is half written or comes back from the dead."""

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_core.errors import ConfigError, RunError
from resnet_core.files import replacing
from resnet_core.training.config import TrainConfig
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.run_notes import (
    MAX_NAME,
    MAX_NOTE,
    MAX_TAG,
    MAX_TAGS,
    RunNotes,
    checked_notes,
    edit_notes,
    read_notes,
)
from resnet_core.training.runs import Run, RunStore

HOSTILE = "<img src=x onerror=alert(1)>${1+1}{{7*7}}=cmd()"


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store: RunStore) -> Run:
    return store.create(TrainConfig(name="first name"))


def test_what_is_written_is_read_by_everyone_and_the_settings_stay(store: RunStore, run: Run) -> None:
    store.describe(run.run_id, name="Second name", note="one\ntwo", tags=["slow", "Blüte"])
    for reader in (run, RunStore(store.runs_dir).get(run.run_id)):
        summary = reader.summary()
        assert (summary.name, summary.note, summary.tags) == ("Second name", "one\ntwo", ("slow", "Blüte"))
        assert reader.config().name == "first name"


def test_what_is_not_named_stays(store: RunStore, run: Run) -> None:
    store.describe(run.run_id, name="n", tags=["a"])
    store.describe(run.run_id, note="x")
    assert read_notes(run.folder) == RunNotes(name="n", note="x", tags=("a",))


def test_an_empty_name_gives_back_the_first_one(store: RunStore, run: Run) -> None:
    store.describe(run.run_id, name="other")
    store.describe(run.run_id, name="  \u202e ")
    assert run.summary().name == "first name"


def test_text_from_people_is_kept_as_it_is(store: RunStore, run: Run) -> None:
    store.describe(run.run_id, name=HOSTILE, note=HOSTILE, tags=["<b>x</b>"])
    summary = run.summary()
    assert (summary.name, summary.note, summary.tags) == (HOSTILE, HOSTILE, ("<b>x</b>",))


@given(st.text(max_size=MAX_NAME), st.text(max_size=MAX_NOTE))
def test_no_text_leaves_control_or_direction_marks(name: str, note: str) -> None:
    checked = checked_notes({"name": name, "note": note})
    shown = (checked["name"] or "") + checked["note"].replace("\n", "")
    assert not set(shown) & {"\x00", "\x1b", "\r", "\t", "\u202e", "\u2066", "\u2028"}
    assert "\n" not in (checked["name"] or "")
    json.dumps(checked, ensure_ascii=False).encode("utf-8")  # lone surrogates would raise
    assert checked_notes({"name": checked["name"] or "", "note": checked["note"]}) == checked  # cleaning is done once


def test_lines_of_a_note_stay_lines(run: Run) -> None:
    assert checked_notes({"note": "a\r\nb\rc\n\n d\te \n\n"})["note"] == "a\nb\nc\n\n d e"


@pytest.mark.parametrize(
    ("field", "limit"),
    [("name", MAX_NAME), ("note", MAX_NOTE)],
)
def test_a_text_over_its_limit_is_a_sentence_and_one_at_it_is_taken(field: str, limit: int) -> None:
    assert checked_notes({field: "x" * limit})[field] == "x" * limit
    with pytest.raises(ConfigError, match=f"A {field} can have"):
        checked_notes({field: "x" * (limit + 1)})


def test_tags_are_distinct_short_and_few() -> None:
    assert checked_notes({"tags": "slow, Slow,  #flowers ,,"})["tags"] == ("slow", "flowers")
    assert checked_notes({"tags": []})["tags"] == ()
    assert len(checked_notes({"tags": [f"t{n}" for n in range(MAX_TAGS)]})["tags"]) == MAX_TAGS
    with pytest.raises(ConfigError, match=f"{MAX_TAGS} tags"):
        checked_notes({"tags": [f"t{n}" for n in range(MAX_TAGS + 1)]})
    with pytest.raises(ConfigError, match="A tag can have"):
        checked_notes({"tags": ["x" * (MAX_TAG + 1)]})
    with pytest.raises(ConfigError, match="comma"):
        checked_notes({"tags": ["a,b"]})


@pytest.mark.parametrize("value", [None, 3, ["a"], {"a": 1}, b"x"])
def test_what_is_no_text_is_refused(value: Any) -> None:
    for field in ("name", "note"):
        with pytest.raises(ConfigError, match=f"{field} of a run must be a text"):
            checked_notes({field: value})


@pytest.mark.parametrize("value", [None, 3, [1], ["a", None], {"a": 1}])
def test_what_are_no_tags_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="list of words"):
        checked_notes({"tags": value})


def test_a_field_that_does_not_exist_is_refused_before_anything_is_written(store: RunStore, run: Run) -> None:
    for bad in ({"name": "new", "color": "red"}, {"name": "new", "note": "x" * (MAX_NOTE + 1)}):
        with pytest.raises(ConfigError):
            store.describe(run.run_id, **bad)
    assert run.summary().name == "first name"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"name": 3, "note": [], "tags": "x"}', b"[" * 10_000],
)
def test_a_damaged_file_is_no_notes(content: bytes, run: Run) -> None:
    (run.folder / "notes.json").write_bytes(content)
    assert read_notes(run.folder) == RunNotes()
    assert run.summary().name == "first name"


def test_a_file_from_elsewhere_is_cut_and_cleaned(run: Run) -> None:
    tags = ["x" * 99, "a\x1b[31m", 3, *(f"t{n}" for n in range(50))]
    content = {"name": "n" * 999, "note": "\x00" + "y" * 9999, "tags": tags}
    (run.folder / "notes.json").write_text(json.dumps(content))
    notes = read_notes(run.folder)
    assert notes.name == "n" * MAX_NAME
    assert notes.note == "y" * MAX_NOTE
    assert notes.tags[:2] == ("x" * MAX_TAG, "a[31m")
    assert len(notes.tags) == MAX_TAGS
    (run.folder / "notes.json").write_text(json.dumps({"name": "n", "note": "y" * 200_000}))
    assert read_notes(run.folder) == RunNotes()


def test_a_run_that_vanished_is_a_sentence_and_does_not_come_back(store: RunStore, run: Run) -> None:
    shutil.rmtree(run.folder)
    with pytest.raises(RunError, match="There is no run"):
        store.describe(run.run_id, name="x")
    with pytest.raises(RunError, match="gone"):
        edit_notes(run.folder, name="x")
    assert not run.folder.exists()


def test_a_run_that_vanishes_while_its_notes_are_written_does_not_come_back(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_core.training import run_notes

    write = run_notes.write_json

    def too_late(path: Path, content: Any) -> None:
        shutil.rmtree(run.folder)
        write(path, content)  # makes the folder anew

    monkeypatch.setattr(run_notes, "write_json", too_late)
    with pytest.raises(RunError, match="gone"):
        edit_notes(run.folder, note="x")
    assert not run.folder.exists()


def test_a_full_disk_is_a_sentence_and_leaves_the_old_notes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_core.training import run_notes

    edit_notes(run.folder, note="before")

    def full(path: Path, content: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_notes, "write_json", full)
    with pytest.raises(RunError, match="No space left") as caught:
        edit_notes(run.folder, note="after")
    assert str(run.folder) not in str(caught.value)
    assert read_notes(run.folder).note == "before"


def test_two_people_who_change_different_things_at_once_both_win(store: RunStore, run: Run) -> None:
    def many(field: str) -> None:
        for number in range(20):
            store.describe(run.run_id, **{field: f"{field} {number}"})

    threads = [threading.Thread(target=many, args=(field,)) for field in ("name", "note", "tags")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_notes(run.folder) == RunNotes(name="name 19", note="note 19", tags=("tags 19",))


def test_a_note_that_is_being_written_outlives_the_start_of_its_run(tmp_path: Path) -> None:
    """The training thread clears away what a killed owner left half written, but not what a person writes just now."""
    run = RunStore(tmp_path).create(TrainConfig(epochs=1))
    with replacing(run.folder / "notes.json") as temporary:
        with RunRecorder(run):
            pass
        temporary.write_text("{}", encoding="utf-8")
    assert (run.folder / "notes.json").is_file()
