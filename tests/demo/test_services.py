"""What the pages share: models loaded once for each state of their file, runs read as everyone sees them."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.following import planned_epochs
from demo.live_board.board_feed import make_poll
from demo.services import MODELS_KEPT, Services, model_choices, run_choices
from demo.training.fork_section import kept_choices
from demo.training.run_table.run_feed import make_table_ask
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, DeviceError, RunError
from resnet_core.files import write_json
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Replay
from resnet_core.training.events import RunEnded
from resnet_core.training.kept_epochs import CHECKPOINT, STATE
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import Run


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Warm, with nothing prepared ahead."""
    monkeypatch.setattr(Services, "_prepare_quietly", lambda self: None)
    made = Services(data_dir=tmp_path / "data", runs_dir=tmp_path / "runs")
    made.warm_up()
    made.ready()
    yield made
    assert made.shutdown(30)


def save_weights(run: Run, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 2},
        class_names=("left", "right"),
        preprocessing=Preprocessing(resize=32, crop=32),
    )
    path = run.folder / "best.safetensors"
    save_checkpoint(path, checkpoint, build_model("resnet20", num_classes=2).state_dict())
    return path


@pytest.fixture
def trained(services: Services) -> Callable[..., Run]:
    """Makes an ended run with a small model."""

    def make(name: str = "", *, seed: int = 0) -> Run:
        run = services.store.create(TrainConfig(name=name))
        with RunRecorder(run) as recorder:
            recorder.write(RunEnded(status="finished", reason="All done."))
        save_weights(run, seed)
        return run

    return make


# Models


def test_a_model_is_loaded_once(services: Services, trained: Callable[..., Run]):
    run = trained()
    assert services.classifier(run.run_id) is services.classifier(run.run_id)


def test_a_model_whose_file_has_changed_is_loaded_anew(services: Services, trained: Callable[..., Run]):
    run = trained()
    before = services.classifier(run.run_id)
    path = save_weights(run, seed=1)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 5))
    after = services.classifier(run.run_id)
    assert after is not before
    assert not torch.equal(after.model.conv1.weight, before.model.conv1.weight)


def test_only_the_models_asked_last_are_kept(services: Services, trained: Callable[..., Run]):
    runs = [trained() for _ in range(MODELS_KEPT + 1)]
    loaded = [services.classifier(run.run_id) for run in runs]
    assert services.classifier(runs[-1].run_id) is loaded[-1]
    assert services.classifier(runs[0].run_id) is not loaded[0]
    assert len(services._models) == MODELS_KEPT


def test_many_visitors_asking_at_once_all_get_the_model(services: Services, trained: Callable[..., Run]):
    run, found = trained(), []
    threads = [threading.Thread(target=lambda: found.append(services.classifier(run.run_id))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(services._models) == 1


@pytest.mark.parametrize("name", ["nobody", "../x", "/etc/passwd", "", "\x00", "a/b/c"])
def test_an_unknown_model_is_refused_and_no_path_is_one(services: Services, name: str, tmp_path: Path):
    with pytest.raises(CheckpointError, match="There is no model"):
        services.classifier(name)


@pytest.mark.parametrize("name", [None, 5, {}, ["flowers"]])
def test_a_model_named_by_no_text_is_refused_in_a_sentence(services: Services, name: Any):
    with pytest.raises(CheckpointError, match="Name the model by a text"):
        services.classifier(name)


def test_a_checkpoint_that_is_gone_is_said(services: Services, trained: Callable[..., Run]):
    run = trained()
    (run.folder / "best.safetensors").unlink()
    with pytest.raises(RunError, match="no checkpoint yet"):
        services.classifier(run.run_id)


def test_a_path_is_no_model_name_even_where_a_file_is(services: Services, trained: Callable[..., Run]):
    path = trained().folder / "best.safetensors"
    with pytest.raises(CheckpointError):
        services.classifier(str(path))


def test_choices_name_the_shipped_model_and_the_runs_by_their_name(services: Services, trained: Callable[..., Run]):
    run = trained("first garden")
    assert ("first garden · best epoch", run.run_id) in model_choices(services)
    assert run_choices(services)[0] == ("first garden · finished", run.run_id)


def test_a_name_of_any_length_is_one_short_line_in_the_list(services: Services):
    run = services.store.create(TrainConfig(name="rose\n\u202egarden " + "x" * 5000))
    title = next(title for title, run_id in run_choices(services) if run_id == run.run_id)
    name = title.rpartition(" · ")[0]
    assert name.startswith("rose garden xxx")
    assert len(name) <= 80
    services.store.remove(run.run_id)


def test_a_name_that_is_no_utf8_is_shown_in_every_list(services: Services, trained: Callable[..., Run]):
    run = trained("rose\udcff")
    assert ("rose\N{REPLACEMENT CHARACTER} · best epoch", run.run_id) in model_choices(services)
    assert run.summary().name == "rose\N{REPLACEMENT CHARACTER}"


# Runs


def test_without_a_run_there_is_none_to_follow(services: Services):
    assert services.current_run_id() is None
    assert run_choices(services) == []


def test_the_newest_run_is_followed_unless_an_older_one_is_alive(services: Services, trained: Callable[..., Run]):
    old = services.store.create(TrainConfig())
    new = trained()
    os.rename(old.folder, old.folder.with_name("20000101-000000-old-0000"))
    assert services.current_run_id() == new.run_id
    old = services.store.get("20000101-000000-old-0000")
    with RunRecorder(old) as recorder:
        recorder.tell("preparing")
        assert services.current_run_id() == old.run_id
        recorder.write(RunEnded(status="stopped", reason=""))
    assert services.current_run_id() == new.run_id


def test_reading_goes_on_from_the_cursor_and_names_the_run(services: Services, trained: Callable[..., Run]):
    run = trained("first garden")
    (run.folder / "events.jsonl").write_text('{"event": "RunStarted", "time": 1.0}\n{"event": "StepEnded"}\n')
    whole = services.read(run.run_id, 0)
    assert [event["event"] for event in whole.events] == ["RunStarted", "StepEnded"]
    assert whole.events[0]["name"] == "first garden"
    assert "name" not in whole.events[1]
    assert whole.cursor == 2
    assert services.read(run.run_id, 1).events == whole.events[1:]
    assert services.read(run.run_id, 2).events == ()


@pytest.mark.parametrize("run_id", ["nobody", "..", "", "a/b", "\x00"])
def test_an_unknown_run_is_refused(services: Services, run_id: str):
    with pytest.raises(RunError, match="There is no run"):
        services.read(run_id, 0)


def test_a_run_with_damaged_settings_does_not_hide_the_others(services: Services, trained: Callable[..., Run]):
    good, bad = trained("good"), trained("bad")
    (bad.folder / "config.json").write_text("{")
    assert {run_id for _, run_id in run_choices(services)} == {good.run_id, bad.run_id}
    write_json(bad.folder / "config.json", {"speed": 9})
    assert services.read(bad.run_id, 0).status == "finished"


HOSTILE = [
    *({"event": name} for name in ("RunStarted", "StepEnded", "EpochEnded", "Changed", "CheckpointSaved", "Paused")),
    {"event": "RunStarted", "time": "noon", "model": [], "dataset": 5, "epochs": "many", "settings": [], "notes": 7},
    {"event": "EpochEnded", "epoch": {}, "val_top1": "x", "best": True, "time": [], "step": 10**400},
    {"event": "EpochEnded", "epoch": 1, "val_top1": float("nan"), "best": True, "step": "x"},
    {"event": "Changed", "epoch": None, "settings": {"epochs": "x", "learning_rate": {}}},
    {"event": ["StepEnded"]},
    {"event": "RunEnded", "status": {"a": 1}, "reason": 3},
]


@pytest.mark.parametrize("lines", [HOSTILE[:-1], HOSTILE, *([line] for line in HOSTILE)], ids=str)
def test_a_run_whose_events_tell_nonsense_hides_no_other(
    services: Services, trained: Callable[..., Run], lines: list[dict[str, Any]]
):
    good, bad = trained("good"), trained("bad")
    (bad.folder / "kept").mkdir()
    for ending in (CHECKPOINT, STATE):
        (bad.folder / "kept" / f"epoch-0001{ending}").touch()
    (bad.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert {run_id for _, run_id in run_choices(services)} == {good.run_id, bad.run_id}
    assert {good.run_id, bad.run_id} <= {name for _, name in model_choices(services)}
    assert services.current_run_id() in (good.run_id, bad.run_id)
    poll, ask = make_poll(services), make_table_ask(services)
    told = [
        poll({"run": bad.run_id, "over": [{"run": good.run_id}]}),
        *(poll({"want": "runs"}), poll({"want": "differences", "runs": [good.run_id, bad.run_id]})),
        *(poll({"want": "csv", "runs": [bad.run_id], "curves": ["val/top1"]}), ask({"what": "list"})),
    ]
    assert [reply.get("error") for reply in told] == [None] * len(told)
    json.dumps(told, allow_nan=False)
    assert planned_epochs(bad) == 0
    assert kept_choices(services, bad.run_id) == [("1", "1")]
    Replay(bad.events())  # as an app does that finds it in the queue


# Starting and ending


def test_who_comes_too_early_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("demo.services.WARM_UP_LIMIT", 0.01)
    cold = Services(data_dir=tmp_path, runs_dir=tmp_path)
    assert cold.warm is False
    for ask in (cold.ready, lambda: cold.runner, lambda: cold.classifier("flowers")):
        with pytest.raises(DeviceError, match="still loading"):
            ask()
    assert cold.shutdown() is True


def test_libraries_that_do_not_load_are_told_to_everyone_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(self: Services) -> None:
        raise ImportError("libcudart.so.99")

    monkeypatch.setattr(Services, "_load", broken)
    monkeypatch.setattr(Services, "_prepare_quietly", lambda self: None)
    services = Services(data_dir=tmp_path, runs_dir=tmp_path)
    services.warm_up()
    with pytest.raises(DeviceError, match=r"libcudart.*pip install -r requirements\.txt"):
        services.ready()


def test_after_the_shutdown_nothing_starts(services: Services):
    runner = services.runner
    assert services.shutdown(5) is True
    with pytest.raises(RunError, match="shutting down"):
        runner.start(TrainConfig())
    assert services.store.list() == []
