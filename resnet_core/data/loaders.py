"""Batches for training and validation. The order and every random change depend only on (seed, epoch, step), so a run
can be taken up in the middle of an epoch; the next batch is cut out in a thread while the network works on this one.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

from resnet_core.data.augment import AugmentPolicy, augment_batch, random_cut
from resnet_core.data.cache import PixelStore, Progress, load_pixels
from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.device import make_generator

T = TypeVar("T")

SOURCE_MARGIN = 1.6  # training pictures are kept this much larger than the network's input: cuts stay sharp
SMALLEST_BATCH = 2  # BatchNorm cannot be trained on a single picture with a 1×1 map
PREFETCH = 2  # batches cut out ahead


@dataclass(frozen=True)
class Batch:
    """Network input float32 `[N, 3, H, W]` and its labels int64 `[N]`, both on the training device."""

    images: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class TrainLoader:
    """Shuffled, augmented batches of one epoch at a time."""

    store: PixelStore
    preprocessing: Preprocessing
    policy: AugmentPolicy
    batch_size: int
    seed: int
    device: torch.device
    memory_format: torch.memory_format = torch.channels_last

    def __len__(self) -> int:
        """Steps of an epoch; no picture is ever dropped: a leftover single one joins the batch before it."""
        return len(self._starts())

    def epoch(self, epoch: int, *, image_size: int | None = None, first_step: int = 1) -> Iterator[Batch]:
        """Batches `first_step`… of the given 1-based epoch, at `image_size` px or the preprocessing's own size."""
        order = torch.randperm(len(self.store), generator=make_generator("order", self.seed, epoch))
        starts = self._starts()
        bounds = list(zip(starts, [*starts[1:], len(order)], strict=True))[first_step - 1 :]
        size = image_size or self.preprocessing.crop

        def cut(step: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
            chosen = order[start:stop]
            pixels = self._cut(chosen.tolist(), size, make_generator("cut", self.seed, epoch, step))
            return pixels, self.store.targets[chosen]

        jobs = [functools.partial(cut, step, *bound) for step, bound in enumerate(bounds, start=first_step)]
        for step, (pixels, targets) in enumerate(ahead(jobs), start=first_step):
            yield self._finish(pixels, targets, make_generator("augment", self.seed, epoch, step))

    def _starts(self) -> list[int]:
        starts = list(range(0, len(self.store), self.batch_size))
        if len(starts) > 1 and len(self.store) - starts[-1] < SMALLEST_BATCH:
            starts.pop()
        return starts

    def _cut(self, indices: list[int], size: int, generator: torch.Generator) -> torch.Tensor:
        pixels = torch.empty(len(indices), 3, size, size, dtype=torch.uint8)
        for row, index in enumerate(indices):
            picture = self.store[index]
            pixels[row] = (
                center_square(picture, size)
                if self.policy.area is None
                else random_cut(picture, size, self.policy, generator)
            )
        return pixels

    def _finish(self, pixels: torch.Tensor, targets: torch.Tensor, generator: torch.Generator) -> Batch:
        on_device = pixels.to(self.device, non_blocking=True)
        changed = augment_batch(on_device, self.policy, generator)
        images = self.preprocessing.normalize(changed).contiguous(memory_format=self.memory_format)
        return Batch(images, targets.to(self.device, non_blocking=True))


@dataclass(frozen=True, kw_only=True)
class ValLoader:
    """The validation pictures in their fixed order, preprocessed exactly as for prediction."""

    store: PixelStore
    preprocessing: Preprocessing
    batch_size: int
    device: torch.device
    memory_format: torch.memory_format = torch.channels_last

    def __len__(self) -> int:
        return -(-len(self.store) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.store), self.batch_size):
            stop = min(start + self.batch_size, len(self.store))
            pixels = torch.stack([center_square(self.store[i], self.preprocessing.crop) for i in range(start, stop)])
            images = self.preprocessing.normalize(pixels.to(self.device)).contiguous(memory_format=self.memory_format)
            yield Batch(images, self.store.targets[start:stop].to(self.device))


@dataclass(frozen=True, kw_only=True)
class Loaders:
    """Both sides of a training."""

    train: TrainLoader
    val: ValLoader


def make_loaders(
    dataset: DatasetSpec,
    preprocessing: Preprocessing,
    *,
    policy: AugmentPolicy,
    batch_size: int,
    seed: int,
    device: torch.device,
    progress: Progress | None = None,
) -> Loaders:
    """Loaders over the decoded pictures, decoding them first where no earlier run has.

    Without a random cut, training sees the same squares as validation; with one, it needs more than the final size.
    """
    exact = policy.area is None
    train_size = preprocessing.resize if exact else max(preprocessing.resize, round(preprocessing.crop * SOURCE_MARGIN))
    report = _joint_progress(progress, len(dataset.train), len(dataset.val))
    train = load_pixels(dataset, "train", size=train_size, exact=exact, progress=report(0))
    val = load_pixels(dataset, "val", size=preprocessing.resize, exact=True, progress=report(len(dataset.train)))
    memory_format = torch.contiguous_format if device.type == "mps" else torch.channels_last
    return Loaders(
        train=TrainLoader(
            store=train,
            preprocessing=preprocessing,
            policy=policy,
            batch_size=batch_size,
            seed=seed,
            device=device,
            memory_format=memory_format,
        ),
        val=ValLoader(
            store=val,
            preprocessing=preprocessing,
            batch_size=max(batch_size, 64),
            device=device,
            memory_format=memory_format,
        ),
    )


def center_square(pixels: torch.Tensor, size: int) -> torch.Tensor:
    """The central `[3, size, size]` of `[3, H, W]`, cut as `Preprocessing` does on the picture itself."""
    top, left = (round((side - size) / 2) for side in pixels.shape[-2:])
    return pixels[:, top : top + size, left : left + size]


def ahead(jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Results of `jobs` in order, from one thread that works `PREFETCH` ahead and ends with the iterator."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as pool:
        waiting: list[Future[T]] = []
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                if len(waiting) > PREFETCH:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def _joint_progress(progress: Progress | None, n_train: int, n_val: int) -> Callable[[int], Progress | None]:
    total = n_train + n_val

    def starting_at(base: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(base + done, total)

    return starting_at
