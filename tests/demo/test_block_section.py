"""What the Block part computes and how its counting goes on, without a page."""

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch

from demo.examples import RENDERED
from demo.maps.block_section import _chosen, _switched, channel_under
from demo.maps.counting import counting_html
from demo.maps.inside_block import BlockView, look_inside, read_off, what_words
from demo.maps.switch_api import switched_json
from demo.maps.switchboard.switchboard import board_value
from demo.maps.twin_chart import line_chart
from demo.maps.twin_section import twin_choices, twin_command, twin_html
from demo.services import Services
from resnet_core.cli import build_parser
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ModelError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

NAMES = ("<b>left</b>", "right", "${up}", "down", "under")


def trained(services: Services, architecture: str = "resnet18", name: str = "", **changes: Any) -> str:
    """A run as if it had been trained: settings, two epochs, a checkpoint."""
    torch.manual_seed(0)
    arguments = {"num_classes": len(NAMES), "residual": changes.get("residual", True)}
    arguments |= {"width": 16} if architecture == "resnet18" else {}
    config = TrainConfig(model=architecture, epochs=2, name=name, **changes)
    run = services.store.create(config)
    events = [
        {"event": "EpochEnded", "time": 1.0, "epoch": epoch, "step": epoch, "val_top1": 0.2 * epoch, "best": True}
        for epoch in (1, 2)
    ]
    events.append({"event": "RunEnded", "time": 2.0, "status": "finished", "reason": ""})
    (run.folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    checkpoint = Checkpoint(
        architecture=architecture,
        architecture_arguments=arguments,
        class_names=NAMES,
        preprocessing=Preprocessing(resize=32, crop=32),
        training={"config": config.to_json()},
    )
    weights = build_model(architecture, **arguments).state_dict()
    save_checkpoint(run.folder / "best.safetensors", checkpoint, weights)
    return run.run_id


@pytest.fixture(scope="module")
def model(services: Services) -> str:
    return trained(services, name="with skips")


@pytest.fixture(scope="module")
def plain(services: Services) -> str:
    return trained(services, name="without <skips>", residual=False)


@pytest.fixture(scope="module")
def photo() -> ReadImage:
    return read_image_with_notes(RENDERED[0])


def look(services: Services, photo: ReadImage, model: str, **changes: Any) -> BlockView:
    wanted = {"block": "layer2.0", "channel": 3, "off": {}, "shared": True, "language": "en"} | changes
    return look_inside(services, services.private_copies, photo, model, **wanted)


def test_the_four_parts_and_every_share_are_shown(services: Services, photo: ReadImage, model: str) -> None:
    view = look(services, photo, model)
    assert list(view.sheets) == ["identity", "branch", "total", "output"]
    assert view.figures.count("<figure") == 4
    assert "channel 3 of 32" in view.figures
    blocks = view.board["blocks"]
    assert [each["name"] for each in blocks] == [f"layer{stage}.{index}" for stage in range(1, 5) for index in (0, 1)]
    assert all(each["ratio"] > 0 for each in blocks)
    ratio = next(each["ratio"] for each in blocks if each["name"] == "layer2.0")
    assert f"= {ratio:.2f}" in view.figures
    assert view.board["chosen"] == "layer2.0"
    assert "Switch something off" in view.answer
    assert "block-mark" in view.answer


def test_class_names_reach_the_page_as_text(services: Services, photo: ReadImage, model: str) -> None:
    view = look(services, photo, model, off={"layer1.0": "branch"})
    for html in (view.answer, view.figures):
        assert "<b>" not in html
        assert "${" not in html
    assert "&lt;b&gt;left" in view.answer


def test_what_is_off_changes_the_answer_as_the_api_says(services: Services, photo: ReadImage, model: str) -> None:
    off = {"layer2.0": "skip", "layer3.1": "branch"}
    view = look(services, photo, model, off=off)
    told = switched_json(services, photo, ["layer3.1"], ["layer2.0"], model)
    shares = [float(text) for text in re.findall(r"bar-number\">([\d.]+)%", view.answer)]
    assert shares == [round(100 * each["probability"], 1) for each in told["after"]]
    assert told["before"] != told["after"]
    expected = services.classify(model, photo.image).predictions
    assert [each["label"] for each in told["before"]] == [each.label for each in expected]
    assert told["off"] == off
    assert told["blocks"][0] == "layer1.0"
    assert "F(x) of layer3.1 and the skip of layer2.0" in view.answer
    assert 'class="block-part left-out" data-part="identity"' in view.figures
    assert view.board["off"] == off


def test_nothing_of_the_shared_model_changes(services: Services, photo: ReadImage, model: str) -> None:
    network = services.classifier(model).model
    before = {key: value.clone() for key, value in network.state_dict().items()}
    answered = services.classify(model, photo.image).predictions
    look(services, photo, model, off={"layer1.0": "skip"})
    with pytest.raises(ModelError, match="is no block"):
        switched_json(services, photo, ["fc"], [], model)
    assert services.classify(model, photo.image).predictions == answered
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(getattr(module, "off", None) is None for module in network.modules())


def test_a_block_or_channel_that_is_not_there_becomes_one_that_is(
    services: Services, photo: ReadImage, model: str
) -> None:
    view = look(services, photo, model, block="layer9.9", channel=10**6, off={"layer9.9": "skip"})
    assert view.board["chosen"] == "layer1.0"
    assert view.board["off"] == {}
    assert "channel 15 of 16" in view.figures


def test_a_plain_network_has_nothing_to_switch(services: Services, photo: ReadImage, plain: str) -> None:
    view = look(services, photo, plain, off={"layer2.0": "skip"})
    assert list(view.sheets) == ["branch", "total", "output"]
    assert {each["ratio"] for each in view.board["blocks"]} == {None}
    assert view.board["off"] == {}
    assert "is a plain block" in view.figures


def test_a_click_on_a_sheet_finds_its_channel(services: Services, model: str) -> None:
    assert channel_under(services, model, "layer2.0", 0, 40, 40) == 9  # second row and column of 4×4 maps at 36 px
    assert channel_under(services, model, "no block", 0, 40, 40) == 9
    assert channel_under(services, model, "layer2.0", 10**6, 40, 40) == 9
    assert channel_under(services, model, "layer2.0", 0, 0, 0) is None
    assert channel_under(services, model, "layer4.1", 100, 40, 40) == 64 + 9


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{"layer1.0": "skip"}', {"layer1.0": "skip"}), ("", {}), (None, {}), ("[1]", {}), ("{", {}),
        ('{"layer1.0": "both", "a": "branch"}', {"a": "branch"}), ('{"a": ["skip"]}', {}),
    ],
)  # fmt: skip
def test_what_the_page_says_is_off_is_read_with_care(text: str | None, read: dict[str, str]) -> None:
    assert read_off(text) == read


def test_events_of_the_switches_are_read_with_care() -> None:
    assert _switched(gr.EventData(None, {"off": '{"a": "skip", "b": 4}'})) == '{"a": "skip"}'
    assert _switched(gr.EventData(None, {"off": {"a": "skip"}})) == gr.skip()
    assert _switched(gr.EventData(None, {"off": "x" * 10**6})) == gr.skip()
    assert _chosen(gr.EventData(None, {"block": "layer1.0"})) == ("layer1.0", "layer1.0")
    assert _chosen(gr.EventData(None, {"block": 5})) == (gr.skip(), gr.skip())


def test_what_is_off_is_said_in_words() -> None:
    many = {f"layer1.{index}": "branch" for index in range(6)}
    assert what_words(many, "en") == "F(x) of layer1.0, layer1.1, layer1.2 and 3 more"
    assert what_words({"a": "skip", "b": "branch"}, "zh") == "b 的 F(x)和a 的残差连接"
    assert what_words({}, "en") == ""


def test_the_board_is_plain_json_even_where_nothing_comes_in() -> None:
    told = board_value("m", ["a", "b"], {"a": float("inf")}, "a", {})
    assert json.loads(json.dumps(told, allow_nan=False))["blocks"] == [
        {"name": "a", "ratio": 1e6},
        {"name": "b", "ratio": None},
    ]


# Counting


def test_counting_tells_how_far_it_is_and_ends_with_the_result(services: Services, meadow: Path) -> None:
    torch.manual_seed(0)
    run = services.store.create(TrainConfig(dataset=str(meadow)))
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 2},
        class_names=("red", "yellow"),
        preprocessing=Preprocessing(resize=32, crop=32),
        training={"config": run.config().to_json()},
    )
    weights = build_model("resnet20", num_classes=2).state_dict()
    save_checkpoint(run.folder / "best.safetensors", checkpoint, weights)
    told = list(counting_html(services, run.run_id, {"layer1.0": "branch"}, "en"))
    assert 'data-state="done"' in told[-1]
    assert re.search(r"On \d+ val pictures of meadow: [\d.]+% right with the whole network", told[-1])
    nothing = list(counting_html(services, run.run_id, {}, "en"))
    assert len(nothing) == 1
    assert "Switch something off first" in nothing[0]


def test_pictures_that_are_not_here_are_a_sentence(services: Services, model: str) -> None:
    told = list(counting_html(services, model, {"layer1.0": "branch"}, "en"))
    assert len(told) == 1
    assert re.search(r"other classes|not on this machine", told[0])
    gone = list(counting_html(services, "no-such-run", {"layer1.0": "branch"}, "en"))
    assert "There is no model" in gone[0]


# The plain twin


def test_plain_runs_come_first_and_the_model_itself_not_at_all(services: Services, model: str, plain: str) -> None:
    names = [run_id for _, run_id in twin_choices(services, model)]
    assert names[0] == plain
    assert model not in names


def test_the_command_is_one_that_the_command_line_understands(services: Services, model: str) -> None:
    import shlex

    words = shlex.split(twin_command(services, model))
    assert words[:3] == ["python", "-m", "resnet_core"]
    options = build_parser().parse_args(words[3:])
    assert options.plain
    assert (options.dataset, options.model, options.epochs) == ("rendered-flowers", "resnet18", 2)


def test_both_are_drawn_side_by_side_and_differences_are_owned_up_to(
    services: Services, photo: ReadImage, model: str, plain: str
) -> None:
    html = twin_html(services, photo, model, plain, "en")
    assert "same settings but for the skips" in html
    assert html.count("<svg") == 3
    assert html.count("<polyline") == 6
    assert "without &lt;skips&gt;" in html
    assert "<skips>" not in html
    other = trained(services, name="odd", residual=False, learning_rate=0.5)
    assert "not trained alike (learning_rate)" in twin_html(services, None, model, other, "en")
    assert twin_html(services, None, model, other, "en").count("<svg") == 1
    assert "two residual networks" in twin_html(services, None, plain, model, "en")


def test_without_a_run_it_says_what_to_do(services: Services, model: str, tmp_path: Path) -> None:
    assert "Choose the run" in twin_html(services, None, model, None, "en")
    empty = Services(data_dir=tmp_path, runs_dir=tmp_path / "runs")
    assert "no run of a plain network yet" in twin_html(empty, None, "flowers", None, "en")


def test_a_chart_without_points_or_with_strange_ones_is_drawn_all_the_same() -> None:
    assert "<svg" not in line_chart("t", {})
    assert "<svg" not in line_chart("t", {"a": []})
    assert "nan" not in line_chart("t", {"a": [(1.0, float("nan")), (2.0, 3.0)]})
    assert line_chart("t", {"a": [(1.0, 0.0), (2.0, 5.0)]}, logarithmic=True).count("<circle") == 1
