"""A person looks inside: photo, map of the network, stage, block, a skip switched off, a channel, its patches, PNG."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.activations.switching import compare_answers, private_copy
from resnet_core.data.images import read_image
from resnet_core.inference.catalog import SHIPPED
from resnet_core.inference.classifier import Classifier

MOVED = 0.02  # a switch that moves the answer by more than this can be seen


def bars(visitor: Visitor) -> dict[str, float]:
    """Label and per cent of each bar of the answer of what is left."""
    card = visitor.part("#block-answer")
    shares = [float(text.rstrip("%")) for text in card.locator(".bar-number").all_text_contents()]
    return dict(zip(card.locator(".bar-label").all_text_contents(), shares, strict=True))


def inner(visitor: Visitor, name: str) -> None:
    visitor.part("#maps-tabs").get_by_role("tab", name=name, exact=True).click()


def box(visitor: Visitor, name: str):
    """The box of a layer or block on the map."""
    return visitor.part(".nm-flow").get_by_role("button", name=re.compile(rf"^{re.escape(name)} ·"))


@pytest.fixture(scope="module")
def telling() -> tuple[str, int, dict[str, float]]:
    """A block whose skip moves the shipped model's answer for one of the examples, which one, and the answer then."""
    twin = private_copy(Classifier.load(SHIPPED))
    folder = Path(__file__).parents[2] / "assets" / "examples"
    for number, path in enumerate(sorted(folder.glob("*.png"))):
        for block in ("layer2.1", "layer3.1", "layer4.1"):
            switched = compare_answers(twin, read_image(path), {block: "skip"})
            first = switched.before.predictions[0]
            after = {each.label: each.probability for each in switched.after.predictions}
            if abs(after[first.label] - first.probability) > MOVED:
                return block, number, after
    pytest.fail("no skip of the shipped model matters for any of the examples")


def test_from_the_map_of_the_network_to_the_patches_of_a_channel(
    visitor: Visitor, examples: list[Path], telling: tuple[str, int, dict[str, float]]
):
    block, number, expected = telling
    stage = block.split(".")[0]
    visitor.go("Feature maps")
    visitor.drop("#maps-photo", examples[number])
    expect(visitor.part(".nm")).to_have_attribute("data-state", "drawn")
    expect(visitor.part(".nm-title")).to_contain_text("parameters")

    visitor.part(".nm-flow").get_by_role("button", name=stage, exact=True).click()
    expect(visitor.part("#maps-layer input")).to_have_value(stage)
    expect(visitor.part("#maps-facts h3")).to_have_text(re.compile(rf"^{stage} · "))

    box(visitor, block).focus()
    visitor.page.keyboard.press("Enter")
    expect(visitor.part("#maps-layer input")).to_have_value(block)
    expect(box(visitor, block)).to_have_attribute("aria-current", "true")
    expect(visitor.part(".nm-inside")).to_contain_text("conv1")

    inner(visitor, "Block")
    expect(visitor.part(".block-part img")).to_have_count(4)
    expect(visitor.part("#block-figures")).to_contain_text(f"{block} changes its input by")
    expect(visitor.part("#block-answer")).to_contain_text("The whole network says")
    whole = bars(visitor)
    visitor.part(f".sw input[data-block='{block}'][data-what=skip]").check()
    expect(visitor.part("#block-answer")).to_contain_text(f"the skip of {block}")
    left = bars(visitor)
    assert left != whole
    assert left == {label: pytest.approx(100 * expected[label], abs=1.5) for label in left}
    expect(visitor.part(".block-part.left-out")).to_have_attribute("data-part", "identity")
    visitor.part(".sw-reset").click()
    expect(visitor.part("#block-answer")).to_contain_text("The whole network says")
    assert bars(visitor) == whole

    visitor.fill("#maps-channel", "5")
    visitor.page.keyboard.press("Enter")
    expect(visitor.part("#block-figures")).to_contain_text("channel 5 of")
    inner(visitor, "Channel")
    visitor.page.get_by_label("Rendered flowers").check()
    visitor.part("#channel-start").click()
    expect(visitor.part(".detective-patches figure")).to_have_count(9)
    with visitor.page.expect_download() as waiting:
        visitor.part("#channel-patches-download").click()
    download = waiting.value
    assert download.suggested_filename.endswith(".png")
    with Image.open(io.BytesIO(Path(download.path()).read_bytes())) as picture:
        assert picture.format == "PNG"
        assert picture.width >= 9 * 20


def test_the_map_follows_the_pictures_size_and_tells_the_tutorials_lesson(visitor: Visitor):
    visitor.go("Feature maps")
    root = visitor.part(".nm")
    expect(root).to_have_attribute("data-state", "drawn")
    visitor.part(".nm-network").select_option("tutorial-cifar/as-published")
    expect(visitor.part(".nm-title")).to_contain_text("as published")
    expect(visitor.part(".nm-fault")).to_contain_text("512×1×1")
    expect(visitor.part(".nm-box.nm-warned")).to_have_count(1)
    visitor.part(".nm-unpooled").check()
    expect(visitor.part(".nm-fault")).to_contain_text("expects 512 values but receives 2048 (512×2×2)")
    expect(visitor.part(".nm-unreached")).to_have_count(1)
    visitor.part(".nm-unpooled").uncheck()
    expect(visitor.part(".nm-fault")).not_to_contain_text("2048")
    visitor.part(".nm-size").fill("64")
    expect(root).to_have_attribute("data-size", "64")
    expect(visitor.part(".nm-group").nth(1)).to_contain_text("128×11×11")
    visitor.part(".nm-size").fill("2")
    expect(visitor.part(".nm-fault")).to_contain_text("use at least 3×3 pixels")
    visitor.part(".nm-network").select_option("resnet110")
    expect(visitor.part(".nm-flow")).to_contain_text("× 18")
    expect(visitor.part(".nm-fault")).to_be_hidden()
    before = visitor.part("#maps-layer input").input_value()
    box(visitor, "layer2.1").click()  # of a network that is not opened: only its numbers are shown
    visitor.part(".nm-which").fill("7")
    visitor.page.keyboard.press("Tab")
    expect(visitor.part(".nm-facts")).to_contain_text("layer2.7 ")
    assert visitor.part("#maps-layer input").input_value() == before


def test_one_number_is_worked_out_by_a_click(visitor: Visitor, examples: list[Path]):
    visitor.go("Feature maps")
    visitor.drop("#maps-photo", examples[0])
    expect(visitor.part("#maps-sheet img")).to_be_visible()
    visitor.choose("#maps-layer", "layer2.0.conv1")
    inner(visitor, "Channel")
    visitor.page.get_by_role("button", name="The arithmetic behind one number").click()
    told = visitor.part(".worked-agrees")
    expect(told).to_be_visible()
    visitor.part("#arithmetic-map img").click()
    expect(visitor.part("#arithmetic-row input")).not_to_have_value("0")
    expect(visitor.part("#arithmetic-worked h3")).to_contain_text(
        f"row {visitor.part('#arithmetic-row input').input_value()}"
    )
    shown, value = (float(str(told.get_attribute(f"data-{key}"))) for key in ("shown", "value"))
    assert shown == pytest.approx(value, abs=1e-5 * max(1.0, abs(value)))


def test_on_a_phone_nothing_of_it_scrolls_the_page_sideways(visit: Callable[..., Visitor], examples: list[Path]):
    visitor = visit("?__theme=dark", viewport={"width": 390, "height": 844}, has_touch=True)
    visitor.go("Feature maps")
    visitor.drop("#maps-photo", examples[4])
    expect(visitor.part(".nm")).to_have_attribute("data-state", "drawn")
    visitor.part(".nm-network").select_option("resnet152")
    expect(visitor.part(".nm-title")).to_contain_text("ResNet-152")
    assert visitor.sideways() <= 0
    inner(visitor, "Block")
    expect(visitor.part(".block-part img")).to_have_count(4)
    assert visitor.sideways() <= 0
