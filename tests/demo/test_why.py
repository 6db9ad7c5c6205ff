"""“Why this answer” and “What if …” without a page: what is computed, said and sent to the browser."""

import asyncio
import base64
import io
import json
import re
import shutil
import string
import subprocess
import threading
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from demo.classify.nearest_section import Indexes, nearest_html
from demo.classify.opened import pressing
from demo.classify.sureness import per_cent
from demo.classify.what_if.what_if import LARGEST_PNG, WhatIf, picture_address, what_if_script, what_if_value
from demo.classify.what_if_section import what_if_section
from demo.classify.why_section import explain, why_section
from demo.examples import RENDERED
from demo.services import Services
from demo.words.why import WHAT_IF
from resnet_core.data.datasets import rendered_flowers
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import DatasetError, DeviceError
from resnet_core.inference import neighbours, training_pictures
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
HOSTILE = ("<b>left</b>", "right", "${up}")


def make_model(services: Services, class_names: tuple[str, ...]) -> str:
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    arguments = {"num_classes": len(class_names), "width": 8}
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments=arguments,
        class_names=class_names,
        preprocessing=Preprocessing(resize=64, crop=64),
    )
    save_checkpoint(run.folder / "best.safetensors", checkpoint, build_model("resnet18", **arguments).state_dict())
    return run.run_id


@pytest.fixture(scope="module")
def model(services: Services) -> str:
    """A small untrained network whose class names are no plain words."""
    return make_model(services, HOSTILE)


@pytest.fixture(scope="module")
def flowers(services: Services) -> str:
    return make_model(services, FLOWERS)


@pytest.fixture(scope="module")
def photo() -> ReadImage:
    return read_image_with_notes(RENDERED[0])


@pytest.fixture
def few_flowers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A garden that takes no time to look through."""
    monkeypatch.setattr(training_pictures, "rendered_flowers", lambda: rendered_flowers(train=4, val=1, size=64))


def pictures_in(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


# Maps


def test_both_maps_lie_over_the_photo_and_are_told_in_words(services: Services, model: str, photo: ReadImage):
    told = explain(services, photo, model, None, None, "en")
    answers = [p.label for p in services.classify(model, photo.image).predictions]
    assert [told.wanted, told.against] == answers[:2]
    square, heat, grey_square, contrast = pictures_in(told.html)
    assert square.size == grey_square.size == (336, 336)
    assert (heat.mode, contrast.mode) == ("RGB", "RGBA")
    assert told.html.count("<figcaption>") == told.html.count('class="why-layer"') == 2
    assert told.html.count("why-grey") == 1
    assert re.search(r"\(Grad-CAM at layer4\)", told.html)
    assert re.search(r"\(\d+% of the weight, most of all (in|on|at) the", told.html)


def test_any_class_can_be_asked_for_and_its_map_differs(services: Services, model: str, photo: ReadImage):
    maps = []
    for name in HOSTILE:
        told = explain(services, photo, model, name, None, "en")
        assert told.wanted == name
        assert told.against != name
        maps.append(np.asarray(pictures_in(told.html)[1]).tobytes())
    assert len(set(maps)) > 1
    told = explain(services, photo, model, "right", "right", "en")
    assert told.against in {"<b>left</b>", "${up}"}
    assert explain(services, photo, model, "gone", "gone too", "en").wanted in HOSTILE


def test_class_names_reach_the_maps_as_text(services: Services, model: str, photo: ReadImage):
    for language in ("en", "zh"):
        html = explain(services, photo, model, "<b>left</b>", "${up}", language).html
        assert "&lt;b&gt;left" in html
        assert "<b>" not in html
        assert "${" not in html


def test_a_model_of_one_class_has_nothing_to_tell_it_from(services: Services, photo: ReadImage):
    told = explain(services, photo, make_model(services, ("only",)), None, None, "en")
    assert (told.wanted, told.against) == ("only", None)
    assert told.html.count("<figcaption>") == 1


def test_the_model_is_as_it_was(services: Services, model: str, photo: ReadImage):
    network = services.classifier(model).model
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    explain(services, photo, model, None, None, "en")
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(module.training for module in network.modules())


# Nearest pictures


def test_the_nearest_pictures_are_counted_against_the_answer(
    services: Services, flowers: str, photo: ReadImage, few_flowers: None
):
    classifier, indexes = services.classifier(flowers), Indexes(services)
    assert indexes.at_hand(classifier) is None
    indexing = indexes.find(classifier, lambda done, total: None)
    html = nearest_html(services, classifier, indexing, photo, "en")
    answer = services.classify(flowers, photo.image).predictions[0].label
    features = neighbours.photo_features(classifier, photo.image)
    labels = [neighbour.label for neighbour in indexing.answer.result().nearest(features)]
    alike = labels.count(answer)
    assert (f"{alike} of the 6 training pictures" if alike else "None of the 6 training pictures") in html
    assert [shown.size for shown in pictures_in(html)] == [(96, 96)] * 6
    assert re.findall(r'alt="(\w+)"', html) == labels
    assert "Compared with 20 training pictures of rendered-flowers" in html
    assert "not on this machine" in html
    assert indexes.at_hand(classifier) is indexing


def test_everyone_who_asks_meanwhile_waits_for_the_same_work(
    services: Services, flowers: str, few_flowers: None, monkeypatch: pytest.MonkeyPatch
):
    begun, go_on, calls = threading.Event(), threading.Event(), []
    real = neighbours.load_neighbours

    def slow(*arguments: Any, progress: Any, **named: Any) -> Any:
        calls.append(1)
        progress(3, 20)
        begun.set()
        assert go_on.wait(30)
        return real(*arguments, progress=progress, **named)

    monkeypatch.setattr(neighbours, "load_neighbours", slow)
    classifier, indexes = services.classifier(flowers), Indexes(services)
    heard: list[tuple[int, int]] = []

    def told(done: int, total: int) -> None:
        heard.append((done, total))
        go_on.set()

    other = threading.Thread(target=lambda: (begun.wait(30), indexes.find(classifier, told)))
    other.start()
    indexing = indexes.find(classifier, told)
    other.join(30)
    assert len(calls) == 1
    assert heard[0] == (3, 20)
    assert indexing.ready


def test_a_failure_is_told_and_the_next_who_asks_tries_again(
    services: Services, flowers: str, few_flowers: None, monkeypatch: pytest.MonkeyPatch
):
    def crowded(*_: Any, **__: Any) -> Any:
        raise DeviceError("64 people are waiting already; try again in about 4 s.")

    classifier, indexes = services.classifier(flowers), Indexes(services)
    with monkeypatch.context() as patch:
        patch.setattr(neighbours, "load_neighbours", crowded)
        with pytest.raises(DeviceError, match="64 people"):
            indexes.find(classifier, lambda *_: None)
    assert indexes.at_hand(classifier) is None
    assert indexes.find(classifier, lambda *_: None).ready


def test_changed_pictures_are_looked_at_again(
    services: Services, flowers: str, few_flowers: None, monkeypatch: pytest.MonkeyPatch
):
    classifier, indexes = services.classifier(flowers), Indexes(services)
    first = indexes.find(classifier, lambda *_: None)
    assert indexes.find(classifier, lambda *_: None) is first
    monkeypatch.setattr(training_pictures, "rendered_flowers", lambda: rendered_flowers(train=2, val=1, size=64))
    assert len(indexes.find(classifier, lambda *_: None).answer.result()) == 10


def test_without_pictures_on_this_machine_it_is_a_sentence(services: Services, model: str):
    with pytest.raises(DatasetError, match="not on this machine"):
        Indexes(services).find(services.classifier(model), lambda *_: None)


# What if


def test_a_small_picture_travels_exactly_and_a_large_one_small(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(base64.b64decode(picture_address(Image.fromarray(noise)).partition(",")[2]))) as sent:
        assert sent.format == "PNG"
        assert np.array_equal(np.asarray(sent), noise)
    large = np.random.default_rng(0).integers(0, 256, (900, 1500, 3), dtype=np.uint8)
    address = picture_address(Image.fromarray(large))
    assert address.startswith("data:image/jpeg;base64,")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as sent:
        assert sent.size == (512, 307)
    for size, seen, expected in (
        ((4000, 800), 192, (1536, 307)),
        ((1600, 900), 192, (683, 384)),
        ((90, 50), 192, (90, 50)),
    ):
        address = picture_address(Image.new("RGB", size, "red"), seen=seen)
        with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as sent:
            assert sent.size == expected
    flat = picture_address(Image.new("RGB", (1500, 900), "red"))
    assert flat.startswith("data:image/png")
    assert len(flat) < LARGEST_PNG


def test_the_brush_is_told_picture_model_colours_and_words(photo: ReadImage):
    told = what_if_value(photo, "flowers", FLOWERS, "zh")
    assert told["model"] == "flowers"
    assert told["colors"]["daisy"] == "#0072B2"
    assert told["words"]["undo"] == "撤销"
    assert told["picture"].startswith("data:image/")
    assert what_if_value(photo, "flowers", FLOWERS, "zh", stamp=7.5) == {**told, "stamp": 7.5}
    assert what_if_value(None, "flowers", (), "en") == {
        "words": {key: english for key, (english, _) in WHAT_IF.items()}
    }
    assert len(what_if_value(photo, "imagenet/resnet18", tuple(map(str, range(1000))), "en")["colors"]) == 100


def run_script(script: str) -> Any:
    """What a script prints as JSON, without a browser."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("There is no node here to run the page's scripts.")
    return json.loads(subprocess.run([node, "-"], input=script, capture_output=True, check=True, text=True).stdout)


def test_the_scripts_write_shares_as_the_cards_do():
    shares = [0, 0.004, 0.0199, 0.5, 0.97, 0.99, 0.9951, 0.99996, 1]
    script = what_if_script().partition("// The edited picture")[0]
    written = run_script(f"{script}\nconsole.log(JSON.stringify({shares}.map(perCent)));")
    assert written == [per_cent(share) for share in shares]


BROWSER = """
const part = () => new Proxy({ dataset: {}, style: {}, classList: { toggle() {} }, value: 0 }, {
  get: (held, name) => (name in held ? held[name] : name === "nextElementSibling" ? {} : () => undefined),
});
const parts = {};
const element = { querySelector: (name) => (parts[name] ??= part()), querySelectorAll: () => [] };
const props = { value: null, moved: "" };
const document = { createElement: part };
const requestAnimationFrame = (redraw) => setTimeout(redraw);
const [watch, Image] = [() => undefined, class { set src(address) { setTimeout(() => this.onload()); } }];
"""
ASKED = """
function makeEdits() { return { strokes: () => 1, forget() {}, photo: () => "photo", result: () => "painted" }; }
function drawView() {}
function encoded(canvas) { return canvas; }
function askOnce(question, file) {
  const now = { photo: told.stamp === 1 ? 0.9 : 0.7, painted: 0.4 }[file];
  return { predictions: [{ label: "daisy", probability: now }], unknown: false };
}
const value = { picture: "data:", model: "run/last", colors: {}, words: { fell: "{before} to {now}" } };
async function sentence() {
  while (parts[".wi"].dataset.settled !== "true") await new Promise((wake) => setTimeout(wake));
  return parts[".wi-sentence"].textContent;
}
(async () => {
  take({ ...value, stamp: 1 });
  const first = await sentence();
  take({ ...value, stamp: 2 });
  console.log(JSON.stringify([first, await sentence()]));
})();
"""


def test_an_edited_photo_is_compared_with_what_the_same_epoch_said_of_the_photo():
    assert run_script(f"{BROWSER}{what_if_script()}{ASKED}") == ["90% to 40%", "70% to 40%"]


@pytest.mark.parametrize("key", sorted(WHAT_IF))
def test_the_brush_speaks_both_languages_with_the_same_blanks(key: str):
    def blanks(sentence: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(sentence)} - {None}

    english, chinese = WHAT_IF[key]
    assert blanks(english) == blanks(chinese)
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert not re.search(r"[\u4e00-\u9fff]", english)


def test_every_word_of_the_brush_is_used_and_none_is_missing():
    script = what_if_script()
    markup = WhatIf(render=False).html_template
    asked = set(re.findall(r'say\("(\w+)"', script)) | set(re.findall(r'data-word="(\w+)"', markup))
    asked |= set(re.findall(r'"(same|fell|rose)"', script))
    assert asked == set(WHAT_IF)


def test_the_component_takes_nothing_apart_that_a_class_name_could_use():
    brush = WhatIf(render=False)
    for template in (brush.html_template, brush.css_template):
        assert "${" not in template
        assert "{{" not in template
        assert "`" not in template
    script = what_if_script()
    assert "innerHTML" not in script
    assert "insertAdjacentHTML" not in script
    assert "document.write" not in script


def test_a_section_opened_or_refreshed_while_it_works_follows_the_newest_photo(services: Services):
    async def build() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page:
            photo, model = gr.State(None), gr.Dropdown(["flowers"], value="flowers")
            why_section(services, photo, model)
            what_if_section(services, photo, model, gr.Textbox(""))
        return page

    page = asyncio.run(build())
    refreshing = [
        each for each in page.fns.values() if any(event == "expand" for _, event in each.targets) and len(each.inputs)
    ]
    choosing = [each for each in page.fns.values() if any(event == "select" for _, event in each.targets)]
    assert len(refreshing) == 2
    assert len(choosing) == 1
    assert {each.trigger_mode for each in (*refreshing, *choosing)} == {"always_last"}


def test_only_open_sections_are_refreshed():
    script = pressing("why-maps", "what-if")
    assert "['why-maps', 'what-if']" in script
    assert script.index("offsetParent") < script.index(".click()")
    assert script.count("{") == script.count("}")
