"""Data sets by name or path: which pictures, which classes, which split.

    rendered-flowers   drawn by this project, always there
    flower_photos      <data-dir>/flower_photos/{train,val}/<class>/
    cifar10            <data-dir>/cifar10.zip or <data-dir>/cifar10/{train,val}/<class>/
    a folder or zip    train/ and val/ with class folders, or class folders alone (seeded, stratified split)

A `DatasetSpec` names pictures without opening them; decoding happens once, in `cache`.
"""

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from resnet_core.data.archive import open_archive
from resnet_core.data.images import display_name
from resnet_core.data.layout import TRAIN_NAMES, Layout, arrange, class_of, is_hidden
from resnet_core.data.rendered import CLASS_NAMES as FLOWER_NAMES
from resnet_core.data.rendered import RENDERED_VERSION
from resnet_core.data.sources import ArchiveSource, FolderSource, JoinedSource, PictureSource, RenderedSource
from resnet_core.errors import DatasetError

PICTURE_SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".avif",
    ".ppm",
    ".pgm",
    ".jfif",
}
RENDERED_SEED, RENDERED_SIZE = 2026, 96
RENDERED_TRAIN, RENDERED_VAL = 320, 40  # pictures per class; indices of val follow those of train


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One labelled picture: its path inside the data set and the index of its class."""

    path: str
    class_index: int
    stamp: str = ""  # size and time, or checksum, of the file: notices a changed picture


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What to train on and judge by. `fingerprint` changes whenever a picture, class or split does."""

    name: str
    class_names: tuple[str, ...]
    train: tuple[Picture, ...]
    val: tuple[Picture, ...]
    source: PictureSource
    fingerprint: str
    notes: tuple[str, ...] = ()

    def split(self, name: str) -> tuple[Picture, ...]:
        """The pictures of "train" or "val". Raises DatasetError on another word."""
        if name not in ("train", "val"):
            raise DatasetError(f"“{display_name(name)}” is not a split; use train or val.")
        return self.train if name == "train" else self.val


@dataclass(frozen=True, kw_only=True)
class DatasetListing:
    """A line of `datasets list`: is it here, and what to do if not."""

    name: str
    title: str
    available: bool
    detail: str


def list_datasets(data_dir: Path) -> tuple[DatasetListing, ...]:
    """The named data sets and whether `data_dir` holds them."""
    drawn = len(FLOWER_NAMES)
    photos = _named_path(data_dir, "flower_photos")
    cifar = _named_path(data_dir, "cifar10")
    get = "not in the data folder; run «python -m resnet_core datasets get {}» (downloads {})"
    return (
        DatasetListing(
            name="rendered-flowers",
            title="Rendered flowers (built in)",
            available=True,
            detail=f"{RENDERED_TRAIN * drawn} train and {RENDERED_VAL * drawn} val pictures of {drawn} kinds, "
            "drawn by this project",
        ),
        DatasetListing(
            name="flower_photos",
            title="Flower photos",
            available=photos is not None,
            detail="5 kinds of flowers, photographed" if photos else get.format("flower_photos", "229 MB"),
        ),
        DatasetListing(
            name="cifar10",
            title="CIFAR-10",
            available=cifar is not None,
            detail="10 kinds of things at 32×32 px" if cifar else get.format("cifar10", "170 MB"),
        ),
    )


def load_dataset(name: str, *, data_dir: Path, seed: int = 0) -> DatasetSpec:
    """The data set of that name, folder or zip; DatasetError or ArchiveError say why it cannot be trained on."""
    if name == "rendered-flowers":
        return rendered_flowers()
    known = {listing.name: listing for listing in list_datasets(data_dir)}
    path = _named_path(data_dir, name) if name in known else Path(os.path.expanduser(name))
    if path is None:
        raise DatasetError(f"The data set {name} is {known[name].detail}.")
    if name.strip() and os.path.isdir(path):  # unlike Path's, os.path's questions never raise
        return folder_dataset(path, name=name if name in known else path.resolve().name, seed=seed)
    if os.path.isfile(path):
        return archive_dataset(path, name=name if name in known else path.stem, seed=seed)
    raise DatasetError(
        f"There is no data set or folder “{display_name(name)}”; use {', '.join(known)}, "
        "or the path of a folder or zip."
    )


def rendered_flowers(
    *,
    train: int = RENDERED_TRAIN,
    val: int = RENDERED_VAL,
    seed: int = RENDERED_SEED,
    size: int = RENDERED_SIZE,
) -> DatasetSpec:
    """The built-in data set: `train` + `val` pictures per class of `size` × `size` px."""
    splits = {"train": range(train), "val": range(train, train + val)}
    pictures = {
        split: tuple(
            Picture(path=f"{split}/{class_name}/{index}", class_index=class_index)
            for class_index, class_name in enumerate(FLOWER_NAMES)
            for index in indices
        )
        for split, indices in splits.items()
    }
    identity = ["rendered-flowers", RENDERED_VERSION, seed, size, train, val]
    return DatasetSpec(
        name="rendered-flowers",
        class_names=tuple(FLOWER_NAMES),
        source=RenderedSource(seed=seed, size=size),
        fingerprint=_hash(identity),
        train=pictures["train"],
        val=pictures["val"],
    )


def with_rendered(dataset: DatasetSpec, share: float, *, size: int) -> DatasetSpec:
    """The data set with rendered flowers added to its training pictures, `share` times as many as it has.

    Raises DatasetError unless its classes are the five flowers. Validation stays as it is.
    """
    if not share:
        return dataset
    if dataset.class_names != tuple(FLOWER_NAMES):
        raise DatasetError("Rendered flowers can only be mixed into pictures of the same five kinds of flowers.")
    per_class = max(1, round(len(dataset.train) * share / len(FLOWER_NAMES)))
    fresh = RENDERED_SEED + 1 if dataset.name == "rendered-flowers" else RENDERED_SEED  # its val must stay unseen
    added = rendered_flowers(train=per_class, val=0, size=size, seed=fresh)
    pictures = tuple(replace(picture, path=f"rendered/{picture.path}") for picture in added.train)
    return replace(
        dataset,
        train=(*dataset.train, *pictures),
        source=JoinedSource(dataset.source, {"rendered/": added.source}),
        fingerprint=_hash([dataset.fingerprint, added.fingerprint]),
    )


def folder_dataset(root: Path, *, name: str, seed: int = 0) -> DatasetSpec:
    """The data set below a folder; links that lead outside, dot-files and other file kinds are left out.

    Raises DatasetError.
    """
    try:
        root = root.resolve()
        found, folders, ignored = _scan(root)
    except OSError as error:
        raise DatasetError(
            f"“{display_name(name)}” cannot be read ({error.strerror}); check its permissions."
        ) from error
    layout = arrange(found, name=name, seed=seed, ignored=ignored, folders=folders)
    return _spec(layout, name=name, source=FolderSource(root / layout.prefix))


def _scan(root: Path) -> tuple[dict[str, str], list[str], int]:
    """Stamps of the pictures below `root`, its folders, and the number of other files; nothing is opened."""
    found: dict[str, str] = {}
    folders: list[str] = []
    ignored = 0
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root).as_posix()
        if path.is_dir():
            if not path.is_symlink():  # what lies behind a link is not looked at
                folders.append(relative)
        elif is_hidden(relative) or not _is_picture(path) or not path.resolve().is_relative_to(root):
            ignored += 1
        else:
            status = path.stat()
            found[relative] = f"{status.st_size}:{status.st_mtime_ns}"
    return found, folders, ignored


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()  # a pipe or device is no file


def archive_dataset(path: Path, *, name: str, seed: int = 0, set_aside: bool = True) -> DatasetSpec:
    """The data set inside a zip, read in place and never extracted. Raises ArchiveError or DatasetError.

    `set_aside`: see `layout.arrange`.
    """
    archive = open_archive(path)
    try:
        pictures = [m for m in archive.members if Path(m.path).suffix.lower() in PICTURE_SUFFIXES]
        layout = arrange(
            {picture.path: f"{picture.size}:{picture.crc}" for picture in pictures},
            name=name,
            seed=seed,
            ignored=len(archive.members) + len(archive.ignored) - len(pictures),
            folders={*archive.folders, *(member.path.rpartition("/")[0] for member in archive.members)},
            set_aside=set_aside,
        )
    except DatasetError:
        archive.close()
        raise
    return _spec(layout, name=name, source=ArchiveSource(archive, layout.prefix))


def _spec(layout: Layout, *, name: str, source: PictureSource) -> DatasetSpec:
    index = {class_name: position for position, class_name in enumerate(layout.class_names)}
    pictures = {
        split: tuple(
            Picture(path=path, class_index=index[class_of(path)], stamp=layout.stamps[path]) for path in sorted(paths)
        )
        for split, paths in layout.splits.items()
    }
    identity = [(split, picture.path, picture.stamp) for split in pictures for picture in pictures[split]]
    return DatasetSpec(
        name=name,
        class_names=layout.class_names,
        source=source,
        fingerprint=_hash(identity),
        notes=layout.notes,
        train=pictures["train"],
        val=pictures["val"],
    )


def _named_path(data_dir: Path, name: str) -> Path | None:
    folder, archive = data_dir / name, data_dir / f"{name}.zip"
    if any((folder / split).is_dir() for split in TRAIN_NAMES):
        return folder
    return archive if archive.is_file() else None


def _hash(identity: object) -> str:
    text = json.dumps(identity, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
