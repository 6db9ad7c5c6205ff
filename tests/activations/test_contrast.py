"""Why A and not B equals an implementation by automatic differentiation, changes sign with the classes, and shows
each side in its own colour; the network is given back as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from resnet_core.activations.color_map import PALETTE
from resnet_core.activations.contrast import (
    AGAINST,
    FOR,
    contrast_layer,
    contrast_map,
    contrast_overlay,
    last_map,
    share_for,
    strongest_place,
)
from resnet_core.activations.gradcam import grad_cam, square_under
from resnet_core.cli import main
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import ConfigError, ModelError
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint


class SmallNet(nn.Module):
    """Two convolutions and a head, written so that its parts can also be called one by one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.relu = nn.ReLU()
        self.second = nn.Conv2d(6, 8, 3, stride=2)
        self.last = nn.Linear(8, 4)

    def rest(self, maps: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(self.relu(maps))).mean(dim=(2, 3)))

    def forward(self, images: Tensor) -> Tensor:
        return self.rest(self.first(images))


def pictures(count: int = 2, edge: int = 20) -> Tensor:
    return torch.randn(count, 3, edge, edge, generator=torch.Generator().manual_seed(1))


def reference(model: SmallNet, image: Tensor, a: int, b: int) -> Tensor:
    """One image [3,H,W], place by place: the mean gradient of logit a − logit b of each channel, times the channel."""
    maps = model.first(image[None]).detach().requires_grad_()
    logits = model.rest(maps)[0]
    of_a = torch.autograd.grad(logits[a], maps, retain_graph=True)[0][0]
    of_b = torch.autograd.grad(logits[b], maps)[0][0]
    signed = torch.zeros(maps.shape[2:])
    for channel in range(maps.shape[1]):
        signed += (of_a[channel].mean() - of_b[channel].mean()) * maps[0, channel].detach()
    return signed / signed.abs().max()


def test_the_map_equals_an_independent_implementation():
    model, images = SmallNet(), pictures()
    for a, b in ((0, 1), (2, 0), (3, 1)):
        found = contrast_map(model, images, "first", a, b)
        for number, image in enumerate(images):
            expected = reference(model, image, a, b)
            torch.testing.assert_close(found[number], expected, atol=1e-5, rtol=0)
            assert expected.min() < -0.05 < 0.05 < expected.max()  # both signs are there to be compared


def test_exchanging_the_classes_exchanges_the_colours():
    model = build_model("resnet18", num_classes=5, width=8)
    images = pictures(2, 64)
    one, other = contrast_map(model, images, "layer3", 1, 4), contrast_map(model, images, "layer3", 4, 1)
    torch.testing.assert_close(one, -other, atol=1e-6, rtol=0)
    assert torch.equal(one.abs().amax(dim=(1, 2)), torch.ones(2))
    assert one.shape == (2, 4, 4)


def test_in_the_last_stage_the_places_add_up_to_the_difference_of_the_logits():
    torch.manual_seed(0)
    model = build_model("resnet18", num_classes=3, width=8).eval()
    images = pictures(1, 96)
    signed = contrast_map(model, images, "layer4", 2, 0)[0].double()
    with torch.no_grad():
        maps = model.forward_features(images)[0].double()
        logits = model(images)[0].double() - model.fc.bias.double()
        weights = (model.fc.weight[2] - model.fc.weight[0]).double()
    raw = (weights[:, None, None] * maps).sum(0)
    torch.testing.assert_close(raw.mean(), logits[2] - logits[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(signed, raw / raw.abs().max(), atol=1e-4, rtol=0)


def test_a_network_that_answers_everything_alike_has_nothing_to_say():
    model = build_model("resnet18", num_classes=3, width=8)
    nn.init.zeros_(model.fc.weight)
    signed = contrast_map(model, pictures(1, 64), "layer3", 0, 2)[0]
    assert not signed.any()
    assert share_for(signed) == 0.5


def state(model: nn.Module) -> list[Any]:
    hooks = [len(v) for module in model.modules() for key, v in vars(module).items() if "_hooks" in key]
    flags = [module.training for module in model.modules()]
    tensors = [value.tolist() for value in model.state_dict().values()]
    gradients = [None if p.grad is None else p.grad.tolist() for p in model.parameters()]
    asked = [parameter.requires_grad for parameter in model.parameters()]
    return [hooks, flags, tensors, gradients, asked, torch.is_grad_enabled()]


@pytest.mark.parametrize("failing", [False, True])
def test_everything_borrowed_is_given_back(failing: bool):
    model = build_model("resnet18", num_classes=5, width=8)
    for number, module in enumerate(model.modules()):
        module.training = number % 3 != 0
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.5) if number % 4 == 0 else None

    def fail(*_: object) -> None:
        if failing:
            raise OSError("unplugged")

    model.layer4.register_forward_pre_hook(fail)
    before = state(model)
    if failing:
        with pytest.raises(OSError, match="unplugged"):
            contrast_map(model, pictures(1, 64), "layer2", 0, 1)
    else:
        contrast_map(model, pictures(1, 64), "layer2", 0, 1)
    assert state(model) == before


def test_what_cannot_be_asked_is_refused_and_changes_nothing():
    model = build_model("resnet18", num_classes=5, width=8)
    before = state(model)
    with pytest.raises(ConfigError, match="two different classes"):
        contrast_map(model, pictures(1, 64), "layer3", 2, 2)
    for a, b in ((5, 0), (0, -1)):
        with pytest.raises(ModelError, match="There is no class"):
            contrast_map(model, pictures(1, 64), "layer3", a, b)
    with pytest.raises(ModelError, match="single place"):
        contrast_map(model, pictures(1, 32), "layer4", 0, 1)
    assert state(model) == before


def test_the_deepest_stage_with_more_than_one_place_is_taken():
    model = build_model("resnet18", num_classes=5, width=8)
    assert last_map(model, pictures(1, 64)) == "layer4"
    assert last_map(model, pictures(3, 32)) == "layer3"
    assert last_map(build_model("resnet20", num_classes=5), pictures(1, 32)) == "layer3"
    with pytest.raises(ModelError, match="no map of places"):
        last_map(SmallNet(), pictures())


@pytest.mark.parametrize(
    ("values", "share"),
    [([[3.0, -1.0]], 0.75), ([[1.0, 2.0]], 1.0), ([[-1.0, 0.0]], 0.0), ([[0.0, 0.0]], 0.5)],
)
def test_the_share_counts_the_weight_above_nought(values: list[list[float]], share: float):
    assert share_for(torch.tensor(values)) == pytest.approx(share)


@pytest.mark.parametrize("shape", [(3, 3), (4, 4), (7, 7), (2, 5), (9, 6)])
def test_the_strongest_place_is_the_ninth_its_middle_lies_in(shape: tuple[int, int]):
    for row in range(shape[0]):
        for column in range(shape[1]):
            values = torch.zeros(shape)
            values[row, column] = 1
            wanted = tuple(int(3 * (at + 0.5) / edge) for at, edge in zip((row, column), shape, strict=True))
            assert strongest_place(values) == wanted


def colored(code: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(code[1:])), dtype=int)


def test_each_side_has_its_colour_and_what_says_nothing_stays_clear():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8))
    signed = torch.zeros(9, 9)
    signed[:, :3], signed[:, 6:] = 1, -1
    bare = np.asarray(photo.convert("L").convert("RGB"), dtype=int)
    shown = np.asarray(contrast_overlay(photo, signed, 1), dtype=int)
    assert np.array_equal(shown[:, :20], np.broadcast_to(colored(FOR), (90, 20, 3)))
    assert np.array_equal(shown[:, 70:], np.broadcast_to(colored(AGAINST), (90, 20, 3)))
    assert np.array_equal(shown[:, 40:50], bare[:, 40:50])
    assert np.array_equal(np.asarray(contrast_overlay(photo, signed, 0)), bare)
    half = np.asarray(contrast_overlay(photo, signed, 0.5), dtype=int)
    assert np.abs(half[:, :20] - (bare[:, :20] + colored(FOR)) / 2).max() <= 1.5


def test_the_layer_alone_is_transparent_where_nothing_is_said():
    layer = np.asarray(contrast_layer(torch.tensor([[1.0, 0.0, -0.5]]), 30, 10))
    assert layer.shape == (10, 30, 4)
    assert layer[5, 2].tolist() == [*colored(FOR).tolist(), 255]
    assert layer[5, 15, 3] <= 13
    assert layer[5, 28, :3].tolist() == colored(AGAINST).tolist()
    assert layer[5, 28, 3] in (127, 128)


def test_broken_maps_are_drawn_and_nonsense_is_refused():
    photo = Image.new("RGB", (20, 20))
    broken = torch.tensor([[float("nan"), float("inf")], [-3.0, 9.0]])
    assert contrast_overlay(photo, broken).size == (20, 20)
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            contrast_overlay(photo, torch.zeros(2, 2), strength)
    with pytest.raises(ModelError, match=r"\[h, w\]"):
        contrast_overlay(photo, torch.zeros(1, 2, 2))


@pytest.mark.parametrize("size", [(400, 300), (90, 200), (50, 50)])
def test_the_picture_under_a_map_is_what_the_network_saw_only_larger(size: tuple[int, int]):
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size[1], size[0])
    image = Image.fromarray(np.stack([ramp, ramp.T.reshape(ramp.shape), 255 - ramp], axis=2).astype(np.uint8))
    preprocessing = Preprocessing(resize=64, crop=56)
    large = square_under(image, preprocessing, 224)
    assert large.size == (224, 224)
    seen = np.asarray(preprocessing.square(image), dtype=float)
    again = np.asarray(large.resize((56, 56), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(seen - again)[2:-2, 2:-2, 0::2].mean() < 6


# The command


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build_model("resnet18", num_classes=3, width=8)
    described = Checkpoint(
        architecture="resnet18",
        architecture_arguments=dict(model.architecture_arguments),
        class_names=("ash", "beech", "oak"),
        preprocessing=Preprocessing(resize=72, crop=64),
    )
    path = tmp_path_factory.mktemp("weights") / "trees.safetensors"
    save_checkpoint(path, described, model.state_dict())
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    noise = np.random.default_rng(2).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "tree.png")
    return tmp_path / "tree.png"


def run(checkpoint: Path, picture: Path, output: Path, *options: str) -> int:
    return main(["gradcam", str(picture), "--checkpoint", str(checkpoint), "--output", str(output), *options])


def test_the_command_writes_the_picture_and_tells_what_it_shows(
    checkpoint: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    import json

    from resnet_core.inference.classifier import Classifier

    target = tmp_path / "out" / "why.png"
    assert run(checkpoint, picture, target, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    classifier = Classifier.load(checkpoint)
    inputs = classifier.checkpoint.preprocessing(Image.open(picture).convert("RGB"))[None]
    answer = classifier.classify(Image.open(picture).convert("RGB")).predictions[0].label
    assert (told["label"], told["against"], told["layer"]) == (answer, None, "layer4")
    expected = grad_cam(classifier.model, inputs, "layer4")[0]
    assert np.allclose(told["map"], expected.numpy(), atol=2e-4)
    with Image.open(target) as written:
        assert (written.format, written.size) == ("PNG", (448, 448))
    assert run(checkpoint, picture, target, "--strength", "1") == 0
    with Image.open(target) as bare:
        assert {tuple(color) for _, color in bare.getcolors(2**20)} <= {tuple(row) for row in PALETTE.tolist()}


def test_the_command_tells_one_class_from_another(
    checkpoint: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "why.jpg"
    options = ("--label", "oak", "--against", "ash", "--layer", "layer3")
    assert run(checkpoint, picture, target, *options) == 0
    assert "why.jpg: orange speaks for oak (" in (said := capsys.readouterr().out)
    assert "blue for ash, at layer3." in said
    with Image.open(target) as written:
        assert written.format == "JPEG"


@pytest.mark.parametrize(
    ("options", "name", "sentence"),
    [
        (("--label", "fir"), "a.png", "no class “fir”; it has ash, beech, oak"),
        (("--label", "oak", "--against", "oak"), "a.png", "two different classes"),
        (("--layer", "layer9"), "a.png", "layer9"),
        (("--layer", "fc"), "a.png", "no map of places"),
        (("--strength", "2"), "a.png", "from 0 to 1"),
        ((), "a.txt", "--output must end in .png"),
    ],
)
def test_what_the_command_cannot_do_is_a_sentence_and_writes_nothing(
    checkpoint: Path,
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    name: str,
    sentence: str,
):
    assert run(checkpoint, picture, tmp_path / name, *options) in (1, 2)
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.out == ""
    assert not (tmp_path / name).exists()
