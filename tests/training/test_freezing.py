"""What is frozen neither moves nor costs anything; what follows it learns as if all had been computed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from observers import Keeper, StopsAtLook, same_weights, story
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_core.data.datasets import DatasetSpec
from resnet_core.device import choose_device
from resnet_core.errors import ConfigError
from resnet_core.models.resnet import Network
from resnet_core.models.zoo import build_model, list_models
from resnet_core.training.config import FREEZE, TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded, RunStarted
from resnet_core.training.freezing import check_stage, freeze_weights, frozen_part, set_training, stages_of
from resnet_core.training.resolve import resolve
from resnet_core.training.session import Session

Quick = Callable[..., TrainConfig]


def backward_convolutions(run: Callable[[], Any]) -> int:
    """How many convolutions autograd runs backwards inside `run`."""

    class Counting(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            self.count += func is torch.ops.aten.convolution_backward.default
            return func(*args, **(kwargs or {}))

    with Counting() as counting:
        run()
    return counting.count


def convolutions(modules: Iterator[nn.Module] | tuple[nn.Module, ...]) -> int:
    return sum(isinstance(inner, nn.Conv2d) for module in modules for inner in module.modules())


# ---- Names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [name for name in list_models() if name != "resnet1202"])
def test_every_network_can_be_frozen_at_its_own_stages_and_at_no_other(model: str) -> None:
    stages = stages_of(model)
    assert stages[0] == "stem"
    for stage in ("none", *stages):
        check_stage(stage, model)
    for stage in set(FREEZE) - {"none", *stages}:
        with pytest.raises(ConfigError, match=r"layer1, layer2, layer3") as caught:
            check_stage(stage, model)
        assert model in str(caught.value)


def test_a_stage_the_network_lacks_is_refused_with_its_names(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    [*_, ended] = fit(quick(freeze="layer4"), tiny_flowers)
    assert isinstance(ended, RunEnded)
    assert ended.status == "failed"
    assert ended.reason.endswith("choose one of none, stem, layer1, layer2, layer3.")
    for freeze in ("layer5", "fc", "", "LAYER1", "x" * 5000, None, 3, True):
        with pytest.raises(ConfigError) as caught:
            TrainConfig(freeze=freeze)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("model", ["resnet18", "resnet20", "resnet8", "tutorial-cifar"])
def test_the_frozen_part_grows_stage_by_stage_to_all_but_the_head(model: str) -> None:
    network = build_model(model, num_classes=3)
    seen: list[nn.Module] = []
    for stage in stages_of(model):
        part = frozen_part(network, stage)
        assert list(part[: len(seen)]) == seen
        assert len(part) > len(seen)
        seen = list(part)
    head = {"avgpool", "fc"}
    assert {id(module) for module in seen} == {id(m) for name, m in network.named_children() if name not in head}


# ---- Nothing moves --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freeze", ["stem", "layer2", "layer3"])
@pytest.mark.parametrize(
    "settings",
    [{"weight_decay": 0.5}, {"optimizer": "adamw", "ema_decay": 0.9, "augment": "standard"}, {"optimizer": "muon"}],
    ids=lambda settings: settings.get("optimizer", "sgd"),
)
def test_frozen_weights_and_statistics_are_the_same_bits_after_training(
    freeze: str, settings: dict[str, Any], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config = quick(freeze=freeze, **settings)
    before = {name: tensor.clone() for name, tensor in Session(config, tiny_flowers).model.state_dict().items()}
    keeper = Keeper()
    assert list(fit(config, tiny_flowers, saver=keeper))[-1].status == "finished"  # type: ignore[union-attr]
    beginnings = ("conv1.", "bn1.", *(f"{stage}." for stage in ("layer1", "layer2", "layer3") if stage <= freeze))
    names = {name for name in before if name.startswith(beginnings if freeze != "stem" else beginnings[:2])}
    assert len(names) >= 6
    for weights in (keeper.weights, keeper.judged):
        moved = {name for name in before if not torch.equal(before[name], weights[name])}
        assert not moved & names, "the frozen part"
        assert "fc.weight" in moved
        learning = {name for name in before if name not in names and name.endswith(("running_mean", "conv2.weight"))}
        assert learning <= moved, "all that follows"


def test_the_optimizer_and_the_gradients_hold_only_what_learns(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    session = Session(quick(freeze="layer2"), tiny_flowers)
    list(session.train_epoch())
    held = {id(parameter) for group in session.learner.optimizer.param_groups for parameter in group["params"]}
    for name, parameter in session.model.named_parameters():
        learns = name.startswith(("layer3", "fc"))
        assert (id(parameter) in held) is learns, name
        assert (parameter.grad is not None) is learns, name
    modes = {name: module.training for name, module in session.model.named_modules() if name.endswith("bn1")}
    assert modes["bn1"] is modes["layer2.1.bn1"] is False
    assert modes["layer3.0.bn1"] is True


# ---- The same gradients, less work ----------------------------------------------------------------------------


@hypothesis_settings(max_examples=12)
@given(
    model=st.sampled_from(["resnet20", "resnet18", "resnet8", "tutorial-cifar"]),
    stage=st.integers(0, 4),
    seed=st.integers(0, 2**20),
)
def test_gradients_are_those_of_the_full_computation(model: str, stage: int, seed: int) -> None:
    """Oracle: the same network, whose beginning is in eval mode but differentiated like the rest."""
    freeze = stages_of(model)[min(stage, len(stages_of(model)) - 1)]
    torch.manual_seed(seed)
    network, oracle = build_model(model, num_classes=3), build_model(model, num_classes=3)
    oracle.load_state_dict(network.state_dict())
    oracle.requires_grad_(True)
    freeze_weights(network, freeze)
    images, targets = torch.randn(4, 3, 33, 33), torch.tensor([0, 1, 2, 0])
    for one in (network, oracle):
        set_training(one, freeze)
        nn.functional.cross_entropy(one(images), targets).backward()
    part = {id(parameter) for module in frozen_part(network, freeze) for parameter in module.parameters()}
    for parameter, full in zip(network.parameters(), oracle.parameters(), strict=True):
        if id(parameter) in part:
            assert parameter.grad is None
            assert full.grad is not None
        else:
            assert torch.equal(parameter.grad, full.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("freeze", FREEZE)
def test_frozen_convolutions_never_run_backwards(freeze: str) -> None:
    network = build_model("resnet18", num_classes=3, width=8)
    freeze_weights(network, freeze)
    set_training(network, freeze)
    images = torch.randn(2, 3, 32, 32)
    met = backward_convolutions(lambda: network(images).sum().backward())
    learning = convolutions((network,)) - convolutions(frozen_part(network, freeze))
    assert met == learning
    assert (freeze == "layer4") is (met == 0)


def test_the_frozen_part_keeps_nothing_for_the_way_back() -> None:
    network = build_model("resnet18", num_classes=3, width=8)
    freeze_weights(network, "layer3")
    set_training(network, "layer3")
    outputs: dict[str, torch.Tensor] = {}
    for name in ("bn1", "layer1", "layer3", "layer4"):
        network.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: outputs.update({name: out}))
    network(torch.randn(2, 3, 32, 32))
    assert {name: tensor.requires_grad for name, tensor in outputs.items()} == {
        "bn1": False,
        "layer1": False,
        "layer3": False,
        "layer4": True,
    }


# ---- In a run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freeze", ["layer1", "layer3"])
def test_a_frozen_run_resumes_bit_by_bit(freeze: str, quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config = quick(freeze=freeze, ema_decay=0.9, augment="standard")
    straight = Keeper()
    expected = story(list(fit(config, tiny_flowers, saver=straight)))
    for looks in (2, 7, 9):
        keeper = Keeper()
        told = story(list(fit(config, tiny_flowers, saver=keeper, control=StopsAtLook(looks))))
        told += story(list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state)))
        assert told == expected
        assert same_weights(keeper.weights, straight.weights)
        assert same_weights(keeper.judged, straight.judged)


def test_the_run_says_what_freezing_means(quick: Quick, tiny_flowers: DatasetSpec, tmp_path: Path) -> None:
    started = next(iter(fit(quick(freeze="layer2"), tiny_flowers)))
    assert isinstance(started, RunStarted)
    assert started.settings["freeze"] == "layer2"
    [note] = [note for note in started.notes if note.startswith("Frozen")]
    assert "layer2" in note
    assert "random" in note, "nothing was given to start from"
    where = choose_device("cpu", precision="fp32")
    _, notes = resolve(quick(freeze="layer2", init_from="x.safetensors"), tiny_flowers, where)
    assert "random" not in notes[-1]


def test_head_only_training_picks_flips_and_the_full_rate_of_a_new_head(quick: Quick) -> None:
    from resnet_core.data.datasets import rendered_flowers

    where = choose_device("cpu", precision="fp32")
    photos = rendered_flowers(train=1, val=1, size=64)
    object.__setattr__(photos, "name", "photos")
    base = {"model": "resnet18", "width": None, "image_size": 64, "resize": 64}
    head, notes = resolve(quick(freeze="layer4", init_from="x", **base), photos, where)
    full, _ = resolve(quick(init_from="x", **base), photos, where)
    assert (head.augment, full.augment) == ("flip", "standard")
    assert head.learning_rate == pytest.approx(10 * (full.learning_rate or 0))
    assert any("only once" in note for note in notes)
    asked, _ = resolve(quick(freeze="layer4", init_from="x", augment="strong", **base), photos, where)
    assert asked.augment == "strong"
    grows, _ = resolve(quick(freeze="layer4", init_from="x", start_image_size=32, **base), photos, where)
    assert grows.augment == "standard", "a growing size needs random cuts"


def test_a_network_that_is_not_asked_to_freeze_trains_all(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    session = Session(quick(), tiny_flowers)
    session.learner.begin()
    assert isinstance(session.model, Network)
    assert all(parameter.requires_grad for parameter in session.model.parameters())
    assert all(module.training for module in session.model.modules())
