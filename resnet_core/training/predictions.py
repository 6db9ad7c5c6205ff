"""`predictions.csv` of a run: what its best network says of each validation picture, for spreadsheets."""

import csv
from pathlib import Path

from resnet_core.files import replacing
from resnet_core.training.validation import Validation


def write_predictions(path: Path, validation: Validation, class_names: tuple[str, ...]) -> None:
    """Replaces the table: picture, its class, the prediction, how probable it is, and the probability of each class."""
    probabilities = (validation.logits / validation.calibration.temperature).softmax(1)
    best = probabilities.max(1)
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as opened,
    ):
        rows = csv.writer(opened)
        rows.writerow(["image", "class", "prediction", "probability", *(f"p_{name}" for name in class_names)])
        for index, picture in enumerate(validation.paths):
            row = [
                picture,
                class_names[int(validation.targets[index])],
                class_names[int(best.indices[index])],
            ]
            numbers = [best.values[index], *probabilities[index]]
            rows.writerow([_safe_cell(text) for text in row] + [f"{float(number):.6f}" for number in numbers])


def _safe_cell(text: str) -> str:
    """Spreadsheets run what begins with these signs as a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" else text
