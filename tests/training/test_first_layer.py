"""The whitening stem comes from the training pictures alone, from all over them and as the network will see them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from resnet_core.data.augment import AugmentPolicy, get_policy
from resnet_core.data.cache import PixelStore
from resnet_core.data.loaders import Loaders, TrainLoader, ValLoader
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.models.zoo import build_model
from resnet_core.training import starting_weights
from resnet_core.training.starting_weights import prepare_first_layer

CPU = torch.device("cpu")
SMALL = Preprocessing(resize=12, crop=10)


def store_of(count: int, *, seed: int = 0, height: int = 12, width: int = 14) -> PixelStore:
    """Noise whose colours grow brighter from picture to picture, as if ordered by class."""
    noise = np.random.default_rng(seed).integers(0, 100, (count, height, width, 3))
    pixels = (noise + np.linspace(0, 150, count).reshape(-1, 1, 1, 1)).astype(np.uint8)
    return PixelStore(
        pixels=pixels.reshape(-1),
        offsets=np.arange(count + 1, dtype=np.int64) * height * width * 3,
        sizes=((height, width),) * count,
        targets=torch.zeros(count, dtype=torch.int64),
        paths=tuple(map(str, range(count))),
        skipped=(),
    )


def loaders_of(store: PixelStore, policy: AugmentPolicy, *, seed: int = 0, val_seed: int = 5) -> Loaders:
    return Loaders(
        train=TrainLoader(
            store=store, preprocessing=SMALL, policy=policy, batch_size=4, seed=seed, device=CPU, cuts=None
        ),
        val=ValLoader(store=store_of(6, seed=val_seed), preprocessing=SMALL, batch_size=4, device=CPU),
    )


def stem(loaders: Loaders) -> torch.Tensor:
    model = build_model("resnet8", width=8)
    prepare_first_layer(model, loaders)
    return model.conv1.weight.detach().clone()  # type: ignore[union-attr, operator, return-value]


def test_without_a_random_cut_it_is_the_preprocessed_squares() -> None:
    store = store_of(50)
    model = build_model("resnet8", width=8)
    top, left = 1, 2
    squares = torch.stack([store[index][:, top : top + 10, left : left + 10] for index in range(50)])
    model.whiten(SMALL.normalize(squares))  # type: ignore[operator]
    assert torch.equal(stem(loaders_of(store, get_policy("shift-flip"))), model.conv1.weight)  # type: ignore[union-attr]


@pytest.mark.parametrize("policy", ["none", "shift-flip", "standard"])
def test_the_same_data_and_seed_give_the_same_stem_whatever_others_draw(policy: str) -> None:
    loaders = loaders_of(store_of(40), get_policy(policy))
    torch.manual_seed(1)
    first = stem(loaders)
    torch.manual_seed(2)
    list(loaders.train.epoch(1))
    assert torch.equal(stem(loaders), first)
    assert first.isfinite().all()


def test_the_validation_pictures_play_no_part() -> None:
    store, policy = store_of(40), get_policy("shift-flip")
    assert torch.equal(stem(loaders_of(store, policy)), stem(loaders_of(store, policy, val_seed=6)))
    assert not torch.equal(stem(loaders_of(store, policy)), stem(loaders_of(store_of(40, seed=1), policy)))


def test_of_many_pictures_some_from_the_whole_set_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = stem(loaders_of(store_of(600), get_policy("none")))
    monkeypatch.setattr(starting_weights, "FIRST_LAYER_PICTURES", 60)
    few = stem(loaders_of(store_of(600), get_policy("none")))
    assert torch.allclose(few[0], whole[0], rtol=0.05)  # the brightest direction needs dark and bright pictures
    assert not torch.equal(few, whole)


def test_pictures_of_any_size_do_where_cuts_are_random() -> None:
    odd = replace(store_of(9), sizes=((14, 12),) * 9)
    tiny = store_of(9, height=6, width=7)
    for store in (odd, tiny):
        assert stem(loaders_of(store, get_policy("standard"))).isfinite().all()


@pytest.mark.parametrize("build", [lambda: build_model("resnet20"), lambda: torch.nn.Linear(2, 2)])
def test_a_network_that_learns_its_stem_is_left_alone(build: Callable[[], torch.nn.Module]) -> None:
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    prepare_first_layer(model, loaders_of(store_of(9), get_policy("none")))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
