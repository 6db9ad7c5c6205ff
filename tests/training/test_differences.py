"""What differs between runs: the settings they really had, told so that people can read them."""

import json
from pathlib import Path
from typing import Any

import pytest

from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.differences import compare_runs, settled
from resnet_core.training.runs import Run, RunStore


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def tell(run: Run, event: str, **fields: Any) -> None:
    with (run.folder / "events.jsonl").open("a") as opened:
        opened.write(json.dumps({"event": event, "time": 1.0, **fields}) + "\n")


def started(store: RunStore, **settings: Any) -> Run:
    """A run whose RunStarted tells these settings as the ones it was resolved to."""
    run = store.create(TrainConfig())
    tell(run, "RunStarted", settings=TrainConfig(**settings).to_json())
    return run


def table(*runs: Run) -> dict[str, tuple[str | None, ...]]:
    return {each.setting: each.values for each in compare_runs(runs)}


def test_only_what_differs_is_told_in_the_order_of_the_settings(store: RunStore) -> None:
    runs = [
        started(store, model="resnet18", epochs=5, learning_rate=0.1, seed=1, name="a"),
        started(store, model="resnet50", epochs=5, learning_rate=0.025, seed=1, name="b"),
    ]
    found = compare_runs(runs)
    assert [(each.setting, each.title, each.values) for each in found] == [
        ("model", "Model", ("resnet18", "resnet50")),
        ("learning_rate", "Learning rate", ("0.1", "0.025")),
    ]


def test_the_settings_it_had_count_and_not_those_it_was_asked_for(store: RunStore) -> None:
    asked_alike = [started(store, batch_size=size) for size in (32, 64)]
    assert asked_alike[0].config() == asked_alike[1].config()
    assert table(*asked_alike) == {"batch_size": ("32", "64")}


def test_a_run_that_never_started_is_judged_by_what_it_was_asked_for(store: RunStore) -> None:
    waiting = store.create(TrainConfig(epochs=3, pretrained=True))
    told = table(waiting, started(store, epochs=3, batch_size=8))
    assert told["pretrained"] == ("yes", "no")
    assert told["batch_size"] == ("auto", "8")
    assert "epochs" not in told


def test_changes_while_it_ran_are_told_once_in_their_order(store: RunStore) -> None:
    changed, plain = started(store, learning_rate=0.1, epochs=9), started(store, learning_rate=0.1, epochs=9)
    tell(changed, "Changed", epoch=7, step=60, settings={"learning_rate": 0.01})
    tell(changed, "Changed", epoch=5, step=40, settings={"learning_rate": 0.02, "augment": "strong"})
    tell(changed, "Changed", epoch=7, step=60, settings={"learning_rate": 0.01})  # repeated after a resume
    told = table(changed, plain)
    assert told["learning_rate"] == ("0.1, 0.02 from epoch 5, 0.01 from epoch 7", "0.1")
    assert told["augment"] == ("auto, strong from epoch 5", "auto")


def test_a_path_is_told_by_its_last_part_only(store: RunStore) -> None:
    told = table(started(store, dataset="/home/ada/secret/meadow.zip"), started(store, dataset="cifar10"))
    assert told["dataset"] == ("meadow.zip", "cifar10")


def test_runs_of_other_versions_and_unreadable_ones_are_compared_as_far_as_it_goes(store: RunStore) -> None:
    older = store.create(TrainConfig())
    tell(older, "RunStarted", settings={"epochs": 4, "speed": [1, "<b>"]})
    broken = store.create(TrainConfig())
    (broken.folder / "config.json").write_text("{")
    told = table(older, broken)
    assert told["epochs"] == ("4", None)
    assert told["speed"] == ('[1, "<b>"]', None)
    assert settled(broken) == {}


def test_equal_runs_differ_in_nothing(store: RunStore) -> None:
    assert compare_runs([started(store, epochs=2), started(store, epochs=2, name="other name")]) == ()


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_or_too_many_are_a_sentence(store: RunStore, count: int) -> None:
    with pytest.raises(RunError, match=f"2 to 8 runs to compare, not {count}"):
        compare_runs([started(store) for _ in range(count)])


def test_long_and_odd_values_stay_one_short_line(store: RunStore) -> None:
    run = store.create(TrainConfig())
    tell(run, "RunStarted", settings={"note": "a\nb\x1b" + "x" * 500, "empty": "", "rate": 1e-12, "n": 3.0})
    told = settled(run)
    assert len(told["note"]) <= 120
    assert "\n" not in told["note"]
    assert (told["empty"], told["rate"], told["n"]) == ("–", "1e-12", "3")
