"""The layer table against hand counts, torch's own flop counter and networks that cannot run."""

import copy
import subprocess
import sys
import threading
from typing import Any

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_core.errors import ModelError
from resnet_core.models.describe import describe, smallest_image_size
from resnet_core.models.zoo import build_model, get_architecture

GMACS = [
    ("resnet18", 224, 1.814),
    ("resnet34", 224, 3.664),
    ("resnet50", 224, 4.089),
    ("resnet101", 224, 7.801),
    ("resnet152", 224, 11.514),
    ("resnet18", 192, 1.333),
    ("resnet18", 160, 0.926),
    ("resnet18", 128, 0.593),
    ("resnet18", 96, 0.334),
    ("resnet18", 64, 0.149),
    ("resnet34", 192, 2.692),
    ("resnet34", 160, 1.870),
    ("resnet34", 128, 1.197),
    ("resnet34", 96, 0.673),
    ("resnet34", 64, 0.300),
]


def on_meta(name: str, **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        return build_model(name, **arguments)


def tutorial_without_pooling() -> nn.Sequential:
    return nn.Sequential(on_meta("tutorial-cifar", include_top=False), nn.Flatten(), nn.Linear(512, 10))


@pytest.mark.parametrize(("name", "edge", "gmacs"), GMACS)
def test_macs_match_the_reference(name: str, edge: int, gmacs: float) -> None:
    # 0.149 and 0.300 are rounded to three digits, which alone is 0.3 %
    assert describe(on_meta(name), edge).macs / 1e9 == pytest.approx(gmacs, rel=0.005)


@pytest.mark.parametrize(("as_published", "mmacs"), [(False, 33.8), (True, 33.6)])
def test_tutorial_macs_match_the_reference(as_published: bool, mmacs: float) -> None:
    macs = describe(on_meta("tutorial-cifar", as_published=as_published), 32).macs
    assert macs / 1e6 == pytest.approx(mmacs, rel=0.005)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "tutorial-cifar", "resnet56"])
@pytest.mark.parametrize("residual", [True, False])
def test_macs_equal_half_of_torchs_own_flop_count(name: str, residual: bool) -> None:
    model = on_meta(name, residual=residual).eval()
    edge = get_architecture(name).default_image_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, edge, edge, device="meta"))
    assert describe(model, edge).macs == counter.get_total_flops() / 2


def test_grouped_dilated_and_wordy_layers_are_counted_right() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 6, (3, 1), groups=3, padding="same"), nn.Conv2d(6, 4, 3, dilation=2), nn.Linear(4, 7)
    )
    rows = describe(model, (8, 8)).layers
    assert [row.macs for row in rows] == [6 * 64 * 3, 4 * 16 * 6 * 9, 4 * 4 * 7 * 4]
    assert [row.output_shape for row in rows] == [(6, 8, 8), (4, 4, 4), (4, 4, 7)]


def test_tutorial_shapes_layer_by_layer() -> None:
    description = describe(on_meta("tutorial-cifar"), 32)
    shapes = {row.name: row.output_shape for row in description.layers}
    names = ("relu", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")
    assert [shapes[name] for name in names] == [
        (64, 10, 10),
        (128, 5, 5),
        (256, 3, 3),
        (512, 2, 2),
        (512, 1, 1),
        (512, 1, 1),
        (10,),
    ]
    assert (description.parameters, description.output_shape) == (9_817_354, (10,))


def test_shapes_equal_those_of_a_real_forward_pass_on_an_oblong_picture() -> None:
    model = build_model("resnet18", width=8, num_classes=3).eval()
    real: dict[str, tuple[int, ...]] = {}

    def note(name: str, output: Tensor) -> None:
        real[name] = tuple(output.shape[1:])

    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: note(name, output))
        for name, module in model.named_modules()
        if name
    ]
    model(torch.rand(1, 3, 70, 45))
    for handle in handles:
        handle.remove()
    description = describe(model, (70, 45))
    assert {row.name: row.output_shape for row in description.layers} == real
    assert description.image_size == (70, 45)


@pytest.mark.parametrize("name", ["resnet34", "resnet50", "tutorial-cifar", "resnet44"])
def test_totals_count_every_leaf_once_and_blocks_sum_their_leaves(name: str) -> None:
    description = describe(on_meta(name), 64)
    leaves = [row for row in description.layers if row.leaf]
    assert sum(row.macs for row in leaves) == description.macs
    assert sum(row.parameters for row in leaves) == description.parameters
    for row in description.layers:
        inside = [leaf for leaf in leaves if leaf.name.startswith(f"{row.name}.")] or [row]
        assert row.macs == sum(leaf.macs for leaf in inside)
        assert row.parameters == sum(leaf.parameters for leaf in inside)
        assert row.runs == 1


def test_rows_say_which_part_of_the_network_they_are() -> None:
    rows = {row.name: row for row in describe(on_meta("resnet50"), 64).layers}
    assert [rows[name].stage for name in ("maxpool", "layer3.5.conv2", "avgpool", "fc")] == [
        "stem",
        "layer3",
        "head",
        "head",
    ]
    assert [rows[name].kind for name in ("layer1", "layer1.0", "layer1.0.conv1")] == [
        "stage",
        "Bottleneck",
        "Conv2d",
    ]


def test_a_module_that_runs_twice_or_never_says_so() -> None:
    rows = {row.name: row for row in describe(torchvision.models.resnet18(), 64).layers}
    assert rows["layer1.0.relu"].runs == 2
    idle = nn.Sequential(nn.Conv2d(3, 2, 1))
    idle[0].spare = nn.Linear(2, 2)
    description = describe(idle, 4)
    spare = description.layers[-1]
    assert description.macs == 3 * 2 * 16  # the convolution counts although it has a layer inside
    assert (spare.runs, spare.output_shape, spare.macs, spare.parameters) == (0, (), 0, 6)


def test_a_single_layer_is_a_network_too() -> None:
    description = describe(nn.Conv2d(3, 4, 3, bias=False), 5)
    assert [(row.name, row.macs) for row in description.layers] == [("Conv2d", 4 * 9 * 27)]
    assert description.macs == 4 * 9 * 27


# -- impossible shapes ---------------------------------------------------------------------------------------


def refusal(model: nn.Module, size: Any) -> str:
    with pytest.raises(ModelError) as caught:
        describe(model, size)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_the_tutorials_lesson_names_layer_numbers_and_cure() -> None:
    assert describe(tutorial_without_pooling(), 32).output_shape == (10,)
    sentence = refusal(tutorial_without_pooling(), 64)
    assert sentence == "Layer 2 expects 512 values but receives 2048 (512×2×2): pool to 1×1 first."
    published = on_meta("tutorial-cifar", include_top=False, as_published=True)
    assert "(512×2×2): pool to 1×1" in refusal(nn.Sequential(published, nn.Flatten(), nn.Linear(512, 10)), 32)


def test_the_published_network_cannot_add_at_64_pixels() -> None:
    sentence = refusal(on_meta("tutorial-cifar", as_published=True), 64)
    for part in ("layer4.0", "512×2×2", "512×3×3", "1×1 convolution"):
        assert part.lower() in sentence.lower()


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ((nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)), "Layer 1 expects 5 channels but receives 4×6×6"),
        ((nn.Conv2d(3, 4, 3), nn.BatchNorm2d(5)), "Layer 1 expects 5 channels but receives 4×6×6"),
        ((nn.Conv2d(3, 4, 3), nn.MaxPool2d(7)), "7×7 kernel of layer 1.*6×6; use at least 9×9"),
        ((nn.Conv2d(3, 4, 3, dilation=4),), "3×3 kernel of layer 0.*8×8; use at least 9×9"),
        ((nn.AdaptiveAvgPool2d(1), nn.Linear(3, 2)), "Layer 1 expects 3 values.*flatten first"),
        ((nn.Flatten(), nn.Linear(5, 2)), r"expects 5 values but receives 192 \(3×8×8\): build it for 192"),
        ((nn.Flatten(), nn.Unflatten(1, (5, 5))), "Layer 1 cannot take an input of 192"),
    ],
)
def test_each_kind_of_mismatch_has_its_own_sentence(layers: tuple[nn.Module, ...], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        describe(nn.Sequential(*layers), 8)


@pytest.mark.parametrize("size", [1, 2, (2, 40), (40, 2)])
def test_a_picture_too_small_is_told_the_least_size_that_works(size: Any) -> None:
    model = on_meta("tutorial-cifar")
    assert "use at least 3×3 pixels" in refusal(model, size)
    assert describe(model, smallest_image_size(model)).output_shape == (10,)


def test_no_size_is_promised_when_none_would_work() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 9), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2))
    assert "use at least" not in refusal(model, 8)
    with pytest.raises(ModelError, match="expects 5 values but receives 4"):
        smallest_image_size(model)


@pytest.mark.parametrize("size", [0, -1, True, 3.5, "224", None, (32,), (32, 32, 32), (32, 0), 10**6])
def test_sizes_that_are_no_picture_sizes_are_refused(size: Any) -> None:
    assert "picture size must be" in refusal(on_meta("resnet20"), size)


# -- borrowed state ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("edge", [32, 2])
def test_flags_hooks_weights_and_gradients_stay_as_they_were(edge: int) -> None:
    model = build_model("tutorial-cifar")
    model.layer2.eval()
    fired: list[object] = []
    lock = threading.Lock()  # a hook may hold what cannot be copied
    model.layer1.register_forward_hook(lambda *_: fired.append(lock))
    model.fc.register_forward_pre_hook(_Uncopyable(lock).note)
    model.fc.weight.grad = torch.ones_like(model.fc.weight)
    before = snapshot(model)
    if edge == 2:
        refusal(model, edge)
    else:
        describe(model, edge)
    after = snapshot(model)
    assert after[:-1] == before[:-1]
    assert all(torch.equal(value, after[-1][key]) for key, value in before[-1].items())
    assert fired == []
    assert float(model.fc.weight.grad.sum()) == model.fc.weight.numel()


class _Uncopyable:
    def __init__(self, lock: object) -> None:
        self.lock = lock

    def note(self, *_: object) -> None:
        raise AssertionError("a borrowed hook ran")


def snapshot(model: nn.Module) -> tuple[Any, ...]:
    modules = list(model.modules())
    flags = [module.training for module in modules]
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in modules]
    devices = [str(parameter.device) for parameter in model.parameters()]
    return flags, hooks, devices, copy.deepcopy(dict(model.state_dict()))


class CountsItsPictures(nn.Module):
    """Flattens as many do, which a batch of no pictures would not survive."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4 * 36, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.fc(x.view(x.size(0), -1))


def test_a_foreign_network_that_counts_its_pictures_is_described() -> None:
    assert describe(CountsItsPictures(), 8).output_shape == (2,)


def test_describing_takes_no_memory_for_weights() -> None:
    script = (
        "import resource, torch\nfrom resnet_core.training.hollow import build_hollow\n"
        "from resnet_core.models.describe import describe\n"
        "model = build_hollow('resnet18', num_classes=5, width=512)\n"
        "describe(build_hollow('resnet18', num_classes=5), 64)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\ntable = describe(model, 224)\n"
        "print(table.parameters, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    parameters, kilobytes = map(int, ended.stdout.split())
    assert parameters > 700_000_000
    assert kilobytes < 50_000, "one convolution of it has 600 MB"
