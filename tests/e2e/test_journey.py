"""What a person does on a first visit, start to end, in a real browser on the real app."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from app_process import AppProcess
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.activations.render import render_sheet, tile_box
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.inference.catalog import SHIPPED
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import RunStore

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
TRAINING = 300_000  # ms; an epoch takes 10 s on two quiet cores, and training lets everybody else go first
LINES = ".lb-chart[data-chart={chart}] path.lb-{key}"


def read_answer(visitor: Visitor) -> tuple[str, list[tuple[str, float]]]:
    """The headline and the bars (label, percent)."""
    card = visitor.part("#classify-answer")
    labels = card.locator(".bar-label").all_text_contents()
    shares = [float(text.rstrip("%")) for text in card.locator(".bar-number").all_text_contents()]
    return card.locator("h2").inner_text(), list(zip(labels, shares, strict=True))


def points(visitor: Visitor, chart: str, key: str) -> int:
    """How many points a curve has."""
    paths = visitor.page.locator(LINES.format(chart=chart, key=key))
    drawn = [paths.nth(index).get_attribute("d") or "" for index in range(paths.count())]
    return sum(path.count("L") + path.count("M") for path in drawn)


def wait_for_epochs(visitor: Visitor, epochs: int) -> None:
    """Returns once the run's log tells of that epoch."""
    told = visitor.part(".lb-log li").filter(has_text=f"Epoch {epochs}: ")
    expect(told).to_have_count(1, timeout=TRAINING)


# Classify


def test_a_dropped_photo_is_answered_with_one_of_the_five_flowers(visitor: Visitor, examples: list[Path]):
    visitor.drop("#classify-photo", examples[0])
    expect(visitor.part("#classify-answer h2")).to_be_visible()
    headline, bars = read_answer(visitor)
    assert headline in (*FLOWERS, "I do not know this")
    assert sorted(label for label, _ in bars) == sorted(FLOWERS)
    assert sum(share for _, share in bars) == pytest.approx(100, abs=0.3)
    assert [share for _, share in bars] == sorted((share for _, share in bars), reverse=True)
    expect(visitor.part("#classify-answer .sureness")).to_have_text(re.compile(r"(· [<>]?\d+%|nearest: )"))
    expect(visitor.part("#classify-answer")).to_contain_text(re.compile(r"answered in \d+ ms"))


def test_an_example_is_one_click_away_and_more_shows_what_the_network_saw(visitor: Visitor):
    visitor.part("#classify-examples button, #classify-examples .gallery-item").first.click()
    expect(visitor.part("#classify-answer h2")).to_be_visible()
    visitor.page.get_by_role("button", name="More").first.click()
    expect(visitor.part("#classify-seen img")).to_be_visible()
    side = visitor.part("#classify-seen img").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    crop = load_checkpoint(SHIPPED)[0].preprocessing.crop
    assert side == [crop, crop]


def test_most_photos_never_seen_in_training_are_named_rightly(visitor: Visitor, shared_data: Path):
    right = 0
    for flower in FLOWERS:
        photo = sorted((shared_data / "flower_photos" / "val" / flower).glob("*.jpg"))[0]
        visitor.drop("#classify-photo", photo)
        expect(visitor.part("#classify-answer h2")).to_be_visible()
        headline, _ = read_answer(visitor)
        right += headline == flower
        visitor.page.get_by_label("Remove Image").first.click()
        expect(visitor.part("#classify-answer h2")).to_have_count(0)
    assert right >= 3


def test_an_answer_that_was_asked_for_earlier_never_replaces_a_later_one(
    visitor: Visitor, paper_width: str, examples: list[Path]
):
    visitor.go("Train")
    visitor.go("Classify")  # lists the model
    held: list[Any] = []
    visitor.page.route("**/queue/join*", lambda route: route.continue_() if held else held.append(route))
    visitor.choose("#classify-model", "as wide as the paper · best epoch")
    while not held:  # choosing a model asks the app
        visitor.page.wait_for_timeout(100)
    visitor.drop("#classify-photo", examples[2])
    visitor.page.wait_for_timeout(2000)  # the photo may not be answered yet; if it is, that answer has to stay
    held[0].continue_()
    expect(visitor.part("#classify-answer h2")).to_be_visible()
    visitor.page.wait_for_timeout(1500)
    expect(visitor.part("#classify-answer h2")).to_be_visible()


# Train


def begin(visitor: Visitor, name: str, epochs: int) -> None:
    """Fills the form as a beginner would, and presses Start."""
    visitor.go("Train")
    visitor.fill("#train-epochs", str(epochs))
    more = visitor.page.get_by_role("tabpanel").filter(has=visitor.part("#train-start")).get_by_role("button")
    more.filter(has_text="More").click()
    visitor.fill("#train-name", name)
    visitor.part("#train-start").click()
    expect(visitor.part(".lb-title")).to_have_text(name)


@pytest.fixture
def idle(app: AppProcess):
    """Afterwards nothing trains any more, whatever went wrong."""
    yield
    from gradio_client import Client

    with_client = Client(app.url, verbose=False, analytics_enabled=False)
    for run in with_client.predict(api_name="/list_runs"):
        if run["status"] not in ("finished", "stopped", "failed", "interrupted"):
            with_client.predict(run["run_id"], api_name="/stop_training")
    with_client.close()


@pytest.mark.slow
def test_a_training_is_watched_reloaded_paused_shared_and_its_model_asked(
    visitor: Visitor, visit: Callable[..., Visitor], examples: list[Path], idle: None
):
    begin(visitor, "first garden", 2)
    board = visitor.part(".lb")
    wait_for_epochs(visitor, 1)
    run_id = board.get_attribute("data-run")
    seen = points(visitor, "loss", "step")
    assert seen > 0

    visitor.page.reload()
    visitor.go("Train")
    expect(visitor.part(".lb-title")).to_have_text("first garden")
    expect(visitor.part(".lb-chart[data-chart=accuracy] path.lb-val").first).to_be_attached()
    assert points(visitor, "loss", "step") >= seen

    expect(visitor.part("#train-pause")).to_be_enabled()
    visitor.part("#train-pause").click()
    expect(visitor.part(".lb-status")).to_have_text("paused")
    expect(visitor.part("#train-resume")).to_be_enabled()
    expect(visitor.part("#train-pause")).to_be_disabled()
    friend = visit()
    friend.go("Train")
    expect(friend.part(".lb-title")).to_have_text("first garden")
    expect(friend.part(".lb-status")).to_have_text("paused")
    assert friend.part(".lb").get_attribute("data-run") == run_id
    expect(friend.part("#train-resume")).to_be_enabled()
    friend.part("#train-resume").click()

    for who in (visitor, friend):
        expect(who.part(".lb-status")).to_have_text("finished", timeout=TRAINING)
        wait_for_epochs(who, 2)
        for chart in ("loss", "accuracy"):
            assert [points(who, chart, key) >= 2 for key in ("train", "val")] == [True, True]
        expect(who.part("#train-stop")).to_be_disabled()
    expect(visitor.part(".lb-best")).to_have_text(re.compile(r"Best: epoch [12], val accuracy \d+\.\d %"))
    assert points(visitor, "loss", "step") > seen

    visitor.go("Classify")
    visitor.choose("#classify-model", "first garden · best epoch")
    visitor.drop("#classify-photo", examples[2])
    expect(visitor.part("#classify-answer h2")).to_be_visible()
    assert sorted(label for label, _ in read_answer(visitor)[1]) == sorted(FLOWERS)


def test_stop_ends_a_training_where_it_is_and_it_can_be_taken_up_again(visitor: Visitor, idle: None):
    begin(visitor, "cut short", 60)
    expect(visitor.part(".lb-status")).to_have_text("running")
    expect(visitor.part("#train-stop")).to_be_enabled()
    visitor.part("#train-stop").click()
    expect(visitor.part(".lb-status")).to_have_text("stopped")
    expect(visitor.part(".lb-log li").first).to_contain_text("Stopped.")
    expect(visitor.part("#train-stop")).to_be_disabled()
    expect(visitor.part("#train-resume")).to_be_enabled()
    visitor.part("#train-resume").click()
    expect(visitor.part(".lb-status")).to_have_text("running")
    visitor.part("#train-stop").click()
    expect(visitor.part(".lb-status")).to_have_text("stopped")


# Feature maps


def channels_of(name: str, checkpoint: Path) -> int:
    """How many channels a stage has, asked of the model itself."""
    _, model = load_checkpoint(checkpoint)
    return [module for module in model.get_submodule(name).modules() if isinstance(module, torch.nn.Conv2d)][
        -1
    ].out_channels


@pytest.fixture(scope="module")
def paper_width(app: AppProcess) -> str:
    """A run whose network is as wide as the paper's, untrained; what counts here are its layers."""
    torch.manual_seed(0)
    run = RunStore(app.runs).create(TrainConfig(name="as wide as the paper"))
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments={"num_classes": 5},
        class_names=FLOWERS,
        preprocessing=Preprocessing(resize=64, crop=64),
    )
    save_checkpoint(run.folder / "best.safetensors", checkpoint, build_model("resnet18", num_classes=5).state_dict())
    return run.run_id


def point_of(channel: int, channels: int, side: int) -> tuple[float, float]:
    """Where a channel lies on the sheet, as shares of its width and height."""
    sheet = render_sheet(torch.rand(channels, side, side))
    left, top, right, bottom = tile_box(sheet, channel)
    return (left + right) / 2 / sheet.image.width, (top + bottom) / 2 / sheet.image.height


def open_layer(visitor: Visitor, photo: Path, layer: str) -> tuple[int, int]:
    """Drops a photo, picks the layer; its channels and their side as the page tells them."""
    visitor.drop("#maps-photo", photo)
    expect(visitor.part("#maps-sheet img")).to_be_visible()
    visitor.choose("#maps-layer", layer)
    heading = visitor.part("#maps-facts h3")
    expect(heading).to_have_text(re.compile(rf"^{layer} · \d+ channels of"))
    channels, side = re.findall(r"(\d+) channels of (\d+)", heading.inner_text())[0]
    return int(channels), int(side)


def enlarge(visitor: Visitor, channel: int, channels: int, side: int) -> None:
    """Clicks a channel of the sheet and waits until it stands there large, with its number."""
    before = visitor.part("#maps-channel-picture img").get_attribute("src")
    x, y = point_of(channel, channels, side)
    box = visitor.picture_box("#maps-sheet img")
    spot = {"x": box["left"] + x * box["w"], "y": box["top"] + y * box["h"]}
    visitor.part("#maps-sheet img").click(position=spot)
    expect(visitor.part("#maps-channel-facts")).to_contain_text(f"Channel {channel} of layer2")
    expect(visitor.part("#maps-channel input")).to_have_value(str(channel))
    expect(visitor.part("#maps-channel-picture img")).not_to_have_attribute("src", str(before))


def test_layer2_of_the_shipped_model_shows_all_channels_and_a_click_enlarges_one(
    visitor: Visitor, examples: list[Path]
):
    visitor.go("Feature maps")
    channels, side = open_layer(visitor, examples[3], "layer2")
    assert channels == channels_of("layer2", SHIPPED)
    enlarge(visitor, channels - 3, channels, side)
    expect(visitor.part("#maps-table")).to_contain_text(f"{channels}×{side}×{side}")


def test_layer2_of_a_network_as_wide_as_the_papers_has_128_maps(
    visitor: Visitor, examples: list[Path], paper_width: str
):
    visitor.go("Feature maps")
    visitor.choose("#maps-model", "as wide as the paper · best epoch")
    channels, side = open_layer(visitor, examples[0], "layer2")
    assert (channels, side) == (128, 8)
    enlarge(visitor, 71, channels, side)


def test_a_row_of_the_layer_table_opens_that_layer(visitor: Visitor, examples: list[Path]):
    visitor.go("Feature maps")
    visitor.drop("#maps-photo", examples[1])
    expect(visitor.part("#maps-sheet img")).to_be_visible()
    visitor.part("#maps-table").get_by_text("bn1", exact=True).first.click()
    expect(visitor.part("#maps-facts h3")).to_have_text(re.compile(r"^bn1 · \d+ channels of"))


# Any screen


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_tab_scrolls_sideways(visit: Callable[..., Visitor], examples: list[Path], theme: str, width: int):
    small: dict[str, Any] = {"viewport": {"width": width, "height": 844}, "has_touch": width < 500}
    visitor = visit(f"?__theme={theme}", **small)
    visitor.drop("#classify-photo", examples[4])
    expect(visitor.part("#classify-answer h2")).to_be_visible()
    assert visitor.sideways() <= 0
    visitor.go("Train")
    expect(visitor.part("#train-start")).to_be_visible()
    expect(visitor.part(".lb")).not_to_have_attribute("data-polls", "0")
    assert visitor.sideways() <= 0
    visitor.go("Feature maps")
    visitor.drop("#maps-photo", examples[4])
    expect(visitor.part("#maps-channel-picture img")).to_be_visible()
    expect(visitor.part("#maps-table")).to_contain_text("conv1")
    assert visitor.sideways() <= 0
    assert visitor.page.evaluate("document.body.classList.contains('dark')") == (theme == "dark")
