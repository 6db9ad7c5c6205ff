"""The training pictures that are most like a photo, in the eyes of the network that was trained on them.

    index = load_neighbours(classifier, training_pictures(classifier.checkpoint, data_dir).dataset)
    index.nearest(photo_features(classifier, image), 6)[0]     # Neighbour(label="tulips", similarity=0.94, …)

A picture's features are what the last stage makes of it, pooled: one vector. They are computed once for every training
picture and kept, with a small copy of each, in `<cache>/neighbours/`, only ever from pictures that are on this
machine. The file's name holds a checksum of the network and the data set's fingerprint: other weights or a changed
picture make a new one.
"""

import contextlib
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from resnet_core.data.cache import PixelStore, Progress, load_pixels
from resnet_core.data.cuts import center_square
from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import CheckpointError, ConfigError, ModelError
from resnet_core.files import cache_dir, replacing
from resnet_core.inference.classifier import Classifier
from resnet_core.models.resnet import Network

INDEX_VERSION = 1
THUMBNAIL = 96  # px, edge of the copies; about 3 kB each as JPEG
MOST_PICTURES = 20_000  # of a larger data set every second, third … is kept
MOST_BYTES = 64 << 20  # of features in memory: 43,690 pictures of 384 numbers, 8,192 of ResNet-50's 2,048
BATCH = 8  # pictures that go through the network together, as at the desk: others' photos come in between
FILES_KEPT = 8  # the least recently used go first

InTurn = Callable[[Callable[[], torch.Tensor]], torch.Tensor]  # does a piece of work when it is its turn


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
        similarity = self.features @ _unit(features[None])[0]
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


def load_neighbours(
    classifier: Classifier,
    dataset: DatasetSpec,
    *,
    progress: Progress | None = None,
    in_turn: InTurn | None = None,
    root: Path | None = None,
) -> NeighbourIndex:
    """The index of a data set's training pictures, from the cache or else computed and kept there.

    Computing tells `progress(done, total)`, first while pictures are decoded, then again from 0 for the network, and
    does each batch inside `in_turn`. Where the cache cannot be written, the index is computed every time. Raises
    DatasetError if no picture can be read, ModelError for a network without a head.
    """
    file = (root or cache_dir()) / "neighbours" / f"{_key(classifier, dataset)}.npz"
    kept = _read(file, dataset)
    if kept is not None:
        with contextlib.suppress(OSError):
            os.utime(file)
        return kept
    size = classifier.checkpoint.preprocessing.resize
    store = load_pixels(dataset, "train", size=size, exact=True, progress=progress, root=root)
    index = _compute(classifier, dataset, store, progress, in_turn or (lambda work: work()))
    with contextlib.suppress(OSError):  # a full or read-only disk costs time, not the answer
        _write(file, index)
        _trim(file.parent)
    return index


def photo_features(classifier: Classifier, image: Image.Image) -> npt.NDArray[np.float32]:
    """The feature vector [D] of one RGB picture, float32."""
    vectors = pooled_features(classifier, classifier.checkpoint.preprocessing(image)[None])
    return np.asarray(vectors[0].numpy(), dtype=np.float32)


def pooled_features(classifier: Classifier, inputs: torch.Tensor) -> torch.Tensor:
    """What the last stage makes of preprocessed inputs [N,3,H,W], pooled: float32 [N,D] on the CPU.

    Raises ModelError for a network without a head, CheckpointError where the numbers are not finite.
    """
    network = _network(classifier)
    with torch.inference_mode():
        images = inputs.to(classifier.device).contiguous(memory_format=torch.channels_last)
        vectors: torch.Tensor = network.avgpool(network.forward_features(images)).flatten(1).float().cpu()
    if not torch.isfinite(vectors).all():
        raise CheckpointError("The model returned invalid numbers for this picture; use another checkpoint.")
    return vectors


def _network(classifier: Classifier) -> Network:
    if not isinstance(classifier.model, Network) or not classifier.model.include_top:
        raise ModelError("This network has no head, so its pictures cannot be compared.")
    return classifier.model


def _compute(
    classifier: Classifier, dataset: DatasetSpec, store: PixelStore, progress: Progress | None, in_turn: InTurn
) -> NeighbourIndex:
    width = _network(classifier).fc.in_features
    chosen = spread(len(store), min(MOST_PICTURES, MOST_BYTES // (4 * width)))
    preprocessing = classifier.checkpoint.preprocessing
    features = np.empty((len(chosen), width), dtype=np.float32)
    copies: list[bytes] = []
    for start in range(0, len(chosen), BATCH):
        squares = torch.stack([center_square(store[i], preprocessing.crop) for i in chosen[start : start + BATCH]])
        vectors = in_turn(partial(pooled_features, classifier, preprocessing.normalize(squares)))
        features[start : start + len(squares)] = vectors.numpy()
        copies += [_small_copy(square) for square in squares]
        if progress:
            progress(start + len(squares), len(chosen))
    return NeighbourIndex(
        dataset=dataset.name,
        class_names=dataset.class_names,
        features=_unit(features),
        targets=store.targets[chosen].numpy().astype(np.int64),
        paths=tuple(store.paths[i] for i in chosen),
        copies=np.frombuffer(b"".join(copies), dtype=np.uint8),
        offsets=np.cumsum([0, *map(len, copies)], dtype=np.int64),
    )


def spread(count: int, most: int) -> list[int]:
    """All of 0 … count − 1, or `most` of them at even distances: pictures lie class by class, so each is thinned."""
    if count <= most:
        return list(range(count))
    return [int(place) for place in np.linspace(0, count - 1, max(1, most)).round()]


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows brought to length 1; a row of zeros stays, and is like nothing."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def _small_copy(square: torch.Tensor) -> bytes:
    picture = Image.fromarray(square.permute(1, 2, 0).contiguous().numpy())
    file = io.BytesIO()
    picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR).save(file, "JPEG", quality=85)
    return file.getvalue()


def _key(classifier: Classifier, dataset: DatasetSpec) -> str:
    digest = hashlib.sha256(f"{INDEX_VERSION}/{classifier.checkpoint.preprocessing.to_json()}".encode())
    for name, tensor in sorted(classifier.model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{values.dtype}:{tuple(values.shape)}".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{digest.hexdigest()[:16]}-{dataset.fingerprint}"


def _write(file: Path, index: NeighbourIndex) -> None:
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


def _read(file: Path, dataset: DatasetSpec) -> NeighbourIndex | None:
    """The index in that file; None if there is none, or only a damaged one."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:  # np.load forgets to close it
            paths = tuple(json.loads(arrays["paths"].tobytes()))
            parts = {name: arrays[name] for name in ("features", "targets", "copies", "offsets")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    index = NeighbourIndex(dataset=dataset.name, class_names=dataset.class_names, paths=paths, **parts)
    whole = len(paths) == len(index.features) == len(index.targets) == len(index.offsets) - 1 > 0
    return index if whole and index.offsets[-1] == len(index.copies) else None


def _trim(folder: Path) -> None:
    """Keeps the files used last."""
    used = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in used[FILES_KEPT:]:
        with contextlib.suppress(OSError):
            old.unlink()
