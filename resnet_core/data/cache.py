"""Every picture is decoded once. The pixels stay as uint8, small stores in memory, larger ones memory-mapped.

A store is a folder `<cache>/pixels/<key>/` with `pixels.u8` (all pictures one after the other, height × width × 3)
and `index.json`. The key holds the data set's fingerprint and the size asked for, so a changed picture makes a new
store and an unchanged one starts without decoding. A store is renamed into place when it is complete, and checked
before use: a damaged one is built again. `store_limits` removes those that nobody has used for long.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from resnet_core.allocator import give_back_freed
from resnet_core.data.datasets import DatasetSpec, Picture
from resnet_core.data.images import display_name
from resnet_core.data.preprocessing import draft_size, resize_short_side
from resnet_core.data.store_limits import building_folder, note_use, sweep, trim
from resnet_core.device import default_num_threads
from resnet_core.errors import DatasetError, ResNetLabError
from resnet_core.files import cache_dir
from resnet_core.memory import free_memory

STORE_VERSION = 3  # 2 decoded large JPEGs at a fraction nearer to the wanted size
# A larger store is mapped: the system holds its pages as long as there is room and shares them between processes, and
# a training starts without copying them. Up to here a copy is cheap, and gathers need no page faults.
IN_MEMORY_BYTES = 64 << 20
MEMORY_SHARE = 0.25  # of the free memory may be taken by a store that is read into it
UNKNOWN_MEMORY = 4 << 30  # bytes taken as free where the system does not say
WINDOW = 256  # pictures decoded ahead of the one that is written
SMALL_SECONDS = 1e-3  # pictures decoded faster than this are mostly Python, which threads only slow down

Pixels = np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]
Progress = Callable[[int, int], None]
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, kw_only=True)
class PixelStore:
    """Decoded pictures of one split. `store[i]` is uint8 `[3, H, W]`; sizes differ from picture to picture."""

    pixels: np.ndarray[tuple[int], np.dtype[np.uint8]]
    offsets: np.ndarray[tuple[int], np.dtype[np.int64]]  # [N + 1]
    sizes: tuple[tuple[int, int], ...]  # height, width
    targets: torch.Tensor  # int64 [N]
    paths: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]  # path and reason of each picture that could not be read

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> torch.Tensor:
        start, stop = self.offsets[index], self.offsets[index + 1]
        height, width = self.sizes[index]
        return torch.from_numpy(self.pixels[start:stop]).view(height, width, 3).permute(2, 0, 1)

    def stacked(self) -> torch.Tensor | None:
        """All pictures as one uint8 `[N, 3, H, W]` that shares this store's memory; None where their sizes differ."""
        if len(set(self.sizes)) != 1:
            return None
        return torch.from_numpy(self.pixels).view(len(self), *self.sizes[0], 3).permute(0, 3, 1, 2)


def load_pixels(
    dataset: DatasetSpec,
    split: str,
    *,
    size: int,
    exact: bool,
    progress: Progress | None = None,
    root: Path | None = None,
) -> PixelStore:
    """The decoded pictures of a split, shorter side at most `size` px, or exactly `size` with `exact`.

    The first call decodes in threads and tells `progress(done, total)`; later calls read the store. Raises
    DatasetError if no picture of the split can be read, or the pixels cannot be kept.
    """
    folder = (root or cache_dir()) / "pixels" / _key(dataset, split, size, exact)
    store = _open(folder)
    if store is None:
        _build(folder, dataset, split, size=size, exact=exact, progress=progress)
        give_back_freed()
        store = _open(folder)
    if store is None:
        raise DatasetError("The decoded pictures cannot be read back; check the disk and try again.")
    note_use(folder, store.pixels)
    return store


def _key(dataset: DatasetSpec, split: str, size: int, exact: bool) -> str:
    identity = f"{STORE_VERSION}/{dataset.fingerprint}/{split}/{size}/{exact}"
    return f"{split}-{size}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"


def _build(
    folder: Path, dataset: DatasetSpec, split: str, *, size: int, exact: bool, progress: Progress | None
) -> None:
    temporary: Path | None = None
    try:
        temporary = building_folder(folder.parent)
        sweep(folder.parent)
        _write_store(temporary, dataset, split, size=size, exact=exact, progress=progress)
        _move(temporary, folder)
        trim(folder.parent)
    except OSError as error:
        raise DatasetError(
            f"The decoded pictures could not be kept ({error.strerror or error}); make room on the disk, "
            "or let RESNET_LAB_CACHE name another folder."
        ) from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


def _move(temporary: Path, folder: Path) -> None:
    """Puts the finished store in its place, unless another process was faster with the same content."""
    try:
        os.replace(temporary, folder)
    except OSError:
        if _open(folder) is None:
            shutil.rmtree(folder)
            os.replace(temporary, folder)


def _write_store(
    folder: Path, dataset: DatasetSpec, split: str, *, size: int, exact: bool, progress: Progress | None
) -> None:
    kept: list[tuple[str, int, int, int]] = []  # path, class, height, width
    skipped: list[tuple[str, str]] = []
    pictures = dataset.split(split)
    decode = partial(_decode, dataset, size, exact)
    with (folder / "pixels.u8").open("wb") as out:
        for done, (picture, outcome) in enumerate(read_in_order(decode, pictures), start=1):
            if isinstance(outcome, str):
                skipped.append((picture.path, outcome))
            else:
                out.write(outcome.tobytes())
                kept.append((picture.path, picture.class_index, *outcome.shape[:2]))
            if progress:
                progress(done, len(pictures))
        out.flush()
        os.fsync(out.fileno())
    if not kept:  # raised here, so that it is tried again once the cause is mended
        reason = skipped[0][1] if skipped else "it is empty."
        raise DatasetError(
            f"No picture of {split} in “{display_name(dataset.name)}” could be read; the first: {reason}"
        )
    (folder / "index.json").write_text(json.dumps({"kept": kept, "skipped": skipped}), encoding="utf-8")


def read_in_order(read: Callable[[Picture], Outcome], pictures: Sequence[Picture]) -> Iterator[tuple[Picture, Outcome]]:
    """What `read` makes of each picture, in order; a few hundred are in the air at a time.

    The first of them tell whether threads help: photos are decoded outside Python's lock, but 60,000 pictures of 32 px
    took 27 s in two threads that fought for it and take 11 s in one.
    """
    head = pictures[:16]
    started = time.perf_counter()
    outcomes = [read(picture) for picture in head]
    small = time.perf_counter() - started < SMALL_SECONDS * len(head)
    yield from zip(head, outcomes, strict=True)
    if small:
        yield from ((picture, read(picture)) for picture in pictures[len(head) :])
        return
    with ThreadPoolExecutor(max_workers=min(8, default_num_threads())) as pool:
        for start in range(len(head), len(pictures), WINDOW):
            window = pictures[start : start + WINDOW]
            yield from zip(window, pool.map(read, window), strict=True)


def _decode(dataset: DatasetSpec, size: int, exact: bool, picture: Picture) -> Pixels | str:
    try:
        image = dataset.source.load(picture.path, draft_size=draft_size(size))
        return np.asarray(shrink(image, size, exact), dtype=np.uint8)
    except ResNetLabError as error:
        return str(error)


def shrink(image: Image.Image, size: int, exact: bool) -> Image.Image:
    """Shorter side at `size` (exactly, or at most), and of very long pictures only the central 2:1.

    Both margins are equal and even, so that the rounded centre square of the part is that of the whole.
    """
    resized = resize_short_side(image, size, upscale=exact)
    width, height = resized.size
    left, top = (max(0, side - 2 * min(resized.size)) // 4 * 2 for side in resized.size)
    return resized.crop((left, top, width - left, height - top)) if left or top else resized


def _open(folder: Path) -> PixelStore | None:
    """The store in that folder; None if there is none, or only a damaged one."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        store = _assemble(index["kept"], index["skipped"], folder / "pixels.u8")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return store if len(store) and len(store.pixels) == store.offsets[-1] else None


def _assemble(kept: list[tuple[str, int, int, int]], skipped: list[tuple[str, str]], pixels: Path) -> PixelStore:
    sizes = tuple((height, width) for _, _, height, width in kept)
    lengths = np.array([height * width * 3 for height, width in sizes], dtype=np.int64)
    return PixelStore(
        pixels=_read_pixels(pixels),
        offsets=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
        sizes=sizes,
        targets=torch.tensor([class_index for _, class_index, _, _ in kept], dtype=torch.int64),
        paths=tuple(path for path, _, _, _ in kept),
        skipped=tuple((path, reason) for path, reason in skipped),
    )


def _read_pixels(path: Path) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    free = free_memory(torch.device("cpu"))
    if path.stat().st_size <= min(IN_MEMORY_BYTES, MEMORY_SHARE * (free if free is not None else UNKNOWN_MEMORY)):
        return np.fromfile(path, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode="c")  # copy on write: torch wants writable memory
