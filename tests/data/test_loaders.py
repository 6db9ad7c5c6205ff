"""Every picture once an epoch, the same for the same seed whatever else the process does, and no thread left behind."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

from resnet_core.data import loaders as loaders_module
from resnet_core.data.augment import POLICIES, get_policy
from resnet_core.data.cache import PixelStore
from resnet_core.data.cuts import SquareCuts
from resnet_core.data.datasets import DatasetSpec, folder_dataset, load_dataset
from resnet_core.data.loaders import PREFETCH, Batch, Loaders, TrainLoader, ahead, make_loaders
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.resident import ResidentCuts
from resnet_core.errors import DatasetError

pytestmark = pytest.mark.usefixtures("torch_threads")

FolderMaker = Callable[..., Path]
CPU = torch.device("cpu")
SMALL = Preprocessing(resize=10, crop=8)


def store_of(count: int, height: int = 10, width: int = 12) -> PixelStore:
    """Pictures whose label is their index."""
    pixels = np.random.default_rng(count).integers(0, 256, count * height * width * 3, dtype=np.uint8)
    return PixelStore(
        pixels=pixels,
        offsets=np.arange(count + 1, dtype=np.int64) * height * width * 3,
        sizes=((height, width),) * count,
        targets=torch.arange(count),
        paths=tuple(map(str, range(count))),
        skipped=(),
    )


def loader_of(count: int, batch_size: int, *, policy: str = "none", seed: int = 0) -> TrainLoader:
    return TrainLoader(
        store=store_of(count),
        preprocessing=SMALL,
        policy=get_policy(policy),
        batch_size=batch_size,
        seed=seed,
        device=CPU,
    )


def loaders_of(dataset: DatasetSpec, preprocessing: Preprocessing, policy: str = "crop-flip") -> Loaders:
    return make_loaders(dataset, preprocessing, policy=get_policy(policy), batch_size=4, seed=0, device=CPU)


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets)
        for a, b in zip(first, second, strict=True)
    )


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    assert prefetch_threads() == []
    yield
    assert prefetch_threads() == []


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 60), batch_size=st.integers(1, 20), epoch=st.integers(1, 3))
def test_every_picture_appears_once_an_epoch(count: int, batch_size: int, epoch: int) -> None:
    loader = loader_of(count, batch_size)
    batches = list(loader.epoch(epoch))
    shown = torch.cat([batch.targets for batch in batches]).tolist()
    assert sorted(shown) == list(range(count))
    assert len(batches) == len(loader)
    sizes = [len(batch.images) for batch in batches]
    assert max(sizes) <= batch_size + 1
    if batch_size > 1 and count > 1:
        assert min(sizes) >= 2  # BatchNorm
    assert [len(batch.targets) for batch in batches] == sizes
    order = shown if count > 12 else []
    assert order != sorted(order) or not order


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_batches_are_normalized_input_of_the_right_kind(policy: str) -> None:
    for batch in loader_of(9, 4, policy=policy).epoch(1):
        assert batch.images.shape[1:] == (3, 8, 8)
        assert batch.images.dtype == torch.float32
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.targets.dtype == torch.int64
        least, most = -0.485 / 0.229, (1 - 0.406) / 0.225
        assert least - 1e-3 <= batch.images.min() <= batch.images.max() <= most + 1e-3


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_an_epoch_taken_up_in_the_middle_goes_on_as_it_would_have(policy: str) -> None:
    loader = loader_of(23, 4, policy=policy)
    whole = list(loader.epoch(2))
    for first_step in range(1, len(loader) + 2):
        assert same(list(loader.epoch(2, first_step=first_step)), whole[first_step - 1 :])


def test_seed_epoch_and_step_each_change_order_or_pictures() -> None:
    def first(seed: int, epoch: int) -> Batch:
        return next(iter(list(loader_of(40, 8, policy="strong", seed=seed).epoch(epoch))))

    orders = {tuple(first(seed, epoch).targets.tolist()) for seed in range(3) for epoch in range(1, 4)}
    assert len(orders) == 9
    twice = replace(loader_of(2, 2, policy="crop-flip"), seed=5)
    shown = {tuple(batch.images.sum((1, 2, 3)).sort().values.tolist()) for e in (1, 2, 3) for batch in twice.epoch(e)}
    assert len(shown) == 3


def test_other_threads_change_nothing() -> None:
    loader = loader_of(60, 4, policy="strong")
    quiet = list(loader.epoch(1))
    stop = threading.Event()
    rounds = Counter[str]()

    def disturb() -> None:
        data = DataLoader(TensorDataset(torch.arange(8)), batch_size=2, shuffle=True)
        while not stop.is_set():
            torch.manual_seed(0)
            torch.rand(10)
            np.random.rand(3)
            rounds["batches"] += len(list(data))
            list(loader_of(6, 3, policy="strong", seed=9).epoch(1))

    before = torch.get_rng_state()
    noise = threading.Thread(target=disturb)
    noise.start()
    try:
        while not rounds:
            time.sleep(0.01)
        for _ in range(3):
            assert same(list(loader.epoch(1)), quiet)
    finally:
        stop.set()
        noise.join()
        torch.set_rng_state(before)


def test_pictures_take_turns_at_being_mirrored_over_the_epochs() -> None:
    loader = loader_of(30, 7, policy="shift-flip")
    loader = replace(loader, policy=replace(loader.policy, shift=0))
    shown = []
    for epoch in (1, 2, 3):
        batches = list(loader.epoch(epoch))
        images, targets = torch.cat([b.images for b in batches]), torch.cat([b.targets for b in batches])
        shown.append(images[targets.argsort()])
    assert torch.equal(shown[0], shown[1].flip(-1))
    assert torch.equal(shown[0], shown[2])
    plain = torch.cat([b.images for b in replace(loader, policy=get_policy("none")).epoch(1)])
    assert not torch.equal(shown[0].sum(0), plain.sum(0))  # some are mirrored already in the first


@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_batches_come_in_the_memory_format_asked_for(make_folder: FolderMaker, format: torch.memory_format) -> None:
    dataset = folder_dataset(make_folder(picture_paths()), name="set")
    for policy in ("crop-flip", "shift-flip"):
        loaders = make_loaders(
            dataset, SMALL, policy=get_policy(policy), batch_size=4, seed=0, device=CPU, memory_format=format
        )
        for batch in (*loaders.train.epoch(1), *loaders.val):
            assert batch.images.is_contiguous(memory_format=format)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("size", [(20, 16), (12, 12), (13, 31)])
def test_pixels_kept_on_the_device_give_the_same_batches(
    make_folder: FolderMaker, policy: str, size: tuple[int, int]
) -> None:
    dataset = folder_dataset(make_folder(picture_paths(), size=size), name="set")
    preprocessing = Preprocessing(resize=10, crop=8, mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3)  # values 0–255
    plain, kept = (
        make_loaders(
            dataset, preprocessing, policy=get_policy(policy), batch_size=4, seed=0, device=CPU, keep_on_device=here
        )
        for here in (None, True)
    )
    exact = get_policy(policy).area is None
    assert isinstance(kept.train.cuts, SquareCuts if exact else ResidentCuts)
    assert not plain.train.cuts or not plain.train.cuts.resident
    for ours, theirs in zip(kept.train.epoch(2), plain.train.epoch(2), strict=True):
        assert torch.equal(ours.targets, theirs.targets)
        difference = (ours.images - theirs.images).abs()
        assert difference.max() <= (0 if exact else 3)  # one level of rounding, times what colours are stretched by
    assert same(list(kept.train.epoch(2, first_step=2)), list(kept.train.epoch(2))[1:])
    assert same(list(kept.val), list(plain.val))
    assert prefetch_threads() == []


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_batches_are_the_same_whichever_thread_changes_the_pictures(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = loader_of(23, 4, policy=policy)
    answers = []
    for cores in (1, 16):
        monkeypatch.setattr(loaders_module, "default_num_threads", lambda cores=cores: cores)
        answers.append(list(loader.epoch(2, first_step=2)))
    assert same(*answers)


def test_the_prefetch_thread_computes_on_one_core_and_others_keep_theirs() -> None:
    before = torch.get_num_threads()
    assert list(ahead([torch.get_num_threads] * 3)) == [1, 1, 1]
    assert torch.get_num_threads() == before
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [before]


def test_the_loader_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    list(loader_of(20, 4, policy="strong").epoch(1))
    assert torch.equal(before, torch.get_rng_state())


def test_the_first_epochs_may_use_smaller_pictures() -> None:
    sizes = {batch.images.shape[-1] for batch in loader_of(9, 4, policy="crop-flip").epoch(1, image_size=6)}
    assert sizes == {6}


def test_the_thread_ends_when_the_reader_stops_early() -> None:
    batches = loader_of(200, 2, policy="crop-flip").epoch(1)
    next(batches)
    assert len(prefetch_threads()) == 1
    batches.close()  # type: ignore[attr-defined]
    assert prefetch_threads() == []
    for _ in loader_of(200, 2).epoch(1):
        break
    assert prefetch_threads() == []


def test_the_thread_ends_when_a_job_fails_and_the_reason_comes_through() -> None:
    started: list[int] = []

    def job(number: int) -> int:
        started.append(number)
        if number == 3:
            raise OSError("the disk is gone")
        return number

    results = ahead([lambda number=number: job(number) for number in range(50)])  # type: ignore[misc]
    got = []
    with pytest.raises(OSError, match="the disk is gone"):
        got.extend(results)
    assert max(started) <= 3 + PREFETCH + 1
    assert prefetch_threads() == []


def test_a_damaged_store_ends_the_epoch_and_the_thread() -> None:
    loader = loader_of(20, 4)
    broken = replace(loader, store=replace(loader.store, pixels=loader.store.pixels[:2000]))
    with pytest.raises((RuntimeError, ValueError)):
        list(broken.epoch(1))
    assert prefetch_threads() == []


def test_only_a_few_batches_are_made_ahead() -> None:
    started: list[int] = []
    results = ahead([lambda number=number: started.append(number) or number for number in range(50)])  # type: ignore[misc, func-returns-value]
    assert next(results) == 0
    time.sleep(0.05)
    assert len(started) == PREFETCH + 1 <= 5  # each holds a batch of memory
    assert list(results) == list(range(1, 50))
    assert started == list(range(50))


def test_what_has_not_begun_when_the_reader_stops_never_begins() -> None:
    started: list[int] = []
    closing = threading.Event()

    def job(number: int) -> None:
        started.append(number)
        assert number == 0 or closing.wait(20)

    results = ahead([lambda number=number: job(number) for number in range(9)])  # type: ignore[misc]
    next(results)
    threading.Timer(0.1, closing.set).start()
    results.close()  # type: ignore[attr-defined]
    assert started in ([0], [0, 1])


def test_results_keep_their_order_and_none_is_lost() -> None:
    for count in range(6):
        assert list(ahead([lambda number=number: number for number in range(count)])) == list(range(count))  # type: ignore[misc]


def picture_paths(count: int = 3) -> list[str]:
    return [
        f"{split}/{name}/{index}.png" for split in ("train", "val") for name in ("a", "b") for index in range(count)
    ]


@pytest.mark.parametrize("size", [(20, 16), (16, 20), (13, 31), (97, 20), (21, 99), (6, 5), (12, 12)])
@pytest.mark.parametrize("preprocessing", [SMALL, Preprocessing(resize=12, crop=12), Preprocessing(resize=9, crop=4)])
def test_val_batches_are_the_preprocessing_of_the_pictures(
    make_folder: FolderMaker, size: tuple[int, int], preprocessing: Preprocessing
) -> None:
    dataset = folder_dataset(make_folder(picture_paths(), size=size), name="set")
    for policy in ("crop-flip", "none"):
        loaders = loaders_of(dataset, preprocessing, policy)
        images = torch.cat([batch.images for batch in loaders.val])
        pictures = [dataset.source.load(picture.path) for picture in dataset.val]
        assert torch.equal(images, torch.stack([preprocessing(picture) for picture in pictures]))
        judge = transforms.Compose(
            [
                transforms.Resize(preprocessing.resize),
                transforms.CenterCrop(preprocessing.crop),
                transforms.ToTensor(),
                transforms.Normalize(preprocessing.mean, preprocessing.std),
            ]
        )
        assert torch.equal(images, torch.stack([judge(picture) for picture in pictures]))


def test_without_a_random_cut_training_sees_the_same_squares(make_folder: FolderMaker) -> None:
    dataset = folder_dataset(make_folder(picture_paths(), size=(31, 20)), name="set")
    loader = loaders_of(dataset, SMALL, "none").train
    for batch in loader.epoch(1):
        for image, target in zip(batch.images, batch.targets.tolist(), strict=True):
            alike = [
                picture for picture in dataset.train if torch.equal(SMALL(dataset.source.load(picture.path)), image)
            ]
            assert [picture.class_index for picture in alike] == [target]


def test_val_keeps_its_order_and_leaves_nothing_out(make_folder: FolderMaker) -> None:
    dataset = folder_dataset(make_folder(picture_paths(5)), name="set")
    val = replace(loaders_of(dataset, SMALL).val, batch_size=3)
    assert len(val) == len(list(val)) == 4
    for _ in range(2):
        targets = torch.cat([batch.targets for batch in val]).tolist()
        assert targets == [picture.class_index for picture in dataset.val]


def test_pictures_for_random_cuts_are_kept_larger_than_the_input(make_folder: FolderMaker) -> None:
    dataset = folder_dataset(make_folder(picture_paths(), size=(60, 50)), name="set")
    assert {min(size) for size in loaders_of(dataset, Preprocessing(resize=20, crop=20)).train.store.sizes} == {32}
    assert {min(size) for size in loaders_of(dataset, Preprocessing(resize=40, crop=20)).train.store.sizes} == {40}
    assert {min(size) for size in loaders_of(dataset, SMALL, "flip").train.store.sizes} == {10}


def test_corrupt_pictures_are_skipped_and_labels_still_fit(make_folder: FolderMaker) -> None:
    folder = make_folder(picture_paths(5))
    for path in ("train/a/0.png", "train/b/2.png", "val/a/4.png"):
        (folder / path).write_bytes(b"broken")
    dataset = folder_dataset(folder, name="set")
    loaders = loaders_of(dataset, SMALL, "none")
    assert [path for path, _ in loaders.train.store.skipped] == ["train/a/0.png", "train/b/2.png"]
    shown = {
        image.numpy().tobytes(): target
        for batch in loaders.train.epoch(1)
        for image, target in zip(batch.images, batch.targets.tolist(), strict=True)
    }
    assert len(shown) == 8
    for path, target in zip(loaders.train.store.paths, loaders.train.store.targets.tolist(), strict=True):
        assert target == (0 if "/a/" in path else 1)
        assert shown[SMALL(dataset.source.load(path)).numpy().tobytes()] == target


def test_a_class_of_which_nothing_can_be_read_is_refused_by_name(make_folder: FolderMaker) -> None:
    folder = make_folder(picture_paths(3))
    for path in (folder / "train" / "b").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DatasetError, match=r"No training picture of b can be read; .*The first reason: "):
        loaders_of(folder_dataset(folder, name="set"), SMALL, "none")


def test_decoding_is_one_progress_over_both_splits(make_folder: FolderMaker) -> None:
    dataset = folder_dataset(make_folder(picture_paths()), name="set")
    seen: list[tuple[int, int]] = []
    make_loaders(
        dataset,
        SMALL,
        policy=get_policy("flip"),
        batch_size=4,
        seed=0,
        device=CPU,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(done, 12) for done in range(1, 13)]


def test_the_real_flower_photos_reach_the_network_as_torchvision_would_give_them(shared_data: Path) -> None:
    dataset = load_dataset("flower_photos", data_dir=shared_data)
    few = replace(dataset, train=dataset.train[::400], val=dataset.val[::60], fingerprint="a few flowers")
    preprocessing = Preprocessing(resize=256, crop=224)
    loaders = loaders_of(few, preprocessing)
    images = torch.cat([batch.images for batch in loaders.val])
    expected = torch.stack([preprocessing(few.source.load(picture.path)) for picture in few.val])
    assert torch.equal(images, expected)
    assert sum(len(batch.targets) for batch in loaders.train.epoch(1)) == len(few.train)
