"""Head-only training from features computed once tells the story that running the network every time tells."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from observers import Keeper, StopsAtLook, same_weights, story
from torch import nn

from resnet_core.data.augment import POLICIES, get_policy
from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.loaders import Batch, Loaders
from resnet_core.models.zoo import build_model
from resnet_core.training import features as module
from resnet_core.training import session as session_module
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.engine import fit
from resnet_core.training.events import Event, RunEnded
from resnet_core.training.features import Head, cache_features
from resnet_core.training.session import Session

Quick = Callable[..., TrainConfig]


def head_only(quick: Quick, **settings: Any) -> TrainConfig:
    return quick(**{"freeze": "layer3", "augment": "flip", "learning_rate": 0.05, **settings})


@contextlib.contextmanager
def no_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(session_module, "cached_loaders", lambda *_: None)
        yield


def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all batches that run through the stages of any network from now on."""
    from resnet_core.models.resnet import Network

    sizes: list[int] = []
    run = Network.forward_features

    def counted(self: Network, images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return run(self, images)

    monkeypatch.setattr(Network, "forward_features", counted)
    return sizes


def numbers(events: list[Event]) -> list[float]:
    rows = story(events)
    return [
        row[key] for row in rows for key in ("loss", "train_loss", "val_loss", "train_top1", "val_top1") if key in row
    ]


RECIPES: list[dict[str, Any]] = [
    {},
    {"augment": "none"},
    {"augment": "none", "flip_average": False, "optimizer": "adam", "learning_rate": 1e-3},
    {"flip_average": False, "ema_decay": 0.9, "class_weights": "balanced"},
    {"batch_size": 19, "normalize": "none"},  # 20 pictures: the leftover one joins
    {"batch_size": 3, "schedule": "cosine", "epochs": 3},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_the_same_story_with_and_without_the_cache(
    recipe: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached, plain = Keeper(), Keeper()
    config = head_only(quick, **recipe)
    with no_cache(monkeypatch):
        expected = list(fit(config, tiny_flowers, saver=plain))
    events = list(fit(config, tiny_flowers, saver=cached))
    assert isinstance(events[-1], RunEnded)
    assert events[-1].status == "finished"
    assert [row["event"] for row in story(events)] == [row["event"] for row in story(expected)]
    assert numbers(events) == pytest.approx(numbers(expected), abs=1e-5)
    for name, tensor in plain.weights.items():
        assert torch.allclose(cached.weights[name], tensor, atol=1e-5), name


def test_every_picture_is_run_twice_and_then_never_again(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = passes(monkeypatch)
    list(fit(head_only(quick, epochs=7), tiny_flowers))
    assert sum(sizes) == 2 * (20 + 10), "once as it is, once mirrored"
    sizes.clear()
    list(fit(head_only(quick, epochs=2, augment="none", flip_average=False), tiny_flowers))
    assert sum(sizes) == 20 + 10


@pytest.mark.parametrize(
    "settings",
    [{"augment": "standard"}, {"augment": "shift-flip"}, {"freeze": "layer2"}, {"freeze": "none"}],
    ids=str,
)
def test_pictures_that_change_and_stages_that_learn_are_run_every_epoch(
    settings: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = passes(monkeypatch)
    list(fit(head_only(quick, epochs=2, flip_average=False, **settings), tiny_flowers))
    assert sum(sizes) == 2 * (20 + 10)


def test_features_that_do_not_fit_the_memory_are_not_kept(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 30 * 64 * 2 * 4 / module.MEMORY_SHARE
    for free, kept in ((needed, True), (needed - 1, False), (0, False), (None, True)):
        monkeypatch.setattr(module, "free_memory", lambda _, free=free: free)
        assert (Session(head_only(quick), tiny_flowers)._features is not None) is kept, free


def test_stop_and_resume_equal_going_straight_bit_by_bit(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config = head_only(quick, ema_decay=0.9)
    straight = Keeper()
    expected = story(list(fit(config, tiny_flowers, saver=straight)))
    for looks in (2, 5, 8):
        keeper = Keeper()
        told = story(list(fit(config, tiny_flowers, saver=keeper, control=StopsAtLook(looks + 2))))
        told += story(list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state)))
        assert told == expected
        assert same_weights(keeper.weights, straight.weights)
        assert same_weights(keeper.judged, straight.judged)


def test_a_run_saved_at_its_very_end_computes_no_features(
    quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper()
    list(fit(head_only(quick), tiny_flowers, saver=keeper))
    sizes = passes(monkeypatch)
    [*_, ended] = fit(head_only(quick), tiny_flowers, resume=keeper.state)
    assert isinstance(ended, RunEnded)
    assert ended.status == "finished"
    assert sizes == []


def test_progress_is_told_and_a_stop_is_heard_while_features_are_computed(
    quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    list(fit(head_only(quick), tiny_flowers))  # decodes the pictures
    told: list[tuple[int, int]] = []
    list(fit(head_only(quick), tiny_flowers, progress=lambda done, total: told.append((done, total))))
    assert told == [(20, 30), (30, 30)]
    control = Control()
    events = list(fit(head_only(quick), tiny_flowers, control=control, progress=lambda *_: control.stop()))
    assert [type(event) for event in events] == [RunEnded]
    assert events[0].status == "stopped"  # type: ignore[union-attr]


# ---- The function by itself -----------------------------------------------------------------------------------


def batches(count: int, size: int = 3) -> list[Batch]:
    images = torch.randn(count, 3, 17, 17, generator=torch.Generator().manual_seed(count))
    return [Batch(part, torch.arange(len(part))) for part in images.split(size)]


@pytest.mark.parametrize("model", ["resnet18", "resnet20", "resnet50", "resnet8", "tutorial-cifar"])
def test_head_of_features_is_the_network_and_flipping_them_is_flipping_the_picture(model: str) -> None:
    network = build_model(model, num_classes=4).eval()
    given_batches = batches(7)
    features = cache_features(network, given_batches)
    images = torch.cat([batch.images for batch in given_batches])
    with torch.no_grad():
        assert torch.allclose(Head(network)(features.maps), network(images), atol=1e-5)
        assert torch.allclose(Head(network)(features.maps.flip(-1)), network(images.flip(-1)), atol=1e-5)
    assert features.maps.shape[2:] == (1, 2)
    assert len(features) == 7
    assert torch.equal(features.targets, torch.cat([batch.targets for batch in given_batches]))
    assert cache_features(network, given_batches, mirrored=False).maps.shape[2:] == (1, 1)


def test_features_may_enter_autograd_and_do_not_hold_the_network() -> None:
    network = build_model("resnet20", num_classes=4)
    features = cache_features(network, batches(4))
    assert not features.maps.requires_grad
    assert not features.maps.is_inference()
    Head(network)(features.maps).sum().backward()
    assert network.fc.weight.grad is not None
    assert network.conv1.weight.grad is None


def test_modes_and_statistics_are_given_back_even_when_it_breaks_off() -> None:
    network = build_model("resnet20", num_classes=4)
    network.layer2.eval()
    before = [(name, inner.training) for name, inner in network.named_modules()]
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    def stop(done: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        cache_features(network, batches(4), progress=stop)
    cache_features(network, batches(4))
    assert [(name, inner.training) for name, inner in network.named_modules()] == before
    assert same_weights(network.state_dict(), weights)
    assert torch.is_grad_enabled()


def test_features_do_not_depend_on_the_mode_the_network_was_in() -> None:
    network = build_model("resnet20", num_classes=4)
    training = cache_features(network.train(), batches(4)).maps
    assert torch.equal(training, cache_features(network.eval(), batches(4)).maps)


@hypothesis_settings(max_examples=25)
@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 17),
    epoch=st.integers(1, 9),
    skipped=st.integers(0, 3),
    policy=st.sampled_from(["none", "flip"]),
    seed=st.integers(0, 99),
)
def test_batches_of_features_follow_the_batches_of_pictures(
    count: int, batch_size: int, epoch: int, skipped: int, policy: str, seed: int
) -> None:
    """With a network that only looks at the first column of a picture, features can be read off the picture."""
    loaders = made_loaders(count, batch_size, policy, seed)
    config = TrainConfig(freeze="layer1", flip_average=True)
    fed = module.cached_loaders(Column(), loaders, config, Plain())  # type: ignore[arg-type]
    assert fed is not None
    first = min(skipped + 1, len(loaders.train))
    pictures = list(loaders.train.epoch(epoch, first_step=first))
    columns = list(fed.epoch(epoch, first_step=first))
    assert len(pictures) == len(columns)
    for picture, column in zip(pictures, columns, strict=True):
        assert torch.equal(column.targets, picture.targets)
        assert torch.allclose(column.images[..., 0, 0], picture.images[..., 0].mean(-1), atol=1e-6)


class Column(nn.Module):
    """Stands for a network: its features are the mean of a picture's left column."""

    stage_names = ("layer1",)

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return images[..., :1]


class Plain:
    """Stands for the choice of a device."""

    device = torch.device("cpu")

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def made_loaders(count: int, batch_size: int, policy: str, seed: int) -> Loaders:
    import numpy as np

    from resnet_core.data.cache import PixelStore
    from resnet_core.data.loaders import TrainLoader, ValLoader
    from resnet_core.data.preprocessing import Preprocessing

    pixels = np.random.default_rng(seed).integers(0, 256, count * 4 * 4 * 3, dtype=np.uint8)
    store = PixelStore(
        pixels=pixels,
        offsets=np.arange(count + 1, dtype=np.int64) * 48,
        sizes=((4, 4),) * count,
        targets=torch.arange(count) % 3,
        paths=tuple(map(str, range(count))),
        skipped=(),
    )
    shared: dict[str, Any] = {
        "store": store,
        "preprocessing": Preprocessing(resize=4, crop=4),
        "batch_size": batch_size,
    }
    device = torch.device("cpu")
    train = TrainLoader(policy=get_policy(policy), seed=seed, device=device, **shared)
    return Loaders(train=train, val=ValLoader(device=device, **shared))


def test_no_policy_but_mirroring_is_cached() -> None:
    config = TrainConfig(freeze="layer1", flip_average=True)
    for name, policy in POLICIES.items():
        loaders = made_loaders(5, 2, "none", 0)
        loaders = replace(loaders, train=replace(loaders.train, policy=policy))
        fed = module.cached_loaders(Column(), loaders, config, Plain())  # type: ignore[arg-type]
        assert (fed is not None) is (name in ("none", "flip")), name
