"""A run whose pictures have changed says what changed and asks; what cannot be taken up at all says why."""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnet_core.cli import main
from resnet_core.data.datasets import load_dataset
from resnet_core.errors import DataChangedError, RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.picture_list import (
    FILE,
    PictureList,
    keep_pictures,
    list_pictures,
    read_pictures,
    tell_changes,
)
from resnet_core.training.plan import Plan
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.resuming import Position, stretch
from resnet_core.training.runner import Runner
from resnet_core.training.runs import Run, RunStore

ASKS = "The pictures of run .* have changed since it was saved: "


@pytest.fixture
def colors(tmp_path: Path, drawn_folder: Path) -> Path:
    return Path(shutil.copytree(drawn_folder, tmp_path / "colors"))


@pytest.fixture
def config(colors: Path, quick: Callable[..., TrainConfig]) -> TrainConfig:
    return quick(dataset=str(colors), model="resnet8", epochs=3)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
    yield made
    assert made.shutdown()


def stopped(runner: Runner, config: TrainConfig, *, steps: int = 4) -> Run:
    """A run that was ended after so many steps, three an epoch."""
    from resnet_core.training.control import Control

    run, control = runner.store.create(config), Control()
    dataset = load_dataset(config.dataset, data_dir=runner.store.runs_dir)
    with RunRecorder(run) as recorder:
        for event in recorder.record(fit(config, dataset, saver=recorder, control=control)):
            if type(event).__name__ == "StepEnded" and getattr(event, "step", 0) == steps:
                control.stop()
    assert run.status() == "stopped"
    return run


def draw(path: Path, color: str = "white") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), color).save(path)


def told(run: Run, kind: str) -> list[Any]:
    return [event for event in run.events() if event["event"] == kind]


def take_away(colors: Path) -> None:
    (colors / "train" / "red" / "0.png").unlink()


def add(colors: Path) -> None:
    draw(colors / "train" / "blue" / "new.png")
    draw(colors / "val" / "blue" / "new.png")


def replace(colors: Path) -> None:
    draw(colors / "val" / "red" / "1.png", "black")


def relabel(colors: Path) -> None:
    os.rename(colors / "train" / "red" / "5.png", colors / "train" / "blue" / "moved.png")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (take_away, "16 pictures then, 15 now; 1 gone (red 1: train/red/0.png)."),
        (add, "16 pictures then, 18 now; 2 new (blue 2: train/blue/new.png, val/blue/new.png)."),
        (replace, "1 other files (red 1: val/red/1.png)."),
        (relabel, "1 gone (red 1: train/red/5.png); 1 new (blue 1: train/blue/moved.png)."),
    ],
)
def test_what_changed_is_told_and_asked_about_then_it_goes_on(
    change: Callable[[Path], None], sentence: str, runner: Runner, config: TrainConfig, colors: Path
) -> None:
    run = stopped(runner, config)
    state = (run.folder / "resume.pt").read_bytes()
    change(colors)
    for _ in range(2):
        with pytest.raises(DataChangedError) as asked:
            runner.resume(run.run_id)
        assert str(asked.value) == f"The pictures of run {run.run_id} have changed since it was saved: {sentence}"
    assert (run.folder / "resume.pt").read_bytes() == state, "nobody has agreed yet"
    assert run.status() == "stopped"
    runner.resume(run.run_id, anyway=True)
    assert runner.wait(60)
    assert run.status() == "finished", run.events()[-1]
    assert sentence in [event["message"] for event in told(run, "Warned")][-1]
    kept = read_pictures(run.folder)
    assert kept == list_pictures(load_dataset(config.dataset, data_dir=colors))


def test_who_agreed_once_is_not_asked_again(runner: Runner, config: TrainConfig, colors: Path) -> None:
    run = stopped(runner, config.replace(epochs=5000))
    take_away(colors)
    runner.resume(run.run_id, anyway=True)
    runner.stop(run.run_id)
    assert runner.wait(30)
    runner.resume(run.run_id)
    runner.stop(run.run_id)
    assert runner.wait(30)
    assert run.status() == "stopped"
    replace(colors)
    with pytest.raises(DataChangedError, match=r"changed since it was saved: 1 other files"):
        runner.resume(run.run_id)


def test_unchanged_pictures_are_not_asked_about(runner: Runner, config: TrainConfig) -> None:
    run = stopped(runner, config)
    runner.resume(run.run_id)
    assert runner.wait(60)
    assert run.status() == "finished"
    assert not told(run, "Warned")


@pytest.mark.parametrize("anyway", [False, True])
def test_other_classes_cannot_be_gone_on_with(anyway: bool, runner: Runner, config: TrainConfig, colors: Path) -> None:
    run = stopped(runner, config)
    for split in ("train", "val"):
        os.rename(colors / split / "red", colors / split / "rose")
    with pytest.raises(RunError, match=r"classes of run .* have changed \(gone: red; new: rose\)") as refused:
        runner.resume(run.run_id, anyway=anyway)
    assert not isinstance(refused.value, DataChangedError)
    assert run.status() == "stopped"


def test_with_more_pictures_the_schedule_still_ends_where_it_should(
    runner: Runner, config: TrainConfig, colors: Path
) -> None:
    """Another number of steps an epoch would else leave the learning rate high, or at zero too soon."""
    annealed = config.replace(schedule="cosine", warmup=0.0, learning_rate=0.1)
    run = stopped(runner, annealed)
    for index in range(9):
        draw(colors / "train" / "blue" / f"more{index}.png")
    runner.resume(run.run_id, anyway=True)
    assert runner.wait(60)
    assert run.status() == "finished"
    started, steps = told(run, "RunStarted")[-1], told(run, "StepEnded")
    assert started["steps_per_epoch"] > 3
    assert steps[-1]["step"] == 3 * started["steps_per_epoch"]
    resolved = TrainConfig.from_json(started["settings"])
    last = Plan(config=resolved, steps_per_epoch=started["steps_per_epoch"]).learning_rate(steps[-1]["step"])
    assert math.isclose(steps[-1]["learning_rate"], last)
    assert [event["epoch"] for event in told(run, "EpochEnded")] == [1, 2, 3]


@given(
    epoch=st.integers(1, 50), then=st.integers(1, 200), now=st.integers(1, 200), share=st.floats(0, 1, exclude_max=True)
)
def test_stretching_keeps_epoch_and_share(epoch: int, then: int, now: int, share: float) -> None:
    inside = int(share * then)
    position = Position(epoch=epoch, step=(epoch - 1) * then + inside, step_in_epoch=inside, best_top1=0.5)
    stretch(position, then, now)
    assert position.epoch == epoch
    assert position.step == (epoch - 1) * now + position.step_in_epoch
    assert 0 <= position.step_in_epoch <= now
    assert abs(position.step_in_epoch / now - inside / then) <= 0.5 / now + 1e-9
    assert position.best_top1 == 0.5


def test_a_run_of_an_older_version_tells_what_it_knows(runner: Runner, config: TrainConfig, colors: Path) -> None:
    run = stopped(runner, config)
    (run.folder / FILE).unlink()
    take_away(colors)
    with pytest.raises(
        DataChangedError, match="12 to train on and 4 to judge by then, 11 and 4 now; which ones was not"
    ):
        runner.resume(run.run_id)
    (run.folder / FILE).write_bytes(b"\x1f\x8b torn")
    with pytest.raises(DataChangedError, match="which ones was not noted"):
        runner.resume(run.run_id)
    runner.resume(run.run_id, anyway=True)
    assert runner.wait(60)
    assert run.status() == "finished"


def test_a_branch_asks_as_well(runner: Runner, config: TrainConfig, colors: Path) -> None:
    run = stopped(runner, config, steps=5)
    take_away(colors)
    with pytest.raises(DataChangedError, match=ASKS + "16 pictures then, 15 now"):
        runner.fork(run.run_id, 1)
    branch = runner.fork(run.run_id, 1, anyway=True)
    assert runner.wait(60)
    assert branch.status() == "finished"
    assert "15 now" in told(branch, "Warned")[0]["message"]


def test_the_command_line_wants_anyway(
    runner: Runner, config: TrainConfig, colors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stopped(runner, config)
    take_away(colors)
    command = ["train", "--runs-dir", str(runner.store.runs_dir), "--resume", run.run_id]
    assert main(command) == 1
    assert "1 gone (red 1: train/red/0.png). Add --anyway to go on" in capsys.readouterr().err
    assert main([*command, "--anyway"]) == 0
    assert run.status() == "finished"


# ---- What cannot be taken up at all ----------------------------------------------------------------------------


def test_a_state_of_a_newer_version_says_to_update(runner: Runner, config: TrainConfig) -> None:
    run = stopped(runner, config)
    state = torch.load(run.folder / "resume.pt", weights_only=True)
    for version, sentence in ((99, "a newer version of ResNet Lab; update"), (0, "another version"), ("x", "another")):
        torch.save(state | {"state_version": version}, run.folder / "resume.pt")
        with pytest.raises(RunError, match=sentence):
            runner.resume(run.run_id)
    assert run.status() == "stopped"


def test_settings_of_a_newer_version_say_which(runner: Runner, config: TrainConfig) -> None:
    run = stopped(runner, config)
    settings = json.loads((run.folder / "config.json").read_text())
    (run.folder / "config.json").write_text(json.dumps(settings | {"teleport": True}))
    with pytest.raises(RunError, match=r"do not fit this version: Unknown settings: teleport; .* a newer one may"):
        runner.resume(run.run_id)
    assert run.summary().run_id == run.run_id, "it is listed all the same"


def test_a_deleted_state_names_the_way_out(runner: Runner, config: TrainConfig) -> None:
    run = stopped(runner, config, steps=4)
    (run.folder / "resume.pt").unlink()
    with pytest.raises(RunError, match=r"was deleted, so it cannot go on; branch off from .* \(1\)"):
        runner.resume(run.run_id)
    shutil.rmtree(run.folder / "kept")
    with pytest.raises(RunError, match=r"cannot go on; start a new run\."):
        runner.resume(run.run_id)


def test_a_deleted_checkpoint_is_gone_not_still_to_come(runner: Runner, config: TrainConfig) -> None:
    run = stopped(runner, config, steps=4)
    (run.folder / "best.safetensors").unlink()
    with pytest.raises(RunError, match=r"The checkpoint of the best epoch of run .* is gone"):
        run.checkpoint_path()
    assert run.checkpoint_path("last").is_file()
    with pytest.raises(RunError, match="no checkpoint yet"):
        runner.store.create(config).checkpoint_path()


# ---- The sentence ----------------------------------------------------------------------------------------------


def listed(*rows: tuple[str, str, str, str]) -> PictureList:
    return PictureList(fingerprint="f", class_names=("a", "b"), pictures={path: about for path, *about in rows})  # type: ignore[misc]


def test_pictures_that_changed_sides_are_told_as_what_they_spoil() -> None:
    """A seeded split is drawn anew when pictures come or go: what was learned by heart would judge."""
    before = listed(("1", "train", "a", ""), ("2", "train", "b", ""), ("3", "val", "a", ""))
    now = listed(("1", "val", "a", ""), ("2", "train", "a", ""), ("3", "train", "a", ""))
    sentence = tell_changes(before, now)
    assert "2 moved between train and val" in sentence
    assert "1 it was trained on would judge it now" in sentence
    assert "1 in another class" in sentence
    assert tell_changes(before, before) == "other pictures under the same names"


def test_many_changes_stay_one_readable_line() -> None:
    rows = [(f"train/class{n % 9}/\x1b[31m{n}\n.png", "train", f"class{n % 9}\u202e", "") for n in range(5000)]
    sentence = tell_changes(listed(*rows), listed())
    assert len(sentence) < 400
    assert sentence.isprintable()
    assert "5,000 gone" in sentence
    assert "and 5 more classes" in sentence


def test_the_list_survives_any_names(tmp_path: Path, colors: Path) -> None:
    draw(colors / "train" / "red" / "“ü\u3042 $x.png")
    dataset = load_dataset(str(colors), data_dir=tmp_path)
    keep_pictures(tmp_path, dataset)
    assert read_pictures(tmp_path) == list_pictures(dataset)
    first = (tmp_path / FILE).read_bytes()
    keep_pictures(tmp_path, dataset)
    assert (tmp_path / FILE).read_bytes() == first
