"""Where pictures come from: a folder, a zip read in place or this project's own pencil; one method, `load(path)`."""

import weakref
from pathlib import Path
from typing import Protocol

from PIL import Image

from resnet_core.data.archive import Archive
from resnet_core.data.images import read_image
from resnet_core.data.rendered import render_flower


class PictureSource(Protocol):
    """Opens one picture of a data set by its path inside the data set. Raises ImageError with a sentence."""

    def load(self, path: str, *, draft_size: int | None = None) -> Image.Image: ...


class FolderSource:
    """Pictures below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
        """RGB picture at `root/path`; a large JPEG is decoded at a fraction of its size that keeps `draft_size` px."""
        return read_image(self.root / path, name=path, draft_size=draft_size)


class ArchiveSource:
    """Pictures inside a zip, read without extracting it; the file is closed when the last user of this is gone."""

    def __init__(self, archive: Archive, prefix: str = "") -> None:
        self._archive = archive
        weakref.finalize(self, archive.close)
        self._prefix = prefix
        self._members = {member.path: member for member in archive.members}

    def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
        """RGB picture of the member `prefix + path`."""
        content = self._archive.read(self._members[self._prefix + path])
        return read_image(content, name=path, draft_size=draft_size)


class RenderedSource:
    """Flowers drawn on demand; a path is "split/class/index"."""

    def __init__(self, *, seed: int, size: int) -> None:
        self._seed = seed
        self._size = size

    def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
        """The flower of that class and index, `size` × `size` px."""
        _, class_name, index = path.split("/")
        return render_flower(class_name, int(index), seed=self._seed, size=self._size)


class JoinedSource:
    """One source, and others for the paths that begin with their prefix."""

    def __init__(self, first: PictureSource, others: dict[str, PictureSource]) -> None:
        self._first = first
        self._others = others

    def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
        """The picture, from the source its path belongs to."""
        for prefix, source in self._others.items():
            if path.startswith(prefix):
                return source.load(path.removeprefix(prefix), draft_size=draft_size)
        return self._first.load(path, draft_size=draft_size)
