"""Labelled pictures to teach with: which of them can be used, and what was said about the others.

A class needs two pictures at least, a teaching two classes. Two classes of the very same pictures are refused; pictures
that lie in several classes are named and used. Broken ones are left out by name, the rest go on.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations

from PIL import Image

from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name
from resnet_core.errors import DatasetError

MAX_PICTURES = 20_000  # decoding and the body take about 20 ms a picture on two cores: seven minutes
MAX_CLASSES = 1_000
LEAST_PICTURES = 2  # one to learn from and one to judge by
MOST_NAMED = 5  # names in a sentence before "and so many more"
MAX_FOLDER_BYTES = 120  # of a class's folder name; file systems allow 255
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.I)  # no folder names on Windows
_SPLITS = {"train", "training", "val", "valid", "validation"}  # a class folder of that name would be taken for a split


@dataclass(frozen=True, kw_only=True)
class Example:
    """One labelled picture; `key` names its content, so that what was computed of it is used again."""

    label: str
    name: str  # shown in messages
    key: str
    read: Callable[[int], Image.Image] = field(compare=False)  # draft size in px → RGB; raises ImageError
    group: str = ""  # pictures of one burst share it; "" stands alone


def examples_of(dataset: DatasetSpec) -> tuple[Example, ...]:
    """All pictures of a data set, of both its splits: what is kept back is chosen when teaching, by groups.

    Pictures in a folder of their own below the class folder count as one burst.
    """

    def read(path: str, draft_size: int) -> Image.Image:
        return dataset.source.load(path, draft_size=draft_size)

    return tuple(
        Example(
            label=dataset.class_names[picture.class_index],
            name=display_name(picture.path),
            key=f"{dataset.fingerprint}/{picture.path}",
            read=partial(read, picture.path),
            group=burst_folder(picture.path, dataset.class_names[picture.class_index]),
        )
        for picture in (*dataset.train, *dataset.val)
    )


def burst_folder(path: str, label: str) -> str:
    """ "roses/monday" for "train/roses/monday/3.jpg"; "" for a picture right in its class folder."""
    folders = path.split("/")[:-1]
    return "/".join(folders) if folders and folders[-1] != label else ""


def tidy_label(name: str) -> str:
    """The class name as it is kept: accents composed (NFC), no blanks around it."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def check_counts(counts: Mapping[str, int], *, broken: Mapping[str, int] | None = None) -> None:
    """Raises DatasetError where so many pictures a class cannot be taught; `broken` counts those that were no use."""
    broken = broken or {}
    if not counts:
        raise DatasetError("There are no classes yet; add two, with a few pictures each.")
    if len(counts) == 1:
        raise DatasetError(f"There is only one class, “{_shown(next(iter(counts)))}”; add at least one other.")
    if len(counts) > MAX_CLASSES:
        raise DatasetError(f"{len(counts):,} classes are too many to teach; the limit is {MAX_CLASSES:,}.")
    total = sum(counts.values())
    if total > MAX_PICTURES:
        raise DatasetError(f"{total:,} pictures are too many to teach; the limit is {MAX_PICTURES:,}. Train a network.")
    for label, count in counts.items():
        if count < LEAST_PICTURES:
            raise DatasetError(_too_few(label, count, broken.get(label, 0)))


def _too_few(label: str, count: int, broken: int) -> str:
    also = f" ({broken:,} cannot be read)" if broken else ""
    if count == 0:
        kind = "readable picture" if broken else "pictures"
        return f"The class “{_shown(label)}” has no {kind}{also}; add some, or remove the class."
    return f"The class “{_shown(label)}” has only one picture{also}; add at least one more, better ten."


def check_overlaps(labels: Sequence[str], contents: Sequence[str]) -> tuple[str, ...]:
    """Sentences on classes that share pictures; `contents[i]` is the digest of picture i, labelled `labels[i]`.

    Raises DatasetError where two classes hold the very same pictures: nothing could tell them apart.
    """
    notes = []
    classes: dict[str, set[str]] = {}
    owners: dict[str, set[str]] = {}
    for label, content in zip(labels, contents, strict=True):
        classes.setdefault(label, set()).add(content)
        owners.setdefault(content, set()).add(label)
    shared = Counter(pair for who in owners.values() if len(who) > 1 for pair in combinations(sorted(who), 2))
    for (one, other), count in sorted(shared.items()):
        if classes[one] == classes[other]:
            raise DatasetError(
                f"The classes “{_shown(one)}” and “{_shown(other)}” hold the same {count:,} pictures; nothing could "
                "tell them apart. Give each its own."
            )
        is_are = "picture is" if count == 1 else "pictures are"
        notes.append(f"{count:,} {is_are} in both “{_shown(one)}” and “{_shown(other)}”; remove them from one.")
    return tuple(notes)


def note_twins(labels: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each set of classes whose names differ only in capitals."""
    kin: dict[str, list[str]] = {}
    for label in labels:
        kin.setdefault(label.casefold(), []).append(_shown(label))
    return tuple(
        f"The classes {' and '.join(f'“{name}”' for name in names)} differ only in capitals; are they one?"
        for names in kin.values()
        if len(names) > 1
    )


def folder_names(labels: Iterable[str]) -> dict[str, str]:
    """A folder name for each class, as near to the class's own as all systems allow, and different for each."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in sorted(labels):
        base = _folder_name(label)
        name, number = base, 1
        while name.casefold() in taken:
            number += 1
            name = f"{base} {number}"
        taken.add(name.casefold())
        names[label] = name
    return names


def _folder_name(label: str) -> str:
    plain = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "_", visible_text(label))
    plain = plain.encode("utf-8", "replace")[:MAX_FOLDER_BYTES].decode("utf-8", "ignore").strip(" .") or "class"
    special = _DEVICES.match(plain) or plain.casefold() in _SPLITS or plain.casefold() in ("__macosx", "desktop.ini")
    return f"class {plain}" if special else plain


def named(names: Sequence[str]) -> str:
    """ "a, b and 3 more" and the like."""
    shown = ", ".join(_shown(name) for name in names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _shown(label: str) -> str:
    return visible_text(label)
