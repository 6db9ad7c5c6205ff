"""Numbers as people type them into a box that may stay empty."""

from typing import Any


def number(value: Any) -> float | None:
    """A typed number; what is no number is kept as it is, for the config to refuse by name."""
    if value is None or str(value).strip() == "":
        return None
    try:
        return float(str(value).replace(",", "."))
    except ValueError:
        return value  # type: ignore[no-any-return]


def whole(value: Any) -> Any:
    """The same, a whole number where it is one."""
    typed = number(value)
    return int(typed) if isinstance(typed, float) and typed.is_integer() else typed
