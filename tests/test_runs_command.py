"""`runs`: found, named, noted, tagged, into the bin and back, from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from resnet_core.cli import main
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import Run, RunStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.setenv("RESNET_LAB_RUNS", str(tmp_path / "runs"))
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store: RunStore) -> Run:
    return store.create(TrainConfig(model="resnet20", name="first"))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls `runs …` and gives exit code and output."""

    def call(*words: str) -> tuple[int, str]:
        code = main(["runs", *words])
        return code, capsys.readouterr().out

    return call


def test_words_about_a_run_are_kept_and_found(say: Any, run: Run) -> None:
    assert say("rename", run.run_id, "second", "name")[0] == 0
    assert say("note", run.run_id, "more\nlight")[0] == 0
    code, out = say("tag", run.run_id, "garden", "slow,small", "--json")
    assert code == 0
    assert json.loads(out) == {
        "run_id": run.run_id, "name": "second name", "note": "more\nlight", "tags": ["garden", "slow", "small"]
    }  # fmt: skip
    (listed,) = json.loads(say("list", "--search", "#garden light", "--json")[1])
    assert listed["name"] == "second name"
    assert json.loads(say("list", "--search", "winter", "--json")[1]) == []
    assert "second name" in say("list")[1]
    say("rename", run.run_id, "")
    assert json.loads(say("show", run.run_id, "--json")[1])["name"] == "first"


def test_rm_goes_to_the_bin_restore_brings_back_and_empty_bin_ends_it(say: Any, run: Run) -> None:
    code, out = say("rm", run.run_id)
    assert code == 0
    assert f"runs restore {run.run_id}" in out
    assert json.loads(say("list", "--json")[1]) == []
    assert run.run_id in say("bin")[1]
    (binned,) = json.loads(say("bin", "--json")[1])
    assert binned["run_id"] == run.run_id
    assert say("restore", run.run_id)[0] == 0
    assert run.folder.is_dir()
    assert json.loads(say("rm", run.run_id, "--json")[1]) == {"run_id": run.run_id, "in_bin": True}
    assert say("empty-bin") == (0, "Removed for good: 1 run.\n")
    assert json.loads(say("empty-bin", "--json")[1]) == {"removed": 0}
    assert say("restore", run.run_id)[0] == 1


@pytest.mark.parametrize("words", [("rename", "ID", "x" * 81), ("note", "ID", "x" * 2001), ("tag", "ID", "x" * 31)])
def test_too_long_is_a_sentence_and_changes_nothing(say: Any, run: Run, words: tuple[str, ...]) -> None:
    code, out = say(*(run.run_id if word == "ID" else word for word in words))
    assert (code, out) == (2, "")
    assert not (run.folder / "notes.json").exists()


def test_what_people_wrote_cannot_move_the_cursor(say: Any, store: RunStore) -> None:
    run = store.create(TrainConfig(name="\x1b[2J\u202eevil/name"))
    out = say("list")[1]
    assert run.run_id in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "evil/name" in out
