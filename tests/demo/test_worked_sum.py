"""The sums shown on the page are the network's numbers, in layers of every kind, at any place."""

import re
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from demo.examples import RENDERED
from demo.maps.arithmetic_section import map_picture, place_at, scale_of
from demo.maps.worked_sum import WorkedSum, work_out
from demo.services import Services
from resnet_core.data.images import read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

LAYERS = {
    "resnet18": ["conv1", "bn1", "relu", "maxpool", "layer2.0.conv1", "layer2.0.downsample.0", "layer2.0.relu2",
                 "layer2.0.downsample", "layer3.1.bn2", "layer3", "layer4.0", "avgpool", "fc"],
    "tutorial-cifar": ["conv1", "layer1.0.conv1", "layer4.0.downsample.0", "layer4", "fc"],
    "resnet20": ["layer2.0.downsample", "layer1.0.relu1", "layer3.2"],
    "resnet8": ["conv1", "layer1.0.conv", "layer1.0.pool", "layer1.0", "layer2"],
}  # fmt: skip
PHOTO = read_image_with_notes(RENDERED[2])
CASES = [(name, layer) for name, layers in LAYERS.items() for layer in layers]


@pytest.fixture(scope="module")
def models(services: Services) -> dict[str, str]:
    """A run of each family, with statistics of its own."""
    return {name: saved(services, name) for name in LAYERS}


def saved(services: Services, name: str) -> str:
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    arguments: dict[str, Any] = {"num_classes": 3, **({"width": 8} if name in ("resnet18", "resnet8") else {})}
    network = build_model(name, **arguments)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    checkpoint = Checkpoint(
        architecture=name,
        architecture_arguments=arguments,
        class_names=("a", "b", "c"),
        preprocessing=Preprocessing(resize=40, crop=40),
    )
    save_checkpoint(run.folder / "best.safetensors", checkpoint, network.state_dict())
    return run.run_id


def numbers(html: str) -> tuple[float, float]:
    """The sum as shown and the network's number, to the last digit."""
    found = re.search(r'data-shown="([^"]+)" data-value="([^"]+)"', html)
    assert found
    return float(found[1]), float(found[2])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_shown_sum_is_the_networks_number(services: Services, models: dict[str, str], data: st.DataObject) -> None:
    name, layer = data.draw(st.sampled_from(CASES))
    place = tuple(data.draw(st.integers(0, 60)) for _ in range(3))
    found = work_out(services, PHOTO, models[name], layer, place, 1, "en")  # type: ignore[arg-type]
    shown, value = numbers(found.html)
    at = found.place if found.activation.ndim == 3 else found.place[:1]
    assert value == pytest.approx(float(found.activation[at]), abs=1e-5)
    assert shown == pytest.approx(value, abs=1e-5 * max(1.0, abs(value), _scale(found)))
    assert all(at < size for at, size in zip(found.place, found.activation.shape, strict=False))


def _scale(found: WorkedSum) -> float:
    return float(found.activation.abs().max())


def pages_of(html: str) -> tuple[float, ...]:
    return tuple(float(each.replace("−", "-")) for each in re.findall(r"input channel \d+: ([−\d.e+]+)<", html))


def test_all_pages_together_hold_every_input_channel_once(services: Services, models: dict[str, str]) -> None:
    model, layer = models["tutorial-cifar"], "layer2.0.conv1"
    first = work_out(services, PHOTO, model, layer, (5, 0, 0), 1, "en")
    pages = [work_out(services, PHOTO, model, layer, (5, 0, 0), page, "en") for page in range(1, first.pages + 1)]
    channels = [int(each) for found in pages for each in re.findall(r"input channel (\d+):", found.html)]
    assert sorted(channels) == list(range(128))
    sums = [each for found in pages for each in pages_of(found.html)]
    assert [abs(each) for each in sums] == sorted((abs(each) for each in sums), reverse=True)
    bias = float(services.classifier(model).model.get_submodule(layer).bias[5])
    assert sum(sums) + bias == pytest.approx(first.value, abs=1e-3)  # of numbers rounded to six digits
    beyond = work_out(services, PHOTO, model, layer, (5, 0, 0), 10**6, "en")
    assert beyond.html == pages[-1].html


def test_a_corner_says_what_lies_over_the_border(services: Services, models: dict[str, str]) -> None:
    corner = work_out(services, PHOTO, models["resnet18"], "layer2.0.conv1", (0, 0, 0), 1, "en")
    assert "5 of its places lie over the border" in corner.html
    assert corner.html.count("class=over") == 5 * 3 * 6  # in input, kernel and product, of six input channels
    assert "rows -1 to 1 and columns -1 to 1" in corner.html
    middle = work_out(services, PHOTO, models["resnet18"], "layer2.0.conv1", (0, 2, 2), 1, "en")
    assert "over the border" not in middle.html


def test_a_place_outside_becomes_the_nearest(services: Services, models: dict[str, str]) -> None:
    found = work_out(services, PHOTO, models["resnet18"], "layer4.0", (-4, 99, 10**9), 1, "zh")
    assert found.place == (0, 1, 1)
    assert "第 1 行" in found.html


def test_a_row_of_layers_is_worked_out_at_its_end(services: Services, models: dict[str, str]) -> None:
    for name, layer, last in (
        ("resnet18", "layer3", "layer3.1"),
        ("resnet18", "layer2.0.downsample", "layer2.0.downsample.1"),
        ("resnet8", "layer1.0", "layer1.0.relu"),
    ):
        found = work_out(services, PHOTO, models[name], layer, (1, 1, 1), 1, "en")
        assert f"those of the last one, {last}." in found.html
        assert found.shown == pytest.approx(found.value, abs=1e-5)


@given(height=st.integers(1, 300), width=st.integers(1, 300), data=st.data())
def test_a_click_on_the_map_finds_its_place(height: int, width: int, data: st.DataObject) -> None:
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    scale = scale_of((4, height, width))
    assert place_at((4, height, width), (column + 0.5) * scale, (row + 0.5) * scale) == (row, column)
    assert place_at((4, height, width), 10**6, -5) == (0, width - 1)
    assert place_at((12,), 5, 5) == (0, 0)


def test_the_map_shows_the_place_that_was_picked(services: Services, models: dict[str, str]) -> None:
    found = work_out(services, PHOTO, models["resnet18"], "layer2.0.conv1", (0, 1, 3), 1, "en")
    picture: Image.Image = map_picture(found)
    scale = scale_of(tuple(found.activation.shape))
    assert picture.size == (5 * scale, 5 * scale)
    assert picture.getpixel((3 * scale - 1, 2 * scale - 5)) == (213, 94, 0)
    vector = work_out(services, PHOTO, models["resnet18"], "fc", (2, 0, 0), 1, "en")
    assert map_picture(vector).size[0] > 0


def test_the_first_layer_shows_the_three_colours(services: Services, models: dict[str, str]) -> None:
    html = work_out(services, PHOTO, models["resnet18"], "conv1", (0, 0, 0), 1, "en").html
    assert html.count("<figure>") == 3
    assert "sum of all 147 products" in html


def test_the_published_shortcut_that_is_larger_than_its_branch_is_worked_out_at_every_place(services: Services) -> None:
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    arguments: dict[str, Any] = {"num_classes": 3, "as_published": True}
    checkpoint = Checkpoint(
        architecture="tutorial-cifar",
        architecture_arguments=arguments,
        class_names=("a", "b", "c"),
        preprocessing=Preprocessing(resize=32, crop=32),
    )
    weights = build_model("tutorial-cifar", **arguments).state_dict()
    save_checkpoint(run.folder / "best.safetensors", checkpoint, weights)
    for row in (0, 1):
        found = work_out(services, PHOTO, run.run_id, "layer4", (7, row, 1), 1, "en")
        assert found.place == (7, row, 1)
        assert found.shown == pytest.approx(found.value, abs=1e-5)
        assert found.value == pytest.approx(float(found.activation[found.place]), abs=1e-5)
