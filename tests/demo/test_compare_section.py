"""The Compare part without a page: two sheets of one layout, both answers, and how alike the layers are."""

import asyncio
import base64
import io
import re
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from demo.examples import RENDERED
from demo.maps.compare_section import EPOCHS, MODELS, PHOTOS, both_sides, cka_html, compare_section, offered
from demo.maps.compare_slider.compare_slider import CompareSlider, slider_value
from demo.maps.compare_view import Seen, compare, correspond, joint_sheets, separate_sheets
from demo.maps.looking import Looking
from demo.maps.scans import Scans
from demo.services import Services
from demo.words.detective import SLIDER
from resnet_core.activations.likeness import channel_likeness
from resnet_core.activations.render import render_sheet
from resnet_core.data.datasets import rendered_flowers
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ModelError, ResNetLabError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig


def make_model(services: Services, name: str = "resnet18", *, seed: int = 0, kept: int = 0, **arguments: Any) -> str:
    torch.manual_seed(seed)
    run = services.store.create(TrainConfig())
    arguments = {"num_classes": 2} | arguments
    checkpoint = Checkpoint(
        architecture=name,
        architecture_arguments=arguments,
        class_names=("<b>left</b>", "${right}"),
        preprocessing=Preprocessing(resize=64, crop=64),
    )
    weights = build_model(name, **arguments).state_dict()
    save_checkpoint(run.folder / "best.safetensors", checkpoint, weights)
    for epoch in range(1, kept + 1):
        (run.folder / "kept").mkdir(exist_ok=True)
        noisy = {
            key: value + epoch * 0.02 * torch.randn_like(value) if value.ndim == 4 else value
            for key, value in weights.items()
        }
        save_checkpoint(run.folder / "kept" / f"epoch-{epoch:04}.safetensors", checkpoint, noisy)
        (run.folder / "kept" / f"epoch-{epoch:04}.pt").write_bytes(b"-")
    return run.run_id


@pytest.fixture(scope="module")
def run(services: Services) -> str:
    return make_model(services, width=8, kept=3)


@pytest.fixture(scope="module")
def other(services: Services) -> str:
    return make_model(services, "resnet20", seed=1)


@pytest.fixture(scope="module")
def photo() -> ReadImage:
    return read_image_with_notes(RENDERED[0])


@pytest.fixture(scope="module")
def second_photo() -> ReadImage:
    return read_image_with_notes(RENDERED[1])


def picture(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))


# Sheets


@pytest.mark.parametrize("shape", [(20, 8, 8), (7, 1, 1), (64, 32, 32), (3, 50, 50)])
def test_both_sheets_have_one_layout_and_one_scale_a_channel(shape: tuple[int, ...]):
    first = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    second = first * 0.5
    left, right = joint_sheets(first, second)
    assert left.size == right.size
    alone = render_sheet(first, limit=256, max_width=900)
    assert left.size == alone.image.size
    same = joint_sheets(first, first)
    assert np.array_equal(np.asarray(same[0]), np.asarray(same[1]))
    pixels = [np.asarray(each).astype(int) for each in (left, right)]  # places on the colour map
    tiles = [each[each != 255] for each in pixels]
    assert tiles[1].max() <= tiles[0].max()
    assert tiles[1].mean() < tiles[0].mean()
    neutral = [each == 255 for each in pixels]
    assert np.array_equal(*neutral)


def test_a_joint_sheet_shows_each_channel_where_a_sheet_alone_does():
    maps = torch.zeros(12, 8, 8)
    maps[7, 3:5, 3:5] = 1
    left, right = joint_sheets(maps, torch.zeros(12, 8, 8))
    alone = render_sheet(maps, limit=256, max_width=900)
    assert np.array_equal(np.asarray(left.convert("RGB")), np.asarray(alone.image.convert("RGB")))
    assert len(np.unique(np.asarray(right)[np.asarray(right) != 255])) == 1


def test_channels_of_a_single_number_share_one_scale():
    numbers = torch.arange(8.0)[:, None, None]
    left, _ = joint_sheets(numbers, numbers.flip(0))
    tiles = np.asarray(left)[np.asarray(left) != 255]
    assert len(np.unique(tiles)) == 8  # on scales of their own each would be at one of the two ends


def test_layers_of_other_shapes_are_filled_up_to_one_size():
    left, right = separate_sheets(torch.rand(16, 8, 8), torch.rand(64, 16, 16))
    assert left.size == right.size


# What stands on each side


def test_two_models_are_put_side_by_side_with_both_answers(services: Services, run: str, other: str, photo: ReadImage):
    sides = [Seen(model=model, photo=photo, title=f"title of {model}") for model in (run, other)]
    value = compare(services, *sides, "layer2", "en")
    assert picture(value["left"]).shape == picture(value["right"]).shape
    for side, model in (("left", run), ("right", other)):
        best = services.classify(model, photo.image, top_k=1).predictions[0]
        assert best.label in value[f"{side}Says"]
        assert f"{best.probability:.0%}" in value[f"{side}Says"]
    assert any("nothing to do with the same number" in note for note in value["notes"])
    with pytest.raises(ModelError, match="no layer called layer4"):
        compare(services, *sides, "layer4", "en")


def test_two_epochs_are_compared_channel_by_channel(services: Services, run: str, photo: ReadImage):
    value = compare(
        services,
        Seen(model=f"{run}/1", photo=photo, title="epoch 1"),
        Seen(model=f"{run}/3", photo=photo, title="epoch 3"),
        "layer2",
        "en",
    )
    maps = [
        services.activations.get(services.classifier(f"{run}/{epoch}"), photo.image, ["layer2"])["layer2"]
        for epoch in (1, 3)
    ]
    alike = channel_likeness(*maps)
    told = next(note for note in value["notes"] if "correlate" in note)
    known = alike[~alike.isnan()]
    assert f"{float(known.median()):.2f} in the middle" in told
    assert f"most changed: {int(alike.nan_to_num(nan=9).argmin())} (" in told
    assert f"most alike: {int(alike.nan_to_num(nan=-9).argmax())} (" in told


def test_only_names_of_one_run_correspond():
    assert correspond("abc", "abc/last")
    assert correspond("abc/1", "abc/3")
    assert not correspond("abc/1", "abd/1")
    assert not correspond("flowers", "flowers")
    assert not correspond("models/x", "models/x")


def test_two_photos_have_the_same_model(services: Services, run: str, photo: ReadImage, second_photo: ReadImage):
    choices = offered(services, run, PHOTOS, None, None, None)
    left, right = both_sides(services, photo, run, PHOTOS, choices, second_photo, "en")
    assert (left.model, right.model) == (run, run)
    assert (left.photo, right.photo) == (photo, second_photo)
    value = compare(services, left, right, "layer1", "en")
    assert not np.array_equal(picture(value["left"]), picture(value["right"]))


def test_what_is_offered_is_what_there_is(services: Services, run: str, other: str):
    models = offered(services, run, MODELS, None, None, None)
    assert run not in {name for _, name in models.models}
    assert offered(services, run, MODELS, other, None, None).model == other
    epochs = offered(services, run, EPOCHS, None, None, None)
    assert ([value for _, value in epochs.epochs], epochs.first, epochs.second) == ([1, 2, 3], 1, 3)
    chosen = offered(services, run, EPOCHS, None, 2, 9)
    assert (chosen.first, chosen.second) == (2, 3)
    assert offered(services, "flowers", EPOCHS, None, None, None).epochs == []


@pytest.mark.parametrize(
    ("mode", "model", "sentence"),
    [
        (EPOCHS, "flowers", "Only runs keep epochs"),
        (EPOCHS, "other", "kept no epochs"),
        (PHOTOS, "run", "Drop the other photo"),
    ],
)
def test_what_is_missing_is_a_sentence(
    services: Services, run: str, other: str, photo: ReadImage, mode: str, model: str, sentence: str
):
    name = {"run": run, "other": other}.get(model, model)
    choices = offered(services, name, mode, None, None, None)
    with pytest.raises(ResNetLabError, match=sentence):
        both_sides(services, photo, name, mode, choices, None, "en")
    with pytest.raises(ResNetLabError, match="Choose or drop a photo"):
        both_sides(services, None, name, mode, choices, None, "en")


def test_cka_is_told_with_the_pictures_it_is_of(
    services: Services, run: str, other: str, monkeypatch: pytest.MonkeyPatch
):
    garden = rendered_flowers(train=1, val=3, size=64)
    monkeypatch.setattr("resnet_core.data.datasets.rendered_flowers", lambda: garden)
    scans = Scans(services)
    same = cka_html(services, scans, [f"{run}/1", f"{run}/1"], "layer2", "en", lambda *_: None)
    assert "over 15 pictures of rendered-flowers: 1.00" in same
    value = re.search(r": (-?[\d.]+)\. 1:", cka_html(services, scans, [run, other], "layer2", "en", lambda *_: None))
    assert value is not None
    assert -1 <= float(value[1]) < 1


# The slider


def test_the_slider_shows_text_as_text_and_every_word_of_it_is_used():
    part = CompareSlider(render=False)
    script, markup = part.js_on_load, part.html_template
    assert "innerHTML" not in script
    assert "${" not in markup + part.css_template
    assert set(re.findall(r'say\("(\w+)"', script)) | set(re.findall(r'data-word="(\w+)"', markup)) == set(SLIDER)
    assert slider_value(None, None, empty="nothing yet")["empty"] == "nothing yet"
    assert slider_value(None, None, language="zh")["words"]["hint"] == SLIDER["hint"][1]


def test_a_newer_choice_counts_while_the_last_one_is_drawn(services: Services):
    async def build() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page, gr.Tab("maps") as tab, gr.Tabs() as tabs, gr.Tab("part"):
            photo, model = gr.Textbox(), gr.Dropdown(["flowers"], value="flowers")
            layer, block, channel = gr.Dropdown(["layer1"], value="layer1"), gr.Textbox(), gr.Number(0)
            opened = model.change(None, None, None)
            compare_section(services, Looking(photo, model, layer, block, channel, tabs, tab, opened))
        return page

    page = asyncio.run(build())
    drawing = [each for each in page.fns.values() if each.fn is not None and len(each.outputs) == 7]
    assert [each.trigger_mode for each in drawing] == ["always_last"]
