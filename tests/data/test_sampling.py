"""Balanced sampling: what an epoch shows, and that it can be taken up in its middle."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_core.data.augment import get_policy
from resnet_core.data.datasets import rendered_flowers
from resnet_core.data.fewer import with_fewer
from resnet_core.data.loaders import make_loaders
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.sampling import draw_order
from resnet_core.device import make_generator


def order(classes: list[int] | None, count: int, epoch: int = 1) -> list[int]:
    labels = None if classes is None else torch.tensor(classes)
    return draw_order(count, labels, make_generator("order", 0, epoch)).tolist()


def test_without_classes_it_is_the_permutation_it_always_was() -> None:
    expected = torch.randperm(9, generator=make_generator("order", 0, 1)).tolist()
    assert order(None, 9) == expected


@given(classes=st.lists(st.integers(0, 5), min_size=1, max_size=60), epoch=st.integers(1, 3))
def test_every_class_gets_the_same_places_to_one_and_no_picture_gets_two_more_than_another(
    classes: list[int], epoch: int
) -> None:
    drawn = order(classes, len(classes), epoch)
    assert len(drawn) == len(classes)
    places = [sum(classes[picture] == label for picture in drawn) for label in set(classes)]
    assert max(places) - min(places) <= 1
    for label in set(classes):
        shown = [drawn.count(picture) for picture, own in enumerate(classes) if own == label]
        assert max(shown) - min(shown) <= 1


def test_the_same_seed_and_epoch_give_the_same_order_and_another_epoch_another() -> None:
    classes = [0] * 30 + [1] * 4
    assert order(classes, 34) == order(classes, 34)
    assert order(classes, 34) != order(classes, 34, epoch=2)


def test_what_a_large_class_has_no_room_for_has_its_turn_in_other_epochs() -> None:
    classes = [0] * 30 + [1] * 10
    seen = {picture for epoch in range(1, 9) for picture in order(classes, 40, epoch)}
    assert seen == set(range(40))


def test_an_epoch_taken_up_in_its_middle_goes_on_with_the_same_batches() -> None:
    flowers = rendered_flowers(train=4, val=1, size=32)
    few = tuple(picture for picture in flowers.train if picture.class_index == 0 or picture.path.endswith("/0"))
    rare = dataclasses.replace(flowers, train=few, fingerprint="rare")
    loaders = make_loaders(
        rare,
        Preprocessing(resize=18, crop=16),
        policy=get_policy("standard"),
        batch_size=2,
        seed=3,
        device=torch.device("cpu"),
        balanced=True,
    )
    whole = list(loaders.train.epoch(2))
    rest = list(loaders.train.epoch(2, first_step=3))
    assert [batch.targets.tolist() for batch in whole[2:]] == [batch.targets.tolist() for batch in rest]
    assert all(torch.equal(one.images, other.images) for one, other in zip(whole[2:], rest, strict=True))
    shown = torch.bincount(torch.cat([batch.targets for batch in whole]), minlength=5)
    assert shown.max() - shown.min() <= 1


# ---- Fewer pictures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 7, 12, 19])
def test_fewer_pictures_are_the_same_share_of_every_class(count: int) -> None:
    flowers = rendered_flowers(train=4, val=1, size=32)
    fewer = with_fewer(flowers, count, seed=1)
    per_class = [sum(p.class_index == label for p in fewer.train) for label in range(5)]
    assert max(per_class) - min(per_class) == 0
    assert abs(len(fewer.train) - count) <= 5
    assert fewer.val == flowers.val
    assert fewer.fingerprint != flowers.fingerprint
    assert set(fewer.train) <= set(flowers.train)


def test_another_seed_chooses_others_and_all_of_them_is_the_data_set_itself() -> None:
    flowers = rendered_flowers(train=20, val=1, size=32)
    assert with_fewer(flowers, 30, seed=1).train == with_fewer(flowers, 30, seed=1).train
    assert with_fewer(flowers, 30, seed=1).train != with_fewer(flowers, 30, seed=2).train
    assert with_fewer(flowers, 100) is flowers
