"""What people write about a run: a name, a note, tags. `notes.json` in the run's folder, replaced as a whole.

The settings a run was started with never change; the name given here stands before the one they hold. All of it is
text and is kept as text: control characters and direction marks go, nothing is ever run or shown as anything else.
"""

import contextlib
import json
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ConfigError, RunError
from resnet_core.files import write_json

FILE = "notes.json"
MAX_NAME = 80  # characters, as in the form that starts a run
MAX_NOTE = 2000
MAX_TAG = 30
MAX_TAGS = 12
LARGEST_FILE = 100_000  # bytes; what we write ourselves stays below 20 kB

_EDITING = threading.Lock()  # two people who change the same run at once: both changes stay


@dataclass(frozen=True, kw_only=True)
class RunNotes:
    """`name` is None where nobody has renamed the run."""

    name: str | None = None
    note: str = ""
    tags: tuple[str, ...] = ()


def read_notes(folder: Path) -> RunNotes:
    """The notes of the run in this folder; what is missing, damaged or too long is left out or cut."""
    path = folder / FILE
    try:
        if path.stat().st_size > LARGEST_FILE:
            return RunNotes()
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return RunNotes()
    if not isinstance(content, dict):
        return RunNotes()
    name, note, tags = content.get("name"), content.get("note"), content.get("tags")
    kept = [_line(tag)[:MAX_TAG] for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    return RunNotes(
        name=_line(name)[:MAX_NAME] if isinstance(name, str) else None,
        note=_lines(note)[:MAX_NOTE] if isinstance(note, str) else "",
        tags=_distinct(kept)[:MAX_TAGS],
    )


def edit_notes(folder: Path, **changes: Any) -> RunNotes:
    """The notes with these fields changed, on the disk. Raises RunError where they cannot be kept."""
    with _EDITING:
        notes = replace(read_notes(folder), **changes)
        _write(folder, notes)
    return notes


def checked_notes(given: Mapping[str, object]) -> dict[str, Any]:
    """What people gave as name, note or tags, cleaned. Raises ConfigError for anything else or over a limit.

    A name is one line, and an empty one gives back the run's first; a note has any number of lines; tags are a list
    or a text with commas, each kept once whatever its case.
    """
    unknown = sorted(given.keys() - _CHECKS.keys())
    if unknown:
        raise ConfigError(f"A run has a name, a note and tags, but no {visible_text(unknown[0])}.")
    return {field: _CHECKS[field](value) for field, value in given.items()}


def _checked_name(name: object) -> str | None:
    return _short("name", _line(_required_text("name", name)), MAX_NAME) or None


def _checked_note(note: object) -> str:
    return _short("note", _lines(_required_text("note", note)), MAX_NOTE)


def _checked_tags(tags: object) -> tuple[str, ...]:
    given = tags.split(",") if isinstance(tags, str) else tags
    if not isinstance(given, list | tuple) or not all(isinstance(tag, str) for tag in given):
        raise ConfigError("Tags must be a list of words.")
    if any("," in tag for tag in given):
        raise ConfigError("A tag must not hold a comma; commas stand between tags.")
    wanted = _distinct([_short("tag", _line(tag), MAX_TAG) for tag in given])
    if len(wanted) > MAX_TAGS:
        raise ConfigError(f"A run can have {MAX_TAGS} tags, not {len(wanted)}; leave some out.")
    return wanted


def _write(folder: Path, notes: RunNotes) -> None:
    gone = f"Run {folder.name} is gone; it was deleted meanwhile."
    if not (folder / "config.json").is_file():
        raise RunError(gone)
    try:
        write_json(folder / FILE, {"name": notes.name, "note": notes.note, "tags": list(notes.tags)})
    except OSError as error:
        raise RunError(f"The notes of run {folder.name} could not be written ({error.strerror}).") from error
    if not (folder / "config.json").is_file():  # deleted in this moment: writing has made the folder anew
        (folder / FILE).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise RunError(gone)


def _required_text(what: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"The {what} of a run must be a text.")
    return value


def _short(what: str, text: str, limit: int) -> str:
    if len(text) > limit:
        raise ConfigError(f"A {what} can have {limit:,} characters, not {len(text):,}; shorten it.")
    return text


def _line(text: str) -> str:
    return visible_text(text, limit=len(text) + 16)  # cleaned, not cut


def _lines(text: str) -> str:
    """The lines, each without what cannot be seen; empty ones at the end go."""
    cleaned = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)
    lines = cleaned.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ").split("\n")
    return "\n".join("".join(filter(_is_seen, line)).rstrip() for line in lines).strip("\n ")


def _is_seen(sign: str) -> bool:
    return sign in "\u200c\u200d" or unicodedata.category(sign) not in ("Cc", "Cf", "Zl", "Zp")


def _distinct(tags: Iterable[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for tag in tags:
        plain = tag.lstrip("# ").strip()
        if plain:
            kept.setdefault(plain.casefold(), plain)
    return tuple(kept.values())


_CHECKS: dict[str, Callable[[object], Any]] = {"name": _checked_name, "note": _checked_note, "tags": _checked_tags}
