"""A fixed piece of work whose time says whether the machine is as fast now as it was before a block.

It is numpy and not torch: it runs in the parent, which then never loads what the sides measure.
"""

import statistics
import time

import numpy as np

ROUNDS = 64
MAX_MOVE = 0.08  # a block between two yardsticks that differ by more is dropped


def yardstick_seconds() -> float:
    """The median time of a 3×3 convolution (64 to 256 channels, 56×56) and a matrix product (1024).

    1.6 s in all, so that a blink of the machine does not count. Both are large enough for two threads: products of a
    few milliseconds were seen to take 2.1 or 4.3 ms at random, as one thread of the two came late.
    """
    draw = np.random.default_rng(0)
    picture = draw.random((64, 58, 58), dtype=np.float32)
    kernel = draw.random((256, 64 * 9), dtype=np.float32)
    square = draw.random((1024, 1024), dtype=np.float32)
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        windows = np.lib.stride_tricks.sliding_window_view(picture, (3, 3), axis=(1, 2))
        columns = windows.transpose(0, 3, 4, 1, 2).reshape(64 * 9, 56 * 56)  # the copy makes it feel memory as well
        _ = kernel @ columns
        _ = square @ square
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def moved(before: float, after: float) -> float:
    """By what share the slower of the two exceeds the faster."""
    return max(before, after) / min(before, after) - 1
