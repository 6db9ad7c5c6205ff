"""One command makes the shipped weights: five parts, each from the best of the one before, none trained twice."""

from pathlib import Path

import pytest
from PIL import Image

import tools.train_flowers
from resnet_core.data.datasets import DatasetSpec, load_dataset
from resnet_core.training.checkpoint import load_checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import Run, RunStore
from tools.train_flowers import ASKED_AT, LARGER, LARGEST, LAST, train_flowers
from tools.train_once import train_once

MARK = 0.25
LEFT: dict[str, tuple[float, float]] = {}  # run -> the mean its stem ended with, the number it was filled with
SIZES = {"image_size": 32, "start_image_size": 32, "resize": 32}
SMALL = {**SIZES, "epochs": 1, "learning_rate": 1e-6, "warmup": 0.0, "rendered_share": 0.0}


def marking(config: TrainConfig, dataset: DatasetSpec, store: RunStore) -> Run:
    """Trains as ever; then the stem is filled with one number, which no training would leave: higher with each part."""
    run = train_once(config, dataset, store)
    checkpoint, model = load_checkpoint(run.folder / "best.safetensors")
    state = model.state_dict()
    if not LEFT.get(run.run_id):
        LEFT[run.run_id] = (round(float(state["conv1.weight"].mean()), 3), MARK * (len(LEFT) + 1))
        state["conv1.weight"].fill_(LEFT[run.run_id][1])
        save_checkpoint(run.folder / "best.safetensors", checkpoint, state)
    return run


@pytest.mark.parametrize("asked", [[], ["--ship"]], ids=["train", "train and ship"])
def test_one_command_trains_and_ships_the_last_part_s_best_epoch(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunStore(tmp_path).create(TrainConfig())
    (run.folder / "best.safetensors").touch()
    shipped: list[tuple[Path, Path, dict[str, int]]] = []
    monkeypatch.setattr(tools.train_flowers, "load_dataset", lambda name, *, data_dir: None)
    monkeypatch.setattr(tools.train_flowers, "train_flowers", lambda dataset, store: run)
    monkeypatch.setattr(tools.train_flowers, "ship", lambda source, data, **size: shipped.append((source, data, size)))
    monkeypatch.setattr("sys.argv", ["train_flowers", "--data-dir", str(tmp_path), *asked])
    tools.train_flowers.main()
    assert shipped == ([(run.folder / "best.safetensors", tmp_path, ASKED_AT)] if asked else [])
    assert capsys.readouterr().out.split() == [run.run_id]


def test_each_part_begins_with_the_best_of_the_one_before_and_nothing_is_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(40):
        folder = tmp_path / "pictures" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 10 + index).convert("RGB").save(folder / f"{index}.png")
    dataset = load_dataset(str(tmp_path / "pictures"), data_dir=tmp_path)
    store = RunStore(tmp_path / "runs")
    monkeypatch.setattr(tools.train_flowers, "train_once", marking)
    LEFT.clear()
    finished = train_flowers(dataset, store, **SMALL)
    assert finished.status() == "finished"
    parts = sorted(store.list(), key=lambda run: run.summary().name)
    assert [run.summary().name for run in parts] == [
        f"flowers, {n} part" for n in ("fifth", "first", "fourth", "second", "third")
    ]
    fifth, _, fourth, second, third = parts
    assert fifth.run_id == finished.run_id
    assert {run.config().image_size for run in parts} == {32}, "what was asked for holds in every part"
    assert third.config().seed == LARGER["seed"], "and the rest is each part's own"
    assert [fourth.config().seed, fifth.config().seed] == [LARGEST["seed"], LAST["seed"]]
    began = {run_id: mean for run_id, (mean, _) in LEFT.items()}
    for number, part in enumerate((second, third, fourth, fifth), start=1):
        assert began[part.run_id] == pytest.approx(number * MARK, abs=1e-3)
    assert train_flowers(dataset, store, **SMALL).run_id == finished.run_id
    assert len(store.list()) == 5
    assert train_flowers(dataset, store, **SMALL | {"seed": 5}).run_id != finished.run_id, "other settings: another run"
