"""The training pictures that are most like a photo, in the eyes of the network that was trained on them.

    index = load_neighbours(classifier, training_pictures(classifier.checkpoint, data_dir).dataset)
    index.nearest(photo_features(classifier, image), 6)[0]     # Neighbour(label="tulips", similarity=0.94, …)

A picture's features are what the last stage makes of it, pooled: one vector. They are computed once for every training
picture and kept, with a small copy of each, in `<cache>/neighbours/`, only ever from pictures that are on this machine.
What a model was taught with lies beside the model instead (`remember_pictures`): those pictures are nowhere else.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from resnet_core.data.cache import PixelStore, Progress, load_pixels
from resnet_core.data.cuts import center_square
from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.preprocessing import small_copy
from resnet_core.errors import CheckpointError, ModelError
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.neighbour_index import NeighbourIndex, index_file, keep_index, read_index, unit
from resnet_core.models.resnet import Network

MOST_PICTURES = 20_000  # of a larger data set every second, third … is kept
MOST_BYTES = 64 << 20  # of features in memory: 43,690 pictures of 384 numbers, 8,192 of ResNet-50's 2,048
BATCH = 8  # pictures that go through the network together, as at the desk: others' photos come in between

InTurn = Callable[[Callable[[], torch.Tensor]], torch.Tensor]  # does a piece of work when it is its turn


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
    file = index_file(classifier, dataset.fingerprint, root)
    kept = read_index(file, dataset.name, dataset.class_names)
    if kept is not None:
        return kept
    size = classifier.checkpoint.preprocessing.resize
    store = load_pixels(dataset, "train", size=size, exact=True, progress=progress, root=root)
    index = _compute(classifier, dataset, store, progress, in_turn or (lambda work: work()))
    keep_index(file, index)
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
        copies += [small_copy(square) for square in squares]
        if progress:
            progress(start + len(squares), len(chosen))
    return NeighbourIndex(
        dataset=dataset.name,
        class_names=dataset.class_names,
        features=unit(features),
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
