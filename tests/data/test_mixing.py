"""Mixed batches: what they show, and that the labels say so."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from resnet_core.data.mixing import Mixing, mix_batch
from resnet_core.device import make_generator


def constant_images(count: int, side: tuple[int, int]) -> Tensor:
    """Picture number i is i everywhere."""
    return torch.arange(float(count)).view(-1, 1, 1, 1).expand(count, 3, *side).contiguous()


def test_an_unmixed_batch_is_the_batch_itself() -> None:
    images, targets = constant_images(4, (5, 5)), torch.arange(4)
    mixed, mixture = mix_batch(images, targets, Mixing(), make_generator(0))
    assert mixed is images
    assert mixture is None


@settings(max_examples=80, deadline=None)
@given(count=st.integers(2, 9), height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_mixup_blends_as_its_share_says(count: int, height: int, width: int, seed: int) -> None:
    images, targets = constant_images(count, (height, width)), torch.arange(count)
    mixed, mixture = mix_batch(images, targets, Mixing(mixup=0.3), make_generator(seed))
    assert mixture is not None
    assert 0.5 <= mixture.share <= 1
    assert sorted(mixture.targets.tolist()) == targets.tolist(), "every picture is somebody's partner once"
    expected = mixture.share * targets + (1 - mixture.share) * mixture.targets
    assert torch.allclose(mixed, expected.view(-1, 1, 1, 1).expand_as(mixed), atol=1e-5)
    assert torch.equal(images, constant_images(count, (height, width))), "the batch itself stays as it was"


@settings(max_examples=80, deadline=None)
@given(count=st.integers(2, 9), height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_cutmix_counts_the_pixels_it_replaced(count: int, height: int, width: int, seed: int) -> None:
    images, targets = constant_images(count, (height, width)), torch.arange(count)
    mixed, mixture = mix_batch(images, targets, Mixing(cutmix=1.0), make_generator(seed))
    assert mixture is not None
    assert 0.5 <= mixture.share <= 1
    own = (mixed == targets.view(-1, 1, 1, 1)).double().mean((1, 2, 3))
    theirs = (mixed == mixture.targets.view(-1, 1, 1, 1)).double().mean((1, 2, 3))
    apart = targets != mixture.targets
    assert own[apart].tolist() == pytest.approx([mixture.share] * int(apart.sum()))
    assert theirs[apart].tolist() == pytest.approx([1 - mixture.share] * int(apart.sum()))
    for picture in mixed[apart][:1]:
        rows, columns = (picture[0] != picture[0].flatten().mode().values).nonzero(as_tuple=True)
        if len(rows):  # what was replaced is one rectangle
            area = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
            assert int(area) == len(rows) or mixture.share == pytest.approx(0.5, abs=0.05)


def test_both_ways_take_turns_and_the_same_generator_mixes_alike() -> None:
    images, targets = constant_images(8, (16, 16)), torch.arange(8)
    blended = 0
    for seed in range(60):
        mixed, mixture = mix_batch(images, targets, Mixing(mixup=1.0, cutmix=1.0), make_generator(seed))
        again, same = mix_batch(images, targets, Mixing(mixup=1.0, cutmix=1.0), make_generator(seed))
        assert mixture is not None
        assert same is not None
        assert torch.equal(mixed, again)
        assert (mixture.share, mixture.targets.tolist()) == (same.share, same.targets.tolist())
        blended += not torch.equal(mixed, mixed.round())
    assert 15 <= blended <= 45


def test_the_global_generators_are_left_alone() -> None:
    import numpy as np

    before, numbers = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    mix_batch(constant_images(4, (8, 8)), torch.arange(4), Mixing(mixup=0.5, cutmix=1.0), make_generator(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numbers).all()
