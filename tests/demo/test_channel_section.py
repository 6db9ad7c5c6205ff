"""The Channel part without a page: what it computes, says and keeps, and who waits for whom."""

import asyncio
import base64
import io
import re
import shutil
import threading
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from demo.examples import RENDERED
from demo.maps import scans as scans_module
from demo.maps.channel_map.channel_map import ChannelMap, channel_map_value
from demo.maps.channel_section import accuracy_html, channel_section
from demo.maps.channel_view import case_html, epochs_html, look_at_channel
from demo.maps.epoch_looks import EpochLooks, run_of
from demo.maps.looking import Looking
from demo.maps.refreshing import pressing_soon
from demo.maps.scans import LOOKING, READING, Scans
from demo.services import Services
from demo.words.detective import CHANNEL_MAP
from resnet_core.activations import channel_scan
from resnet_core.activations.receptive_field import receptive_field
from resnet_core.data.datasets import rendered_flowers
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import DatasetError, RunError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
HOSTILE = ("<b>left</b>", "right", "${up}")


def make_model(services: Services, class_names: tuple[str, ...], *, dataset: str = "", kept: int = 0) -> str:
    """An untrained network as a run's best epoch, with some more epochs kept."""
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    arguments = {"num_classes": len(class_names), "width": 8}
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments=arguments,
        class_names=class_names,
        preprocessing=Preprocessing(resize=64, crop=64),
        training={"config": {"dataset": dataset}} if dataset else {},
    )
    weights = build_model("resnet18", **arguments).state_dict()
    save_checkpoint(run.folder / "best.safetensors", checkpoint, weights)
    for epoch in range(1, kept + 1):
        (run.folder / "kept").mkdir(exist_ok=True)
        changed = {name: value * (1 + epoch / 10) for name, value in weights.items() if value.is_floating_point()}
        save_checkpoint(run.folder / "kept" / f"epoch-{epoch:04}.safetensors", checkpoint, weights | changed)
        (run.folder / "kept" / f"epoch-{epoch:04}.pt").write_bytes(b"-")
    return run.run_id


@pytest.fixture(scope="module")
def hostile(services: Services) -> str:
    return make_model(services, HOSTILE)


@pytest.fixture(scope="module")
def flowers(services: Services) -> str:
    return make_model(services, FLOWERS, dataset="rendered-flowers", kept=3)


@pytest.fixture(scope="module")
def photo() -> ReadImage:
    return read_image_with_notes(RENDERED[0])


@pytest.fixture(autouse=True)
def few_flowers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A garden that takes no time to look through."""
    garden = rendered_flowers(train=2, val=4, size=64)
    monkeypatch.setattr("resnet_core.data.datasets.rendered_flowers", lambda: garden)
    monkeypatch.setattr("resnet_core.activations.picture_sample.load_dataset", lambda *_, **__: garden)


def pictures_in(html: str) -> list[Image.Image]:
    found = re.findall(r"data:image/(?:png|jpeg);base64,([\w+/=]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


# The map


def test_the_map_knows_what_every_place_sees(services: Services, hostile: str, photo: ReadImage):
    look = look_at_channel(services, photo, hostile, "layer2", 3, "en")
    value = look.map_value
    assert (len(value["rows"]), len(value["columns"]), len(value["values"])) == (8, 8, 8)
    network = services.classifier(hostile).model
    for row, column in ((0, 0), (3, 5), (7, 7)):
        field = receptive_field(network, (64, 64), "layer2", row=row, column=column)
        assert value["rows"][row] == (field.top, field.bottom)
        assert value["columns"][column] == (field.left, field.right)
    row, column = value["peak"]
    assert value["values"][row][column] == max(map(max, value["values"]))
    assert value["side"] == 64
    assert "layer2 · channel 3 of 0–15" in look.facts


def test_a_channel_the_layer_lacks_is_its_last_and_a_vector_sees_everything(
    services: Services, hostile: str, photo: ReadImage
):
    assert look_at_channel(services, photo, hostile, "layer2", 999, "en").channel == 15
    assert look_at_channel(services, photo, hostile, "layer2", -4, "en").channel == 0
    value = look_at_channel(services, photo, hostile, "fc", 1, "en").map_value
    assert (value["rows"], value["columns"]) == (((0, 63),), ((0, 63),))


def test_numbers_that_are_none_reach_the_page_as_nothing():
    square = Image.new("RGB", (8, 8))
    odd = torch.tensor([[float("nan"), 1.0], [float("inf"), 0.123456]])
    value = channel_map_value(odd, picture=square, photo=square, side=8, spans=(((0, 7),) * 2,) * 2)
    assert value["values"] == [[None, 1.0], [None, 0.1235]]
    assert "map" not in channel_map_value(None, empty="nothing yet")


def test_the_answer_without_the_channel_is_told_in_words_and_numbers(
    services: Services, hostile: str, photo: ReadImage
):
    network = services.classifier(hostile).model
    for language in ("en", "zh"):
        look = look_at_channel(services, photo, hostile, "layer4", 2, language)
        assert len(re.findall(r"<td>[\d.]+%</td>", look.without)) == 6
        assert "&lt;b&gt;left" in look.without
        assert "<b>" not in look.without
        assert "${" not in look.without
    with_mean = look_at_channel(services, photo, hostile, "layer4", 2, "en", mean=0.5)
    assert len(re.findall(r"<td>[\d.]+%</td>", with_mean.without)) == 9
    assert "at its mean (0.5)" in with_mean.without
    assert not any(module._forward_hooks for module in network.modules())


def test_the_component_shows_text_as_text_and_every_word_of_it_is_used():
    part = ChannelMap(render=False)
    script = part.js_on_load
    assert "innerHTML" not in script
    assert "${" not in part.html_template + part.css_template
    asked = set(re.findall(r'say\((?:[^"]*\? )?"(\w+)"(?: : "(\w+)")?', script)[0]) | {"photo", "map"}
    asked |= set(re.findall(r'data-word="(\w+)"', part.html_template))
    assert asked == set(CHANNEL_MAP)


# Scans


def waited(scans: Scans, model: str, layer: str = "layer1", which: str = "own_val", session: str = "me") -> Any:
    return scans.find(model, layer, which, session=session, told=lambda *_: None)


def test_a_second_channel_and_a_second_visitor_cost_no_second_scan(
    services: Services, flowers: str, monkeypatch: pytest.MonkeyPatch
):
    calls: list[str] = []
    real = channel_scan.scan_channels

    def counting(model: Any, sample: Any, layer: str, **named: Any) -> Any:
        calls.append(layer)
        return real(model, sample, layer, **named)

    monkeypatch.setattr(channel_scan, "scan_channels", counting)
    scans, classifier = Scans(services), services.classifier(flowers)
    assert scans.at_hand(flowers, "layer1", "own_val") is None
    found = waited(scans, flowers)
    assert scans.at_hand(flowers, "layer1", "own_val") is found
    assert waited(scans, flowers, session="you") is found
    cases = [case_html(services, scans, classifier, found, channel, "en") for channel in (0, 5)]
    assert cases[0] != cases[1]
    assert calls == ["layer1"]
    waited(scans, flowers, "layer2")
    waited(scans, flowers, which="own_train")
    assert calls == ["layer1", "layer2", "layer1"]


def test_another_file_of_the_model_is_scanned_again(services: Services):
    model, scans = make_model(services, FLOWERS, dataset="rendered-flowers"), Scans(services)
    first = waited(scans, model)
    best = services.store.get(model).folder / "best.safetensors"
    other = make_model(services, FLOWERS[:3])
    shutil.copyfile(services.store.get(other).folder / "best.safetensors", best.with_suffix(".new"))
    best.with_suffix(".new").replace(best)
    assert scans.at_hand(model, "layer1", "own_val") is None
    assert waited(scans, model, which="rendered") is not first


def test_only_the_last_scans_are_kept(services: Services, flowers: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scans_module, "SCANS_KEPT", 2)
    scans = Scans(services)
    for layer in ("conv1", "layer1", "layer2"):
        waited(scans, flowers, layer)
    assert scans.at_hand(flowers, "conv1", "own_val") is None
    assert scans.at_hand(flowers, "layer2", "own_val") is not None


class Held:
    """A scan that waits to be let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.go_on, self.calls = threading.Event(), threading.Event(), 0
        self._real = channel_scan.scan_channels
        monkeypatch.setattr(channel_scan, "scan_channels", self._scan)

    def _scan(self, *arguments: Any, progress: Any, **named: Any) -> Any:
        self.calls += 1
        progress(8, 20)
        self.begun.set()
        assert self.go_on.wait(30)
        return self._real(*arguments, progress=progress, **named)


def test_who_stops_lets_others_have_the_scan(services: Services, flowers: str, monkeypatch: pytest.MonkeyPatch):
    held, scans, stopped = Held(monkeypatch), Scans(services), []
    heard: list[tuple[str, int, int]] = []

    def impatient() -> None:
        try:
            scans.find(flowers, "layer3", "own_val", session="impatient", told=lambda *now: heard.append(now))
        except channel_scan.ScanStopped as problem:
            stopped.append(str(problem))

    other = threading.Thread(target=impatient)
    other.start()
    assert held.begun.wait(30)
    patient = threading.Thread(target=lambda: waited(scans, flowers, "layer3", session="patient"))
    patient.start()
    while len(next(iter(scans._known.values())).waiting) < 2:
        assert patient.is_alive()
    scans.stop("impatient")
    other.join(30)
    assert stopped == ["Stopped after 8 of 20 pictures; start again whenever you like."]
    assert (LOOKING, 8, 20) in heard
    held.go_on.set()
    patient.join(30)
    assert held.calls == 1
    assert scans.at_hand(flowers, "layer3", "own_val") is not None


def test_a_scan_nobody_waits_for_ends_and_the_next_who_asks_gets_a_new_one(
    services: Services, flowers: str, monkeypatch: pytest.MonkeyPatch
):
    held, scans = Held(monkeypatch), Scans(services)
    stopped: list[bool] = []

    def give_up() -> None:
        with pytest.raises(channel_scan.ScanStopped):
            waited(scans, flowers, "layer4")
        stopped.append(True)

    alone = threading.Thread(target=give_up)
    alone.start()
    assert held.begun.wait(30)
    under_way = next(iter(scans._known.values()))
    scans.stop("me")
    alone.join(30)
    assert stopped
    held.go_on.set()
    with pytest.raises(channel_scan.ScanStopped):
        under_way.answer.result(timeout=30)
    assert scans.at_hand(flowers, "layer4", "own_val") is None
    assert waited(scans, flowers, "layer4").scan.count == 20


def test_pictures_that_are_not_there_are_a_sentence_at_once(services: Services, hostile: str):
    scans = Scans(services)
    with pytest.raises(DatasetError, match="does not say which pictures"):
        waited(scans, hostile)
    with pytest.raises(DatasetError, match="Choose the model's own"):
        waited(scans, hostile, which="all")
    assert waited(scans, hostile, which="rendered").dataset.name == "rendered-flowers"


def test_reading_is_told_before_looking(services: Services, flowers: str):
    stages: list[str] = []
    scans = Scans(services)
    scans.pictures(
        services.classifier(flowers),
        rendered_flowers(train=1, val=3, size=40),
        "val",
        told=lambda *now: stages.append(now[0]),
    )
    assert set(stages) == {READING}


# What is shown of a scan


def test_nine_patches_are_one_picture_with_class_and_value_under_each(services: Services, flowers: str):
    scans = Scans(services)
    found = waited(scans, flowers)
    html = case_html(services, scans, services.classifier(flowers), found, 2, "en")
    sheets = pictures_in(html)
    assert {sheet.size for sheet in sheets} == {(9 * 96, 96)}
    assert html.count("<figcaption>") == 9
    labels = re.findall(r"<figcaption>(\w+) <b>", html)
    assert labels == [
        FLOWERS[scans.sample(services.classifier(flowers), found).targets[i]] for i in found.scan.pictures[2]
    ]
    assert f"of the {found.scan.tops.shape[1]} pictures".lower() in html.lower()
    assert 'download="layer1-channel-2-patches.png"' in html


def test_a_silent_channel_is_told_as_such(services: Services):
    model, scans = make_model(services, FLOWERS, dataset="rendered-flowers"), Scans(services)
    network = services.classifier(model).model
    network.bn1.weight.data[4] = 0
    network.bn1.bias.data[4] = -1
    html = case_html(services, scans, services.classifier(model), waited(scans, model, "relu"), 4, "en")
    assert "Channel 4 of relu is silent: it gave 0 everywhere in all 20 pictures" in html


def test_accuracy_without_the_channel_is_counted_on_val_pictures(services: Services, flowers: str, hostile: str):
    def told(*_: Any, **__: Any) -> None:
        return None

    html = accuracy_html(services, Scans(services), flowers, "layer1", 0, "own_val", "en", told)
    assert re.search(r"Of 20 val pictures of rendered-flowers, [\d.]+% are answered right; .*[+-][\d.]+ points", html)
    with pytest.raises(DatasetError, match="other classes"):
        accuracy_html(services, Scans(services), hostile, "layer1", 0, "rendered", "en", told)


# Epochs


def test_kept_epochs_stand_in_a_row_on_one_scale(services: Services, flowers: str, photo: ReadImage):
    looks = EpochLooks(services)
    assert looks.at_hand(photo, flowers, "layer2") is None
    found = looks.find(photo, flowers, "layer2", "en")
    assert [look.epoch for look in found] == [1, 2, 3]
    assert looks.find(photo, f"{flowers}/2", "layer2", "en") is found
    assert looks.at_hand(photo, flowers, "layer2") is found
    html = epochs_html(found, "layer2", 1, "en")
    tiles = [np.asarray(picture) for picture in pictures_in(html)]
    assert len(tiles) == 3
    assert re.findall(r"epoch (\d)</fig", html) == ["1", "2", "3"]
    values = torch.stack([look.activation[1] for look in found])
    brightest = int(values.flatten(1).amax(1).argmax())
    sums = [int(tile.astype(int).max(axis=(0, 1)).sum()) for tile in tiles]
    assert sums[brightest] == max(sums)


def test_models_without_kept_epochs_are_a_sentence(services: Services, hostile: str, photo: ReadImage):
    looks = EpochLooks(services)
    with pytest.raises(RunError, match="Only runs keep epochs"):
        looks.find(photo, "flowers", "layer2", "en")
    with pytest.raises(RunError, match="kept no epochs"):
        looks.find(photo, hostile, "layer2", "en")
    assert [run_of(name) for name in ("flowers", "models/x", "imagenet/resnet18", "abc", "abc/last", "abc/3")] == [
        None, None, None, "abc", "abc", "abc",
    ]  # fmt: skip


# The page


def test_the_part_follows_what_is_looked_at_without_being_asked_while_hidden(services: Services):
    async def build() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page, gr.Tab("maps") as tab, gr.Tabs() as tabs, gr.Tab("part"):
            photo, model = gr.Textbox(), gr.Dropdown(["flowers"], value="flowers")
            layer, block, channel = gr.Dropdown(["layer1"], value="layer1"), gr.Textbox(), gr.Number(0)
            opened = model.change(None, None, None)
            channel_section(services, Looking(photo, model, layer, block, channel, tabs, tab, opened))
        return page

    page = asyncio.run(build())
    pressing = [each for each in page.fns.values() if each.js and "channel-body" in str(each.js)]
    assert pressing
    assert all(each.fn is None for each in pressing)
    script = pressing_soon("channel-body")
    assert script.index("offsetParent") < script.index(".click()")
    assert script.count("{") == script.count("}")
    computing = [each for each in page.fns.values() if each.fn is not None and len(each.outputs) > 3]
    assert {each.trigger_mode for each in computing} == {"always_last"}
