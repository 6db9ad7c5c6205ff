"""The answers for many pictures as a table: rows, counts, how many are right where that is known, and a CSV.

Where the folder a picture lies in is called like a class of the model, the picture counts as one of that class; so a
data set's folders bring their own truth along.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classification

NAME_LIMIT = 1000  # characters of a path kept in a table
UNSURE_BELOW = 0.6  # the page says “probably” from here on
MOST_CONFUSED = 30  # classes; a larger table nobody reads
_FORMULA_SIGNS = "=+-@\t\r\n＝＋－＠"  # a spreadsheet computes what begins so
BOM = "\ufeff"  # without it spreadsheets on Windows take UTF-8 for their own alphabet


@dataclass(frozen=True, kw_only=True)
class BatchRow:
    """One picture: its answer, or the reason why there is none."""

    name: str  # with folders, one line, at most NAME_LIMIT characters
    probabilities: Sequence[float] = ()  # in label order; empty where there is no answer
    unknown: bool = False
    score: float | None = None  # how known the picture looks, in [0, 1]
    notes: tuple[str, ...] = ()
    reason: str = ""
    truth: int | None = None  # index of the class its folder names

    def ranked(self, count: int) -> list[tuple[int, float]]:
        """(class index, probability) of the `count` most probable classes, best first."""
        order = sorted(range(len(self.probabilities)), key=lambda index: -self.probabilities[index])[:count]
        return [(index, self.probabilities[index]) for index in order]

    @property
    def answer(self) -> int | None:
        """The index of the most probable class, whether the picture counts as known or not."""
        return self.ranked(1)[0][0] if self.probabilities else None

    @property
    def right(self) -> bool | None:
        """Whether the answer is the folder's class; a picture not known is not right. None without a truth."""
        if self.truth is None or not self.probabilities:
            return None
        return not self.unknown and self.answer == self.truth


def answered_row(
    name: str, result: Classification, class_names: Sequence[str], *, notes: Sequence[str] = (), truth: int | None
) -> BatchRow:
    """The row of a Classification that has all classes (`top_k=None`).

    Of classes with one name (ImageNet has two cranes) the first gets the highest probability.
    """
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for prediction in reversed(result.predictions):  # the best comes last, to be taken off first
        shares[prediction.label].append(prediction.probability)
    return BatchRow(
        name=name,
        probabilities=array("f", (shares[name].pop() if shares[name] else 0.0 for name in class_names)),
        unknown=result.unknown,
        score=result.score,
        notes=tuple(notes),
        truth=truth,
    )


def truth_of(path: str, class_names: Sequence[str]) -> int | None:
    """The index of the class that the picture's own folder is named after; capitals and accents' form aside."""
    folder = _folded(path.replace("\\", "/").rpartition("/")[0].rpartition("/")[2])
    return next((index for index, class_name in enumerate(class_names) if _folded(class_name) == folder), None)


@dataclass(kw_only=True)
class Tally:
    """Counts over rows, kept up to date row by row."""

    classes: int
    counts: list[int] = field(init=False)  # answers of each class that count as known
    unknown: int = 0
    broken: int = 0
    judged: int = 0  # rows with an answer and a truth
    right: int = 0
    confusion: list[list[int]] = field(init=False)  # [truth][answer]; the last column: not known

    def __post_init__(self) -> None:
        self.counts = [0] * self.classes
        shown = self.classes if self.classes <= MOST_CONFUSED else 0
        self.confusion = [[0] * (shown + 1) for _ in range(shown)]

    def add(self, row: BatchRow) -> None:
        """Counts one row more."""
        answer = row.answer
        if answer is None:
            self.broken += 1
            return
        if row.unknown:
            self.unknown += 1
        else:
            self.counts[answer] += 1
        if row.truth is None:
            return
        self.judged += 1
        self.right += bool(row.right)
        if self.confusion:
            self.confusion[row.truth][-1 if row.unknown else answer] += 1

    def to_json(self) -> dict[str, Any]:
        """A plain dict; the confusion table only once something is known to be in it."""
        told: dict[str, Any] = {"counts": self.counts, "unknown": self.unknown, "broken": self.broken}
        if self.judged:
            told |= {"judged": self.judged, "right": self.right, "confusion": self.confusion}
        return told


def csv_text(rows: Iterable[BatchRow], class_names: Sequence[str]) -> str:
    """The whole CSV (RFC 4180) with a byte order mark, a picture a line, a column for each class's probability.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    kept = list(rows)
    with_truth = any(row.truth is not None for row in kept)
    stream = io.StringIO()
    stream.write(BOM)
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(_header(class_names, with_truth))
    writer.writerows(_cells(row, class_names, with_truth) for row in kept)
    return stream.getvalue()


def text_cell(text: str) -> str:
    """Text as a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" ")[:1] in _FORMULA_SIGNS and text.strip(" ") else text


def _header(class_names: Sequence[str], with_truth: bool) -> list[str]:
    fixed = ["file", "answer", "probability", "second answer", "second probability", "unknown", "score"]
    return [*fixed, *(["folder says", "right"] if with_truth else []), "note", "reason", *map(_column, class_names)]


def _column(class_name: str) -> str:
    return f"p({class_name})"


def _cells(row: BatchRow, class_names: Sequence[str], with_truth: bool) -> Iterator[str]:
    best = row.ranked(2)
    yield text_cell(row.name)
    for place in range(2):
        index, share = best[place] if place < len(best) else (None, None)
        yield "" if index is None else text_cell(class_names[index])
        yield _number(share)
    yield ("yes" if row.unknown else "no") if best else ""
    yield _number(row.score)
    if with_truth:
        yield "" if row.truth is None else text_cell(class_names[row.truth])
        yield "" if row.right is None else "yes" if row.right else "no"
    yield text_cell(" ".join(row.notes))
    yield text_cell(row.reason)
    yield from (map(_number, row.probabilities) if best else [""] * len(class_names))


def _number(share: float | None) -> str:
    return "" if share is None else f"{share:.6f}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
