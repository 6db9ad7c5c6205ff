"""What the map of the network asks and is told; how it is drawn is tried in a browser."""

import json
from typing import Any

import gradio as gr
import pytest
import torch

from demo.maps.network_map.map_drawing import OUTLINES_KEPT, _outline, make_draw, network_names
from demo.maps.network_map.network_map import NetworkMap, map_script
from demo.maps.network_map_section import picked
from demo.services import Services
from demo.words.blocks import MAP_WORDS
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.models.describe import describe
from resnet_core.models.zoo import build_model, list_models
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig


@pytest.fixture(scope="module")
def model(services: Services) -> str:
    """A run with a checkpoint of a small network for pictures of 48 px."""
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    arguments = {"num_classes": 3, "width": 8}
    checkpoint = Checkpoint(
        architecture="resnet34",
        architecture_arguments=arguments,
        class_names=("a", "b", "c"),
        preprocessing=Preprocessing(resize=56, crop=48),
    )
    save_checkpoint(run.folder / "best.safetensors", checkpoint, build_model("resnet34", **arguments).state_dict())
    return run.run_id


def ask(services: Services, **question: Any) -> dict[str, Any]:
    return make_draw(services)({"model": "", "network": "", "size": 0, "pooled": True} | question)


def test_the_opened_model_is_drawn_at_its_own_size(services: Services, model: str) -> None:
    told = ask(services, model=model)
    table = describe(services.classifier(model).model, 48)
    assert (told["parameters"], told["macs"]) == (table.parameters, table.macs)
    assert told["image_size"] == (48, 48)
    assert (told["title"], told["opened"], told["usual"]) == ("ResNet-34", True, 48)
    assert [sum(block["repeat"] for block in stage["blocks"]) for stage in told["stages"]] == [3, 4, 6, 3]
    json.dumps(told, allow_nan=False)


def test_another_size_another_shape(services: Services, model: str) -> None:
    sizes = {size: ask(services, model=model, size=size)["stages"][-1]["output_shape"] for size in (0, 48, 224)}
    assert sizes[0] == sizes[48] == (64, 2, 2)
    assert sizes[224] == (64, 7, 7)


@pytest.mark.parametrize("name", [name for group in network_names().values() for name in group if "1202" not in name])
def test_every_network_of_the_list_can_be_drawn_and_is_short(services: Services, name: str) -> None:
    told = ask(services, network=name)
    assert "error" not in told
    assert not told["opened"]
    assert len(json.dumps(told)) < 30_000
    skips = {block["skip"] for stage in told["stages"] for block in stage["blocks"]}
    assert (skips == {"none"}) == name.endswith("/plain")


def test_the_list_names_all_networks_and_their_plain_twins() -> None:
    assert set(list_models()) < set(network_names()["networks"])
    assert len(network_names()["plain"]) == len(list_models())


def test_the_published_fault_and_the_lesson_without_pooling_are_told(services: Services) -> None:
    name = "tutorial-cifar/as-published"
    warnings = [block["warning"] for stage in ask(services, network=name)["stages"] for block in stage["blocks"]]
    assert [bool(warning) for warning in warnings] == [False, False, False, True]
    fault = ask(services, network=name, pooled=False)["fault"]
    assert "expects 512 values but receives 2048 (512×2×2)" in fault
    assert "use at least 3×3" in ask(services, network="tutorial-cifar", size=2)["fault"]


@pytest.mark.parametrize(
    "question",
    [
        None, [], 7, "resnet18", {}, {"network": 5}, {"model": {"a": 1}}, {"network": "resnet18/upside-down"},
        {"network": "nothing"}, {"model": "../../etc/passwd"}, {"network": "resnet18", "size": -3},
        {"network": "resnet18", "size": 1e9}, {"network": "resnet18", "size": "large"}, {"model": "x" * 1000},
        {"network": "resnet18", "size": [1]}, {"network": "resnet18", "size": True},
    ],
    ids=repr,
)  # fmt: skip
def test_nonsense_is_answered_with_a_sentence(services: Services, question: object) -> None:
    told = make_draw(services)(question)
    assert set(told) == {"error"}
    assert told["error"].endswith(".") or told["error"].endswith("”.")
    assert "/etc" not in told["error"].replace("../../etc/passwd", "")


def test_outlines_are_kept_and_not_too_many(services: Services) -> None:
    ask(services, network="resnet20")
    hits = _outline.cache_info().hits
    ask(services, network="resnet20")
    assert _outline.cache_info().hits == hits + 1
    assert _outline.cache_info().maxsize == OUTLINES_KEPT


def test_a_click_names_layer_and_block_and_nonsense_changes_nothing() -> None:
    assert picked("layer2.0.conv1", "layer2.0") == ("layer2.0.conv1", "layer2.0")
    layer, block = picked("conv1", "")
    assert layer == "conv1"
    assert block == gr.skip()
    assert picked(None, {"a": 1}) == (gr.skip(), gr.skip())
    assert picked("x" * 200, "layer1.0")[0] == gr.skip()


def test_every_word_of_the_script_is_there_in_both_languages() -> None:
    import re

    script = map_script()
    asked = set(re.findall(r'say\("([^"]+)"', script)) | set(re.findall(r'data-word="([^"]+)"', NetworkMap(
        make_draw(None)  # type: ignore[arg-type]
    ).html_template or ""))  # fmt: skip
    asked |= {f"skip.{skip}" for skip in ("none", "identity", "1×1", "padded")} | {"stem", "head", "networks"}
    assert asked <= set(MAP_WORDS)
    assert all(english and chinese for english, chinese in MAP_WORDS.values())
