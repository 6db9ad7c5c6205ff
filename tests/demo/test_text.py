"""Both languages say everything, with the same blanks; nothing is asked for that is not there."""

import re
import string
from pathlib import Path
from types import SimpleNamespace

import pytest

from demo import text
from demo.text import LABELS, language_of, say

DEMO = Path(text.__file__).parent
LETTERS, BLANK = re.compile(r"[a-zA-Z]"), re.compile(r"\{.*?\}")
CJK = re.compile(r"[\u4e00-\u9fff]")
ALL = {**text._WORDS, **text._SENTENCES}


def blanks(sentence: str) -> list[str]:
    return sorted(f"{name}:{spec}" for _, name, spec, _ in string.Formatter().parse(sentence) if name is not None)


@pytest.mark.parametrize("key", sorted(ALL))
def test_every_word_is_there_in_english_and_chinese_with_the_same_blanks(key: str):
    english, chinese = ALL[key]
    assert english.strip()
    assert not CJK.search(english)
    assert CJK.search(chinese) or not LETTERS.search(BLANK.sub("", english))
    assert blanks(english) == blanks(chinese)


def test_every_word_asked_for_exists_and_every_word_is_asked_for():
    files = (path for path in DEMO.rglob("*.py") if "words" not in path.parts)
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    asked = set(re.findall(r'(?:\bsay|\blabel|_open_setting|_picture)\(\s*"(\w+)"', code))
    assert asked <= ALL.keys()
    mentioned = set(re.findall(r'["\'](\w+)["\']', code))
    composed = tuple(re.findall(r'(?:\bsay|\blabel)\(f"(\w+_)\{', code))  # say(f"export_{name}")
    unasked = [key for key in ALL.keys() - mentioned if not (composed and key.startswith(composed))]
    assert sorted(unasked) == []


def test_labels_travel_in_both_languages_under_every_name_browsers_have_for_chinese():
    assert set(LABELS.translations) >= {"en", "zh", "zh-CN"}
    assert all(words.keys() == text._WORDS.keys() for words in LABELS.translations.values())


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("ZH-tw", "zh"),
        ("en-GB,zh;q=0.5", "en"),
        ("de", "en"),
        ("", "en"),
    ],
)
def test_the_language_is_the_first_the_browser_names(accepted: str, language: str):
    assert language_of(SimpleNamespace(headers={"accept-language": accepted})) == language


def test_without_a_browser_it_is_english():
    assert language_of(None) == "en"


def test_values_are_filled_in():
    assert say("took", "zh", milliseconds=12, engine="OpenVINO") == "用时 12 毫秒（OpenVINO）"
    assert say("took", "fr", milliseconds=12, engine="OpenVINO") == "answered in 12 ms by OpenVINO"
