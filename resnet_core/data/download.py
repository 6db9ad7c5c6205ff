"""Public data sets, fetched when the user asks for it: checksum-verified, resumable, laid out for `datasets`.

The flower photos are TensorFlow's example images (Flickr photographers, CC BY); CIFAR-10 (Krizhevsky 2009) comes
through torchvision, which verifies it too.
"""

import hashlib
import http.client
import io
import re
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resnet_core.data.cache import Progress
from resnet_core.data.images import display_name
from resnet_core.data.layout import arrange, is_hidden
from resnet_core.device import import_torchvision
from resnet_core.errors import DatasetError
from resnet_core.files import replacing

TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 20
SPLIT_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file on the web and what it must be."""

    url: str
    bytes: int
    sha256: str


FLOWER_PHOTOS = Download(
    url="https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
    bytes=228_813_984,
    sha256="4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
)


def download_dataset(name: str, data_dir: Path, *, progress: Progress | None = None) -> Path:
    """The place of the data set below `data_dir`, fetched if it is not there. Raises DatasetError."""
    fetchers: dict[str, Callable[[Path, Progress | None], Path]] = {
        "flower_photos": get_flower_photos,
        "cifar10": _get_cifar10,
    }
    if name not in fetchers:
        raise DatasetError(f"“{display_name(name)}” cannot be downloaded; use {' or '.join(fetchers)}.")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        return fetchers[name](data_dir, progress)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DatasetError(
            f"{name} could not be stored in the data folder ({reason}); check its rights and the space left."
        ) from error


def get_flower_photos(data_dir: Path, progress: Progress | None = None, *, download: Download = FLOWER_PHOTOS) -> Path:
    """`data_dir/flower_photos/{train,val}/<class>/`, a fifth of each class in val by a fixed seed."""
    target = data_dir / "flower_photos"
    if (target / "train").is_dir():
        return target
    archive = fetch(download, data_dir / "flower_photos.tgz.part", progress)
    with tempfile.TemporaryDirectory(prefix=".flower_photos-", dir=data_dir) as temporary:
        folder = Path(temporary) / target.name  # a folder of its own, since nobody else may enter a temporary one
        _unpack_photos(archive, folder)
        folder.rename(target)
    archive.unlink()
    return target


def fetch(download: Download, part: Path, progress: Progress | None = None) -> Path:
    """The verified file at `part`; bytes that an earlier try left there are kept. Raises DatasetError."""
    have = part.stat().st_size if part.is_file() else 0
    if have < download.bytes:
        _continue_fetch(download, part, have, progress)
    digest = hashlib.sha256()
    with part.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != download.sha256:
        part.unlink()
        raise DatasetError("The download is not what it should be (wrong checksum) and was deleted; try again.")
    return part


def _continue_fetch(download: Download, part: Path, have: int, progress: Progress | None) -> None:
    with _ask(download.url, have) as response:
        if have and response.status != 206:  # the server starts over
            have = 0
        with part.open("ab" if have else "wb") as out:
            while chunk := _read(response):
                have += len(chunk)
                if have > download.bytes:
                    break
                out.write(chunk)
                if progress:
                    progress(have, download.bytes)
    if have > download.bytes:
        part.unlink()  # it would only grow too long again
        raise DatasetError("The download is longer than it should be and was deleted; try again later.")
    if have < download.bytes:
        raise DatasetError(f"The download broke off after {have / 1e6:,.0f} MB; try again, it goes on from there.")


def _ask(url: str, start: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise _network_error(error) from error
    return answer


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _network_error(error) from error


def _network_error(error: Exception) -> DatasetError:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    return DatasetError(f"The download did not work ({reason}); check the connection to the internet and try again.")


def _unpack_photos(archive: Path, folder: Path) -> None:
    """Writes the pictures under our own layout; only regular files in a class folder are taken."""
    with tarfile.open(archive, "r:gz") as opened:
        members = [member for member in opened.getmembers() if member.isfile() and _is_photo(member.name)]
        layout = arrange({member.name: "" for member in members}, name="flower_photos", seed=SPLIT_SEED)
        split_of = {path: split for split, paths in layout.splits.items() for path in paths}
        for member in members:
            path = member.name.removeprefix(layout.prefix)
            if path not in split_of:
                continue
            content = opened.extractfile(member)
            assert content is not None
            target = folder / split_of[path] / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(content, out)


def _is_photo(path: str) -> bool:
    """True for a relative path to a JPEG without empty, hidden or `..` parts: joined to a folder it stays inside."""
    plain = "" not in path.split("/") and not re.search(r"[\\:\0]", path)
    return plain and path.lower().endswith(".jpg") and not is_hidden(path)


def _get_cifar10(data_dir: Path, progress: Progress | None) -> Path:
    target, folder = data_dir / "cifar10.zip", data_dir / "cifar10"
    if target.is_file() or (folder / "train").is_dir():
        return target if target.is_file() else folder
    datasets = import_torchvision().datasets
    with tempfile.TemporaryDirectory(dir=data_dir) as temporary, replacing(target) as out:
        try:
            parts = {
                split: datasets.CIFAR10(temporary, train=split == "train", download=True) for split in ("train", "val")
            }
        except (RuntimeError, urllib.error.URLError, http.client.HTTPException) as error:
            raise DatasetError("CIFAR-10 could not be downloaded; connect to the internet and try again.") from error
        with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as opened:
            for split, pictures in parts.items():
                for index, (image, label) in enumerate(pictures):
                    content = io.BytesIO()
                    image.save(content, format="PNG")
                    path = f"cifar10/{split}/{pictures.classes[label]}/{index:05d}.png"
                    opened.writestr(path, content.getvalue())
                    if progress:
                        progress(index + 1, len(pictures))
    return target
