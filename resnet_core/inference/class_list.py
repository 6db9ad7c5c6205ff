"""Class names that come apart from their weights: the flower tutorial's `class_indices.json`, a list, typed words."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name
from resnet_core.errors import CheckpointError

MAX_LIST_BYTES = 4_000_000  # ImageNet-21k's names take 0.5 MB
MAX_NAMES = 100_000
_COMMAS = ",，、;；"
_HTML = re.compile(r"\s*<(?:!doctype|html|head|body|script)\b", re.I)


def read_class_list(path: Path, *, name: str | None = None) -> tuple[str, ...]:
    """The names in label order, of a JSON object {index: name} or {name: index}, a JSON list, or lines of text.

    Raises CheckpointError with the reason. Names are text: whoever shows them escapes them.
    """
    shown = f"“{display_name(name or path.name)}”"
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_LIST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{shown} cannot be read; check the name and the folder.") from error
    if len(content) > MAX_LIST_BYTES:
        raise CheckpointError(f"{shown} is larger than {MAX_LIST_BYTES // 1_000_000} MB, the limit for class names.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{shown} is no text in UTF-8; save the class names as such.") from error
    if _HTML.match(text):
        raise CheckpointError(f"{shown} is a web page (HTML), not a list of class names.")
    return _checked(_parse(text, shown), shown)


def parse_class_names(typed: str) -> tuple[str, ...]:
    """The names a person typed, parted by commas or, where there are several lines, by lines; none for an empty text.

    Raises CheckpointError for a name of nothing between two others.
    """
    if not typed.strip():
        return ()
    parts = (
        typed.strip().splitlines() if "\n" in typed.strip() else re.split("[,，、;；]", typed.strip().strip(",，、;；"))
    )
    return _checked(parts, "The list of class names")


def check_class_count(names: tuple[str, ...], count: int) -> None:
    """Raises CheckpointError unless there is one name for each class."""
    if len(names) != count:
        raise CheckpointError(
            f"The list has {len(names):,} class name{'' if len(names) == 1 else 's'}, but the network tells "
            f"{count:,} classes apart; give one name a class, in the order of the training."
        )


def numbered_names(count: int) -> tuple[str, ...]:
    """Stand-ins where nobody knows the names: class 0, class 1 …"""
    return tuple(f"class {index}" for index in range(count))


def told_apart(names: Iterable[str]) -> tuple[str, ...]:
    """The names, a repeated one with the next free number behind it: among ImageNet's own are two cranes."""
    found, seen = list(names), set[str]()
    taken, numbers = set(found), defaultdict[str, Iterator[int]](lambda: count(2))
    for place, name in enumerate(found):
        if name in seen:
            found[place] = next(other for number in numbers[name] if (other := f"{name} ({number})") not in taken)
            taken.add(found[place])
        seen.add(name)
    return tuple(found)


def _parse(text: str, shown: str) -> list[Any]:
    if text.lstrip()[:1] not in ("{", "["):
        return text.strip().splitlines()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{shown} is no valid JSON; it should look like {{“0”: “daisy”, “1”: “roses”}}."
        ) from error
    return content if isinstance(content, list) else _in_order(content, shown)


def _in_order(content: dict[str, Any], shown: str) -> list[Any]:
    """{index: name} or {name: index} as a list."""
    turned = bool(content) and all(isinstance(value, int) and not isinstance(value, bool) for value in content.values())
    pairs = [(value, key) for key, value in content.items()] if turned else list(content.items())
    try:
        by_index = {int(index): name for index, name in pairs}
    except ValueError as error:
        raise CheckpointError(f"{shown} should map each class's number to its name, as 0 to “daisy”.") from error
    for index in range(len(pairs)):
        if index not in by_index:
            raise CheckpointError(f"{shown} has no name for class {index}; the numbers must run from 0 without gaps.")
    return [by_index[index] for index in range(len(pairs))]


def _checked(names: list[Any], shown: str) -> tuple[str, ...]:
    if not names:
        raise CheckpointError(f"{shown} is empty; give one name a class.")
    if len(names) > MAX_NAMES:
        raise CheckpointError(f"{shown} has more than {MAX_NAMES:,} names.")
    found = []
    for index, name in enumerate(names):
        word = name[-1] if isinstance(name, list) and name else name  # ImageNet's index: ["n01440764", "tench"]
        if not isinstance(word, str) or not visible_text(word):
            raise CheckpointError(f"{shown} has no name for class {index}; give one name a class.")
        found.append(visible_text(word))
    return told_apart(found)
