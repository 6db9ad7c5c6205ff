"""What may travel to a browser: finite numbers, whole counts, printable lines of bounded length.

Events stand in a file that may be old, cut or hostile: what cannot be read as a finite number becomes null, what is
not a printable line is cleaned and cut.
"""

import math
from typing import Any

MAX_SENTENCE = 240
MAX_NAME = 120
LARGEST_EXACT = 2**53  # beyond this a JavaScript number is no longer an exact integer

Event = dict[str, Any]
Row = list[Any]


def number(value: object, *, digits: int = 5) -> float | int | None:
    """A finite number with so many significant digits, an int where it is whole; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        rounded = float(f"{float(value):.{digits}g}")
    except OverflowError:
        return None
    if not math.isfinite(rounded):
        return None
    return int(rounded) if rounded.is_integer() and abs(rounded) < LARGEST_EXACT else rounded


def count(value: object) -> int | None:
    """A whole number from 1 to 2**53, else None."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_EXACT:
        return None
    return value


def text(value: object, limit: int) -> str:
    """One printable line of at most `limit` characters that every JSON encoder accepts; "" for None."""
    if value is None:
        return ""
    line = " ".join(str(value)[: 4 * limit].encode("utf-8", "replace").decode("utf-8").split())
    printable = "".join(character for character in line if character.isprintable())
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"


def whole_second(value: object) -> int | None:
    """A time in whole seconds since 1970, or None."""
    seconds = number(value, digits=15)
    return None if seconds is None else int(seconds)
