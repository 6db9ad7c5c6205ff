"""The features of training pictures with a small copy of each, as they are asked and as they lie on the disk.

In the cache a file's name holds a checksum of the network and the fingerprint of its pictures: other weights or a
changed picture make a new one.
"""

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from resnet_core.errors import ConfigError, ModelError
from resnet_core.files import cache_dir, replacing
from resnet_core.inference.classifier import Classifier

INDEX_VERSION = 1
FILES_KEPT = 8  # the least recently used go first


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training picture; similarity is the cosine of both feature vectors, 1 for the same picture."""

    label: str
    similarity: float
    path: str  # inside the data set
    place: int  # in the index, for `thumbnail`


@dataclass(frozen=True, kw_only=True, eq=False)
class NeighbourIndex:
    """Feature vectors and small copies of the training pictures of one data set, for one network."""

    dataset: str
    class_names: tuple[str, ...]
    features: npt.NDArray[np.float32]  # [N, D], each row of length 1
    targets: npt.NDArray[np.int64]  # [N]
    paths: tuple[str, ...]
    copies: npt.NDArray[np.uint8]  # JPEG files, one after the other
    offsets: npt.NDArray[np.int64]  # [N + 1], where each begins

    def __len__(self) -> int:
        return len(self.targets)

    def nearest(self, features: npt.NDArray[np.float32], k: int = 6) -> tuple[Neighbour, ...]:
        """The k training pictures most like a feature vector [D], the most similar first; all where there are fewer.

        Raises ConfigError for k below 1, ModelError for a vector of another length.
        """
        if k < 1:
            raise ConfigError("Ask for at least one picture.")
        if features.shape != self.features.shape[1:]:
            raise ModelError("These features come from another network than the training pictures'.")
        similarity = self.features @ unit(features[None])[0]
        best = np.argsort(-similarity, kind="stable")[:k]
        return tuple(
            Neighbour(
                label=self.class_names[self.targets[place]],
                similarity=min(1.0, float(similarity[place])),
                path=self.paths[place],
                place=int(place),
            )
            for place in best
        )

    def thumbnail(self, place: int) -> bytes:
        """The small copy of the picture at that place, as a JPEG file of 96 × 96 px."""
        return self.copies[self.offsets[place] : self.offsets[place + 1]].tobytes()


def index_file(classifier: Classifier, fingerprint: str, root: Path | None = None) -> Path:
    """Where the index of that network and those pictures lies, if it was kept."""
    digest = hashlib.sha256(f"{INDEX_VERSION}/{classifier.checkpoint.preprocessing.to_json()}".encode())
    for name, tensor in sorted(classifier.model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{values.dtype}:{tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return (root or cache_dir()) / "neighbours" / f"{digest.hexdigest()[:16]}-{fingerprint}.npz"


def keep_index(file: Path, index: NeighbourIndex) -> None:
    """Writes it, and removes what nobody has used for long; a full or read-only disk costs time, not the answer."""
    with contextlib.suppress(OSError):
        write_index(file, index)
        _trim(file.parent)


def read_index(file: Path, dataset: str, class_names: tuple[str, ...]) -> NeighbourIndex | None:
    """The index in that file, of pictures that are called so; None if there is none, or only a damaged one."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:  # np.load forgets to close it
            paths = tuple(json.loads(arrays["paths"].tobytes()))
            parts = {name: arrays[name] for name in ("features", "targets", "copies", "offsets")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    index = NeighbourIndex(dataset=dataset, class_names=class_names, paths=paths, **parts)
    whole = len(paths) == len(index.features) == len(index.targets) == len(index.offsets) - 1 > 0
    if not whole or index.offsets[-1] != len(index.copies) or not 0 <= index.targets.max() < len(class_names):
        return None
    with contextlib.suppress(OSError):
        os.utime(file)
    return index


def unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows brought to length 1; a row of zeros stays, and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def write_index(file: Path, index: NeighbourIndex) -> None:
    """Replaces the file by this index. Raises OSError."""
    paths = np.frombuffer(json.dumps(index.paths).encode(), dtype=np.uint8)
    with replacing(file) as temporary, temporary.open("wb") as out:
        np.savez(
            out,
            features=index.features,
            targets=index.targets,
            paths=paths,
            copies=index.copies,
            offsets=index.offsets,
        )


def _trim(folder: Path) -> None:
    """Keeps the files used last."""
    used = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in used[FILES_KEPT:]:
        with contextlib.suppress(OSError):
            old.unlink()
