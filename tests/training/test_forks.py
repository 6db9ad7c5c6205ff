"""Branches: without changes they repeat their parent bit by bit, with changes they do what a change there would do."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from observers import MEASURED, same_weights

from resnet_core.cli import main
from resnet_core.data.datasets import load_dataset
from resnet_core.errors import CheckpointError, ConfigError, RunError
from resnet_core.training import branching
from resnet_core.training.branching import branch_off
from resnet_core.training.checkpoint import load_checkpoint, read_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Replay
from resnet_core.training.engine import fit
from resnet_core.training.recorder import RunRecorder, load_resume
from resnet_core.training.runner import Runner
from resnet_core.training.runs import Run, RunStore

EPOCHS = 4


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forks")


@pytest.fixture(scope="module")
def config(drawn_folder: Path, quick: Callable[..., TrainConfig]) -> TrainConfig:
    return quick(dataset=str(drawn_folder), model="resnet8", epochs=EPOCHS, ema_decay=0.9, keep="all", name="parent")


@pytest.fixture(scope="module")
def parent(home: Path, config: TrainConfig) -> Run:
    return trained(RunStore(home / "runs"), config)


@pytest.fixture
def store(tmp_path: Path, parent: Run) -> RunStore:
    """A store of one's own with the parent in it."""
    shutil.copytree(parent.folder, tmp_path / "runs" / parent.run_id)
    return RunStore(tmp_path / "runs")


@pytest.fixture
def runner(store: RunStore) -> Iterator[Runner]:
    made = Runner(store, data_dir=store.runs_dir)
    yield made
    assert made.shutdown()


def trained(store: RunStore, config: TrainConfig, **settings: Any) -> Run:
    run = store.create(config)
    dataset = load_dataset(config.dataset, data_dir=store.runs_dir)
    with RunRecorder(run) as recorder:
        for _ in recorder.record(fit(config, dataset, saver=recorder, **settings)):
            pass
    return run


def story(run: Run, *, after: int = 0) -> list[dict[str, Any]]:
    """Steps and epochs after an epoch, without what a clock measured."""
    found = [event for event in run.events() if event["event"] in ("StepEnded", "EpochEnded")]
    unmeasured = (*MEASURED, "time")
    return [
        {key: value for key, value in event.items() if key not in unmeasured}
        for event in found
        if event["epoch"] > after
    ]


def weights(run: Run, which: str = "last") -> dict[str, torch.Tensor]:
    return load_checkpoint(run.checkpoint_path(which))[1].state_dict()


def memory(state: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What the optimizer remembers of each weight."""
    kept = state["optimizer"]["state"]
    return {f"{index}.{name}": kept[index][name] for index in kept for name in kept[index]}


def finished(runner: Runner, run: Run) -> Run:
    assert runner.wait(60)
    assert run.status() == "finished", run.events()[-1]
    return run


def of(run: Run, kind: str) -> list[dict[str, Any]]:
    return [event for event in run.events() if event["event"] == kind]


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_branch_without_changes_is_its_parent_bit_by_bit(epoch: int, runner: Runner, parent: Run) -> None:
    branch = finished(runner, runner.fork(parent.run_id, epoch))
    assert story(branch) == story(parent, after=epoch)
    assert same_weights(weights(branch), weights(parent))
    mine, theirs = load_resume(branch), load_resume(parent)
    assert mine["position"] == theirs["position"]
    assert same_weights(mine["model"], theirs["model"])
    assert same_weights(memory(mine), memory(theirs))
    assert of(branch, "RunStarted")[0]["first_step"] == 3 * epoch + 1
    assert not of(branch, "Changed")


def test_a_branch_tells_where_it_comes_from(runner: Runner, parent: Run) -> None:
    branch = finished(runner, runner.fork(parent.run_id, 2))
    assert branch.summary().forked_from == branch.config().forked_from == f"{parent.run_id}/2"
    assert branch.summary().name == "parent, from epoch 2"
    assert parent.summary().forked_from == ""
    written = json.loads((branch.folder / "config.json").read_text())
    assert written["forked_from"] == f"{parent.run_id}/2"
    twig = finished(runner, runner.fork(branch.run_id, 3, name="twig"))
    assert (twig.summary().name, twig.summary().forked_from) == ("twig", f"{branch.run_id}/3")
    assert story(twig) == story(parent, after=3)


@pytest.mark.parametrize(
    "wish",
    [
        {"learning_rate": 0.004, "epochs": 6},
        {"freeze": "layer1", "augment": "flip"},
        {"mixup": 0.3, "clip_norm": 0.5, "drop_path": 0.1},
    ],
    ids=lambda wish: "-".join(wish),
)
def test_a_branch_with_changes_is_the_parent_with_a_person_who_changed_it_there(
    wish: dict[str, Any], runner: Runner, store: RunStore, config: TrainConfig
) -> None:
    control = Replay([{"event": "Changed", "epoch": 3, "settings": wish}])
    expected = trained(store, config, control=control)
    begun = next(run for run in store.list() if run.config().name == "parent" and run is not expected)
    branch = finished(runner, runner.fork(begun.run_id, 2, **wish))
    assert story(branch) == story(expected, after=2)
    assert same_weights(weights(branch), weights(expected))
    [changed] = of(branch, "Changed")
    assert (changed["epoch"], changed["settings"]) == (3, wish)
    asked = branch.config().to_json()
    assert {key: asked[key] for key in wish} == wish


def test_a_change_made_before_the_branch_holds_unless_it_is_changed_again(
    runner: Runner, store: RunStore, config: TrainConfig
) -> None:
    first = [{"event": "Changed", "epoch": 2, "settings": {"learning_rate": 0.02, "clip_norm": 0.4}}]
    then = [*first, {"event": "Changed", "epoch": 3, "settings": {"learning_rate": 0.001}}]
    constant = config.replace(schedule="constant", learning_rate=0.05)
    changed_once, changed_twice = (trained(store, constant, control=Replay(changes)) for changes in (first, then))
    branch = finished(runner, runner.fork(changed_once.run_id, 2, learning_rate=0.001))
    assert story(branch) == story(changed_twice, after=2)
    same = finished(runner, runner.fork(changed_once.run_id, 2))
    assert story(same) == story(changed_once, after=2)
    assert {event["learning_rate"] for event in of(same, "StepEnded")} == {0.02}


def test_a_branch_stopped_in_the_middle_goes_on(runner: Runner, store: RunStore, parent: Run) -> None:
    """Its changes must survive a stop before its first epoch has ended, and the parent's deletion."""
    branch, dataset = branch_off(store, parent.run_id, 2, {"learning_rate": 0.003}, data_dir=store.runs_dir)
    with RunRecorder(branch) as recorder:
        events = fit(branch.config(), dataset, saver=recorder, resume=load_resume(branch))
        for event in recorder.record(events):
            if type(event).__name__ == "StepEnded":
                break
    store.remove(parent.run_id)
    finished(runner, runner.resume(branch.run_id))
    assert of(branch, "Changed")[-1]["settings"] == {"learning_rate": 0.003}
    assert [event["epoch"] for event in of(branch, "EpochEnded")] == [3, 4]


def test_the_parents_deletion_hurts_no_branch(runner: Runner, store: RunStore, parent: Run) -> None:
    branch, _ = branch_off(store, parent.run_id, 3, {}, data_dir=store.runs_dir)
    shutil.rmtree(store.runs_dir / parent.run_id)
    for which in ("best", "last"):
        assert load_checkpoint(branch.checkpoint_path(which))[0].class_names == ("blue", "red")
    assert read_checkpoint(branch.checkpoint_path("last")).training["epoch"] == 3
    assert branch.status() == "interrupted", "nobody trains it yet"
    finished(runner, runner.resume(branch.run_id))
    assert story(branch) == story(parent, after=3)


def test_a_branch_can_wait_while_its_parent_is_trained(runner: Runner, config: TrainConfig) -> None:
    import time

    going = runner.start(config.replace(epochs=5000, keep="some"))
    while not going.kept_epochs():
        time.sleep(0.01)
    branch = runner.fork(going.run_id, going.kept_epochs()[0], epochs=2)
    assert branch.status() == "queued"
    assert going.status() == "running"
    runner.stop(going.run_id)
    finished(runner, branch)
    assert [event["epoch"] for event in of(branch, "EpochEnded")] == [2]


# ---- What is refused, and leaves nothing behind ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "settings", "kind", "sentence"),
    [
        (2, {"batch_size": 8}, ConfigError, "batch_size cannot change in a branch; epochs, learning_rate"),
        (2, {"forked_from": "x", "seed": 1}, ConfigError, "forked_from, seed cannot change"),
        (2, {"run_id": "x"}, ConfigError, "run_id cannot change"),
        (2, {"epochs": 2}, ConfigError, "After epoch 2 nothing is left of 2 epochs; give the branch more epochs."),
        (EPOCHS, {}, ConfigError, f"After epoch {EPOCHS} nothing is left"),
        (2, {"learning_rate": -1}, ConfigError, "Learning rate must be a number"),
        (2, {"learning_rate": float("nan")}, ConfigError, "Learning rate must be a number"),
        (2, {"augment": "wild"}, ConfigError, "Augment must be one of"),
        (2, {"name": 3}, ConfigError, "Name must be a text"),
        (9, {}, RunError, "Epoch 9 of run .* is not kept; kept are 1–4."),
        (-1, {}, RunError, "is not kept"),
    ],
)
def test_what_cannot_be_a_branch_is_a_sentence(
    epoch: int, settings: dict[str, Any], kind: type[Exception], sentence: str, runner: Runner, parent: Run
) -> None:
    before = [run.run_id for run in runner.store.list()]
    with pytest.raises(kind, match=sentence):
        runner.fork(parent.run_id, epoch, **settings)
    assert [run.run_id for run in runner.store.list()] == before
    assert runner.active() is None


def test_from_the_last_epoch_with_more_epochs_it_goes_on(runner: Runner, parent: Run) -> None:
    branch = finished(runner, runner.fork(parent.run_id, EPOCHS, epochs=EPOCHS + 1))
    assert [event["epoch"] for event in of(branch, "EpochEnded")] == [EPOCHS + 1]


def test_damaged_and_foreign_states_are_a_sentence(runner: Runner, store: RunStore, parent: Run) -> None:
    mine = store.get(parent.run_id)
    mine.kept_state(2).unlink()
    (mine.folder / "kept" / "epoch-0002.pt").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(RunError, match="damaged and cannot be taken up; branch off from one of its kept epochs"):
        runner.fork(parent.run_id, 2)
    content = bytearray(mine.kept_state(4).read_bytes())
    content[len(content) // 2] ^= 1  # torch would load it without a word
    mine.kept_state(4).unlink()
    (mine.folder / "kept" / "epoch-0004.pt").write_bytes(content)
    with pytest.raises(RunError, match="damaged and cannot be taken up"):
        runner.fork(parent.run_id, 4)
    state = torch.load(mine.kept_state(3), weights_only=True)
    torch.save(state | {"state_version": 99}, mine.folder / "kept" / "epoch-0003.pt")
    with pytest.raises(RunError, match="newer version"):
        runner.fork(parent.run_id, 3)
    with pytest.raises(RunError, match="There is no run"):
        runner.fork("../runs", 1)
    assert [run.run_id for run in store.list()] == [parent.run_id]


def test_a_disk_that_refuses_leaves_no_half_branch(
    store: RunStore, parent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_core.training import branching

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(branching, "link_or_copy", full)
    with pytest.raises(RunError, match=r"The branch cannot be written \(No space left on device\)"):
        branch_off(store, parent.run_id, 2, {}, data_dir=store.runs_dir)
    assert [run.run_id for run in store.list()] == [parent.run_id]
    assert len(list(store.runs_dir.iterdir())) == 1


def test_the_best_so_far_comes_along(store: RunStore, parent: Run) -> None:
    """A branch that never beats its parent still has a best model, the best there was then."""
    for epoch in (1, 2, 3):
        branch, _ = branch_off(store, parent.run_id, epoch, {"epochs": 9}, data_dir=store.runs_dir)
        accuracy = [(event["val_top1"], -event["val_loss"]) for event in of(parent, "EpochEnded")[:epoch]]
        best = max(range(epoch), key=lambda index: (accuracy[index], -index)) + 1
        assert read_checkpoint(branch.checkpoint_path("best")).training["epoch"] == best
    (store.get(parent.run_id).folder / "best.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError):
        read_checkpoint(store.get(parent.run_id).checkpoint_path("best"))
    branch, _ = branch_off(store, parent.run_id, 3, {}, data_dir=store.runs_dir)
    assert read_checkpoint(branch.checkpoint_path("best")).training["epoch"] in (1, 2, 3)


# ---- The command line ------------------------------------------------------------------------------------------


def command(store: RunStore, *arguments: str) -> int:
    return main(["train", "--runs-dir", str(store.runs_dir), "--data-dir", str(store.runs_dir), "--json", *arguments])


def test_the_command_line_branches_off(store: RunStore, parent: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(store, "--fork", parent.run_id, "--from-epoch", "2", "--epochs", "3", "--name", "short") == 0
    branch = store.get(json.loads(capsys.readouterr().out.splitlines()[0])["run_id"])
    assert branch.status() == "finished"
    assert [event["epoch"] for event in of(branch, "EpochEnded")] == [3]
    assert branch.summary().name == "short"
    assert command(store, "--replay", branch.run_id) == 2
    assert f"branched off from {parent.run_id}/2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--fork", "RUN"), "with --from-epoch; kept are: 1–4."),
        (("--fork", "RUN", "--from-epoch", "2", "--batch-size", "8"), "batch_size cannot change in a branch"),
        (("--fork", "RUN", "--from-epoch", "2", "--preset", "flowers"), "without --resume or a preset"),
        (("--fork", "RUN", "--from-epoch", "2", "--resume", "RUN"), "without --resume or a preset"),
        (("--from-epoch", "2"), "--from-epoch needs --fork RUN."),
    ],
)
def test_the_command_line_refuses_in_a_sentence(
    arguments: tuple[str, ...], sentence: str, store: RunStore, parent: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(store.list())
    assert command(store, *(parent.run_id if part == "RUN" else part for part in arguments)) == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1
    assert len(store.list()) == before


def test_every_setting_a_branch_may_change_is_one_of_the_config() -> None:
    from resnet_core.training.control import CHANGEABLE

    assert {*CHANGEABLE, "name", "forked_from"} <= {field.name for field in dataclasses.fields(TrainConfig)}


def test_a_branch_of_a_finished_timed_run_trains_the_epochs_it_is_given(store: RunStore, config: TrainConfig) -> None:
    timed = trained(store, config.replace(budget_minutes=0.02, epochs=None, batch_size=4))
    last = timed.kept_epochs()[-1]
    branch, dataset = branch_off(store, timed.run_id, last, {"epochs": last + 3}, data_dir=store.runs_dir)
    assert branch.config().budget_minutes == 0
    with RunRecorder(branch) as recorder:
        for _ in recorder.record(fit(branch.config(), dataset, saver=recorder, resume=load_resume(branch))):
            pass
    assert branch.status() == "finished"
    assert [event["epoch"] for event in branch.events() if event["event"] == "EpochEnded"] == [
        last + 1, last + 2, last + 3,
    ]  # fmt: skip


def test_a_setting_left_open_is_refused_in_a_branch(store: RunStore, parent: Run) -> None:
    with pytest.raises(ConfigError, match="learning_rate cannot be left open"):
        branch_off(store, parent.run_id, 2, {"learning_rate": None}, data_dir=store.runs_dir)


def test_killed_while_a_branch_is_made_it_never_trains_from_nothing(
    store: RunStore, runner: Runner, parent: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    class Killed(BaseException):
        pass

    def dies(*arguments: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        raise Killed

    monkeypatch.setattr(branching, "link_or_copy", dies)
    with pytest.raises(Killed):
        branch_off(store, parent.run_id, 2, {}, data_dir=store.runs_dir)
    [left] = [run for run in store.list() if run.run_id != parent.run_id]
    assert not (left.folder / "resume.pt").exists(), "it is written last, so it means: complete"
    with pytest.raises(RunError, match="branch off again"):
        runner.resume(left.run_id)
    assert left.events() == []
