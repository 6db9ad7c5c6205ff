"""The trust test in pieces, on other devices and on networks so deep that random weights overflow."""

import json
import math
from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from resnet_core.activations import ablation_cam as ablation_module
from resnet_core.activations.ablation_cam import ablation_cam
from resnet_core.activations.deletion import BATCH, Deletion
from resnet_core.activations.heat import trust_heat
from resnet_core.activations.trust import RandomStep, TrustTest, freshen, judge, run_trust_test
from resnet_core.activations.turns import WorkStopped
from resnet_core.models.zoo import build_model

T = TypeVar("T")


def small() -> nn.Module:
    torch.manual_seed(0)
    return build_model("resnet18", num_classes=3, width=8).eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Turns:
    """Counts the pieces, the network's passes in each, and passes outside of all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: list[int] = []
        self.outside = 0
        self._inside = False
        original = type(small()).forward

        def forward(network: nn.Module, images: Tensor) -> Tensor:
            assert len(images) <= BATCH
            if not self._inside:
                self.outside += 1
            elif len(images):  # with no pictures only shapes and the order of layers are found out
                self.passes[-1] += 1
            return original(network, images)

        monkeypatch.setattr(type(small()), "forward", forward)

    def __call__(self, work: Callable[[], T], /) -> T:
        assert not self._inside, "a piece inside a piece"
        self._inside = True
        self.passes.append(0)
        try:
            return work()
        finally:
            self._inside = False


@pytest.mark.parametrize("method", ["gradcam", "ablation"])
def test_a_piece_is_one_pass_of_one_batch_and_no_pass_lies_outside(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(ablation_module, "COPIES", BATCH)
    model, photo = small(), noise(1, 3, 64, 64)
    alone = trust_heat(model, photo, "layer3", 1, method=method).to_json()
    turns = Turns(monkeypatch)
    test = trust_heat(model, photo, "layer3", 1, method=method, in_turn=turns)
    assert turns.outside == 0
    assert max(turns.passes) == 1
    assert len(turns.passes) > 20
    assert test.to_json() == alone


def test_a_stopped_test_ends_before_its_next_piece() -> None:
    pieces: list[int] = []

    def in_turn(work: Callable[[], T], /) -> T:
        pieces.append(1)
        return work()

    with pytest.raises(WorkStopped, match="Stopped"):
        trust_heat(small(), noise(1, 3, 64, 64), "layer3", 1, in_turn=in_turn, stopped=lambda: len(pieces) >= 7)
    assert len(pieces) == 7


def test_copies_of_a_large_layer_are_few_and_those_of_a_small_one_at_most_32(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    original = ablation_module.run_forward

    def run_forward(model: nn.Module, images: Tensor) -> Tensor:
        handle = model.layer2.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
        try:
            result: Tensor = original(model, images)
        finally:
            handle.remove()
        return result

    monkeypatch.setattr(ablation_module, "run_forward", run_forward)
    model, photo = build_model("resnet18", num_classes=3, width=64).eval(), noise(1, 3, 32, 32)
    ablation_cam(model, photo, "layer1", 1, limit=64)
    assert max(sizes) == 32
    sizes.clear()
    one = 64 * 8 * 8 * 4  # bytes of layer1 at 32 × 32
    monkeypatch.setattr(ablation_module, "COPIED_BYTES", 5 * one + 1)
    ablation_cam(model, photo, "layer1", 1, limit=12)
    assert max(sizes) == 5
    monkeypatch.setattr(ablation_module, "COPIED_BYTES", 1)
    ablation_cam(model, photo, "layer1", 1, limit=3)


def test_fresh_weights_are_drawn_where_the_generator_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.device] = []
    for name in ("kaiming_normal_", "normal_"):
        original = getattr(nn.init, name)

        def draw(weight: Tensor, *args: object, draw: Callable[..., Tensor] = original, **options: object) -> Tensor:
            drawn.append(weight.device)
            return draw(weight, *args, **options)

        monkeypatch.setattr(nn.init, name, draw)
    network = small().to("meta")  # stands for a GPU, whose weights a generator of the CPU cannot fill
    freshen(network, torch.Generator().manual_seed(0))
    assert {device.type for device in drawn} == {"cpu"}
    assert {weight.device.type for weight in network.parameters()} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_weights_drawn_for_a_gpu_are_those_of_the_cpu() -> None:
    networks = [small(), small().cuda()]
    for network in networks:
        freshen(network, torch.Generator().manual_seed(0))
    for (name, value), other in zip(networks[0].state_dict().items(), networks[1].state_dict().values(), strict=True):
        assert torch.equal(value, other.cpu()), name
    assert trust_heat(networks[1], noise(1, 3, 64, 64), "layer3", 1).steps


class Deep(nn.Module):
    """Enough residual blocks for fresh weights to leave float32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.Sequential(*(self.block() for _ in range(300)))
        self.fc = nn.Linear(4, 2)

    @staticmethod
    def block() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4))

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv1(images)
        for block in self.blocks:
            x = x + block(x)
        return self.fc(x.mean(dim=(2, 3)))


def test_random_weights_of_a_very_deep_network_give_numbers() -> None:
    torch.manual_seed(0)
    model, photo = Deep().eval(), noise(1, 3, 8, 8)
    for module in model.blocks.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.fill_(0.01)  # as it learned to be
    kept: list[float] = []

    def heat_of(network: nn.Module, index: int) -> Tensor:
        with torch.no_grad():
            kept.append(float(network(photo).abs().max()))
        return noise(4, 4, seed=len(kept)).abs()

    test = run_trust_test(model, photo, 1, heat_of)
    assert all(map(math.isfinite, kept))
    assert all(map(math.isfinite, test.untaught_gains))
    assert "unclear" not in test.verdict.reasons


@pytest.mark.parametrize("where", ["gain", "likeness", "area"])
def test_numbers_that_are_none_are_a_reason_and_null_in_json(where: str) -> None:
    gain, likeness = (math.nan if where == name else 0.1 for name in ("gain", "likeness"))
    area = math.nan if where == "area" else 0.2
    deletion = Deletion(shares=(0.0, 1.0), by_map=(1.0, area), by_chance=(), area=area, chance_areas=(0.5, 0.6))
    step, heat = RandomStep(part="conv1", likeness=likeness, heat=torch.zeros(2, 2)), torch.ones(2, 2)
    verdict = judge(heat, (step,), deletion, (gain,))
    assert verdict.reasons == ("unclear",)
    test = TrustTest(heat=heat, steps=(step,), deletion=deletion, untaught_gains=(gain,), verdict=verdict)
    assert "null" in json.dumps(test.to_json(), allow_nan=False)
