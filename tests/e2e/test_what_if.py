"""A person asks why, and what if: paints over the flower, turns it, asks for another class, on a screen and a phone."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from app_process import AppProcess
from PIL import Image, ImageOps
from playwright.sync_api import Request, expect
from visitor import Visitor

SUNFLOWERS = 3  # of the examples
PIXELS = """canvas => { const {width, height} = canvas;
  return [...canvas.getContext('2d').getImageData(width / 2, height / 2, 1, 1).data]; }"""


def open_example(visitor: Visitor, number: int) -> None:
    """Clicks one of the examples and waits for its answer."""
    visitor.part("#classify-examples button, #classify-examples .gallery-item").nth(number).click()
    expect(visitor.part("#classify-answer h2")).to_be_visible()


def unfold(visitor: Visitor, title: str) -> None:
    visitor.page.get_by_role("button", name=re.compile(f"^{re.escape(title)}")).click()


def settled(visitor: Visitor, answers: int) -> int:
    """Waits until the newest picture was answered; how many answers there were, more than `answers`."""
    expect(visitor.part(".wi")).to_have_attribute("data-settled", "true")
    visitor.page.wait_for_function("n => Number(document.querySelector('.wi').dataset.answers) > n", arg=answers)
    return int(visitor.part(".wi").get_attribute("data-answers"))


def bars(visitor: Visitor) -> dict[str, float]:
    """Label and per cent of each bar of the edited picture."""
    rows = visitor.part(".wi-row")
    labels, shares = rows.locator(".bar-label").all_text_contents(), rows.locator(".bar-number").all_text_contents()
    return {label: float(share.rstrip("%")) for label, share in zip(labels, shares, strict=True)}


def answer(visitor: Visitor) -> dict[str, float]:
    """Label and per cent of each bar of the answer card."""
    card = visitor.part("#classify-answer")
    shares = [float(text.rstrip("%")) for text in card.locator(".bar-number").all_text_contents()]
    return dict(zip(card.locator(".bar-label").all_text_contents(), shares, strict=True))


def paint(visitor: Visitor, *, across: float = 0.8) -> None:
    """Wipes over the middle of the photo with the mouse."""
    visitor.part(".wi-canvas").scroll_into_view_if_needed()
    box = visitor.part(".wi-canvas").bounding_box()
    mouse = visitor.page.mouse
    left, right = (box["x"] + box["width"] * (0.5 + side * across / 2) for side in (-1, 1))
    for number in range(5):
        y = box["y"] + box["height"] * (0.5 + (number - 2) * across / 4)
        mouse.move(left, y)
        mouse.down()
        mouse.move(right, y, steps=6)
        mouse.up()


def slide(visitor: Visitor, name: str, value: float) -> None:
    """Moves a slider as a hand does: the page hears of it."""
    visitor.part(f".wi-{name}").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
    )


def test_a_person_paints_over_the_flower_and_watches_the_answer_fall(visitor: Visitor):
    under_way: list[Request] = []
    most = 0

    def began(request: Request) -> None:
        nonlocal most
        if "api/classify" in request.url:
            under_way.append(request)
            most = max(most, len(under_way))

    visitor.page.on("request", began)
    visitor.page.on("requestfinished", lambda request: request in under_way and under_way.remove(request))
    open_example(visitor, SUNFLOWERS)
    assert not under_way
    assert visitor.part(".wi").count() == 0 or not visitor.part(".wi").is_visible()
    unfold(visitor, "What if")
    answers = settled(visitor, 0)
    first = bars(visitor)
    label, share = next(iter(first.items()))
    told = answer(visitor)
    assert set(first) == set(told)
    assert all(abs(first[name] - told[name]) < 2 for name in told)
    expect(visitor.part(".wi-sentence")).to_have_text(re.compile("Paint over a part"))

    paint(visitor)
    answers = settled(visitor, answers)
    painted = bars(visitor)
    assert painted[label] < share - 20
    expect(visitor.part(".wi-sentence")).to_have_text(re.compile(f"“{label}” fell from ({share:.0f}|>99)% to"))
    assert visitor.part(".wi-canvas").evaluate(PIXELS) == [124, 116, 104, 255]
    marks = visitor.part(".wi-mark").evaluate_all("marks => marks.map(mark => parseFloat(mark.style.left))")
    assert marks[0] > painted[label]

    visitor.part(".wi-undo").click()
    visitor.part(".wi-undo").evaluate("button => { for (let stroke = 0; stroke < 5; stroke += 1) button.click(); }")
    expect(visitor.part(".wi-undo")).to_be_disabled()
    answers = settled(visitor, answers)
    assert bars(visitor) == first

    slide(visitor, "turn", 90)
    answers = settled(visitor, answers)
    turned = bars(visitor)
    assert turned != first
    expect(visitor.part(".wi-turn + output")).to_have_text("90°")
    slide(visitor, "quality", 3)
    answers = settled(visitor, answers)
    assert bars(visitor) != turned
    slide(visitor, "blur", 12)
    slide(visitor, "light", -1.5)
    answers = settled(visitor, answers)
    expect(visitor.part(".wi-light + output")).to_have_text("35%")

    visitor.part(".wi-reset").click()
    answers = settled(visitor, answers)
    assert bars(visitor) == first
    visitor.part(".wi-canvas").focus()
    for key in ("ArrowRight", "ArrowDown", "Space"):
        visitor.page.keyboard.press(key)
    answers = settled(visitor, answers)
    assert bars(visitor) != first
    visitor.page.keyboard.press("Control+z")
    settled(visitor, answers)
    assert bars(visitor) == first
    assert most == 1

    open_example(visitor, 0)  # the open section follows the photo
    expect(visitor.part(".wi-row").first).not_to_have_attribute("data-label", label)


@pytest.fixture
def ten_photos(app: AppProcess, examples: list[Path]) -> Iterator[None]:
    """For a while the shipped model's own data set is here, as small as can be."""
    folder = app.data / "flower_photos"
    for path in examples:
        for split, names in (("train", ("straight", "mirrored")), ("val", ("straight",))):
            (folder / split / path.stem).mkdir(parents=True)
            for name in names:
                with Image.open(path) as picture:
                    shown = ImageOps.mirror(picture) if name == "mirrored" else picture
                    shown.save(folder / split / path.stem / f"{name}.png")
    yield
    shutil.rmtree(folder)


def test_a_person_asks_why_for_another_class_and_sees_training_pictures(visitor: Visitor, ten_photos: None):
    open_example(visitor, 0)
    unfold(visitor, "Why this answer")
    captions = visitor.part("#why-maps figcaption")
    expect(captions).to_have_count(2)
    best, runner_up = list(answer(visitor))[:2]
    expect(captions.nth(0)).to_contain_text(f"What speaks for “{best}”")
    expect(captions.nth(1)).to_contain_text(f"Why “{best}” and not “{runner_up}”")
    before = visitor.part("#why-maps .why-layer").nth(0).get_attribute("src")
    visitor.choose("#why-for", runner_up)
    expect(captions.nth(0)).to_contain_text(f"What speaks for “{runner_up}”")
    expect(captions.nth(1)).to_contain_text(f"Why “{runner_up}” and not “{best}”")
    assert visitor.part("#why-maps .why-layer").nth(0).get_attribute("src") != before
    visitor.choose("#why-against", "tulips")
    expect(captions.nth(1)).to_contain_text(f"Why “{runner_up}” and not “tulips”")

    opacity = "layer => Number(getComputedStyle(layer).opacity)"
    assert visitor.part(".why-layer").first.evaluate(opacity) == 0.6
    visitor.part("#why-strength input[type=number]").fill("90")
    visitor.page.keyboard.press("Tab")
    visitor.page.wait_for_function("() => getComputedStyle(document.querySelector('.why-layer')).opacity === '0.9'")

    visitor.part("#why-nearest-button").click()
    expect(visitor.part("#why-nearest img")).to_have_count(6)
    expect(visitor.part("#why-nearest")).to_contain_text("10 training pictures of flower_photos")
    expect(visitor.part("#why-nearest figcaption").first).to_have_text("daisy · 1.00")
    seen = visitor.part("#why-nearest").inner_html()
    open_example(visitor, SUNFLOWERS)  # what is open follows the photo, without asking again
    expect(captions.nth(0)).not_to_contain_text(f"“{runner_up}”")
    expect(visitor.part("#why-nearest")).to_contain_text("training pictures most like this photo")
    assert visitor.part("#why-nearest").inner_html() != seen


def test_on_a_phone_a_finger_paints_and_nothing_goes_sideways(visit: Callable[..., Visitor]):
    phone = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, locale="zh-CN")
    open_example(phone, SUNFLOWERS)
    unfold(phone, "为什么是这个答案")
    expect(phone.part("#why-maps figcaption")).to_have_count(2)
    unfold(phone, "如果")
    answers = settled(phone, 0)
    first = bars(phone)
    phone.part(".wi-canvas").scroll_into_view_if_needed()
    box = phone.part(".wi-canvas").bounding_box()
    phone.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    settled(phone, answers)
    assert bars(phone) != first
    expect(phone.part(".wi-undo")).to_be_enabled()
    assert phone.sideways() <= 0


def test_what_the_app_refuses_is_said_and_a_class_name_is_only_text(visitor: Visitor):
    names = ['<img src=x onerror="window.hacked=1">', "${window.hacked=2}", "{{value}}"]
    told: list[dict[str, Any]] = [{"label": name, "probability": 0.5 - 0.2 * n} for n, name in enumerate(names)]
    body = json.dumps({"image": "photo", "predictions": told, "unknown": True, "error": None})
    visitor.page.route("**/api/classify?*", lambda route: route.fulfill(body=body, content_type="application/json"))
    open_example(visitor, 0)
    unfold(visitor, "What if")
    answers = settled(visitor, 0)
    paint(visitor, across=0.3)
    settled(visitor, answers)
    assert visitor.part(".wi-row .bar-label").all_text_contents() == names
    expect(visitor.part(".wi-sentence")).to_contain_text("The network no longer knows what this is.")
    assert visitor.page.evaluate("window.hacked") is None

    visitor.page.unroute("**/api/classify?*")
    refusal = json.dumps({"error": "This model is gone; choose another model."})
    visitor.page.route("**/api/classify?*", lambda route: route.fulfill(body=refusal, status=422))
    slide(visitor, "turn", 20)
    expect(visitor.part(".wi-sentence")).to_have_text("This model is gone; choose another model.")
    visitor.page.unroute("**/api/classify?*")
    visitor.page.route("**/api/classify?*", lambda route: route.abort())
    slide(visitor, "turn", 30)
    expect(visitor.part(".wi-sentence")).to_have_text("The app does not answer; is it still running?")
    visitor.complaints = [complaint for complaint in visitor.complaints if "api/classify" not in complaint]
