"""An automatic batch fits the memory; an asked one is never changed."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_core.data.datasets import DatasetSpec, rendered_flowers
from resnet_core.device import choose_device
from resnet_core.models.zoo import build_model
from resnet_core.training import fitting
from resnet_core.training import resolve as resolving
from resnet_core.training.config import TrainConfig
from resnet_core.training.fitting import StepMemory, step_memory
from resnet_core.training.hollow import build_hollow
from resnet_core.training.resolve import resolve

WHERE = choose_device("cpu", precision="fp32", num_threads=1)
Quick = Callable[..., TrainConfig]


def kept_for_the_way_back(model: str, size: int, batch: int) -> int:
    """Oracle: the bytes of all tensors that autograd keeps during a real step, each storage once."""
    network = build_model(model, num_classes=5).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = network(torch.zeros(batch, 3, size, size)).sum()
        kept = sum(storages.values())
    del loss
    return kept


@pytest.mark.parametrize(("model", "size", "batch"), [("resnet18", 64, 4), ("resnet50", 32, 3), ("resnet20", 32, 8)])
def test_the_estimate_covers_what_autograd_keeps_and_not_many_times_that(model: str, size: int, batch: int) -> None:
    network = build_hollow(model, num_classes=5)
    estimate = batch * step_memory(network, size).per_picture
    kept = kept_for_the_way_back(model, size, batch)
    assert kept < estimate < 4 * kept


@given(
    memory=st.builds(StepMemory, st.integers(1, 2**28), st.integers(0, 2**30)),
    batch=st.integers(2, 512),
    free=st.integers(0, 2**36),
    more=st.integers(0, 2**32),
)
def test_the_batch_is_halved_only_as_often_as_needed(memory: StepMemory, batch: int, free: int, more: int) -> None:
    halves = [max(2, batch >> times) for times in range(10)]
    fits = [half for half in halves if memory.of(half) <= fitting.SHARE * free]
    found = memory.fit(batch, free)
    assert found == max(fits, default=2)
    assert memory.fit(batch, free + more) >= found


def test_frozen_stages_take_less_memory() -> None:
    network = build_hollow("resnet18", num_classes=5)
    stages = ("none", "stem", "layer1", "layer2", "layer4")
    sizes = [step_memory(network, 64, freeze=stage).of(16) for stage in stages]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 4


def photos(count: int) -> DatasetSpec:
    drawn = rendered_flowers(train=1, val=1, size=224)
    return dataclasses.replace(drawn, name="photos", train=drawn.train[:1] * count)


@pytest.mark.parametrize("free", [0, 200 << 20, 600 << 20, 2 << 30, 64 << 30])
def test_resolve_halves_an_automatic_batch_and_the_rate_with_it(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "free_memory", lambda _: free)
    config, notes = resolve(TrainConfig(), photos(10_000), WHERE)
    assert config.batch_size is not None
    assert config.learning_rate == pytest.approx(0.1 * min(1, config.batch_size / 64))
    said = [note for note in notes if "would not fit the free memory" in note]
    assert bool(said) is (config.batch_size < 128)
    assert (config.batch_size == 128) is (free == 64 << 30)
    assert all(f"batches of {config.batch_size}" in note for note in said)
    network = build_hollow("resnet18", num_classes=5)
    needed = step_memory(network, config.image_size or 0).of(config.batch_size)
    assert needed <= fitting.SHARE * free or config.batch_size == 2


def test_a_batch_that_was_asked_for_is_never_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "free_memory", lambda _: 0)
    config, notes = resolve(TrainConfig(batch_size=512), photos(100), WHERE)
    assert config.batch_size == 512
    assert not any("memory" in note for note in notes)


def test_where_the_system_does_not_say_the_batch_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "free_memory", lambda _: None)
    config, _ = resolve(TrainConfig(), photos(100), WHERE)
    assert config.batch_size == 32


@pytest.mark.parametrize("model", ["resnet18", "resnet50", "resnet20", "resnet8", "tutorial-cifar"])
def test_a_hollow_network_has_the_shape_of_a_real_one_and_no_memory(model: str) -> None:
    state = torch.get_rng_state()
    hollow = build_hollow(model, num_classes=7)
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn"
    real = build_model(model, num_classes=7).state_dict()
    assert {name: tensor.shape for name, tensor in hollow.state_dict().items()} == {
        name: tensor.shape for name, tensor in real.items()
    }
    assert all(tensor.is_meta for tensor in hollow.state_dict().values())
    assert math.prod(real["fc.weight"].shape) == hollow.fc.weight.numel()
