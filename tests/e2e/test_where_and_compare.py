"""Where the network looked, whether that may be trusted, and two photos under a slider, in a real browser."""

from pathlib import Path

from playwright.sync_api import expect
from visitor import Visitor


def inner(visitor: Visitor, name: str) -> None:
    """Opens an inner tab of Feature maps."""
    visitor.part("#maps-tabs").get_by_role("tab", name=name, exact=True).click()


def test_a_heat_map_is_tested_and_two_photos_are_compared(visitor: Visitor, examples: list[Path]):
    page = visitor.page
    visitor.go("Feature maps")
    visitor.drop("#maps-photo", examples[0])
    expect(visitor.part("#maps-facts h3")).to_contain_text("layer1")
    visitor.choose("#maps-layer", "layer4")

    inner(visitor, "Where")
    expect(visitor.part("#where-maps h3")).to_have_text("What speaks for “daisy” at layer4")
    layer = visitor.part("#where-maps .why-layer").first
    gradient = layer.get_attribute("src")
    strength = visitor.part("#where-strength input[type=number]")
    strength.fill("20")
    strength.press("Enter")
    expect(layer).to_have_css("opacity", "0.2")
    page.get_by_label("Ablation-CAM").check()
    expect(visitor.part("#where-maps")).to_contain_text("384 of the 384 channels")
    assert layer.get_attribute("src") != gradient
    visitor.choose("#where-against", "tulips")
    expect(visitor.part("#where-maps .why-layer")).to_have_count(2)
    visitor.part("#where-trust-button").click()
    expect(visitor.part("#where-trust .trust-verdict")).to_be_visible()
    expect(visitor.part("#where-trust .trust-steps figure")).to_have_count(7)
    expect(visitor.part("#where-trust polyline")).to_have_count(10)

    inner(visitor, "Compare")
    page.get_by_label("Two photos").check()
    expect(visitor.part("#compare-slider .cs-empty")).to_have_text("Drop the other photo above.")
    visitor.drop("#compare-photo", examples[2])
    expect(visitor.part(".cs-left-says")).to_contain_text("photo on the left: “daisy”")
    expect(visitor.part(".cs-right-says")).to_contain_text("photo on the right: “roses”")
    handle = visitor.part(".cs-handle")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    expect(handle).to_have_value("49")
    box = visitor.part(".cs-stage").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 30, steps=4)
    page.mouse.up()
    expect(handle).to_have_value("25")
    assert visitor.part(".cs").evaluate("part => part.style.getPropertyValue('--cs-at')") == "25%"
    assert visitor.sideways() <= 0
