"""The shelf: models under people's names, each in a file of its own, none taken for a run."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, RunError
from resnet_core.inference import shelf as module
from resnet_core.inference.catalog import checkpoint_path, list_checkpoints, load_classifier
from resnet_core.inference.shelf import ModelShelf, shelf_of
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import RunStore

WEIGHTS = build_model("resnet20", num_classes=2).state_dict()
DESCRIBED = Checkpoint(
    architecture="resnet20",
    architecture_arguments={"num_classes": 2},
    class_names=("left", "right"),
    preprocessing=Preprocessing(resize=32, crop=32),
)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def shelf(store: RunStore) -> ModelShelf:
    return shelf_of(store)


def test_a_model_keeps_its_name_its_weights_and_its_description(shelf: ModelShelf):
    entry = shelf.add(DESCRIBED, WEIGHTS, name="Gänseblümchen & Co. 🌼")
    assert (entry.title, entry.detail) == ("Gänseblümchen & Co. 🌼", "ResNet-20 (CIFAR), 2 classes")
    assert shelf.list() == (entry,)
    described, model = load_checkpoint(shelf.path(entry.name))
    assert described.class_names == ("left", "right")
    assert all(torch.equal(tensor, WEIGHTS[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("CON", "model-con"),
        ("我的模型", "model"),
        ("a" * 300, "a" * 40),
        ("x.safetensors", "x-safetensors"),
        (".hidden", "hidden"),
        ("C:\\boot\0.ini", "c-boot-ini"),
    ],
)
def test_file_names_are_safe_whatever_the_model_is_called(shelf: ModelShelf, name: str, stem: str):
    entry = shelf.add(DESCRIBED, WEIGHTS, name=name)
    assert entry.name == f"models/{stem}"
    assert sorted(os.listdir(shelf.folder)) == [f"{stem}.label.json", f"{stem}.safetensors"]
    assert len(entry.title) <= 80


@pytest.mark.parametrize("name", ["", "   ", "\0\n", "..."])
def test_a_model_without_a_name_is_refused(shelf: ModelShelf, name: str):
    with pytest.raises(CheckpointError, match="needs a name"):
        shelf.add(DESCRIBED, WEIGHTS, name=name)
    assert shelf.list() == ()


def test_models_of_one_name_get_files_of_their_own_even_at_once(shelf: ModelShelf):
    threads = [threading.Thread(target=shelf.add, args=(DESCRIBED, WEIGHTS), kwargs={"name": "Mine"}) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {entry.name for entry in shelf.list()} == {"models/mine", *(f"models/mine-{n}" for n in range(2, 7))}
    assert {entry.title for entry in shelf.list()} == {"Mine"}


def test_what_cannot_be_written_leaves_nothing(shelf: ModelShelf, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("resnet_core.training.checkpoint.save_checkpoint", full)
    with pytest.raises(CheckpointError, match="No space left on device") as raised:
        shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    assert str(shelf.folder) not in str(raised.value)
    assert os.listdir(shelf.folder) == []


def test_a_replaced_model_keeps_its_name_and_nothing_else(shelf: ModelShelf):
    entry = shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    shelf.pictures(entry.name).touch()
    other = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
    replaced = shelf.replace(entry.name, replace(DESCRIBED, class_names=("up", "down")), other, title="mine!")
    assert (replaced.name, replaced.title) == (entry.name, "mine!")
    assert shelf.list() == (replaced,)
    described, model = load_checkpoint(shelf.path(entry.name))
    assert described.class_names == ("up", "down")
    assert torch.equal(model.state_dict()["fc.bias"], WEIGHTS["fc.bias"] + 1)
    assert sorted(os.listdir(shelf.folder)) == ["mine.label.json", "mine.safetensors"]
    with pytest.raises(CheckpointError, match="There is no model"):
        shelf.replace("models/nothing", DESCRIBED, WEIGHTS, title="Mine")


def test_what_cannot_be_replaced_stays_with_its_label_and_its_pictures(shelf: ModelShelf, monkeypatch: Any):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    entry = shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    shelf.pictures(entry.name).touch()
    for failing in ("resnet_core.training.checkpoint.save_checkpoint", "resnet_core.inference.shelf.write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(failing, full)
            with pytest.raises(CheckpointError, match="No space left on device"):
                shelf.replace(entry.name, replace(DESCRIBED, class_names=("up", "down")), WEIGHTS, title="Other")
    assert shelf.list() == (entry,)
    assert load_checkpoint(shelf.path(entry.name))[0].class_names == ("left", "right")
    assert sorted(os.listdir(shelf.folder)) == ["mine.label.json", "mine.pictures.npz", "mine.safetensors"]


def test_a_full_shelf_says_so(shelf: ModelShelf, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_MODELS", 1)
    shelf.add(DESCRIBED, WEIGHTS, name="one")
    with pytest.raises(CheckpointError, match="remove some first"):
        shelf.add(DESCRIBED, WEIGHTS, name="two")


def test_renaming_changes_what_is_shown_not_how_it_is_asked_for(shelf: ModelShelf):
    entry = shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    renamed = shelf.rename(entry.name, "<b>Ours</b>")
    assert (renamed.name, renamed.title, renamed.detail) == (entry.name, "<b>Ours</b>", entry.detail)
    assert shelf.list() == (renamed,)


def test_a_removed_model_is_gone(shelf: ModelShelf):
    entry = shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    shelf.remove(entry.name)
    assert os.listdir(shelf.folder) == []
    with pytest.raises(CheckpointError, match="There is no model “mine”"):
        shelf.remove(entry.name)


@pytest.mark.parametrize("name", ["", "..", "../secret", "/etc/passwd", ".incoming", "a\\b", "x" * 5000, "a\0b"])
def test_names_lead_nowhere_else(shelf: ModelShelf, name: str):
    shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    (shelf.folder.parent / "secret.safetensors").touch()
    with pytest.raises(CheckpointError, match="There is no model"):
        shelf.path(f"models/{name}")


def test_a_checkpoint_copied_by_hand_is_listed_by_its_file_name(shelf: ModelShelf):
    entry = shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    shelf.path(entry.name).rename(shelf.folder / "From a friend.safetensors")
    assert [(each.name, each.title) for each in shelf.list()] == [("models/From a friend", "From a friend")]
    assert (
        load_checkpoint(shelf.path("models/From a friend"))[0]
        == load_checkpoint(shelf.folder / "From a friend.safetensors")[0]
    )


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, json.dumps({"name": 3})])
def test_a_damaged_label_hides_no_model(shelf: ModelShelf, content: str):
    entry = shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    shelf.path(entry.name).with_suffix(".label.json").write_text(content, encoding="utf-8")
    assert [each.name for each in shelf.list()] == [entry.name]


# The catalog


def test_the_shelf_stands_between_the_shipped_model_and_the_runs(store: RunStore, shelf: ModelShelf):
    run = store.create(TrainConfig())
    shelf.add(DESCRIBED, WEIGHTS, name="Mine")
    (run.folder / "best.safetensors").write_bytes(shelf.path("models/mine").read_bytes())
    names = [entry.name for entry in list_checkpoints(store, with_imagenet=False)]
    assert names[-2:] == ["models/mine", run.run_id]
    assert checkpoint_path("models/mine", store) == shelf.path("models/mine")
    assert load_classifier("models/mine", store).class_names == ("left", "right")


def test_the_shelf_is_no_run(store: RunStore, shelf: ModelShelf):
    shelf.add(DESCRIBED, WEIGHTS, name="config")  # the name of a run's own file
    assert store.list() == []
    with pytest.raises(RunError, match="no run"):
        store.remove("models")
    assert shelf.path("models/config").is_file()


def test_a_model_that_is_not_there_is_named(store: RunStore):
    with pytest.raises(CheckpointError, match="There is no model “nothing”"):
        checkpoint_path("models/nothing", store)
