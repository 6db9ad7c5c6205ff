"""Pictures that belong together must be judged together: frames of one burst, copies, near-copies.

A head that has learned from one frame of a burst knows the next one by heart. So such pictures form a group, and a
split takes whole groups: what is kept back resembles nothing that was learned from.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from resnet_core.device import make_generator

THUMB_SIDE = 16  # px; small enough to forget noise, compression and half a pixel of shift
NEAR_LEVELS = 8.0  # root mean square difference of two thumbnails, of 255 levels, up to which they are near-copies …
NEAR_LIKENESS = 0.95  # … if their patterns also agree: correlation of the thumbnails, where they have a pattern at all
FLAT_LEVELS = 3.0  # spread below which a thumbnail has no pattern
ROWS = 512  # of the table of all pairs, compared at once


def thumbnail(image: Image.Image) -> torch.Tensor:
    """uint8 `[16 · 16 · 3]` of an RGB picture."""
    small = image.resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small, dtype=np.uint8)).flatten()


def find_groups(given: Sequence[str], thumbnails: torch.Tensor) -> torch.Tensor:
    """The group of each picture, int64 `[N]`, numbered from 0: those given ("" stands alone) joined with near-copies.

    A copy may be mirrored. `thumbnails` is uint8 `[N, 768]`. Chains count: if a is like b and b like c, all three
    belong together.
    """
    first: dict[str, int] = {}
    roots = torch.tensor([first.setdefault(name, i) if name else i for i, name in enumerate(given)], dtype=torch.int64)
    looks = thumbnails.float()
    turned = looks.view(-1, THUMB_SIDE, THUMB_SIDE, 3).flip(2).reshape(looks.shape)
    for start in range(0, len(looks), ROWS):
        block = looks[start : start + ROWS]
        close = _near(block, looks) | _near(block, turned)
        for row in close:
            joined = torch.unique(roots[row])
            if len(joined) > 1:
                roots[torch.isin(roots, joined)] = joined[0]
    numbered: torch.Tensor = torch.unique(roots, return_inverse=True)[1]
    return numbered


def _near(these: torch.Tensor, all_looks: torch.Tensor) -> torch.Tensor:
    """True `[M, N]` where two thumbnails show nearly the same."""
    squares = torch.cdist(these, all_looks).square() / all_looks.shape[1]
    one, other = (looks - looks.mean(1, keepdim=True) for looks in (these, all_looks))
    spread, other_spread = (looks.square().mean(1).sqrt() for looks in (one, other))
    likeness = one @ other.T / all_looks.shape[1] / (spread[:, None] * other_spread[None]).clamp_min(1e-6)
    flat = (spread < FLAT_LEVELS)[:, None] & (other_spread < FLAT_LEVELS)[None]
    return (squares <= NEAR_LEVELS**2) & (flat | (likeness >= NEAR_LIKENESS))


def one_of_each(groups: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Places int64 `[G]` of the first picture of each group and class, of `[N]` each."""
    first: dict[tuple[int, int], int] = {}
    for place, case in enumerate(zip(groups.tolist(), targets.tolist(), strict=True)):
        first.setdefault(case, place)
    return torch.tensor(list(first.values()), dtype=torch.int64)


def deal_folds(targets: torch.Tensor, groups: torch.Tensor, folds: int, *, seed: int) -> torch.Tensor:
    """The fold of each picture, int64 `[N]` in [0, folds): whole groups, every class spread as evenly as they allow.

    Large groups are dealt first, each to the fold that has the fewest pictures of its classes. Depends on the
    arguments alone.
    """
    count, classes = int(groups.max()) + 1, int(targets.max()) + 1
    table = torch.zeros(count, classes, dtype=torch.int64)
    table.index_put_((groups, targets), torch.ones_like(targets), accumulate=True)
    shuffled = torch.randperm(count, generator=make_generator("folds", seed))
    order = shuffled[table.sum(1)[shuffled].argsort(descending=True, stable=True)]
    held = torch.zeros(folds, classes, dtype=torch.int64)
    fold_of = torch.zeros(count, dtype=torch.int64)
    for group in order.tolist():
        own = table[group] > 0
        loads = zip(held[:, own].sum(1).tolist(), held.sum(1).tolist(), range(folds), strict=True)
        fold = min(loads)[2]
        held[fold] += table[group]
        fold_of[group] = fold
    return fold_of[groups]


def groups_of_class(targets: torch.Tensor, groups: torch.Tensor) -> list[int]:
    """How many different groups the pictures of each class form."""
    return [len(torch.unique(groups[targets == index])) for index in range(int(targets.max()) + 1)]
