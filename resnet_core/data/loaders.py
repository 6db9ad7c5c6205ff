"""Batches for training and validation. The order and every random change depend only on (seed, epoch, step), so a run
can be taken up in the middle of an epoch; the next batch is ready before it is asked for.

On a GPU with room for the pixels they stay there and a batch is a few kernels (`resident`). Else a thread cuts the
pixels ahead; they are changed on the GPU, or by the same thread where the CPU has a core to spare for it.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from resnet_core.data.augment import AugmentPolicy, augment_batch, mirrored_in, skip_boxes
from resnet_core.data.cache import PixelStore, Progress, load_pixels
from resnet_core.data.cuts import Cuts, plain_cuts, ranges
from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.images import display_name
from resnet_core.data.mixing import Mixing, Mixture, mix_batch
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.resident import resident_cuts
from resnet_core.data.sampling import draw_order
from resnet_core.data.sharing import ALL, Share, Whole
from resnet_core.device import default_num_threads, make_generator
from resnet_core.errors import DatasetError

T = TypeVar("T")

SOURCE_MARGIN = 1.6  # training pictures are kept this much larger than the network's input: cuts stay sharp
SMALLEST_BATCH = 2  # BatchNorm cannot be trained on a single picture with a 1×1 map
PREFETCH = 2  # batches made ahead
NOT_MIXED = Mixing()
FEW_CORES = 2  # with no more, ResNet-8 at batch 256 trained 5 % slower when the thread also changed the pictures


@dataclass(frozen=True)
class Batch:
    """Network input float32 `[N, 3, H, W]` and its labels int64 `[N]`, both on the training device."""

    images: torch.Tensor
    targets: torch.Tensor
    mixture: Mixture | None = None  # what else the images show, where they were mixed
    whole: Whole | None = None  # the step's batch, where this is one process's part of it

    @property
    def step_size(self) -> int:
        """How many pictures the step learns from, in all processes together."""
        return len(self.whole.targets) if self.whole else len(self.targets)


_Cut = Callable[[int, torch.Tensor], torch.Tensor]  # step, chosen pictures → uint8 pixels
_Finish = Callable[[int, torch.Tensor, torch.Tensor], Batch]  # step, chosen pictures, pixels


@dataclass(frozen=True, kw_only=True)
class TrainLoader:
    """Shuffled, augmented batches of one epoch at a time, or a process's share of each.

    `cuts` None means: picture by picture, on the CPU.
    """

    store: PixelStore
    preprocessing: Preprocessing
    policy: AugmentPolicy
    batch_size: int
    seed: int
    device: torch.device
    memory_format: torch.memory_format = torch.channels_last
    cuts: Cuts | None = None
    mixing: Mixing = NOT_MIXED
    share: Share = ALL
    balanced: torch.Tensor | None = None  # int64 [N], classes that an epoch shows equally often; None: as they come

    def __len__(self) -> int:
        """Steps of an epoch; none is smaller than two pictures: a leftover single one joins the batch before it."""
        return len(ranges(len(self.store), self.batch_size, least=SMALLEST_BATCH))

    def epoch(self, epoch: int, *, image_size: int | None = None, first_step: int = 1) -> Iterator[Batch]:
        """Batches `first_step`… of the given 1-based epoch, at `image_size` px or the preprocessing's own size."""
        count = len(self.store)
        order = draw_order(count, self.balanced, make_generator("order", self.seed, epoch))
        turns = mirrored_in(epoch, count, make_generator("mirror", self.seed)) if self.policy.in_turns else None
        cuts = self.cuts or plain_cuts(self.store, self.policy)
        size = image_size or self.preprocessing.crop

        def cut(step: int, chosen: torch.Tensor) -> torch.Tensor:
            generator, rows = make_generator("cut", self.seed, epoch, step), self._made(len(chosen))
            skip_boxes(self.policy, rows.start, generator)
            pixels = cuts.cut(chosen[rows], size, generator)
            return pixels.pin_memory() if self.device.type == "cuda" and not cuts.resident else pixels

        def finish(step: int, chosen: torch.Tensor, pixels: torch.Tensor) -> Batch:
            mirrored = None if turns is None else turns[chosen]
            generators = (make_generator(use, self.seed, epoch, step) for use in ("augment", "mix"))
            return self._finish(pixels, self.store.targets[chosen], mirrored, *generators)

        bounds = ranges(count, self.batch_size, least=SMALLEST_BATCH)[first_step - 1 :]
        parts = [(step, order[start:stop]) for step, (start, stop) in enumerate(bounds, start=first_step)]
        return _made(parts, cut, finish, resident=cuts.resident, device=self.device)

    def _finish(
        self,
        pixels: torch.Tensor,
        targets: torch.Tensor,
        mirrored: torch.Tensor | None,
        generator: torch.Generator,
        mix_generator: torch.Generator,
    ) -> Batch:
        rows = self._made(len(targets))
        on_device = pixels.to(self.device, non_blocking=True)
        changed = augment_batch(on_device, self.policy, generator, mirrored=mirrored, rows=rows, count=len(targets))
        labels = targets.to(self.device, non_blocking=True)
        mixed, mixture = mix_batch(self.preprocessing.normalize(changed), labels[rows], self.mixing, mix_generator)
        part = share_batch(mixed, labels, mixture, self.share)
        return replace(part, images=part.images.contiguous(memory_format=self.memory_format))

    def _made(self, count: int) -> slice:
        """The pictures of a batch of `count` that are made here: this process's part, or all where they are mixed."""
        return slice(0, count) if self.mixing else self.share.rows(count)


def share_batch(images: torch.Tensor, labels: torch.Tensor, mixture: Mixture | None, share: Share) -> Batch:
    """A process's share of a step's batch; `images` are all of it, or that share already, `labels` are all."""
    if share.size == 1:
        return Batch(images, labels, mixture)
    rows = share.rows(len(labels))
    divided = share.divides(len(labels))
    whole = Whole(
        targets=labels,
        partners=mixture.targets if mixture else None,
        times=1 if divided else share.size,
        counted=divided or share.rank == 0,
    )
    own = images[rows] if len(images) == len(labels) else images
    return Batch(own, labels[rows], replace(mixture, targets=mixture.targets[rows]) if mixture else None, whole)


@dataclass(frozen=True, kw_only=True)
class ValLoader:
    """The validation pictures in their fixed order, preprocessed exactly as for prediction.

    A process's share of them is one block; every process gets the same number of batches, perhaps empty ones.
    """

    store: PixelStore
    preprocessing: Preprocessing
    batch_size: int
    device: torch.device
    memory_format: torch.memory_format = torch.channels_last
    cuts: Cuts | None = None
    share: Share = ALL

    def __len__(self) -> int:
        return len(ranges(self.share.largest_block(len(self.store)), self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        cuts = self.cuts or plain_cuts(self.store, AugmentPolicy())
        unused = make_generator("val")

        def cut(step: int, chosen: torch.Tensor) -> torch.Tensor:
            return cuts.cut(chosen, self.preprocessing.crop, unused)

        def finish(step: int, chosen: torch.Tensor, pixels: torch.Tensor) -> Batch:
            on_device = pixels.to(self.device).contiguous(memory_format=self.memory_format)
            images = self.preprocessing.normalize(on_device).contiguous(memory_format=self.memory_format)
            return Batch(images, self.store.targets[chosen].to(self.device))

        mine = torch.arange(len(self.store))[self.share.block(len(self.store))]
        parts = [(step, mine[step * self.batch_size : (step + 1) * self.batch_size]) for step in range(len(self))]
        return _made(parts, cut, finish, resident=cuts.resident, device=self.device)


def _made(
    parts: Sequence[tuple[int, torch.Tensor]],
    cut: _Cut,
    finish: _Finish,
    *,
    resident: bool,
    device: torch.device,
) -> Iterator[Batch]:
    """The batches of `parts`, each a step and its pictures: cut, then finished, in a thread where that helps.

    Work on a GPU is started by the reader's own thread: it does not wait for the result anyway, and a thread that
    starts kernels beside it would break into a CUDA graph that is being recorded. On two cores, both of which train,
    whoever does the work delays the step; the reader's threads do it sooner (wait 2.5 % instead of 0.3 %).
    """
    if resident:
        for step, chosen in parts:
            yield _finished(step, chosen, cut, finish)
    elif device.type == "cpu" and default_num_threads() > FEW_CORES:
        whole = [functools.partial(_finished, step, chosen, cut, finish) for step, chosen in parts]
        yield from ahead(whole)
    else:
        jobs = [functools.partial(cut, *part) for part in parts]
        for part, pixels in zip(parts, ahead(jobs), strict=True):
            yield finish(*part, pixels)


@dataclass(frozen=True, kw_only=True)
class Loaders:
    """Both sides of a training."""

    train: TrainLoader
    val: ValLoader


def _of_all_classes(dataset: DatasetSpec, train: PixelStore) -> PixelStore:
    """The same store. Raises DatasetError where every training picture of a class was skipped: who would learn it?"""
    asked = {picture.path: picture.class_index for picture in dataset.train}
    lost = sorted(set(asked.values()) - set(train.targets.tolist()))
    if lost:
        names = ", ".join(display_name(dataset.class_names[index]) for index in lost)
        reason = next(reason for path, reason in train.skipped if asked[path] == lost[0])
        raise DatasetError(
            f"No training picture of {names} can be read; replace them or remove the folder. The first reason: {reason}"
        )
    return train


def make_loaders(
    dataset: DatasetSpec,
    preprocessing: Preprocessing,
    *,
    policy: AugmentPolicy,
    batch_size: int,
    seed: int,
    device: torch.device,
    mixing: Mixing = NOT_MIXED,
    balanced: bool = False,
    memory_format: torch.memory_format | None = None,
    keep_on_device: bool | None = None,
    progress: Progress | None = None,
    share: Share = ALL,
) -> Loaders:
    """Loaders over the decoded pictures, decoding them first where no earlier run has.

    Without a random cut, training sees the same squares as validation; with one, it needs more than the final size.
    memory_format is that of the images, None: channels_last but on MPS. keep_on_device holds the pixels on the device
    itself; None: on a CUDA device with room for them. Raises DatasetError where nothing of a class can be read.
    """
    exact = policy.area is None
    train_size = preprocessing.resize if exact else max(preprocessing.resize, round(preprocessing.crop * SOURCE_MARGIN))
    report = _joint_progress(progress, len(dataset.train), len(dataset.val))
    train = _of_all_classes(dataset, load_pixels(dataset, "train", size=train_size, exact=exact, progress=report(0)))
    val = load_pixels(dataset, "val", size=preprocessing.resize, exact=True, progress=report(len(dataset.train)))
    if memory_format is None:
        memory_format = torch.contiguous_format if device.type == "mps" else torch.channels_last

    def cuts_of(store: PixelStore, policy: AugmentPolicy) -> Cuts:
        kept = None
        if keep_on_device is not False:
            forced = keep_on_device is True
            kept = resident_cuts(store, policy, crop=preprocessing.crop, device=device, forced=forced)
        return kept or plain_cuts(store, policy)

    return Loaders(
        train=TrainLoader(
            store=train,
            preprocessing=preprocessing,
            policy=policy,
            batch_size=batch_size,
            seed=seed,
            device=device,
            memory_format=memory_format,
            cuts=cuts_of(train, policy),
            mixing=mixing,
            share=share,
            balanced=train.targets if balanced else None,
        ),
        val=ValLoader(
            store=val,
            preprocessing=preprocessing,
            batch_size=max(batch_size, 64),
            device=device,
            memory_format=memory_format,
            cuts=cuts_of(val, AugmentPolicy()),
            share=share,
        ),
    )


def _finished(step: int, chosen: torch.Tensor, cut: _Cut, finish: _Finish) -> Batch:
    return finish(step, chosen, cut(step, chosen))


def ahead(jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Results of `jobs` in order, from one thread that works `PREFETCH` ahead and ends with the iterator.

    The thread computes on one core, so that it does not fight with the reader's threads for all of them.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as pool:
        threads = torch.get_num_threads()
        pool.submit(_bind_to_one_core).result()
        torch.set_num_threads(threads)  # that also set what threads started later begin with
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


def _bind_to_one_core() -> None:
    torch.get_num_threads()  # a thread's first question sets it to what the process has: it must not come later
    torch.set_num_threads(1)


def _joint_progress(progress: Progress | None, n_train: int, n_val: int) -> Callable[[int], Progress | None]:
    total = n_train + n_val

    def starting_at(base: int) -> Progress | None:
        return None if progress is None else lambda done, _: progress(base + done, total)

    return starting_at
