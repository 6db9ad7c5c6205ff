"""In which order an epoch shows its pictures, and which of them: all once, or each class as often as any other."""

import torch


def draw_order(count: int, classes: torch.Tensor | None, generator: torch.Generator) -> torch.Tensor:
    """int64 `[count]`: the numbers of the pictures of an epoch, in its order.

    Without `classes` every picture once. With them, int64 `[count]`, each class gets the same number of places, to one:
    of a large class as many pictures as have room, the others have their turn in other epochs; a small class is gone
    through several times, no picture once more often than another by two.
    """
    if classes is None:
        return torch.randperm(count, generator=generator)
    present = torch.unique(classes).tolist()
    extra = set(torch.randperm(len(present), generator=generator)[: count % len(present)].tolist())
    chosen = [
        _places(torch.nonzero(classes == label).flatten(), count // len(present) + (number in extra), generator)
        for number, label in enumerate(present)
    ]
    return torch.cat(chosen)[torch.randperm(count, generator=generator)]


def _places(members: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` of these pictures: every one before any comes again."""
    rounds = [members[torch.randperm(len(members), generator=generator)] for _ in range(-(-count // len(members)))]
    return torch.cat([*rounds, members[:0]])[:count]
