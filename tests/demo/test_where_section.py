"""The Where part without a page: maps by both methods, two classes told apart, the verdict in words."""

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
from demo.maps.looking import Looking
from demo.maps.trust_chart import deletion_chart
from demo.maps.where_section import where_section
from demo.maps.where_view import heat_address, look_where, trust_html, verdict_words
from demo.services import Services
from resnet_core.activations.deletion import Deletion
from resnet_core.activations.gradcam import enlarge
from resnet_core.activations.heat import heat_map, trust_heat
from resnet_core.activations.trust import RandomStep, TrustTest, Verdict
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ConfigError, ModelError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

HOSTILE = ("<b>left</b>", "right", "${up}")


@pytest.fixture(scope="module")
def model(services: Services) -> str:
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    arguments = {"num_classes": 3, "width": 8}
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments=arguments,
        class_names=HOSTILE,
        preprocessing=Preprocessing(resize=64, crop=64),
    )
    save_checkpoint(run.folder / "best.safetensors", checkpoint, build_model("resnet18", **arguments).state_dict())
    return run.run_id


@pytest.fixture(scope="module")
def photo() -> ReadImage:
    return read_image_with_notes(RENDERED[0])


def ask(services: Services, photo: ReadImage, model: str, layer: str = "layer2", **changes: Any) -> Any:
    wanted = {"method": "gradcam", "wanted": None, "against": None, "language": "en"} | changes
    return look_where(services, photo, model, layer, **wanted)


def pictures_in(html: str) -> list[Image.Image]:
    found = re.findall(r"data:image/(?:png|jpeg);base64,([\w+/=]+)", html)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for content in found]


@pytest.mark.parametrize("method", ["gradcam", "ablation"])
def test_the_map_shown_is_the_one_computed(services: Services, photo: ReadImage, model: str, method: str):
    classifier = services.classifier(model)
    inputs = classifier.checkpoint.preprocessing(photo.image)[None]
    heats = [heat_map(classifier.model, inputs, "layer2", index, method=method).heat for index in range(3)]
    index = next(index for index, heat in enumerate(heats) if heat.any())
    look = ask(services, photo, model, method=method, wanted=HOSTILE[index])
    _, shown = pictures_in(look.html)
    heat = enlarge(heats[index], *shown.size)
    brightness = np.asarray(shown.convert("L")).astype(float)
    assert np.corrcoef(brightness.flatten(), heat.numpy().flatten())[0, 1] > 0.9
    assert ("16 of the 16 channels" in look.html) == (method == "ablation")


def test_the_answer_is_asked_about_unless_another_class_is(services: Services, photo: ReadImage, model: str):
    answer = services.classify(model, photo.image, top_k=1).predictions[0].label
    assert ask(services, photo, model).wanted == answer
    assert ask(services, photo, model, wanted="gone").wanted == answer
    other = next(name for name in HOSTILE if name != answer)
    look = ask(services, photo, model, wanted=other, against=answer)
    assert (look.wanted, look.against) == (other, answer)
    assert look.html.count("<figcaption>") == 2
    assert look.html.count("why-grey") == 1
    assert ask(services, photo, model, wanted=other, against=other).against is None


def test_class_names_reach_the_page_as_text(services: Services, photo: ReadImage, model: str):
    for language in ("en", "zh"):
        html = ask(services, photo, model, wanted="<b>left</b>", against="${up}", language=language).html
        html += trust_html(services, photo, model, "layer2", method="gradcam", wanted="${up}", language=language)
        assert "&lt;b&gt;left" in html
        assert "<b>left" not in html
        assert "${" not in html


def test_layers_without_places_and_unknown_methods_are_a_sentence(services: Services, photo: ReadImage, model: str):
    with pytest.raises(ModelError, match="no map of places"):
        ask(services, photo, model, "fc")
    with pytest.raises(ConfigError, match="gradcam or ablation"):
        ask(services, photo, model, method="magic")


def test_the_verdict_on_the_page_is_the_one_of_the_test(services: Services, photo: ReadImage, model: str):
    classifier = services.classifier(model)
    inputs = classifier.checkpoint.preprocessing(photo.image)[None]
    test = trust_heat(classifier.model, inputs, "layer2", 1)
    html = trust_html(services, photo, model, "layer2", method="gradcam", wanted="right", language="en")
    assert ("trust-passed" in html) == test.verdict.trusted
    assert ("Do not trust this map." in html) == (not test.verdict.trusted)
    for step in test.steps:
        assert f"<b>{step.likeness:.2f}</b>" in html
    assert f"area {test.deletion.area:.2f}" in html
    assert html.count("<polyline") == 1 + len(test.deletion.by_chance)
    assert heat_address(test.heat, 80) in html
    assert not any(module._forward_hooks for module in classifier.model.modules())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_reason_against_a_map_has_its_sentence(language: str):
    deletion = Deletion(shares=(0, 1), by_map=(1, 0), by_chance=((1, 0), (1, 0)), area=0.5, chance_areas=(0.5, 0.5))
    step = RandomStep(part="stem", likeness=0.71, heat=torch.zeros(2, 2))

    def told(*reasons: str) -> list[str]:
        verdict = Verdict(reasons=reasons)
        test = TrustTest(heat=torch.zeros(2, 2), steps=(step,), deletion=deletion, untaught_gains=(), verdict=verdict)
        return verdict_words(test, "roses", language)[1]

    sentences = told("empty", "survives", "chance", "untaught")
    assert len(set(sentences)) == 4
    assert "0.71" in sentences[1]
    assert "roses" in sentences[0]
    assert len(told()) == 1


def test_the_curves_are_drawn_inside_their_frame():
    deletion = Deletion(
        shares=(0.0, 0.5, 1.0), by_map=(1.0, 0.2, 0.0), by_chance=((1.0, 0.9, 0.0),), area=0.35, chance_areas=(0.7,)
    )
    chart = deletion_chart(deletion, "en")
    lines = [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'points="([^"]+)"', chart)
    ]
    assert [len(line) for line in lines] == [3, 3]
    assert all(0 <= x <= 420 and 0 <= y <= 190 for line in lines for x, y in line)
    by_map = lines[1]
    assert by_map[0][1] < by_map[1][1] < by_map[2][1]  # it falls: further down on the page


def test_a_newer_photo_counts_while_the_last_one_is_looked_at(services: Services):
    async def build() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page, gr.Tab("maps") as tab, gr.Tabs() as tabs, gr.Tab("part"):
            photo, model = gr.Textbox(), gr.Dropdown(["flowers"], value="flowers")
            layer, block, channel = gr.Dropdown(["layer1"], value="layer1"), gr.Textbox(), gr.Number(0)
            opened = model.change(None, None, None)
            where_section(services, Looking(photo, model, layer, block, channel, tabs, tab, opened))
        return page

    page = asyncio.run(build())
    looking = [each for each in page.fns.values() if each.fn is not None and len(each.outputs) == 5]
    assert len(looking) == 1
    assert looking[0].trigger_mode == "always_last"
    assert any("--why-strength" in str(each.js) and each.fn is None for each in page.fns.values())
