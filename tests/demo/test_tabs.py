"""What the classification and feature-map tabs compute, without a page."""

import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from demo.classify.one_photo import answer_html, sureness_words
from demo.examples import RENDERED, example_pictures
from demo.maps.layer_table import COLUMNS, layer_table
from demo.maps.layer_view import channel_under, look
from demo.maps.layer_words import shape_words
from demo.sentences import failing_in_a_sentence, toast_text
from demo.services import Services
from resnet_core.activations.render import render_sheet, tile_box
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ModelError, ResNetLabError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig


@pytest.fixture(scope="module")
def model(services: Services) -> str:
    """A small untrained network of three classes, one of them with an odd name."""
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments={"num_classes": 3, "width": 16},
        class_names=("<b>left</b>", "right", "${up}"),
        preprocessing=Preprocessing(resize=64, crop=64),
        unknown_threshold=0.0,
    )
    weights = build_model("resnet18", num_classes=3, width=16).state_dict()
    save_checkpoint(run.folder / "best.safetensors", checkpoint, weights)
    return run.run_id


@pytest.fixture(scope="module")
def photo() -> ReadImage:
    return read_image_with_notes(RENDERED[0])


# Classify


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (1.0, "Quite sure · 100%"),
        (0.9997, "Quite sure · >99%"),
        (0.9, "Quite sure · 90%"),
        (0.7, "Probably · 70%"),
        (0.59, "Not sure · 59%"),
    ],
)
def test_how_sure_is_said_in_words_and_in_per_cent(probability: float, words: str):
    assert sureness_words(probability, "en") == words
    assert sureness_words(probability, "zh").endswith(words.rpartition(" ")[2])


def test_the_answer_shows_class_names_as_text_and_the_square_the_network_saw(
    services: Services, model: str, photo: ReadImage
):
    card, seen = answer_html(services, photo, model, 2, "en")
    assert seen.size == (64, 64)
    assert card.count("<li>") == 2
    assert "<b>" not in card
    assert "${" not in card
    assert re.search(r"answered in \d+ ms", card)


def test_notes_about_the_picture_reach_the_card(services: Services, model: str, tmp_path: Path):
    Image.new("RGB", (2, 2)).save(tmp_path / "dot.png")
    card, _ = answer_html(services, read_image_with_notes(tmp_path / "dot.png"), model, 5, "en")
    assert "very small" in card


def test_a_picture_below_the_threshold_is_not_known(services: Services, model: str, photo: ReadImage):
    classifier = services.classifier(model)
    object.__setattr__(classifier.checkpoint, "unknown_threshold", 1.01)
    try:
        card, _ = answer_html(services, photo, model, 5, "en")
        assert "I do not know this" in card
        assert "nearest: " in card
        assert "我不认识这个" in answer_html(services, photo, model, 5, "zh")[0]
    finally:
        object.__setattr__(classifier.checkpoint, "unknown_threshold", 0.0)


def test_examples_are_our_own_until_there_are_photos(tmp_path: Path):
    assert len(RENDERED) == 5
    assert example_pictures(tmp_path) == [str(path) for path in RENDERED]
    for flower in ("daisy", "roses", ".hidden"):
        folder = tmp_path / "flower_photos" / "val" / flower
        folder.mkdir(parents=True)
        (folder / "1.jpg").touch()
    assert [Path(path).parent.name for path in example_pictures(tmp_path)] == ["daisy", "roses"]
    assert example_pictures(tmp_path) == example_pictures(tmp_path)


# Feature maps


def ask(services: Services, photo: ReadImage, model: str, layer: str = "layer2", **changes: Any) -> Any:
    wanted = {"scale": "channel", "page": 1, "channel": 0, "language": "en"} | changes
    return look(services, photo, model, layer, **wanted)


def test_every_channel_of_a_layer_is_on_the_sheet_and_can_be_hit(services: Services, model: str, photo: ReadImage):
    view = ask(services, photo, model)
    assert "layer2 · 32 channels of 8×8" in view.facts
    assert view.pages == 1
    sheet = render_sheet(torch.zeros(32, 8, 8))
    assert view.sheet.size == sheet.image.size
    for channel in (0, 1, 17, 31):
        left, top, right, bottom = tile_box(sheet, channel)
        middle = (left + right) / 2, (top + bottom) / 2
        assert channel_under(services, photo, model, "layer2", 1, *middle) == channel
    assert channel_under(services, photo, model, "layer2", 1, -5, 3) is None


def test_the_enlarged_channel_is_the_one_asked_for(services: Services, model: str, photo: ReadImage):
    one, other = ask(services, photo, model, channel=3), ask(services, photo, model, channel=4)
    assert "Channel 3 of layer2" in one.channel_facts
    assert not np.array_equal(np.asarray(one.channel), np.asarray(other.channel))


@pytest.mark.parametrize(("asked", "shown"), [(-5, 0), (99, 31), (10**9, 31)])
def test_a_channel_that_does_not_exist_becomes_the_nearest(
    services: Services, model: str, photo: ReadImage, asked: int, shown: int
):
    assert f"Channel {shown} of" in ask(services, photo, model, channel=asked).channel_facts


def test_a_page_that_does_not_exist_becomes_the_nearest(services: Services, model: str, photo: ReadImage):
    assert ask(services, photo, model, page=99).facts == ask(services, photo, model).facts


def test_a_vector_is_told_as_numbers(services: Services, model: str, photo: ReadImage):
    view = ask(services, photo, model, layer="fc")
    assert "3 numbers" in view.facts
    assert "px" not in view.facts  # it has no places that could see some


def test_an_unknown_layer_is_refused(services: Services, model: str, photo: ReadImage):
    with pytest.raises(ModelError, match="layer9"):
        ask(services, photo, model, layer="layer9")


def test_looking_inside_leaves_the_model_as_it_was(services: Services, model: str, photo: ReadImage):
    network = services.classifier(model).model
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    ask(services, photo, model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(module.training for module in network.modules())


def test_the_table_lists_layers_in_the_order_they_run_with_their_sizes(services: Services, model: str):
    table = layer_table(services, model)
    assert list(table.columns) == COLUMNS
    names = table["layer"].tolist()
    assert names[0] == "conv1"
    assert names.index("layer1") < names.index("layer2") < names.index("layer4") < names.index("fc")
    assert len(names) == len(set(names))
    row = table[table["layer"] == "conv1"].iloc[0]
    assert (row["output"], row["parameters"], row["MACs"]) == ("16×32×32", "2,352", "2,408,448")


def test_shapes_are_said_in_words():
    assert shape_words(torch.zeros(128, 14, 7), "en") == "128 channels of 14×7"
    assert shape_words(torch.zeros(5), "zh") == "5 个数值"


# Failures


def test_a_known_failure_keeps_its_sentence():
    with pytest.raises(gr.Error) as raised:
        failing_in_a_sentence(lambda: (_ for _ in ()).throw(ResNetLabError("Say this.")))()
    assert raised.value.message == "Say this."


def test_what_looks_like_a_tag_stays_text_in_a_toast():
    with pytest.raises(gr.Error) as raised:
        failing_in_a_sentence(lambda: (_ for _ in ()).throw(ResNetLabError("<img src=x>.jpg is 3 < 4 <b>.")))()
    assert raised.value.message == "<\u2060img src=x>.jpg is 3 < 4 <\u2060b>."
    assert toast_text("1 < 2") == "1 < 2"


def test_an_unknown_failure_is_logged_and_its_words_stay_on_the_server(caplog: pytest.LogCaptureFixture):
    def broken() -> None:
        raise OSError("/srv/secret")

    with pytest.raises(gr.Error) as raised:
        failing_in_a_sentence(broken)()
    assert raised.value.message == "Something unexpected went wrong (OSError); the log of the app says more."
    assert "/srv/secret" in caplog.text
