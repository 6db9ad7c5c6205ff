"""Pictures that were found but not read yet: one file, all below a folder, or all in a zip, in their order.

A file that was named is always a picture, readable or not; of a folder and a zip only what a picture's ending has.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from resnet_core.data.archive import Archive, ArchiveMember, open_archive
from resnet_core.data.datasets import PICTURE_SUFFIXES
from resnet_core.data.image_gate import display_name, visible_text
from resnet_core.data.images import ReadImage, read_image_with_notes
from resnet_core.data.layout import is_hidden
from resnet_core.errors import ArchiveError, ImageError

ENDINGS = frozenset(PICTURE_SUFFIXES) | {".heic", ".heif"}  # the last two are refused with advice when they are read


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureFile:
    """One picture to be read; `name` is what its finder called it, with folders, and is cleaned for nobody yet."""

    name: str
    content: Path | bytes | Callable[[], bytes]

    def read(self, *, draft_size: int | None = None) -> ReadImage:
        """The picture, upright and RGB. Raises ImageError, also for a damaged place in a zip."""
        shown = display_name(self.name)
        try:
            content = self.content() if callable(self.content) else self.content
        except ArchiveError as error:
            raise ImageError(str(error)) from error
        return read_image_with_notes(content, name=shown, draft_size=draft_size)


@dataclass(frozen=True, kw_only=True)
class Found:
    """Pictures in a folder or zip, sorted by name, and how many other files there are."""

    pictures: tuple[PictureFile, ...]
    ignored: int
    close: Callable[[], None] = field(default=lambda: None, repr=False)  # to be called once all of them are read


def find_pictures(path: Path) -> Found:
    """All pictures below a folder or in a zip, named with the path given; any other path stands for itself.

    Raises ImageError for a folder or zip without a picture, ArchiveError for a zip that cannot be opened.
    """
    if path.is_dir():
        found = _in_folder(path)
    elif path.suffix.lower() == ".zip" and path.is_file():
        found = pictures_of_zip(open_archive(path), prefix=f"{path}/")
    else:
        return Found(pictures=(PictureFile(name=str(path), content=path),), ignored=0)
    if not found.pictures:
        found.close()
        raise ImageError(f"{display_name(path)} holds no pictures; choose another folder or zip.")
    return found


def pictures_of_zip(archive: Archive, *, prefix: str = "") -> Found:
    """The pictures of an opened zip; it has to stay open until they are read."""

    def reader(member: ArchiveMember) -> Callable[[], bytes]:
        return lambda: archive.read(member)

    chosen = [member for member in archive.members if _has_ending(member.path) and not is_hidden(member.path)]
    pictures = tuple(
        PictureFile(name=prefix + member.path, content=reader(member)) for member in sorted(chosen, key=_path_of)
    )
    ignored = len(archive.members) + len(archive.ignored) - len(pictures)
    return Found(pictures=pictures, ignored=ignored, close=archive.close)


def shown_name(name: str, limit: int = 80) -> str:
    """The name with its folders as one line of text: no control or direction marks; it is not escaped for HTML."""
    return visible_text(name, limit) or "unnamed"


def _in_folder(root: Path) -> Found:
    pictures: list[PictureFile] = []
    ignored = 0
    for parent, folders, names in os.walk(root):  # links to folders are not followed
        folders[:] = sorted(folder for folder in folders if not is_hidden(folder))
        for name in sorted(names):
            path = Path(parent) / name
            if is_hidden(name) or not _has_ending(name) or not path.is_file():
                ignored += 1
            else:
                pictures.append(PictureFile(name=str(path), content=path))
    return Found(pictures=tuple(pictures), ignored=ignored)


def _has_ending(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in ENDINGS


def _path_of(member: ArchiveMember) -> str:
    return member.path
