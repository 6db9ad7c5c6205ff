"""What users write is shown, never run."""

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.markup import CLASS_COLORS, answer_card, class_color, empty_card, escape, facts_card

HOSTILE = '<img src=x onerror="alert(1)"> ${alert(2)} {{alert(3)}} </div><script>alert(4)</script>'


class Reader(HTMLParser):
    """The text and the tags a browser would make of some HTML."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


@given(st.text(st.characters(exclude_characters="\r\x00", exclude_categories=("Cs",))))
def test_escaped_text_reads_the_same_and_holds_nothing_to_run(text: str):
    escaped = escape(text)
    assert html.unescape(escaped) == html.unescape(html.escape(text))
    assert Reader(escaped).tags == []
    assert not set(escaped) & set("<>\"'${}")


@pytest.mark.parametrize(
    "card",
    [
        answer_card(HOSTILE, HOSTILE, [(HOSTILE, 0.5, "#000000")], [HOSTILE]),
        empty_card(HOSTILE),
        facts_card(HOSTILE, [HOSTILE]),
    ],
    ids=["answer", "empty", "facts"],
)
def test_every_card_shows_hostile_text_as_text(card: str):
    read = Reader(card)
    assert HOSTILE in read.words
    assert not {"img", "script"} & set(read.tags)
    assert "${" not in card
    assert "{{" not in card


def test_bars_are_as_long_as_their_share_and_never_invisible():
    card = answer_card("a", "b", [("x", 0.75, "#111111"), ("y", 0.0, "#222222"), ("z", 1.0, "#333333")], [])
    assert re.findall(r"width:([\d.]+)%", card) == ["75.0", "0.4", "100.0"]
    assert re.findall(r'bar-number">([^<]+)<', card) == ["75.0%", "0.0%", "100.0%"]


def test_a_bar_that_is_not_all_does_not_read_as_all():
    card = answer_card("a", "b", [("x", 0.99996, "#111111")], [])
    assert re.findall(r'bar-number">([^<]+)<', card) == ["99.9%"]


def test_an_unknown_picture_is_marked_as_such():
    assert 'class="answer unknown"' in answer_card("a", "b", [], [], unknown=True)
    assert "unknown" not in answer_card("a", "b", [], [])


def test_a_class_keeps_its_colour_and_neighbours_differ():
    assert len(set(CLASS_COLORS)) == len(CLASS_COLORS) == 8
    assert class_color(0) == class_color(8) == CLASS_COLORS[0]
    assert class_color(3) != class_color(4)
