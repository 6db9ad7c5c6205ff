"""Which pictures a run learns from, kept in its folder: what has changed among them can be told when it is taken up."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name
from resnet_core.files import write_bytes

FILE = "pictures.json.gz"  # about 10 bytes a picture
LARGEST = 200_000_000  # bytes of JSON; a million pictures take half of that
SHOWN_CLASSES, SHOWN_NAMES, SHOWN_LENGTH = 4, 2, 60  # in a sentence


@dataclass(frozen=True, kw_only=True)
class PictureList:
    """path: (split, class name, stamp) of every picture; `fingerprint` is the data set's."""

    fingerprint: str
    class_names: tuple[str, ...]
    pictures: Mapping[str, tuple[str, str, str]]


def list_pictures(dataset: DatasetSpec) -> PictureList:
    """The list of a data set, with whatever is mixed into it."""
    names = dataset.class_names
    pictures = {
        picture.path: (split, names[picture.class_index], picture.stamp)
        for split in ("train", "val")
        for picture in dataset.split(split)
    }
    return PictureList(fingerprint=dataset.fingerprint, class_names=names, pictures=pictures)


def keep_pictures(folder: Path, dataset: DatasetSpec) -> None:
    """Writes the list into a run's folder. Raises OSError."""
    kept = list_pictures(dataset)
    rows = [[path, *about] for path, about in kept.pictures.items()]
    content = {"fingerprint": kept.fingerprint, "class_names": kept.class_names, "pictures": rows}
    text = json.dumps(content, separators=(",", ":"))
    write_bytes(folder / FILE, gzip.compress(text.encode("utf-8"), compresslevel=5, mtime=0))


def read_pictures(folder: Path) -> PictureList | None:
    """The list of a run's folder; None where there is none, or a damaged one."""
    try:
        with gzip.open(folder / FILE) as opened:
            content = json.loads(opened.read(LARGEST))
        rows = content["pictures"]
        pictures = {str(path): (str(split), str(label), str(stamp)) for path, split, label, stamp in rows}
        names = tuple(str(name) for name in content["class_names"])
        return PictureList(fingerprint=str(content["fingerprint"]), class_names=names, pictures=pictures)
    except (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error):
        return None


def tell_changes(before: PictureList, now: PictureList) -> str:
    """What is otherwise now, in words: how many, of which classes, and for instance which."""
    gone = [path for path in before.pictures if path not in now.pictures]
    new = [path for path in now.pictures if path not in before.pictures]
    both = [path for path in now.pictures if path in before.pictures]
    replaced = [path for path in both if before.pictures[path][2] != now.pictures[path][2]]
    seen = [path for path in both if before.pictures[path][0] == "train" and now.pictures[path][0] == "val"]
    told = []
    if len(before.pictures) != len(now.pictures):
        told.append(f"{len(before.pictures):,} pictures then, {len(now.pictures):,} now")
    told += _by_class("gone", gone, before) + _by_class("new", new, now) + _by_class("other files", replaced, now)
    moved = sum(before.pictures[path][0] != now.pictures[path][0] for path in both)
    if moved:
        told.append(f"{moved:,} moved between train and val")
    if seen:
        told.append(f"{len(seen):,} it was trained on would judge it now")
    relabelled = sum(before.pictures[path][1] != now.pictures[path][1] for path in both)
    if relabelled:
        told.append(f"{relabelled:,} in another class")
    return "; ".join(told) or "other pictures under the same names"


def _by_class(what: str, paths: list[str], source: PictureList) -> list[str]:
    if not paths:
        return []
    counted = Counter(source.pictures[path][1] for path in paths).most_common()
    classes = ", ".join(f"{display_name(name)} {count:,}" for name, count in counted[:SHOWN_CLASSES])
    more = f" and {len(counted) - SHOWN_CLASSES} more classes" if len(counted) > SHOWN_CLASSES else ""
    names = ", ".join(visible_text(path, SHOWN_LENGTH) for path in paths[:SHOWN_NAMES])
    return [f"{len(paths):,} {what} ({classes}{more}: {names}{' …' if len(paths) > SHOWN_NAMES else ''})"]
