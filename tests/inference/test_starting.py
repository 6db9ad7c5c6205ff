"""A training starts from a model by its name: with that model's network and pictures, and with its head only where the
classes are the same."""

from pathlib import Path

import pytest
import torch

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, ConfigError
from resnet_core.inference.catalog import SHIPPED
from resnet_core.inference.shelf import shelf_of
from resnet_core.inference.starting import start_name, started_from
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.presets import make_config
from resnet_core.training.runs import RunStore
from resnet_core.training.starting_weights import build_starting_model

NARROW = {"num_classes": 2, "width": 8, "stem": "small"}
WEIGHTS = build_model("resnet18", **NARROW).state_dict()
DESCRIBED = Checkpoint(
    architecture="resnet18",
    architecture_arguments=NARROW,
    class_names=("left", "right"),
    preprocessing=Preprocessing(resize=40, crop=32),
)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def begun(store: RunStore) -> str:
    """The id of a run with a best and a last epoch, which keeps its third."""
    run = store.create(TrainConfig())
    (run.folder / "kept").mkdir()
    (run.folder / "kept" / "epoch-0003.pt").touch()
    for which in ("best", "last", "kept/epoch-0003"):
        save_checkpoint(run.folder / f"{which}.safetensors", DESCRIBED, WEIGHTS)
    return run.run_id


def test_the_shipped_model_brings_its_network_and_the_size_of_its_pictures(store: RunStore) -> None:
    config = started_from(TrainConfig(init_from="flowers", epochs=3), store, allow_paths=False)
    shipped = read_checkpoint(SHIPPED)
    assert (config.model, config.width) == (shipped.architecture, shipped.architecture_arguments["width"])
    assert (config.image_size, config.epochs, config.freeze) == (shipped.preprocessing.crop, 3, "none")
    assert config.init_from == str(SHIPPED)


def test_what_was_asked_for_is_kept(store: RunStore) -> None:
    run_id = begun(store)
    config = started_from(TrainConfig(init_from=run_id, image_size=64), store, allow_paths=False)
    assert (config.model, config.width, config.stem, config.image_size) == ("resnet18", 8, "small", 64)
    same = started_from(TrainConfig(init_from=run_id, model="resnet18"), store, allow_paths=False)
    assert (same.width, same.stem, same.image_size) == (8, "small", 32), "the same network, said aloud"
    other = started_from(TrainConfig(init_from=run_id, model="resnet34"), store, allow_paths=False)
    assert (other.model, other.width, other.image_size) == ("resnet34", None, None)
    preset = started_from(make_config("tutorial-flowers", init_from=run_id), store, allow_paths=False)
    assert (preset.model, preset.width) == ("resnet34", None), "a preset names its network"
    assert started_from(TrainConfig(), store, allow_paths=False) == TrainConfig()


@pytest.mark.parametrize("which", ["", "/last", "/3"])
def test_the_file_of_a_run_or_of_the_shelf_is_told_by_its_name_again(store: RunStore, which: str) -> None:
    name = begun(store) + which
    file = started_from(TrainConfig(init_from=name), store, allow_paths=False).init_from or ""
    assert start_name(file, store) == name
    for title in ("mine", "Best"):
        taught = shelf_of(store).add(DESCRIBED, WEIGHTS, name=title).name
        file = started_from(TrainConfig(init_from=taught), store, allow_paths=False).init_from or ""
        assert start_name(file, store) == taught
    assert start_name(str(SHIPPED), store) == "flowers"
    assert start_name("/etc/best.safetensors", store) is None


def test_only_people_at_this_machine_name_files(store: RunStore, tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    save_checkpoint(file, DESCRIBED, WEIGHTS)
    config = TrainConfig(init_from=str(file))
    assert started_from(config, store, allow_paths=True).width == 8
    for name in (str(file), "/etc/passwd", "../own.safetensors"):
        with pytest.raises(CheckpointError, match="There is no model"):
            started_from(TrainConfig(init_from=name), store, allow_paths=False)
    with pytest.raises(ConfigError, match="give --pretrained"):
        started_from(TrainConfig(init_from="imagenet/resnet18"), store, allow_paths=False)


def test_a_head_is_kept_for_the_same_classes_only(tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    save_checkpoint(file, DESCRIBED, WEIGHTS)
    config = TrainConfig(model="resnet18", width=8, stem="small", init_from=str(file), zero_init_residual=False)
    same = build_starting_model(config, 2, class_names=("left", "right")).state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in WEIGHTS.items())
    for names in (("cat", "dog"), ("right", "left"), ("a", "b", "c")):
        other = build_starting_model(config, len(names), class_names=names).state_dict()
        assert torch.equal(other["layer4.0.conv1.weight"], WEIGHTS["layer4.0.conv1.weight"])
        assert other["fc.weight"].shape[0] == len(names)
        assert not torch.equal(other["fc.weight"][:2], WEIGHTS["fc.weight"]), "as many classes are not the same classes"
