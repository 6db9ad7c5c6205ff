"""torch.compile may help and may fail; the training, its files and its results do not notice either way."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from observers import Keeper, StopsAtLook, same_weights, story
from torch import nn

from resnet_core.data.datasets import DatasetSpec
from resnet_core.device import choose_device
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.compiling import CompilationFailed, compile_forward
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded, RunStarted, Warned
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import RunStore

Quick = Callable[..., TrainConfig]
WHERE = choose_device("cpu", precision="fp32", num_threads=1)
real_compile = torch.compile


class Wrapped(nn.Module):
    """What torch.compile returns: a module that holds the network as `_orig_mod`. Counts what runs through it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._orig_mod = network
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(images.shape))
        return self._orig_mod(images)  # type: ignore[no-any-return]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Wrapped]:
    """A compiler that changes nothing; the list holds what it was asked to compile."""
    made: list[Wrapped] = []

    def compile(network: nn.Module, **_: Any) -> Wrapped:
        made.append(Wrapped(network))
        return made[-1]

    monkeypatch.setattr(torch, "compile", compile)
    return made


@pytest.fixture(params=["when asked", "when run", "on the way back"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A compiler that fails, and has already moved statistics by then."""

    def explode(*_: Any) -> Any:
        raise RuntimeError("/srv/secret/g++: not found")

    def compile(network: nn.Module, **_: Any) -> Any:
        if request.param == "when asked":
            explode()

        def run(images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = network(images + 5)
            if request.param == "when run":
                explode()
            logits.register_hook(explode)
            return logits

        return run

    monkeypatch.setattr(torch, "compile", compile)
    return str(request.param)


def test_a_compiled_run_tells_the_same_story_and_saves_the_same_files(
    compiled: list[Wrapped], quick: Quick, tiny_flowers: DatasetSpec, tmp_path: Path
) -> None:
    plain, fast = Keeper(), Keeper()
    expected = story(list(fit(quick(compile=False), tiny_flowers, saver=plain)))
    assert compiled == []
    events = list(fit(quick(compile=True), tiny_flowers, saver=fast))
    assert len(compiled) == 1
    assert story(events) == expected
    assert same_weights(fast.weights, plain.weights)
    assert not [name for name in fast.weights if "_orig_mod" in name]
    assert fast.state["config"]["compile"] is True
    run = RunStore(tmp_path).create(quick())
    with RunRecorder(run) as recorder:
        list(recorder.record(fit(quick(compile=True, epochs=1), tiny_flowers, saver=recorder)))
    _, model = load_checkpoint(run.checkpoint_path())
    assert not [name for name in model.state_dict() if "_orig_mod" in name]


def test_only_full_batches_at_the_final_size_go_through_the_compiler(
    compiled: list[Wrapped], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    growing = {"start_image_size": 16, "image_size": 32, "resize": 32, "augment": "crop-flip"}
    list(fit(quick(compile=True, batch_size=8, epochs=3, **growing), tiny_flowers))
    [wrapped] = compiled
    assert set(wrapped.sizes) == {(8, 3, 32, 32)}
    assert 1 < len(wrapped.sizes) < 1 + 3 * 2, "the trial, and the full batches of the last epochs"


def test_a_data_set_smaller_than_a_batch_is_one_full_batch(
    compiled: list[Wrapped], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    list(fit(quick(compile=True, batch_size=64, epochs=2), tiny_flowers))
    assert compiled[0].sizes == [(20, 3, 16, 16)] * 3


def test_validation_and_cached_features_are_not_compiled(
    compiled: list[Wrapped], quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    list(fit(quick(compile=True, freeze="layer3", augment="flip"), tiny_flowers))
    assert compiled == []
    list(fit(quick(compile=True, freeze="layer2", epochs=1), tiny_flowers))
    assert len(compiled[0].sizes) == 1 + 5


@pytest.mark.usefixtures("broken")
def test_a_compiler_that_fails_costs_a_warning_and_nothing_else(quick: Quick, tiny_flowers: DatasetSpec) -> None:
    plain, fallen = Keeper(), Keeper()
    expected = story(list(fit(quick(compile=False), tiny_flowers, saver=plain)))
    events = list(fit(quick(compile=True), tiny_flowers, saver=fallen))
    assert isinstance(events[-1], RunEnded)
    assert events[-1].status == "finished"
    [warned] = [event for event in events if isinstance(event, Warned)]
    assert "RuntimeError" in warned.message
    assert "/srv/secret" not in warned.message
    assert warned.message.endswith("without it.")
    assert isinstance(events[1], Warned), "said at once"
    assert story(events) == expected
    assert same_weights(fallen.weights, plain.weights)
    started = events[0]
    assert isinstance(started, RunStarted)
    assert started.settings["compile"] is False, "what is done, not what was asked"
    assert fallen.state["config"]["compile"] is False


@pytest.mark.usefixtures("broken")
def test_after_a_failed_trial_the_network_is_as_it_was() -> None:
    network = build_model("resnet20", num_classes=3)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CompilationFailed):
        compile_forward(network, (2, 3, 16, 16), WHERE)
    assert same_weights(network.state_dict(), before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_compiled_run_resumes_bit_by_bit(compiled: list[Wrapped], quick: Quick, tiny_flowers: DatasetSpec) -> None:
    config = quick(compile=True, ema_decay=0.9)
    straight, keeper = Keeper(), Keeper()
    expected = story(list(fit(config, tiny_flowers, saver=straight)))
    told = story(list(fit(config, tiny_flowers, saver=keeper, control=StopsAtLook(3))))
    told += story(list(fit(config, tiny_flowers, saver=keeper, resume=keeper.state)))
    assert told == expected
    assert same_weights(keeper.weights, straight.weights)
    assert len(compiled) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_torchs_own_compiler_front_keeps_keys_and_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real graph capture and derivation, without the code generator that needs a C++ compiler."""
    monkeypatch.setattr(torch, "compile", functools.partial(real_compile, backend="aot_eager"))
    torch.manual_seed(0)
    network = build_model("resnet20", num_classes=3)
    keys = list(network.state_dict())
    forward = compile_forward(network, (4, 3, 16, 16), WHERE)
    images = torch.randn(4, 3, 16, 16)
    logits = forward(images)
    logits.sum().backward()
    compiled_gradient = network.conv1.weight.grad
    network.zero_grad()
    plain = network(images)
    plain.sum().backward()
    assert torch.allclose(logits, plain, atol=1e-5)
    assert torch.allclose(compiled_gradient, network.conv1.weight.grad, atol=1e-4)  # type: ignore[arg-type]
    assert list(network.state_dict()) == keys
