"""The trust test: its parts against naive ones, and whether it tells a map that means something from others."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from resnet_core.activations.deletion import Deletion, delete
from resnet_core.activations.heat import trust_heat
from resnet_core.activations.trust import RandomStep, freshen, judge, rank_correlation, run_trust_test
from resnet_core.cli import main
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ModelError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint


class RedCorner(nn.Module):
    """Says class 1 where there is red: the photo below has it in one corner only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 8, stride=8)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 2)
        nn.init.zeros_(self.conv1.weight)
        nn.init.zeros_(self.conv1.bias)
        for channel in range(4):  # four look for red, four for blue
            self.conv1.weight.data[channel, 0], self.conv1.weight.data[channel, 2] = 0.05, -0.05
            self.conv1.weight.data[channel + 4, 0], self.conv1.weight.data[channel + 4, 2] = -0.002, 0.002
        nn.init.zeros_(self.fc.weight)
        self.fc.weight.data[1, :4] = 30.0
        self.fc.bias.data = torch.tensor([6.0, 0.0])

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.relu(self.conv1(images))).flatten(1))


def red_corner_photo() -> Tensor:
    """[1,3,48,48]: red below on the right, bluish noise elsewhere."""
    photo = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 0.4
    photo[:, 2] += 0.6
    photo[:, 0, 40:, 40:] += 1.4
    photo[:, 2, 40:, 40:] -= 0.6
    return photo


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# The verdict


@pytest.mark.parametrize("method", ["gradcam", "ablation"])
def test_a_network_that_hangs_on_one_corner_passes_and_its_map_points_there(method: str) -> None:
    model, photo = RedCorner().eval(), red_corner_photo()
    assert int(model(photo).argmax()) == 1
    test = trust_heat(model, photo, "relu", 1, method=method)
    assert test.verdict.trusted, test.to_json()
    assert divmod(int(test.heat.argmax()), 6) == (5, 5)
    assert test.heat.sum() < 1.2
    assert test.deletion.by_map[0] > 0.9
    assert test.deletion.by_map[1] < 0.1


@pytest.mark.parametrize(
    ("name", "arguments", "seed"),
    [*(("resnet18", {"width": 8}, seed) for seed in range(4)), ("resnet20", {}, 0), ("resnet20", {}, 3)],
)
def test_a_network_with_random_weights_fails(name: str, arguments: dict[str, Any], seed: int) -> None:
    torch.manual_seed(seed)
    model = build_model(name, num_classes=5, **arguments).eval()
    photo = noise(1, 3, 64, 64, seed=seed)
    with torch.no_grad():
        index = int(model(photo).argmax())
    test = trust_heat(model, photo, "layer2", index)
    assert not test.verdict.trusted, test.to_json()


def test_a_map_that_is_about_the_photo_and_not_the_network_survives_random_weights() -> None:
    model, photo = RedCorner().eval(), red_corner_photo()
    edges = photo[0, 0].unfold(0, 8, 8).unfold(1, 8, 8).mean(dim=(2, 3))
    test = run_trust_test(model, photo, 1, lambda network, index: edges)
    assert test.steps[-1].likeness == pytest.approx(1)
    assert test.verdict.reasons[0] == "survives"


def test_a_map_that_points_elsewhere_does_no_better_than_chance() -> None:
    model, photo = RedCorner().eval(), red_corner_photo()

    def opposite(network: nn.Module, index: int) -> Tensor:
        return torch.linspace(1, 0, 36).view(6, 6) if network is model else noise(6, 6, seed=9).abs()

    test = run_trust_test(model, photo, 1, opposite)
    assert test.verdict.reasons == ("chance",)


def curves(area: float, chance: tuple[float, ...]) -> Deletion:
    return Deletion(shares=(0.0, 1.0), by_map=(1.0, 0.0), by_chance=(), area=area, chance_areas=chance)


@pytest.mark.parametrize(
    ("heat", "likeness", "deletion", "gains", "reasons"),
    [
        (1.0, 0.1, curves(0.2, (0.5, 0.6)), (0.1,), ()),
        (1.0, 0.1, curves(0.5, (0.5, 0.7, 0.8)), (0.1,), ()),
        (0.0, 0.0, curves(0.2, (0.5, 0.6)), (0.1,), ("empty",)),
        (1.0, 0.5, curves(0.2, (0.5, 0.6)), (0.1,), ("survives",)),
        (1.0, -0.9, curves(0.2, (0.5, 0.6)), (0.1,), ()),
        (1.0, 0.1, curves(0.5, (0.4, 0.5, 0.9)), (0.0,), ("chance",)),
        (1.0, 0.1, curves(0.49, (0.5, 0.51)), (0.0,), ("chance",)),
        (1.0, 0.1, curves(0.2, (0.5, 0.6)), (0.1, 0.4), ("untaught",)),
        (1.0, 0.1, curves(0.2, (0.5, 0.6)), (0.1, 0.3), ("untaught",)),
        (0.0, 0.9, curves(0.7, (0.5, 0.6)), (), ("empty", "survives", "chance")),
    ],
)
def test_every_reason_is_told(
    heat: float, likeness: float, deletion: Deletion, gains: tuple[float, ...], reasons: tuple[str, ...]
) -> None:
    step = RandomStep(part="conv1", likeness=likeness, heat=torch.zeros(2, 2))
    assert judge(torch.full((2, 2), heat), (step,), deletion, gains).reasons == reasons


# Its parts


def ranks(values: np.ndarray) -> np.ndarray:
    """Mean rank of each value, counted one by one."""
    return np.array([(values < value).sum() + ((values == value).sum() + 1) / 2 for value in values])


@pytest.mark.parametrize("ties", [False, True])
def test_rank_correlation_counts_ranks_and_shares_those_of_equals(ties: bool) -> None:
    first, second = noise(6, 7).double(), noise(6, 7, seed=1).double()
    if ties:
        first, second = first.round(), (second + first).relu()
    expected = np.corrcoef(ranks(first.flatten().numpy()), ranks(second.flatten().numpy()))[0, 1]
    assert rank_correlation(first, second) == pytest.approx(expected)
    assert rank_correlation(first, first.exp()) == pytest.approx(1)
    assert rank_correlation(first, -first) == pytest.approx(-1)
    assert rank_correlation(first, torch.zeros(6, 7)) == 0


def test_deletion_covers_place_after_place_as_a_loop_does() -> None:
    model, photo = build_model("resnet18", num_classes=5, width=8).eval(), noise(1, 3, 64, 64)
    heat = torch.rand(4, 4, generator=torch.Generator().manual_seed(2))
    found = delete(model, photo, 3, heat)
    order = sorted(range(16), key=lambda place: -float(heat.flatten()[place]))
    expected = []
    for share in found.shares:
        covered = photo.clone()
        for place in order[: round(share * 16)]:
            row, column = divmod(place, 4)
            covered[..., row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 0
        with torch.no_grad():
            expected.append(float(model(covered).softmax(1)[0, 3]))
    assert found.by_map == pytest.approx(expected, abs=1e-5)
    widths = np.diff(found.shares)
    assert found.area == pytest.approx(float(sum(widths * (np.array(expected[1:]) + expected[:-1]) / 2)), abs=1e-5)
    assert (found.shares[0], found.shares[-1], len(found.shares)) == (0, 1, 9)
    assert {round(curve[0], 4) for curve in found.by_chance} == {round(expected[0], 4)}
    assert len(set(found.by_chance)) == 9
    assert delete(model, photo, 3, heat) == found
    assert delete(model, photo, 3, heat, seed=1).by_chance != found.by_chance


def test_a_fine_map_is_covered_in_at_most_14_places_a_side() -> None:
    model, photo = build_model("resnet18", num_classes=5, width=8).eval(), noise(1, 3, 64, 64)
    found = delete(model, photo, 1, torch.rand(32, 32))
    assert all(round(share * 196) == pytest.approx(share * 196) for share in found.shares)
    assert len(delete(model, photo, 1, torch.rand(1, 3)).shares) == 4


def test_fresh_weights_leave_nothing_of_the_old_ones_and_come_from_the_seed() -> None:
    trained = build_model("resnet18", num_classes=5, width=8)
    for value in trained.state_dict().values():
        value.fill_(7)
    networks = [copy.deepcopy(trained) for _ in range(2)]
    for network in networks:
        freshen(network, torch.Generator().manual_seed(3))
    for name, value in networks[0].state_dict().items():
        if "num_batches" not in name:
            assert not (value == 7).any(), name
            assert torch.equal(value, networks[1].state_dict()[name])


def test_parts_are_drawn_anew_from_the_head_down_each_time_one_more() -> None:
    model = build_model("resnet18", num_classes=5, width=8).eval()
    seen: list[dict[str, Tensor]] = []

    def heat_of(network: nn.Module, index: int) -> Tensor:
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return torch.rand(3, 3)

    test = run_trust_test(model, noise(1, 3, 64, 64), 2, heat_of)
    assert [step.part for step in test.steps] == ["fc", "layer4", "layer3", "layer2", "layer1", "stem"]
    for number, step in enumerate(test.steps, start=1):
        changed = {
            name.partition(".")[0] for name, value in seen[number].items() if not torch.equal(value, seen[0][name])
        }
        fresh = {each.part for each in test.steps[:number]}
        assert changed == {"conv1" if part == "stem" else part for part in fresh}, step.part
    assert len(test.untaught_gains) == 3


# What is borrowed is given back


def state(model: nn.Module) -> list[Any]:
    hooks = [len(v) for each in model.modules() for key, v in vars(each).items() if "_hooks" in key]
    flags = [each.training for each in model.modules()]
    tensors = [value.tolist() for value in model.state_dict().values()]
    asked = [(parameter.requires_grad, parameter.grad is None) for parameter in model.parameters()]
    return [hooks, flags, tensors, asked, torch.is_grad_enabled()]


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_network_is_as_it_was_also_after_an_error(failing: bool, frozen: bool) -> None:
    torch.manual_seed(0)
    model = build_model("resnet18", num_classes=5, width=8).requires_grad_(not frozen)
    for number, module in enumerate(model.modules()):
        module.training = number % 3 != 0
    calls: list[int] = []

    def fail(*_: object) -> None:
        calls.append(1)
        if failing and len(calls) > 4:
            raise OSError("unplugged")

    model.layer4.register_forward_pre_hook(fail)
    before = state(model)
    if failing:
        with pytest.raises(OSError, match="unplugged"):
            trust_heat(model, noise(1, 3, 64, 64), "layer3", 2)
    else:
        trust_heat(model, noise(1, 3, 64, 64), "layer3", 2)
    assert state(model) == before


def test_the_same_seed_gives_the_same_verdict_whatever_torch_has_drawn() -> None:
    model, photo = RedCorner().eval(), red_corner_photo()
    first = trust_heat(model, photo, "relu", 1).to_json()
    torch.rand(5)
    assert trust_heat(model, photo, "relu", 1).to_json() == first
    assert trust_heat(model, photo, "relu", 1, seed=1).to_json() != first


def test_layers_and_photos_that_cannot_be_tested_are_a_sentence() -> None:
    model = build_model("resnet18", num_classes=5, width=8)
    with pytest.raises(ModelError, match="one photo at a time"):
        trust_heat(model, noise(2, 3, 64, 64), "layer3", 1)
    with pytest.raises(ModelError, match="no map of places"):
        trust_heat(model, noise(1, 3, 64, 64), "fc", 1)
    with pytest.raises(ModelError, match="no class 9"):
        trust_heat(model, noise(1, 3, 64, 64), "layer3", 9)


# The command


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    arguments = {"num_classes": 3, "width": 8}
    about = Checkpoint(
        architecture="resnet18",
        architecture_arguments=arguments,
        class_names=("left", "right", "neither"),
        preprocessing=Preprocessing(resize=64, crop=64),
    )
    save_checkpoint(tmp_path / "it.safetensors", about, build_model("resnet18", **arguments).state_dict())
    return tmp_path / "it.safetensors"


def test_the_command_says_what_the_test_found(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, output = tmp_path / "photo.png", tmp_path / "heat.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (80, 70, 3), dtype=np.uint8)).save(picture)
    common = ["gradcam", str(picture), "--checkpoint", str(checkpoint), "--output", str(output), "--layer", "layer2"]
    assert main([*common, "--method", "ablation", "--trust", "--label", "right", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "The 16 strongest of its 16 channels were taken away" in told
    assert "trust" in told
    assert main([*common, "--trust", "--json", "--device", "cpu"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["method"] == "gradcam"
    assert isinstance(facts["trust"]["trusted"], bool)
    assert facts["trust"]["trusted"] == (not facts["trust"]["reasons"])
    assert facts["trust"]["random_weights"][0]["part"] == "fc"
    assert main([*common, "--trust", "--label", "left", "--against", "right", "--device", "cpu"]) == 2
    assert "leave out --method and --trust" in capsys.readouterr().err
