"""How the pictures of a step are shared out over processes that train together.

Each process takes a part of every batch, so that a step sees the pictures that it would see in one process, changed in
the same way and in the same order. A batch with too few pictures to be divided is learned by all alike and counts once.
"""

from dataclasses import dataclass

import torch

SMALLEST_PART = 2  # BatchNorm cannot be trained on a single picture with a 1×1 map


@dataclass(frozen=True)
class Share:
    """One process among those that train together: its number, from 0, and how many there are."""

    rank: int = 0
    size: int = 1

    def divides(self, count: int) -> bool:
        """Whether a batch of so many pictures is enough for every process."""
        return count >= SMALLEST_PART * self.size

    def rows(self, count: int) -> slice:
        """Which pictures of a training batch of so many this process learns from."""
        return self.block(count) if self.divides(count) else slice(0, count)

    def block(self, count: int) -> slice:
        """Which of `count` pictures are this process's where each belongs to one alone; parts differ by one at most."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def largest_block(self, count: int) -> int:
        """How many pictures the process with the most of them has."""
        return -(-count // self.size)


ALL = Share()


@dataclass(frozen=True)
class Whole:
    """The step's batch of which a process holds a part: labels on the training device."""

    targets: torch.Tensor  # int64 [N] of all pictures of the step
    partners: torch.Tensor | None  # int64 [N], what they are mixed with
    times: int  # how many processes learn each picture: one, or all where there are too few
    counted: bool  # False where another process counts these pictures too
