"""`audit`: what is wrong with a data set, and what to do about it."""

import argparse
import json
import sys
from collections.abc import Sequence

from resnet_core.data.audit import Audit, Corrupt, audit
from resnet_core.data.datasets import load_dataset
from resnet_core.data.image_gate import display_name, visible_text
from resnet_core.data.images import VERY_SMALL_SIDE
from resnet_core.data.picture_files import shown_name
from resnet_core.terminal import ProgressBar

FIRST = 5  # findings of a kind, and paths of one picture, that are shown to people
PATH_LIMIT = 200  # letters; a shortened path is hard to find
CURES = {
    "Corrupt": "Trainings leave out what cannot be read; copy these again, or remove them.",
    "Duplicate": "A picture that lies in its class more than once counts double; keep one file of each.",
    "Leaked": "What is in train and in val makes the accuracy look better than it is; remove it from one of them.",
    "Mislabelled": (
        "A picture in folders of different classes is right in one at most; keep it there and remove the others."
    ),
}


def audit_command(options: argparse.Namespace) -> int:
    """Reads all pictures and prints the report; whatever it says, it was made."""
    dataset = load_dataset(options.dataset, data_dir=options.data_dir)
    found = audit(dataset, progress=ProgressBar(sys.stderr).decoding)
    if options.json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
        return 0
    for line in (*report_lines(found), *(f"Note: {note}" for note in dataset.notes)):
        print(line)
    return 0


def report_lines(found: Audit) -> list[str]:
    """A sentence for each kind of finding, with the first of them and what to do."""
    shown = {
        "Corrupt": [_unreadable(each) for each in found.corrupt],
        "Duplicate": [_equal(same) for same in found.duplicate],
        "Leaked": [_equal(same) for same in found.leaked],
        "Mislabelled": [_equal(same) for same in found.mislabelled],
    }
    return [
        f"“{visible_text(found.dataset)}” has {found.train:,} train and {found.val:,} val pictures of "
        f"{len(found.classes):,} classes.",
        *(line for kind, lines in shown.items() for line in _finding(kind, lines, CURES[kind])),
        *_tiny(found),
        _balance(found),
    ]


def _finding(kind: str, lines: Sequence[str], sentence: str) -> list[str]:
    """How many there are and what to do, with the first of them below."""
    if not lines:
        return [f"{kind}: nothing found."]
    more = [f"  … and {len(lines) - FIRST:,} more; --json tells all."] if len(lines) > FIRST else []
    shown = [f"  {line}" for line in lines[:FIRST]]
    return [f"{kind}: {len(lines):,} found. {sentence}", *shown, *more]


def _unreadable(each: Corrupt) -> str:
    """The reason, which begins with the file's name, with its folders before it."""
    name, path = display_name(each.path), shown_name(each.path, PATH_LIMIT)
    return path + each.reason[len(name) :] if each.reason.startswith(name) else f"{path}: {each.reason}"


def _equal(same: Sequence[str]) -> str:
    more = f" and {len(same) - FIRST:,} more" if len(same) > FIRST else ""
    return " = ".join(shown_name(path, PATH_LIMIT) for path in same[:FIRST]) + more


def _tiny(found: Audit) -> list[str]:
    if found.is_small:
        return [
            f"Tiny: nothing found; most pictures have a side below {VERY_SMALL_SIDE} px, so this is a data set of "
            "small pictures."
        ]
    lines = [f"{shown_name(each.path, PATH_LIMIT)} ({each.width}×{each.height} px)" for each in found.tiny]
    sentence = (
        f"With a side below {VERY_SMALL_SIDE} px a network for photos has next to nothing to look at; take larger "
        "ones, or remove them."
    )
    return _finding("Tiny", lines, sentence)


def _balance(found: Audit) -> str:
    ordered = sorted(found.classes, key=lambda each: each.train)
    smallest, largest = (visible_text(each.class_name) for each in (ordered[0], ordered[-1]))
    if found.ratio is None:
        return (
            f"Imbalanced: the class “{smallest}” has no training picture that can be read. Add some, or remove the "
            "class."
        )
    least, most = ordered[0].train, ordered[-1].train
    if least == most:
        return f"Imbalanced: nothing found; each class has {most:,} training pictures."
    counts = f"“{largest}” has {most:,} training pictures and “{smallest}” {least:,}"
    if not found.is_imbalanced:
        return f"Imbalanced: nothing found; {counts}."
    return (
        f"Imbalanced: {counts}, {found.ratio:.1f} to 1. Add pictures of the rare classes, or train with "
        "«--sampling balanced»."
    )
