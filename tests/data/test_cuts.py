"""Whole batches are cut as single pictures are: the same squares to the bit, the same random cuts to the rounding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from resnet_core.data import resident
from resnet_core.data.augment import AugmentPolicy, get_policy
from resnet_core.data.cache import PixelStore
from resnet_core.data.cuts import PictureCuts, SquareCuts, center_square, plain_cuts, ranges, squares
from resnet_core.data.resident import ResidentCuts, resample, resident_cuts
from resnet_core.device import make_generator

pytestmark = pytest.mark.usefixtures("torch_threads")

CPU = torch.device("cpu")
MIXED = ((20, 31), (31, 20), (24, 24), (20, 20), (22, 40))


def store_of(sizes: tuple[tuple[int, int], ...]) -> PixelStore:
    lengths = [height * width * 3 for height, width in sizes]
    return PixelStore(
        pixels=np.random.default_rng(len(sizes)).integers(0, 256, sum(lengths), dtype=np.uint8),
        offsets=np.cumsum([0, *lengths]),
        sizes=sizes,
        targets=torch.arange(len(sizes)),
        paths=tuple(map(str, range(len(sizes)))),
        skipped=(),
    )


@settings(max_examples=60, deadline=None)
@given(
    picture=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    box=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    size=st.integers(1, 40),
)
def test_two_matrix_products_are_torchs_antialiased_resize(
    picture: tuple[int, int], box: tuple[float, float, float, float], size: int
) -> None:
    height, width = picture
    tall, wide = 1 + int(box[0] * (height - 1)), 1 + int(box[1] * (width - 1))
    top, left = int(box[2] * (height - tall)), int(box[3] * (width - wide))
    pixels = torch.from_numpy(np.random.default_rng(height).integers(0, 256, (1, 3, height, width), dtype=np.uint8))
    answer = resample(pixels.permute(0, 2, 1, 3).contiguous(), [(top, left, tall, wide)], size)
    part = pixels[:, :, top : top + tall, left : left + wide].float()
    expected = interpolate(part, size=(size, size), mode="bilinear", antialias=True)
    assert answer.dtype == torch.uint8
    assert (answer.float() - expected).abs().max() <= 0.5 + 1e-2  # the rounding to whole levels, nothing else


@pytest.mark.parametrize("policy", ["crop-flip", "standard"])
@pytest.mark.parametrize("size", [8, 16, 29])
def test_random_cuts_of_a_batch_are_those_of_its_pictures(policy: str, size: int) -> None:
    store = store_of(MIXED * 4)
    whole = resident_cuts(store, get_policy(policy), crop=size, device=CPU, forced=True)
    assert isinstance(whole, ResidentCuts)
    chosen = torch.tensor([7, 0, 19, 3, 3, 12, 1])
    ours = whole.cut(chosen, size, make_generator("cut"))
    theirs = PictureCuts(store, get_policy(policy)).cut(chosen, size, make_generator("cut"))
    assert ours.shape == theirs.shape == (7, 3, size, size)
    assert (ours.int() - theirs.int()).abs().max() <= 1  # torch rounds between rows and columns as well
    assert torch.equal(ours, whole.cut(chosen, size, make_generator("cut")))
    assert not torch.equal(ours, whole.cut(chosen, size, make_generator("another")))


def test_pictures_are_sent_whole_however_many_are_sent_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_of(MIXED * 3)
    at_once = resident_cuts(store, get_policy("standard"), crop=8, device=CPU, forced=True)
    monkeypatch.setattr(resident, "CHUNK", 4)
    in_parts = resident_cuts(store, get_policy("standard"), crop=8, device=CPU, forced=True)
    assert isinstance(at_once, ResidentCuts)
    assert isinstance(in_parts, ResidentCuts)
    assert torch.equal(at_once.pixels, in_parts.pixels)
    for index, (height, width) in enumerate(store.sizes):
        assert torch.equal(at_once.pixels[index, :height, :, :width].permute(1, 0, 2), store[index])


@pytest.mark.parametrize("sizes", [MIXED, ((20, 24),) * 5])
@pytest.mark.parametrize("crop", [7, 20])
def test_squares_of_a_batch_are_those_of_its_pictures(sizes: tuple[tuple[int, int], ...], crop: int) -> None:
    store = store_of(sizes)
    chosen = torch.tensor([4, 0, 2, 2])
    expected = torch.stack([center_square(store[index], crop) for index in chosen.tolist()])
    kept = resident_cuts(store, AugmentPolicy(), crop=crop, device=CPU, forced=True)
    assert isinstance(kept, SquareCuts)
    assert kept.resident
    for cuts in (kept, plain_cuts(store, AugmentPolicy()), PictureCuts(store, AugmentPolicy())):
        assert torch.equal(cuts.cut(chosen, crop, make_generator(0)), expected)
    assert torch.equal(squares(store, crop)[chosen], expected)


def test_pictures_of_one_size_are_gathered_without_a_loop() -> None:
    assert isinstance(plain_cuts(store_of(((20, 24),) * 5), AugmentPolicy()), SquareCuts)
    assert isinstance(plain_cuts(store_of(MIXED), AugmentPolicy()), PictureCuts)
    assert isinstance(plain_cuts(store_of(((20, 24),) * 5), get_policy("standard")), PictureCuts)


def test_only_what_fits_into_the_device_s_memory_is_kept_there(monkeypatch: pytest.MonkeyPatch) -> None:
    store, standard = store_of(MIXED), get_policy("standard")
    assert resident_cuts(store, standard, crop=8, device=CPU) is None
    padded = 5 * 31 * 40 * 3
    for room, policy, fits in (
        (padded, standard, True),
        (padded - 1, standard, False),
        (5 * 8 * 8 * 3, AugmentPolicy(), True),
        (5 * 8 * 8 * 3 - 1, AugmentPolicy(), False),
    ):
        monkeypatch.setattr(resident, "_room", lambda device, room=room: room)
        assert (resident_cuts(store, policy, crop=8, device=CPU) is not None) == fits


def test_the_room_is_a_share_of_a_cuda_device_s_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    assert resident._room(torch.device("cuda")) == 1000 * resident.MEMORY_SHARE
    assert resident._room(torch.device("mps")) == 0


@pytest.mark.parametrize(
    ("count", "batch_size", "least", "expected"),
    [
        (0, 4, 1, []),
        (4, 4, 2, [(0, 4)]),
        (5, 4, 1, [(0, 4), (4, 5)]),
        (5, 4, 2, [(0, 5)]),
        (1, 4, 2, [(0, 1)]),
        (9, 4, 2, [(0, 4), (4, 9)]),
        (10, 4, 2, [(0, 4), (4, 8), (8, 10)]),
    ],
)
def test_batches_leave_nothing_out(count: int, batch_size: int, least: int, expected: list[tuple[int, int]]) -> None:
    assert ranges(count, batch_size, least=least) == expected
