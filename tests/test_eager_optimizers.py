"""Optimizers that leave torch's compiler alone do what torch's own do, to the bit."""

import gc
import subprocess
import sys
import weakref
from typing import Any

import pytest
import torch
from torch import nn

from resnet_core.eager_optimizers import make_eager
from resnet_core.training.muon import Muon

KINDS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "fused": True}),
    "adam": (torch.optim.Adam, {"lr": 0.01, "fused": True}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    "muon": (Muon, {"lr": 0.1, "momentum": 0.6}),
}

# what the app does before anybody asks for more: a model is opened, described and observed, photos are answered by the
# fastest engine, a network is trained with a checkpoint
WITHOUT_COMPILER = """
import sys, tempfile
from pathlib import Path
import torch
from PIL import Image
from resnet_core.activations.layers import list_layers
from resnet_core.data.datasets import load_dataset
from resnet_core.inference.catalog import load_classifier
from resnet_core.models.describe import describe
from resnet_core.training.engine import fit
from resnet_core.training.presets import make_config
from resnet_core.training.runs import RunStore

with tempfile.TemporaryDirectory() as home:
    classifier = load_classifier("flowers", RunStore(Path(home) / "runs"))
    classifier.warm_up()
    classifier.classify(Image.new("RGB", (300, 200)))
    describe(classifier.model, 64)
    list_layers(classifier.model, image_size=64)
    for index in range(12):
        folder = Path(home, "pictures", "ab"[index % 2])
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 20 + index).convert("RGB").save(folder / f"{index}.png")
    for optimizer in ("sgd", "adam"):
        pictures = f"{home}/pictures"
        network = {"model": "resnet18", "width": 8, "image_size": 32}
        config = make_config(dataset=pictures, epochs=1, optimizer=optimizer, **network)
        for event in fit(config, load_dataset(pictures, data_dir=Path(home))):
            pass
    assert event.status == "finished", event
print(*(name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules))
"""


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def groups(model: nn.Module) -> list[dict[str, Any]]:
    parameters = list(model.parameters())
    return [{"params": [p for p in parameters if p.ndim > 1]}, {"params": [p for p in parameters if p.ndim <= 1]}]


def orthogonal_groups(model: nn.Module) -> list[dict[str, Any]]:
    parameters = list(model.parameters())
    rest = [parameter for parameter in parameters if parameter.ndim != 4]
    return [{"params": [p for p in parameters if p.ndim == 4], "orthogonal": True}, {"params": rest}]


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), torch.arange(6) % 3).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.mark.parametrize("name", KINDS)
def test_eager_steps_are_torchs_steps_also_from_a_restored_state(name: str) -> None:
    kind, settings = KINDS[name]
    ours, theirs = network(), network()
    divide = orthogonal_groups if name == "muon" else groups
    eager, usual = make_eager(kind, divide(ours), **settings), kind(divide(theirs), **settings)
    learn(ours, eager, 4)
    learn(theirs, usual, 4)
    again = make_eager(kind, divide(ours), **settings)
    again.load_state_dict(eager.state_dict())
    learn(ours, again, 3)
    learn(theirs, usual, 3)
    for mine, torchs in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, torchs)
    assert all(parameter.requires_grad and parameter.grad_fn is None for parameter in ours.parameters())


def test_a_solver_with_a_closure_finds_the_minimum() -> None:
    point = torch.zeros(2, requires_grad=True)
    solver = make_eager(torch.optim.LBFGS, [point], line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = ((point - torch.tensor([3.0, -1.0])) ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[arg-type]
    assert torch.allclose(point, torch.tensor([3.0, -1.0]), atol=1e-4)


def test_torchs_learning_rate_schedules_accept_them() -> None:
    model = network()
    optimizer = make_eager(torch.optim.SGD, model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    learn(model, optimizer, 1)
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_weights_and_momenta_go_with_the_optimizer_and_wait_for_no_collector() -> None:
    model = network()
    optimizer = make_eager(torch.optim.SGD, model.parameters(), lr=0.1, momentum=0.9)
    learn(model, optimizer, 1)
    gone = weakref.ref(next(iter(optimizer.state.values()))["momentum_buffer"])
    gc.disable()
    try:
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


def test_a_step_that_torch_wraps_in_another_way_is_used_as_it_comes() -> None:
    class Counted(torch.optim.SGD):
        steps = 0

        def step(self, closure: Any = None) -> Any:
            Counted.steps += 1
            return super().step(closure)

    model = network()
    optimizer = make_eager(Counted, model.parameters(), lr=0.1)
    learn(model, optimizer, 2)
    assert Counted.steps == 2


def test_a_wrong_setting_is_refused_as_by_torch() -> None:
    with pytest.raises(ValueError, match="learning rate"):
        make_eager(torch.optim.SGD, network().parameters(), lr=-1.0)


def test_nothing_usual_loads_torchs_compiler() -> None:
    """It costs 160 MB and two seconds: of the idle app, of the first training, of the first look into a network."""
    ended = subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == []
