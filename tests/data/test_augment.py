"""Random changes have the ranges they promise, and torchvision is the judge wherever it does the same."""

import itertools
import math

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as oracle

from resnet_core.data import augment
from resnet_core.data.augment import (
    POLICIES,
    AugmentPolicy,
    augment_batch,
    cut_box,
    get_policy,
    mirrored_in,
    random_cut,
)
from resnet_core.device import make_generator
from resnet_core.errors import ConfigError

pytestmark = pytest.mark.usefixtures("torch_threads")


def noise(*shape: int, low: int = 0, high: int = 256) -> torch.Tensor:
    return torch.randint(low, high, shape, dtype=torch.uint8, generator=make_generator("noise", *shape))


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest gap between two cumulative distributions."""
    values = np.concatenate([ours, theirs])
    shares = [np.searchsorted(np.sort(each), values, side="right") / len(each) for each in (ours, theirs)]
    return float(np.abs(shares[0] - shares[1]).max())


def boxes(height: int, width: int, policy: AugmentPolicy, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [count, 4] as top, left, height, width: ours and torchvision's."""
    assert policy.area is not None
    generator = make_generator("boxes", height, width)
    ours = [cut_box(height, width, policy, generator) for _ in range(count)]
    picture = torch.empty(3, height, width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = [RandomResizedCrop.get_params(picture, list(policy.area), list(policy.ratio)) for _ in range(count)]
    return np.array(ours), np.array(theirs)


@pytest.mark.parametrize("name", ["crop-flip", "standard", "strong"])
@pytest.mark.parametrize(("height", "width"), [(224, 226), (150, 290)])
def test_cuts_are_distributed_like_torchvisions(name: str, height: int, width: int) -> None:
    ours, theirs = boxes(height, width, get_policy(name), 4000)
    for measure in (
        lambda box: box[:, 2] * box[:, 3] / (height * width),
        lambda box: np.log(box[:, 3] / box[:, 2]),
        lambda box: box[:, 0],
        lambda box: box[:, 1],
    ):
        assert distance(measure(ours), measure(theirs)) < 0.045  # 0.043 is exceeded once in 1000 times by chance
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()


def test_the_distance_would_notice_another_distribution() -> None:
    ours, theirs = boxes(224, 226, get_policy("crop-flip"), 4000)
    area_of_theirs = theirs[:, 2] * theirs[:, 3] / (224 * 226)
    assert distance((ours[:, 2] * ours[:, 3] / (224 * 226)) ** 1.2, area_of_theirs) > 0.06


@pytest.mark.parametrize(("height", "width"), [(10, 200), (200, 10), (31, 100), (64, 100), (100, 77), (1, 1), (1, 9)])
def test_where_no_draw_fits_the_box_is_torchvisions(height: int, width: int) -> None:
    whole = AugmentPolicy(area=(1.3, 1.3))  # more than there is never fits
    ours, theirs = boxes(height, width, whole, 1)
    assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize(("height", "width"), [(40, 60), (61, 33), (24, 24), (7, 9), (1, 3)])
def test_a_cut_is_torchvisions_resized_crop(height: int, width: int) -> None:
    policy = get_policy("crop-flip")
    assert policy.area is not None
    pixels = noise(height, width, 3).permute(2, 0, 1)  # the store's memory order
    for draw in range(10):
        box = cut_box(height, width, policy, make_generator(draw))
        expected = oracle.resized_crop(pixels.contiguous(), *box, [24, 24], antialias=True)
        answer = random_cut(pixels, 24, policy, make_generator(draw))
        assert answer.dtype == torch.uint8
        assert (answer.int() - expected.int()).abs().max() <= 1


def test_flips_happen_half_the_time_and_only_mirror() -> None:
    pixels = noise(2000, 3, 4, 5)
    answer = augment_batch(pixels, get_policy("flip"), make_generator("flip"))
    mirrored = (answer == pixels.flip(-1)).flatten(1).all(1)
    kept = (answer == pixels).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 900 < int(mirrored.sum()) < 1100


def test_no_change_means_no_change() -> None:
    pixels = noise(6, 3, 9, 9)
    answer = augment_batch(pixels, get_policy("none"), make_generator(0))
    assert answer.dtype == torch.float32
    assert torch.equal(answer, pixels.float())
    still = AugmentPolicy(rotate=1e-9, color=1e-9, hue=1e-9)
    assert torch.allclose(augment_batch(pixels, still, make_generator(0)), pixels.float(), atol=1e-2)


@pytest.mark.parametrize(("height", "width"), [(9, 9), (8, 5), (4, 12)])
def test_a_shift_is_a_window_of_the_reflected_picture(height: int, width: int) -> None:
    pixels = noise(300, 3, height, width)
    answer = augment_batch(pixels, AugmentPolicy(shift=2), make_generator("shift"))
    wide = np.pad(pixels.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    moves = set()
    for row in range(300):
        fits = [
            (down, across)
            for down in range(5)
            for across in range(5)
            if np.array_equal(wide[row, :, down : down + height, across : across + width], answer[row].numpy())
        ]
        assert len(fits) == 1
        moves.add(fits[0])
    assert len(moves) == 25  # every move occurs, each in both directions on its own


@pytest.mark.parametrize(("height", "width", "limit"), [(1, 1, 3), (2, 1, 4), (3, 2, 9)])
def test_a_shift_further_than_the_picture_is_wide_reflects_again_and_again(height: int, width: int, limit: int) -> None:
    for side in (height, width):
        expected = np.pad(np.arange(side), limit, mode="reflect" if side > 1 else "edge")
        assert augment._reflected(side, limit).tolist() == expected.tolist()
    answer = augment_batch(noise(40, 3, height, width), AugmentPolicy(shift=limit), make_generator(1))
    assert answer.shape == (40, 3, height, width)


def test_taking_turns_mirrors_each_picture_in_every_second_epoch() -> None:
    epochs = [mirrored_in(epoch, 1000, make_generator("mirror", 0)) for epoch in range(1, 6)]
    for first, second in itertools.pairwise(epochs):
        assert torch.equal(first, ~second)
    assert 400 < int(epochs[0].sum()) < 600
    assert not torch.equal(epochs[0], mirrored_in(1, 1000, make_generator("mirror", 1)))


@pytest.mark.parametrize("name", ["flip", "shift-flip", "standard"])
def test_who_is_mirrored_can_be_said(name: str) -> None:
    ramp = torch.arange(0, 256, 8, dtype=torch.uint8).expand(16, 3, 32, 32)
    mirrored = torch.arange(16) % 3 == 0
    answer = augment_batch(ramp, get_policy(name), make_generator(2), mirrored=mirrored)
    falls = answer[:, :, 12:20, 4].mean((1, 2)) > answer[:, :, 12:20, 27].mean((1, 2))
    assert torch.equal(falls, mirrored)


def test_brightness_contrast_and_saturation_are_torchvisions() -> None:
    pixels = noise(32, 3, 12, 10, low=70, high=180)  # so that no step in between has to clamp
    policy = AugmentPolicy(color=0.25)
    answer = augment_batch(pixels, policy, make_generator("color"))
    replay = make_generator("color")
    brightness, contrast, saturation = (1 + 0.25 * (2 * torch.rand(32, generator=replay) - 1) for _ in range(3))
    for row in range(32):
        expected = oracle.adjust_brightness(pixels[row] / 255, float(brightness[row]))
        expected = oracle.adjust_contrast(expected, float(contrast[row]))
        expected = oracle.adjust_saturation(expected, float(saturation[row]))
        assert (answer[row] - 255 * expected).abs().max() < 0.5
    assert brightness.min() < 0.8
    assert brightness.max() > 1.2


def test_hue_turns_colors_about_grey_and_keeps_their_brightness() -> None:
    colors = torch.eye(3) * 120 + 60
    third = augment._hue_matrix(torch.tensor([2 * math.pi / 3]))[0]
    assert torch.allclose(third @ colors, colors[[2, 0, 1]], atol=1e-3)  # red → green → blue → red
    matrix = augment._hue_matrix(torch.tensor([0.0, 0.15, -2.0]))
    assert torch.allclose(matrix[0], torch.eye(3), atol=1e-6)
    assert torch.allclose(matrix @ matrix.transpose(1, 2), torch.eye(3).expand(3, 3, 3), atol=1e-6)
    assert torch.allclose(matrix.sum(2), torch.ones(3, 3), atol=1e-6)


def test_saturation_leaves_grey_pictures_alone() -> None:
    grey = noise(16, 1, 8, 8, low=70, high=180).expand(16, 3, 8, 8)
    answer = augment_batch(grey, AugmentPolicy(hue=1.0, color=0.1), make_generator(1))
    assert (answer - answer.mean(1, keepdim=True)).abs().max() < 1e-2


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_keeps_shape_range_and_input(name: str) -> None:
    pixels = torch.cat([noise(30, 3, 16, 16), torch.zeros(1, 3, 16, 16, dtype=torch.uint8)])
    before = pixels.clone()
    answer = augment_batch(pixels, get_policy(name), make_generator(name))
    assert answer.shape == pixels.shape
    assert answer.isfinite().all()
    assert answer.min() >= 0
    assert answer.max() <= 255
    assert torch.equal(pixels, before)
    assert torch.equal(answer, augment_batch(pixels, get_policy(name), make_generator(name)))


@pytest.mark.parametrize("name", ["flip", "standard", "strong"])
def test_each_picture_is_changed_on_its_own(name: str) -> None:
    same = noise(1, 3, 16, 16).expand(64, 3, 16, 16)
    answer = augment_batch(same, get_policy(name), make_generator(3))
    kinds = {row.numpy().tobytes() for row in answer}
    assert len(kinds) == (2 if name == "flip" else 64)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("degrees", [10, 20])
def test_turns_reach_their_limit_and_no_further(degrees: int, flip: bool) -> None:
    pixels = torch.zeros(400, 3, 65, 65, dtype=torch.uint8)
    pixels[:, :, 31:34, 52:55] = 255  # to the right of the centre
    answer = augment_batch(pixels, AugmentPolicy(rotate=degrees, flip=flip), make_generator("turn"))[:, 0]
    place = torch.arange(65) - 32.0
    weight = answer.sum((1, 2))
    across, down = (answer.sum(1) @ place) / weight, (answer.sum(2) @ place) / weight
    angles = torch.rad2deg(torch.atan2(down, across.abs()))
    assert bool((across < 0).any()) == flip
    assert torch.allclose(torch.hypot(across, down), torch.tensor(21.0), atol=0.3)
    assert degrees * 0.95 < angles.abs().max() < degrees + 0.7
    assert abs(angles.mean()) < degrees / 8


def test_flip_and_turn_together_still_mirror_half() -> None:
    pixels = torch.zeros(400, 3, 33, 33, dtype=torch.uint8)
    pixels[:, :, :, 25:] = 255
    answer = augment_batch(pixels, AugmentPolicy(flip=True, rotate=5), make_generator("both"))
    on_the_left = answer[:, 0, 16, 2] > 128
    on_the_right = answer[:, 0, 16, 30] > 128
    assert (on_the_left ^ on_the_right).all()
    assert 160 < int(on_the_left.sum()) < 240


def test_erasing_hits_its_share_of_pictures_and_area() -> None:
    white = torch.full((2000, 3, 32, 32), 255, dtype=torch.uint8)
    answer = augment_batch(white, AugmentPolicy(erase=0.25), make_generator("erase"))
    hidden = (answer == 127.5).float().mean((1, 2, 3))
    assert ((answer == 127.5) | (answer == 255)).all()
    assert 0.2 < float((hidden > 0).float().mean()) < 0.3
    assert hidden.max() < 0.3
    everywhere = (augment_batch(white, AugmentPolicy(erase=1.0), make_generator(2)) == 127.5).float().mean((0, 1))
    assert everywhere.min() > 0.02  # no corner is always safe


def test_only_the_generator_handed_in_is_used() -> None:
    pixels = noise(8, 3, 16, 16)
    before = torch.get_rng_state()
    answers = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        cut = random_cut(pixels[0], 8, get_policy("strong"), make_generator(4))
        answers.append((augment_batch(pixels, get_policy("strong"), make_generator(5)), cut))
        after = torch.get_rng_state()
        torch.manual_seed(seed)
        assert torch.equal(after, torch.get_rng_state())
    torch.set_rng_state(before)
    assert all(torch.equal(first, second) for first, second in zip(*answers, strict=True))


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(ConfigError, match="“autoaugment” is not an augmentation; use one of none, flip"):
        get_policy("autoaugment")
