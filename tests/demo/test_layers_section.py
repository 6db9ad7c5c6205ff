"""What the Layers part of the Feature maps tab shows and hands over."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from demo.examples import RENDERED
from demo.maps.dead_section import dead_sentence
from demo.maps.kernels_section import kernel_view
from demo.maps.layer_table import layer_names, layer_table
from demo.maps.layer_view import LayerView, channel_under, look
from demo.maps.take_away_section import file_name, keep, maps_file
from demo.services import Services
from resnet_core.activations.orders import channel_relevance, order_channels
from resnet_core.activations.render import render_sheet, tile_box
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ConfigError, DatasetError, ModelError, RunError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

NAMES = ("<b>left</b>", "right", "${up}")


def made(services: Services, architecture: str = "resnet18", *, seed: int = 0, **arguments: Any) -> str:
    """A run with an untrained network of three classes; its id."""
    if architecture == "resnet18":
        arguments.setdefault("width", 16)
    run = services.store.create(TrainConfig())
    write(run.folder / "best.safetensors", architecture, seed, **arguments)
    return str(run.run_id)


def write(target: Path, architecture: str, seed: int, **arguments: Any) -> None:
    torch.manual_seed(seed)
    checkpoint = Checkpoint(
        architecture=architecture,
        architecture_arguments={"num_classes": 3, **arguments},
        class_names=NAMES,
        preprocessing=Preprocessing(resize=64, crop=64),
    )
    save_checkpoint(target, checkpoint, build_model(architecture, num_classes=3, **arguments).state_dict())


@pytest.fixture(scope="module")
def model(services: Services) -> str:
    return made(services)


@pytest.fixture(scope="module")
def photo() -> ReadImage:
    return read_image_with_notes(RENDERED[0])


def activation_of(services: Services, model: str, photo: ReadImage, layer: str) -> torch.Tensor:
    return services.activations.get(services.classifier(model), photo.image, [layer])[layer]


def ask(services: Services, photo: ReadImage, model: str, layer: str = "layer2", **changes: Any) -> LayerView:
    return look(services, photo, model, layer, **changes)


# Orders, sides, colours


def test_the_strongest_channel_stands_first_and_a_click_there_finds_it(
    services: Services, model: str, photo: ReadImage
):
    view = ask(services, photo, model, order="strength")
    activation = activation_of(services, model, photo, "layer2")
    assert view.shown == list(order_channels(activation, "strength"))
    sheet = render_sheet(activation)
    for place in (0, 7, 31):
        left, top, right, bottom = tile_box(sheet, place)
        middle = (left + right) / 2, (top + bottom) / 2
        found = channel_under(services, photo, model, "layer2", 1, *middle, view.shown)
        assert found == view.shown[place]


def test_what_speaks_for_a_class_stands_first_and_is_said(services: Services, model: str, photo: ReadImage):
    classifier = services.classifier(model)
    inputs = classifier.checkpoint.preprocessing(photo.image)[None]
    relevance = channel_relevance(classifier.model, inputs, "layer3", 1)
    view = ask(services, photo, model, "layer3", order="relevance", label="right")
    assert view.shown[0] == int(relevance.argmax())
    assert view.shown[-1] == int(relevance.argmin())
    assert "“right”" in view.facts
    assert f"channel {view.shown[0]} the most" in view.facts
    odd = ask(services, photo, model, "layer3", order="relevance", label="<b>left</b>").facts
    assert "<b>" not in odd
    with pytest.raises(ConfigError, match="no class “cat”"):
        ask(services, photo, model, order="relevance", label="cat")


def test_before_and_after_relu_are_labelled_and_are_what_they_say(services: Services, model: str, photo: ReadImage):
    before = ask(services, photo, model, "layer1", relu="before")
    assert "layer1, before ReLU · 16 channels of 16×16" in before.facts
    assert before.statistics.minimum < 0
    after = ask(services, photo, model, "bn1", relu="after")
    assert "bn1, after ReLU" in after.facts
    assert "computed here" in after.facts
    assert after.statistics.minimum == 0
    nothing = ask(services, photo, model, "conv1", relu="before")
    assert "conv1 · 16 channels" in nothing.facts
    assert "No ReLU stands right behind conv1" in nothing.facts
    with pytest.raises(ConfigError, match="no side “sideways”"):
        ask(services, photo, model, relu="sideways")


def test_signed_maps_are_drawn_around_zero_unless_asked_otherwise(services: Services, model: str, photo: ReadImage):
    automatic = ask(services, photo, model, "conv1")
    assert automatic.sheet.tobytes() == ask(services, photo, model, "conv1", colors="blue-orange").sheet.tobytes()
    assert automatic.sheet.getpalette() != ask(services, photo, model, "conv1", colors="cividis").sheet.getpalette()
    assert ask(services, photo, model, "relu").sheet.getpalette() == (
        ask(services, photo, model, "relu", colors="viridis").sheet.getpalette()
    )


def test_dead_channels_are_counted_and_named(services: Services, photo: ReadImage):
    name = made(services)
    network = services.classifier(name).model
    network.bn1.bias.data.fill_(0.5)
    network.bn1.bias.data[[3, 11]] = -1000.0
    view = ask(services, photo, name, "relu", channel=11)
    assert view.dead == [3, 11]
    assert "2 of 16 channels (crossed out): 3, 11" in view.facts
    assert "never above zero" in view.channel_facts
    assert "No channel is dead" in ask(services, photo, made(services, seed=3), "layer1.0.relu1").facts
    assert ask(services, photo, name, "conv1").dead is None


def test_the_sheet_says_in_words_what_it_shows(services: Services, model: str, photo: ReadImage):
    view = ask(services, photo, model, order="strength")
    assert view.alt.startswith("What layer2 makes of the photo: 32 maps in ")
    assert view.alt.endswith(f"from channel {view.shown[0]} to {view.shown[-1]}.")
    assert 'aria-label="Histogram of 2,048 numbers' in view.facts
    assert view.channel_alt == "Channel 0 of layer2, enlarged."


def test_how_much_a_place_sees_is_said_and_when_the_photo_is_smaller(services: Services, model: str, photo: ReadImage):
    assert "A place sees 7×7 px of the photo&#x27;s 64×64." in ask(services, photo, model, "conv1").facts
    assert "The photo (64×64 px for the network) is smaller than" in ask(services, photo, model, "layer4").facts
    assert "px" not in ask(services, photo, model, "fc").facts


# One forward


def test_turning_pages_orders_and_channels_asks_the_network_once(services: Services, photo: ReadImage):
    name = made(services)
    network = services.classifier(name).model
    passes: list[int] = []
    handle = network.register_forward_pre_hook(lambda *_: passes.append(1))
    try:
        for changes in ({}, {"channel": 3}, {"order": "strength"}, {"scale": "shared"}, {"colors": "grey"}):
            ask(services, photo, name, "layer3", **changes)
        ask(services, photo, name, "layer1.0.conv1", relu="given")
        ask(services, photo, name, "layer1.0", relu="before")
        assert len(passes) == 1
    finally:
        handle.remove()


def test_a_model_whose_file_changes_is_asked_anew_and_the_old_maps_go(services: Services, photo: ReadImage):
    name = made(services)
    first = activation_of(services, name, photo, "layer1").clone()
    kept = services.activations.size
    target = services.store.get(name).folder / "best.safetensors"
    write(target, "resnet18", 5, width=16)
    os.utime(target, (10**9, 10**9))
    assert not torch.allclose(activation_of(services, name, photo, "layer1"), first)
    assert services.activations.size <= kept


def test_a_run_deleted_while_it_is_shown_is_a_sentence(services: Services, photo: ReadImage):
    name = made(services)
    ask(services, photo, name)
    shutil.rmtree(services.store.get(name).folder)
    with pytest.raises((RunError, ModelError, Exception)) as raised:
        ask(services, photo, name)
    assert type(raised.value).__module__ == "resnet_core.errors"
    assert str(services.store.runs_dir) not in str(raised.value)


# Large and small


def test_2048_channels_are_paged_and_a_click_on_the_last_page_finds_its_channel(services: Services, photo: ReadImage):
    name = made(services, "resnet50")
    view = ask(services, photo, name, "layer4", page=4, order="strength")
    assert (view.pages, len(view.shown)) == (4, 512)
    assert "channels 1536–2047 of 2048" in view.facts
    sheet = render_sheet(torch.zeros(2048, 2, 2), page=4)
    left, top, *_ = tile_box(sheet, 1536 + 5)
    assert channel_under(services, photo, name, "layer4", 4, left + 1, top + 1, view.shown) == view.shown[5]
    assert channel_under(services, photo, name, "layer4", 99, left + 1, top + 1, view.shown) == view.shown[5]


@pytest.mark.slow
def test_a_network_of_1202_layers_can_be_looked_into(services: Services, photo: ReadImage):
    name = made(services, "resnet1202")
    names = layer_names(services, name)
    assert len(names) > 4000
    assert len(layer_table(services, name)) == len(names)
    assert "layer1.150.bn2 · 16 channels of 64×64" in ask(services, photo, name, "layer1.150.bn2").facts
    with pytest.raises(ModelError, match="did you mean layer1"):
        ask(services, photo, name, "layer1.999")


def test_a_network_that_cannot_take_the_picture_says_the_least_size(services: Services, photo: ReadImage):
    run = services.store.create(TrainConfig())
    checkpoint = Checkpoint(
        architecture="resnet8",
        architecture_arguments={"num_classes": 3, "width": 16},
        class_names=NAMES,
        preprocessing=Preprocessing(resize=6, crop=6),
    )
    weights = build_model("resnet8", num_classes=3, width=16).state_dict()
    save_checkpoint(run.folder / "best.safetensors", checkpoint, weights)
    with pytest.raises(ModelError, match="use at least 9×9 pixels"):
        ask(services, photo, run.run_id, "fc")


# Kernels


def test_the_first_layers_kernels_are_pictures_and_any_kernel_is_numbers(services: Services, model: str):
    view = kernel_view(services, model, "conv1", 3, 1, "en")
    assert "16 kernels of conv1, 7×7 px" in view["told"]
    assert view["picture"].mode == "RGB"
    weight = services.classifier(model).model.conv1.weight
    assert view["numbers"].count("<td>") == 49
    assert f"<td>{float(weight[3, 1, 0, 0]):+.4f}</td>" in view["numbers"]
    assert view["places"] == 3
    deep = kernel_view(services, model, "layer2.0.conv1", 10**6, 10**6, "en")
    assert "How channel 31 of layer2.0.conv1 weighs its 16 incoming channels" in deep["told"]
    assert "incoming channel 15 of 16" in deep["numbers"]
    assert "no weights of its own" in kernel_view(services, model, "layer2", 0, 0, "en")["told"]


def test_the_weights_of_a_linear_layer_are_paged(services: Services, model: str):
    view = kernel_view(services, model, "fc", 2, 1, "en")
    weight = services.classifier(model).model.fc.weight
    assert view["places"] == 2
    assert "weights 64 to 127 of 128" in view["numbers"]
    assert f"<td>{float(weight[2, 64]):+.4f}</td>" in view["numbers"]
    assert view["numbers"].count("<td>") == 64


# Files


def test_every_kind_of_file_is_made(services: Services, model: str, photo: ReadImage, tmp_path: Path):
    png = Image.open(io.BytesIO(maps_file(services, photo, model, "layer1", "png", order="strength")))
    assert png.format == "PNG"
    assert png.tobytes() == ask(services, photo, model, "layer1", order="strength").sheet.tobytes()
    file = np.load(io.BytesIO(maps_file(services, photo, model, "layer1", "npz", relu="before")), allow_pickle=False)
    np.testing.assert_array_equal(file["layer1"].clip(min=0), activation_of(services, model, photo, "layer1").numpy())
    assert json.loads(str(file["about"]))["relu"] == "before"
    film = Image.open(io.BytesIO(maps_file(services, photo, model, "layer1", "webp", order="relevance")))
    assert (film.format, film.n_frames) == ("WEBP", 8)
    with pytest.raises(ConfigError, match="png, npz, webp"):
        maps_file(services, photo, model, "layer1", "exe")


def test_a_file_is_called_after_model_and_layer_and_lies_where_it_is_served_from(tmp_path: Path):
    assert file_name("flowers", "layer2.0.conv1", "npz") == "flowers-layer2.0.conv1.npz"
    assert file_name("imagenet/resnet18", "fc", "webp") == "imagenet-resnet18-film.webp"
    assert "/" not in file_name("../../x", "..", "png")
    path = keep(b"content", "a.npz", tmp_path / "cache")
    assert path.read_bytes() == b"content"
    assert path.name == "a.npz"
    assert keep(b"content", "a.npz", tmp_path / "cache") == path
    assert not list((tmp_path / "cache").rglob("*.part"))


# Dead on many pictures


def test_dead_on_the_val_pictures_of_its_own_data_set(services: Services, meadow: Path):
    run = services.store.create(TrainConfig())
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 2},
        class_names=("red", "yellow"),
        preprocessing=Preprocessing(resize=32, crop=32),
        training={"config": {"dataset": str(meadow)}},
    )
    torch.manual_seed(0)
    network = build_model("resnet20", num_classes=2)
    network.bn1.bias.data.fill_(1.0)
    network.bn1.bias.data[[2, 7]] = -1000.0
    save_checkpoint(run.folder / "best.safetensors", checkpoint, network.state_dict())
    told: list[tuple[int, int]] = []
    sentence = dead_sentence(services, run.run_id, "relu", "en", lambda done, total: told.append((done, total)))
    assert "2 of 16 channels are dead on all of" in sentence
    assert sentence.endswith(": 2, 7")
    assert told[-1][0] == told[-1][1] > 0
    assert "no ReLU stands right behind" in dead_sentence(services, run.run_id, "conv1", "en")
    with pytest.raises(DatasetError):
        dead_sentence(services, made(services), "relu", "en")
