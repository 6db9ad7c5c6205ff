"""The last steps of a teaching: from how far its pictures lie from their class, the model learns what it cannot know;
and small copies of them are kept, since they are nowhere else when somebody asks which of them are most like a photo.
"""

import contextlib
from pathlib import Path

import numpy as np
import torch

from resnet_core.inference.neighbour_index import NeighbourIndex, read_index, unit, write_index
from resnet_core.inference.neighbours import spread
from resnet_core.inference.unknown import fit_without_negatives
from resnet_core.training.bursts import one_of_each
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.judging import InTurn
from resnet_core.training.teaching import Taught

LEAST_CASES = 30  # bursts or single pictures; with fewer, the share that is refused could be anything
REFUSED = 0.05  # of further pictures of the classes, about
MOST_COPIES = 1_000  # pictures, 3 MB


def refusing_unknown(taught: Taught, *, in_turn: InTurn = lambda work: work()) -> Checkpoint:
    """The checkpoint with an unknown score fitted to the taught pictures; unchanged where they are too few.

    Few pictures teach little of this: with 5 classes × 20 pictures 5 to 7 % of further ones were refused, of photos of
    dogs 12 to 22 % (AUROC 0.70 for CIFAR classes, 0.81 for flowers), of other CIFAR pictures no more than of their own.

    One picture of each burst counts: left-out frames of the same burst would lie too near and refuse all that is new.
    `in_turn` runs each of the fits, so that a server can let others go between.
    """
    material = taught.material
    chosen = one_of_each(material.groups, material.targets)
    if len(chosen) < LEAST_CASES:
        return taught.checkpoint
    stages = torch.stack([material.looks[place].stages for place in chosen.tolist()])
    score = fit_without_negatives(stages, material.targets[chosen], refused=REFUSED, in_turn=in_turn)
    return taught.checkpoint.with_unknown(score)


def remember_pictures(taught: Taught, file: Path) -> None:
    """Keeps features and a small copy of the pictures that were taught in that file, for `recall_pictures`.

    Where it cannot be written nothing is kept; the model is none the worse.
    """
    material = taught.material
    places = spread(len(material.looks), MOST_COPIES)
    copies = [material.looks[place].copy for place in places]
    index = NeighbourIndex(
        dataset="",
        class_names=material.class_names,
        features=unit(np.stack([material.looks[place].views[0].numpy() for place in places])),
        targets=material.targets[places].numpy(),
        paths=tuple(material.examples[place].name for place in places),
        copies=np.frombuffer(b"".join(copies), dtype=np.uint8),
        offsets=np.cumsum([0, *map(len, copies)], dtype=np.int64),
    )
    with contextlib.suppress(OSError):
        write_index(file, index)


def recall_pictures(checkpoint: Checkpoint, file: Path) -> NeighbourIndex | None:
    """The pictures that a model was taught with, from the file beside it; None where there are none."""
    return read_index(file, "", checkpoint.class_names) if "taught" in checkpoint.training else None
