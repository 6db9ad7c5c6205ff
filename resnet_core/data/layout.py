"""What a tree of picture paths means as a data set: which folder is a class, which a split, which a mere wrapper.

`torchvision.datasets.ImageFolder` takes a wrapper folder or `train/ val/` for classes; people's zips have both, so they
are understood here, and what was decided is said in `notes`. An empty class folder is refused by name.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resnet_core.data.images import display_name
from resnet_core.errors import DatasetError

TRAIN_NAMES, VAL_NAMES = ("train", "training"), ("val", "valid", "validation")
IGNORED_NAMES = {"__macosx", "thumbs.db", "desktop.ini"}
VAL_SHARE = 0.2  # of a data set that comes without its own split


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Classes and splits found among paths; every path in `splits` and `stamps` is relative to `prefix`."""

    prefix: str
    class_names: tuple[str, ...]
    splits: dict[str, list[str]]  # "train" and "val"
    stamps: dict[str, str]
    notes: tuple[str, ...]


def arrange(
    found: Mapping[str, str],
    *,
    name: str,
    seed: int,
    ignored: int = 0,
    folders: Iterable[str] = (),
    set_aside: bool = True,
) -> Layout:
    """The layout of `found` (path → stamp). Raises DatasetError when there is nothing to learn, and says why.

    With `set_aside` off they are labelled pictures and no more: one class is enough, and no val split is made.
    """
    shown = display_name(name)
    if not found:
        raise DatasetError(f"“{shown}” holds no pictures; put them into one folder per class.")
    prefix = _wrapper(list(found))
    stamps = {path.removeprefix(prefix): stamp for path, stamp in found.items()}
    splits, notes = _split_by_folder(list(stamps))
    class_names = tuple(sorted({class_of(path) for paths in splits.values() for path in paths}))
    _check_classes(shown, class_names, splits, fewest=2 if set_aside else 1)
    _check_filled(shown, folders, prefix, list(stamps))
    notes += _note_ignored(ignored) + _note_twins(class_names)
    if prefix:
        notes.append(f"The classes were found inside the folder “{display_name(prefix)}”.")
    if set_aside and not splits["val"]:
        splits = _stratified_split(splits["train"], seed)
        notes.append(f"There is no val folder: every fifth picture of each class was set aside for it (seed {seed}).")
    if set_aside and not splits["val"]:
        raise DatasetError(
            f"“{shown}” has too few pictures to set some aside for validation; give each class at least two."
        )
    return Layout(prefix=prefix, class_names=class_names, splits=splits, stamps=stamps, notes=tuple(notes))


def class_of(path: str) -> str:
    """The class of a picture: the folder it lies in, below `train/` or `val/` where there is one."""
    parts = path.split("/")
    return parts[1] if _split_of(path) and len(parts) > 2 else parts[0]


def is_hidden(path: str) -> bool:
    """True for what operating systems and editors leave behind: dot-files, `__MACOSX`, `Thumbs.db`."""
    return any(part.startswith(".") or part.lower() in IGNORED_NAMES for part in path.split("/"))


def _split_of(path: str) -> str | None:
    first = path.split("/", 1)[0].lower()
    return "train" if first in TRAIN_NAMES else "val" if first in VAL_NAMES else None


def _wrapper(paths: Sequence[str]) -> str:
    """The leading folders that hold everything and are neither a split nor the only class level.

    Pictures that lie loose in a wrapper do not make it a class as long as it holds a split or several folders.
    """
    prefix = ""
    while True:
        rest = [path.removeprefix(prefix).split("/") for path in paths]
        tops = {parts[0] for parts in rest}
        inner = {parts[1] for parts in rest if len(parts) > 2}
        is_wrapper = min(map(len, rest)) > 2 or len(inner) > 1 or any(_split_of(name) for name in inner)
        if len(tops) > 1 or not is_wrapper or _split_of(rest[0][0]):
            return prefix
        prefix += tops.pop() + "/"


def _split_by_folder(paths: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    splits: dict[str, list[str]] = {"train": [], "val": []}
    has_splits = any(_split_of(path) == "train" and path.count("/") >= 2 for path in paths)
    loose = 0
    for path in sorted(paths):
        split = _split_of(path) if has_splits else "train"
        depth = 2 if has_splits else 1
        if split is None or path.count("/") < depth:
            loose += 1
        else:
            splits[split].append(path)
    where = "the class folders of train and val" if has_splits else "any class folder"
    return splits, [f"{loose:,} pictures outside {where} were left out."] if loose else []


def _check_classes(
    shown: str, class_names: tuple[str, ...], splits: Mapping[str, Sequence[str]], *, fewest: int
) -> None:
    if not class_names:
        raise DatasetError(f"“{shown}” has no class folders; put the pictures into one folder per class.")
    if len(class_names) < fewest:
        raise DatasetError(
            f"“{shown}” has only one class (“{display_name(class_names[0])}”); add a folder for at least one other."
        )
    trained = {class_of(path) for path in splits["train"]}
    untrained = [display_name(class_name) for class_name in class_names if class_name not in trained]
    if untrained:
        raise DatasetError(
            f"“{shown}” has no training pictures of {', '.join(untrained)}; add some or remove the class."
        )


def _note_ignored(ignored: int) -> list[str]:
    return [f"{ignored:,} files that are no pictures were left out."] if ignored else []


def _check_filled(shown: str, folders: Iterable[str], prefix: str, paths: Sequence[str]) -> None:
    """A class folder without a picture is most often a mistake, and a class less is another task: it is named."""
    below = [folder.removeprefix(prefix) for folder in folders if folder.startswith(prefix)]
    leaves = {folder for folder in below if folder.count("/") == (1 if _split_of(folder) else 0)}
    filled = {"/".join(path.split("/")[:depth]) for path in paths for depth in (1, 2)}
    used = {class_of(path) for path in paths}
    empty = {
        leaf.split("/")[-1] for leaf in leaves - filled if not is_hidden(leaf) and ("/" in leaf or not _split_of(leaf))
    }
    names = ", ".join(map(display_name, sorted(empty - used)))
    if names:
        raise DatasetError(f"“{shown}” has class folders without a picture: {names}; add pictures or remove them.")


def _note_twins(class_names: Sequence[str]) -> list[str]:
    """Names that a person may have meant as one: other capitals, or an accent typed in another way."""
    kin: dict[str, list[str]] = {}
    for class_name in class_names:
        kin.setdefault(unicodedata.normalize("NFC", class_name).casefold(), []).append(display_name(class_name))
    return [
        f"The classes {' and '.join(names)} differ only in capitals or accents; merge their folders if they are one."
        for names in kin.values()
        if len(names) > 1
    ]


def _stratified_split(paths: Sequence[str], seed: int) -> dict[str, list[str]]:
    import torch  # here, since listing data sets must not wait for it

    from resnet_core.device import make_generator

    splits: dict[str, list[str]] = {"train": [], "val": []}
    by_class: dict[str, list[str]] = {}
    for path in sorted(paths):
        by_class.setdefault(class_of(path), []).append(path)
    for class_name, members in by_class.items():
        order = torch.randperm(len(members), generator=make_generator("split", seed, class_name)).tolist()
        n_val = max(1, round(len(members) * VAL_SHARE)) if len(members) > 1 else 0
        splits["val"] += [members[position] for position in order[:n_val]]
        splits["train"] += [members[position] for position in order[n_val:]]
    return splits
