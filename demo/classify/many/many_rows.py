"""What of a batch travels to the page: names as one line of text, pictures as small JPEGs."""

import base64
from collections.abc import Sequence
from typing import Any

from demo.markup import class_color
from resnet_core.data.picture_files import shown_name
from resnet_core.inference.batch_report import BatchRow

BARS = 10  # answers shown for one picture
SHOWN_LENGTH = 200  # characters of a path


def about_json(model: str, class_names: Sequence[str], threshold: float | None) -> dict[str, Any]:
    """What all rows share; `threshold`, in [0, 1], where the visitor has moved the model's own."""
    colors = [class_color(index) for index in range(len(class_names))]
    classes = [shown_name(name) for name in class_names]
    return {"model": model, "classes": classes, "colors": colors, "threshold": threshold}


def row_json(number: int, row: BatchRow, thumbnail: bytes) -> dict[str, Any]:
    """One row: its best answers as [class index, probability], or the reason why there are none."""
    told: dict[str, Any] = {"n": number, "name": shown_name(row.name, SHOWN_LENGTH), "ranked": [], "truth": row.truth}
    if row.reason:
        return told | {"reason": row.reason}
    return told | {
        "ranked": [[index, round(share, 6)] for index, share in row.ranked(BARS)],
        "unknown": row.unknown,
        "notes": list(row.notes),
        "thumb": base64.b64encode(thumbnail).decode("ascii"),
    }
