"""The run history as the page asks for it: any question is answered, nothing but what changed travels."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo.services import Services
from demo.training.history_section import compared_runs, renewed_choices, shown_run
from demo.training.run_table.run_feed import Summaries, make_table_ask
from demo.training.run_table.run_table import RunTable, table_script
from demo.words.runs import TABLE_WORDS
from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.disk_use import disk_used
from resnet_core.training.event_log import EventLog
from resnet_core.training.events import RunEnded
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import Run

HOSTILE = "<img src=x onerror=alert(1)>${1+1}</script>"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(data_dir=tmp_path / "data", runs_dir=tmp_path / "runs")


@pytest.fixture
def ask(services: Services) -> Callable[..., dict[str, Any]]:
    asked = make_table_ask(services)
    return lambda **question: asked(question)


@pytest.fixture
def ended(services: Services) -> Callable[..., Run]:
    def make(name: str = "", **settings: Any) -> Run:
        run = services.store.create(TrainConfig(name=name, **settings))
        with RunRecorder(run) as recorder:
            recorder.write(RunEnded(status="finished", reason="All done."))
        return run

    return make


def ids(reply: dict[str, Any]) -> list[str]:
    return [row["id"] for row in reply["rows"]]


# Listing


def test_an_empty_folder_is_an_empty_table(ask: Callable[..., dict[str, Any]]):
    reply = ask(what="list")
    assert (reply["rows"], reply["bin"], reply["count"], reply["size"], reply["live"]) == ([], [], 0, 0, False)


def test_what_has_not_changed_does_not_travel_again(ask: Callable[..., dict[str, Any]], ended: Callable[..., Run]):
    first = ended("one")
    reply = ask(what="list", search="", version="")
    assert ids(reply) == [first.run_id]
    assert ask(what="list", search="", version=reply["version"]) == {"version": reply["version"]}
    ask(what="save", run=first.run_id, note="new")
    changed = ask(what="list", search="", version=reply["version"])
    assert changed["rows"][0]["note"] == "new"
    assert changed["version"] != reply["version"]


def test_the_search_narrows_the_rows_and_the_sums_stay(ask: Callable[..., dict[str, Any]], ended: Callable[..., Run]):
    one, _ = ended("spring"), ended("autumn")
    reply = ask(what="list", search="SPRING")
    assert ids(reply) == [one.run_id]
    assert reply["count"] == 2
    assert reply["size"] == ask(what="list")["size"]
    assert "at most" in ask(what="list", search="x" * 999)["error"]


def test_a_run_under_way_keeps_the_table_asking(
    services: Services, ask: Callable[..., dict[str, Any]], ended: Callable[..., Run]
):
    ended()
    assert ask(what="list")["live"] is False
    run = services.store.create(TrainConfig())
    with RunRecorder(run) as recorder:
        recorder.tell("preparing")
        reply = ask(what="list")
        assert reply["live"] is True
        assert {row["status"] for row in reply["rows"]} == {"preparing", "finished"}
        assert "still preparing" in ask(what="delete", run=run.run_id)["error"]
    assert ask(what="list")["live"] is False


def test_summaries_are_made_again_only_for_what_changed(
    services: Services, ended: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
):
    runs = [ended("a"), ended("b")]
    made: list[str] = []
    summary = Run.summary

    def counted(run: Run) -> Any:
        made.append(run.run_id)
        return summary(run)

    monkeypatch.setattr(Run, "summary", counted)
    summaries = Summaries()
    for _ in range(3):
        assert [each.name for each in summaries.of(runs)] == ["a", "b"]
    assert sorted(made) == sorted(run.run_id for run in runs)
    services.store.describe(runs[0].run_id, name="c")
    assert [each.name for each in summaries.of(runs)] == ["c", "b"]
    assert len(made) == 3


def test_the_disk_is_walked_only_for_runs_that_have_changed(
    services: Services, ask: Callable[..., dict[str, Any]], ended: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
):
    one, other = ended("a"), ended("b")
    (one.folder / "weights").write_bytes(bytes(5000))
    os.link(one.folder / "weights", other.folder / "weights")
    assert ask(what="list")["size"] == disk_used(one.folder, other.folder)
    walked: list[Path] = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda folder: walked.append(Path(folder)) or walk(folder))
    assert ask(what="list")["count"] == 2
    assert walked == []
    ask(what="save", run=one.run_id, note="longer than before")
    size = ask(what="list")["size"]
    assert set(walked) == {one.folder}
    assert size == disk_used(one.folder, other.folder)


def test_a_deleted_run_is_listed_without_reading_its_events(
    ask: Callable[..., dict[str, Any]], ended: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
):
    first, second = ended("plain"), ended("old name")
    ask(what="save", run=second.run_id, name="new name")
    for run in (first, second):
        ask(what="delete", run=run.run_id)
    monkeypatch.setattr(EventLog, "read", lambda log: pytest.fail("the events were read"))
    assert {row["name"] for row in ask(what="list")["bin"]} == {"plain", "new name"}


def test_the_board_hears_what_a_run_is_called_now(
    services: Services, ask: Callable[..., dict[str, Any]], ended: Callable[..., Run]
):
    run = ended("first")
    assert services.read(run.run_id, 1).name == "first"
    ask(what="save", run=run.run_id, name="second")
    assert services.read(run.run_id, 1).name == "second"
    ask(what="save", run=run.run_id, name="")
    assert services.read(run.run_id, 1).name == "first"
    (run.folder / "config.json").write_text("{", encoding="utf-8")
    assert services.read(run.run_id, 1).name == ""


def test_a_run_that_dies_without_a_word_is_seen_to_have_died(
    services: Services, monkeypatch: pytest.MonkeyPatch, ask: Callable[..., dict[str, Any]]
):
    run = services.store.create(TrainConfig())
    recorder = RunRecorder(run)  # beats once, and nobody goes on
    assert recorder.run is run
    assert ask(what="list")["rows"][0]["status"] == "preparing"
    monkeypatch.setattr(Run, "owner_alive", lambda self: False)
    assert ask(what="list")["rows"][0]["status"] == "interrupted"


# Doing


def test_name_note_and_tags_are_saved_and_only_what_was_changed(
    services: Services, ask: Callable[..., dict[str, Any]], ended: Callable[..., Run]
):
    run = ended("first")
    assert ask(what="save", run=run.run_id, note="by somebody else") == {"done": True}
    assert ask(what="save", run=run.run_id, name="second", tags="a, b") == {"done": True}
    (row,) = ask(what="list")["rows"]
    assert (row["name"], row["note"], row["tags"]) == ("second", "by somebody else", ["a", "b"])
    assert "can have" in ask(what="save", run=run.run_id, name="x" * 81)["error"]


def test_hostile_text_travels_as_it_is(ask: Callable[..., dict[str, Any]], ended: Callable[..., Run]):
    """The browser puts it in with textContent; escaping here would show &lt; to people."""
    run = ended(HOSTILE)
    ask(what="save", run=run.run_id, note=HOSTILE, tags=["<b>"])
    (row,) = ask(what="list")["rows"]
    assert (row["name"], row["note"], row["tags"]) == (HOSTILE, HOSTILE, ["<b>"])


def test_deleting_goes_to_the_bin_undo_brings_back_and_emptying_ends_it(
    ask: Callable[..., dict[str, Any]], ended: Callable[..., Run]
):
    run = ended("mine")
    assert ask(what="delete", run=run.run_id) == {"done": True}
    reply = ask(what="list")
    assert reply["rows"] == []
    (binned,) = reply["bin"]
    assert (binned["id"], binned["name"]) == (run.run_id, "mine")
    assert binned["size"] > 0
    assert ask(what="restore", run=run.run_id) == {"done": True}
    assert ids(ask(what="list")) == [run.run_id]
    ask(what="delete", run=run.run_id)
    assert ask(what="empty") == {"done": True}
    assert ask(what="list")["bin"] == []
    assert "in the bin" in ask(what="restore", run=run.run_id)["error"]


def test_a_run_deleted_by_hand_is_a_sentence_everywhere(
    services: Services, ask: Callable[..., dict[str, Any]], ended: Callable[..., Run]
):
    run = ended()
    shutil.rmtree(run.folder)
    for question in ({"what": "save", "name": "x"}, {"what": "delete"}):
        assert "There is no run" in ask(**question, run=run.run_id)["error"]
    for show in (lambda: shown_run(services, run.run_id), lambda: compared_runs(services, "", [run.run_id, "x"])):
        with pytest.raises(RunError, match="There is no run"):
            show()


def test_an_app_that_only_reads_says_so_and_still_lists(
    services: Services, ask: Callable[..., dict[str, Any]], ended: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
):
    run = ended()

    def refuse() -> None:
        raise RunError("Another app has the runs folder.")

    monkeypatch.setattr(services.store, "check_writable", refuse)
    for question in ({"what": "save", "name": "x"}, {"what": "delete"}, {"what": "restore"}, {"what": "empty"}):
        assert ask(**question, run=run.run_id) == {"error": "Another app has the runs folder."}
    assert ids(ask(what="list")) == [run.run_id]


def test_compared_runs_lie_over_one_another_and_the_one_on_screen_stays(services: Services, ended: Callable[..., Run]):
    one, two, three = (ended(name).run_id for name in "abc")
    dropdown, board = compared_runs(services, two, [one, two, three, one])
    assert (dropdown["value"], board["value"], board["overlays"][:-1]) == (two, two, [one, three])
    again = compared_runs(services, two, [one, two, three])[1]
    assert again["overlays"] != board["overlays"]  # so that the board takes the same choice once more
    dropdown, board = compared_runs(services, "", [three, one])
    assert (dropdown["value"], board["overlays"][:-1]) == (three, [one])


@pytest.mark.parametrize("run_ids", [None, [], "abc", 3, ["a"], ["a", "a"], [str(n) for n in range(9)]])
def test_too_few_or_too_many_runs_are_not_compared(services: Services, run_ids: Any):
    with pytest.raises(RunError, match="2 to 8 runs"):
        compared_runs(services, "", run_ids)


@pytest.mark.parametrize(
    "question",
    [
        None, 3, "list", [], {}, {"what": "burn"}, {"what": None}, [{"what": "list"}, 1],
        {"what": "save"}, {"what": "save", "run": 3}, {"what": "delete", "run": "../x"},
        {"what": "restore", "run": "x" * 100_000}, {"what": "restore", "run": "\x00"},
    ],
)  # fmt: skip
def test_whatever_is_asked_gets_a_sentence_and_never_a_failure(services: Services, question: Any):
    reply = make_table_ask(services)(question)
    assert isinstance(reply["error"], str)
    assert 10 < len(reply["error"]) < 300
    json.dumps(reply)


def test_what_nobody_foresaw_is_a_sentence_too(services: Services, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(services.store, "list", lambda: 1 / 0)
    assert "log of the app" in make_table_ask(services)({"what": "list"})["error"]


# The dropdown above


def test_a_run_that_is_gone_gives_way_to_the_newest(services: Services, ended: Callable[..., Run]):
    run = ended("kept")
    assert "value" not in renewed_choices(services, run.run_id)
    assert "value" not in renewed_choices(services, "")
    services.store.delete(run.run_id)
    update = renewed_choices(services, run.run_id)
    assert update["value"] == ""
    assert run.run_id not in {run_id for _, run_id in update["choices"]}


def test_showing_a_run_puts_it_into_the_dropdown(services: Services, ended: Callable[..., Run]):
    run = ended("kept")
    update = shown_run(services, run.run_id)
    assert update["value"] == run.run_id
    assert ("kept · finished", run.run_id) in update["choices"]


# The script


def test_the_script_has_its_words_in_both_languages_and_every_word_it_says():
    script = table_script()
    said = {part.split('"')[1] for part in script.split("say(")[1:] if part.startswith('"')}
    assert said - {"status."} <= TABLE_WORDS.keys()
    assert len(said) > 20
    for english, chinese in TABLE_WORDS.values():
        assert {part.split("}")[0] for part in english.split("{")[1:]} == {
            part.split("}")[0] for part in chinese.split("{")[1:]
        }
    assert "innerHTML" not in script


def test_the_table_offers_its_events(services: Services):
    table = RunTable(make_table_ask(services))
    for event in ("showrun", "runschanged", "comparison"):
        assert callable(getattr(table, event))
