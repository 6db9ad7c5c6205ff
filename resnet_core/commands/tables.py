"""Rows on the terminal: a table for people, a list of objects for machines."""

import json
from typing import Any

from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name

WHOLE = ("name", "note")  # what people wrote themselves: a slash in it is no path


def print_rows(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> int:
    """Prints these columns, or with `as_json` everything; the exit code."""
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    texts = [[_cell(column, row[column]) for column in columns] for row in rows]
    widths = [max([len(column), *(len(row[i]) for row in texts)]) for i, column in enumerate(columns)]
    for row in ([*map(str, columns)], *texts):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _cell(column: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1%}"
    return visible_text(str(value)) if column in WHOLE else display_name(str(value))
