"""A person sees how sure an answer is, moves the threshold and takes it back; nobody else notices."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect
from visitor import Visitor

REFUSAL = "I do not know this"
EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"


def open_example(visitor: Visitor) -> str:
    """Clicks the first example; what it is called."""
    visitor.part("#classify-examples button, #classify-examples .gallery-item").first.click()
    headline = visitor.part("#classify-answer h2")
    expect(headline).to_be_visible()
    return headline.inner_text()


def set_threshold(visitor: Visitor, value: int) -> None:
    box = visitor.part("#sure-threshold input[type=number]")
    box.fill(str(value))
    box.press("Enter")


def test_the_threshold_changes_the_verdict_at_once_and_only_here(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    flower = open_example(visitor)
    assert flower != REFUSAL
    headline, card = visitor.part("#classify-answer h2"), visitor.part("#classify-answer")
    expect(card).to_contain_text(re.compile(r"looks known: \d+ of 100; below 50"))
    visitor.page.get_by_role("button", name="How sure it is, and when it refuses").click()
    cost = visitor.part("#sure-cost")
    expect(cost).to_contain_text(re.compile(r"Refuses \S+% of real photos .* lets \S+% of pictures of other things"))
    shipped = cost.inner_text()

    visitor.page.get_by_role("button", name=re.compile("^What if")).click()
    expect(visitor.part(".wi")).to_have_attribute("data-settled", "true")
    visitor.page.wait_for_function("Number(document.querySelector('.wi').dataset.answers) > 0")
    gone = "The network no longer knows what this is."
    played = visitor.part(".wi-sentence")
    turn = visitor.part(".wi-turn")
    turn.evaluate("input => { input.value = 2; input.dispatchEvent(new Event('input')); }")
    expect(played).to_contain_text(re.compile("(fell|rose) from|stays at"))
    expect(played).not_to_contain_text(gone)

    set_threshold(visitor, 100)
    expect(headline).to_have_text(REFUSAL)
    expect(played).to_contain_text(gone)
    expect(card).to_contain_text("below 100")
    expect(cost).to_contain_text("lets 0% of pictures of other things")
    other = visit()
    assert open_example(other) == flower

    set_threshold(visitor, 0)
    expect(headline).to_have_text(flower)
    expect(cost).to_contain_text("Refuses 0% of real photos")
    expect(played).not_to_contain_text(gone)
    set_threshold(visitor, 100)
    expect(played).to_contain_text(gone)
    visitor.go("Many")
    visitor.part(".mt-files").set_input_files(sorted(EXAMPLES.glob("*.png"))[:2])
    expect(visitor.part(".mt-row.mt-unknown")).to_have_count(2)
    expect(visitor.part(".mt-threshold")).to_have_text("Refused below 100 %, the threshold set in “One”.")
    visitor.go("One")
    visitor.part("#sure-reset").click()
    expect(card).to_contain_text("below 50")
    expect(visitor.part("#sure-threshold input[type=number]")).to_have_value("50")
    assert cost.inner_text() == shipped

    diagram = visitor.page.get_by_role("img", name=re.compile(r"^Is it right as often as it claims\? \d+% sure: right"))
    expect(diagram).to_be_visible()
    expect(played).not_to_contain_text(gone)
    visitor.page.set_viewport_size({"width": 390, "height": 800})
    assert visitor.sideways() <= 0
