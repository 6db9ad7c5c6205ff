"""The Layers part with a person in front of it: photo, layer, order, colours, a channel, its kernel, the files."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from app_process import AppProcess
from PIL import Image
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.training.config import TrainConfig
from resnet_core.training.kept_epochs import CHECKPOINT, STATE
from resnet_core.training.runs import RunStore

CHOICES = ("#maps-photo", "#maps-model", "#maps-model-kept", "#maps-layer", "#maps-order", "#maps-relu")
FIRST_SCREEN = (*CHOICES, "#network-map", "#maps-facts h3")


def heading(visitor: Visitor) -> str:
    return str(visitor.part("#maps-facts h3").inner_text())


@pytest.fixture
def kept_epoch(app: AppProcess) -> None:
    """A run with a kept epoch: then there is one more thing to choose."""
    folder = RunStore(app.runs).create(TrainConfig()).folder / "kept"
    folder.mkdir()
    for ending in CHECKPOINT, STATE:
        (folder / f"epoch-0001{ending}").touch()


def test_from_a_photo_to_a_channel_its_kernel_and_the_files(visitor: Visitor, examples: list[Path], kept_epoch: None):
    visitor.go("Feature maps")
    visitor.drop("#maps-photo", examples[0])
    sheet = visitor.part("#maps-sheet img")
    expect(sheet).to_be_visible()
    for part in FIRST_SCREEN:
        box = visitor.part(part).first.bounding_box()
        assert box is not None, part
        assert box["y"] + box["height"] <= 800, f"{part} is below the first screen"
    assert sheet.bounding_box()["y"] + sheet.bounding_box()["height"] <= 800
    visitor.choose("#maps-layer", "conv1")
    expect(visitor.part("#maps-facts h3")).to_have_text(re.compile(r"^conv1 · \d+ channels of"))
    expect(sheet).to_have_attribute("alt", re.compile(r"^What conv1 makes of the photo: \d+ maps"))
    before = sheet.get_attribute("src")
    visitor.choose("#maps-order", "strongest first")
    expect(sheet).not_to_have_attribute("src", str(before))
    strongest = int(re.findall(r"from channel (\d+) to", sheet.get_attribute("alt"))[0])
    box = visitor.picture_box("#maps-sheet img")
    sheet.click(position={"x": box["left"] + 12, "y": box["top"] + 12})
    if strongest:
        expect(visitor.part("#maps-channel-facts")).to_contain_text(f"Channel {strongest} of conv1")
    expect(visitor.part("#maps-channel input")).to_have_value(str(strongest))
    visitor.part("#maps-kernels button").first.click()
    expect(visitor.part("#maps-kernels-facts")).to_contain_text("kernels of conv1")
    expect(visitor.part("#maps-kernels-picture img")).to_be_visible()
    expect(visitor.part("#maps-kernels-numbers td").first).to_have_text(re.compile(r"^[+−-]0\.\d{4}$"))
    content = taken(visitor, "npz")
    file = np.load(io.BytesIO(content), allow_pickle=False)
    assert json.loads(str(file["about"]))["layers"] == ["conv1"]
    assert file["conv1"].shape[0] > strongest
    with Image.open(io.BytesIO(taken(visitor, "png"))) as picture:
        assert picture.format == "PNG"
    with Image.open(io.BytesIO(taken(visitor, "webp"))) as film:
        assert film.n_frames >= 6
    assert visitor.sideways() <= 0


def taken(visitor: Visitor, form: str) -> bytes:
    """Presses a button of “Take it away” and downloads what it made."""
    visitor.part(f"#maps-take-{form}").click()
    offered = visitor.part("#maps-take-file")
    expect(offered).to_contain_text(f".{form}")
    with visitor.page.expect_download() as download:
        offered.click()
    return Path(download.value.path()).read_bytes()
