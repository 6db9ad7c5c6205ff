"""What excites a channel: against a naive pass over the pictures, their pixels, and what ablating really does."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnet_core.activations import picture_sample
from resnet_core.activations.ablation import ablate, ablated_accuracy, ablating
from resnet_core.activations.capture import capture_activations
from resnet_core.activations.channel_scan import BATCH, ChannelScan, ScanStopped, _Tally, scan_channels
from resnet_core.activations.detective import PADDING, investigate, patch_sheet
from resnet_core.activations.picture_sample import PictureSample, load_sample, own_pictures
from resnet_core.activations.through_epochs import layer_through_epochs
from resnet_core.data.datasets import rendered_flowers
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import DatasetError, ModelError, RunError
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
PREPROCESSING = Preprocessing(resize=52, crop=48)
LAYERS = ("layer1", "layer2.0.bn1", "layer3.1.conv1")


def lively(name: str = "resnet18", **arguments: Any) -> nn.Module:
    """A small network whose batch norms look trained, so that channels differ."""
    torch.manual_seed(0)
    model = build_model(name, **{"num_classes": 5, "width": 8, **arguments})
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return model


def make_classifier(*, flip_average: bool = False, **training: Any) -> Classifier:
    checkpoint = Checkpoint(
        architecture="resnet18",
        architecture_arguments={"num_classes": 5, "width": 8},
        class_names=FLOWERS,
        preprocessing=PREPROCESSING,
        temperature=0.7,
        flip_average=flip_average,
        training=training,
    )
    return Classifier(checkpoint, lively(), engine="plain")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> PictureSample:
    """20 pictures, so that the last batch is not a full one."""
    flowers = rendered_flowers(train=1, val=4, size=52)
    return load_sample(flowers, "val", PREPROCESSING, root=tmp_path_factory.mktemp("pixels"))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return lively()


@pytest.fixture(scope="module")
def scans(model: nn.Module, sample: PictureSample) -> dict[str, ChannelScan]:
    return {layer: scan_channels(model, sample, layer) for layer in (*LAYERS, "avgpool", "fc")}


# The scan


@pytest.mark.parametrize("layer", [*LAYERS, "fc"])
def test_the_strongest_pictures_and_the_sums_are_those_of_a_naive_pass(
    model: nn.Module, sample: PictureSample, scans: dict[str, ChannelScan], layer: str
) -> None:
    assert len(sample) % BATCH
    scan = scans[layer]
    maps = torch.stack(
        [capture_activations(model, sample.inputs([index]), [layer])[layer][0] for index in range(len(sample))]
    )
    flat = maps.flatten(2) if maps.ndim == 4 else maps[..., None]
    for channel in (0, 3, flat.shape[1] - 1):
        strongest = [float(flat[index, channel].max()) for index in range(len(sample))]
        order = sorted(range(len(sample)), key=lambda index: -strongest[index])
        kept = scan.pictures[channel].tolist()
        assert [round(strongest[index], 4) for index in kept] == [round(strongest[i], 4) for i in order[: len(kept)]]
        assert len(set(kept)) == len(kept) == 9
        for index, place in zip(kept, scan.places[channel].tolist(), strict=True):
            assert float(flat[index, channel, place]) == pytest.approx(strongest[index], abs=1e-5)
        for class_index in range(5):
            mine = flat[sample.targets == class_index, channel].double()
            assert float(scan.class_sums[class_index, channel]) == pytest.approx(float(mine.mean(1).sum()), abs=1e-4)
        assert scan.mean(channel) == pytest.approx(float(flat[:, channel].double().mean()), abs=1e-5)
        assert float(scan.lowest[channel]) == pytest.approx(float(flat[:, channel].min()), abs=1e-5)
    assert scan.count == 20
    assert scan.class_counts.tolist() == [4] * 5


def test_of_equals_the_earlier_picture_wins_and_a_picture_counts_once() -> None:
    tally = _Tally("layer", 40, 1)
    for _ in range(5):
        tally.add(torch.ones(8, 2, 3, 3), torch.zeros(8, dtype=torch.int64))
    scan = tally.result()
    assert scan.pictures.tolist() == [list(range(9))] * 2
    assert scan.places.tolist() == [[0] * 9] * 2
    assert scan.silent(0)


def test_memory_does_not_grow_with_the_pictures() -> None:
    tally = _Tally("layer", 5000, 3)
    for start in range(0, 5000, 500):
        values = torch.arange(start, start + 500).float().view(-1, 1, 1, 1).expand(-1, 4, 2, 2)
        tally.add(values, torch.zeros(500, dtype=torch.int64))
    scan = tally.result()
    assert scan.tops.shape == (4, 100)
    assert scan.tops[0].tolist() == list(range(4999, 4899, -1))


def test_numbers_that_are_none_do_not_win() -> None:
    tally = _Tally("layer", 9, 1)
    activation = torch.rand(9, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    activation[4] = math.nan
    activation[5, 0, 0, 0] = math.nan
    tally.add(activation, torch.zeros(9, dtype=torch.int64))
    pictures = tally.result().pictures[0].tolist()
    assert pictures[-1] == 4
    assert 5 in pictures[:8]


def test_a_scan_tells_how_far_it_is_takes_turns_and_can_be_stopped(model: nn.Module, sample: PictureSample) -> None:
    heard: list[tuple[int, int]] = []
    turns: list[int] = []

    def in_turn(work: Callable[[], Tensor]) -> Tensor:
        turns.append(1)
        return work()

    scan_channels(model, sample, "layer1", progress=lambda *now: heard.append(now), in_turn=in_turn)
    assert heard == [(8, 20), (16, 20), (20, 20)]
    assert len(turns) == 3
    with pytest.raises(ScanStopped, match="after 8 of 20 pictures"):
        scan_channels(model, sample, "layer1", progress=lambda *now: heard.append(now), stopped=lambda: len(heard) > 3)
    with pytest.raises(ModelError, match="did you mean"):
        scan_channels(model, sample, "layer9")


# The case of a channel


@pytest.mark.parametrize("layer", LAYERS)
def test_what_lies_outside_a_patch_cannot_change_what_the_channel_answered(
    model: nn.Module, sample: PictureSample, scans: dict[str, ChannelScan], layer: str
) -> None:
    case = investigate(model, scans[layer], sample, 2)
    noise = torch.Generator().manual_seed(3)
    for patch in case.patches[:3]:
        inputs = sample.inputs([patch.picture])
        left, top, right, bottom = patch.box
        other = torch.randn(inputs.shape, generator=noise) * 3
        other[..., top:bottom, left:right] = inputs[..., top:bottom, left:right]
        row, column = patch.place
        now = capture_activations(model, other, [layer])[layer][0, 2, row, column]
        assert float(now) == pytest.approx(patch.value, abs=1e-4)


def test_patches_are_the_pictures_pixels_grey_beyond_the_border() -> None:
    model = lively()
    flowers = rendered_flowers(train=1, val=4, size=52)
    sample = load_sample(flowers, "val", PREPROCESSING)
    scan = scan_channels(model, sample, "conv1")  # 7×7, stride 2, padding 3
    seen = 0
    for channel in range(8):
        for patch in investigate(model, scan, sample, channel).patches:
            padded = np.full((48 + 14, 48 + 14, 3), PADDING, dtype=np.uint8)
            padded[7:-7, 7:-7] = sample.square(patch.picture).permute(1, 2, 0).numpy()
            top, left = (7 - 3 + 2 * place for place in patch.place)
            assert np.array_equal(np.asarray(patch.image), padded[top : top + 7, left : left + 7])
            seen += 0 in patch.place
    assert seen, "no patch touches the border, so this proves less than it says"


def test_shares_of_classes_add_up_and_the_most_excited_comes_first(
    model: nn.Module, sample: PictureSample, scans: dict[str, ChannelScan]
) -> None:
    scan = scans["layer1"]
    case = investigate(model, scan, sample, 5)
    assert case.tops == 9
    assert sum(row.of_tops for row in case.classes) == pytest.approx(1)
    assert {row.of_all for row in case.classes} == {0.2}
    shares = [row.of_tops for row in case.classes]
    assert shares == sorted(shares, reverse=True)
    labels = [FLOWERS[int(sample.targets[index])] for index in scan.pictures[5].tolist()]
    assert case.classes[0].of_tops == labels.count(case.classes[0].label) / 9
    assert [patch.label for patch in case.patches] == labels
    assert case.classes[0].mean == pytest.approx(float(scan.class_sums[case.classes[0].class_index, 5]) / 4)


def test_a_layer_without_places_shows_whole_pictures(
    model: nn.Module, sample: PictureSample, scans: dict[str, ChannelScan]
) -> None:
    for layer in ("fc", "avgpool"):
        case = investigate(model, scans[layer], sample, 1)
        assert case.patches[0].image.size == (48, 48)
        assert case.patches[0].box == (0, 0, 48, 48)
    assert patch_sheet(case.patches, tile=32).size == (9 * 32, 32)


def test_a_silent_channel_has_no_patches_and_one_the_layer_lacks_is_a_sentence(sample: PictureSample) -> None:
    model = lively()
    model.bn1.weight.data[3] = 0
    model.bn1.bias.data[3] = -1
    scan = scan_channels(model, sample, "relu")
    case = investigate(model, scan, sample, 3)
    assert case.silent
    assert case.patches == ()
    assert case.classes == ()
    assert not investigate(model, scan, sample, 2).silent
    for channel in (-1, 8):
        with pytest.raises(ModelError, match=r"channels 0 to 7\."):
            investigate(model, scan, sample, channel)


def test_pictures_that_do_not_excite_a_channel_are_neither_shown_nor_counted(sample: PictureSample) -> None:
    activation = torch.zeros(20, 2, 12, 12)  # zeros of a ReLU: of equals the first class's pictures would win
    activation[7, 0, 1, 2], activation[18, 0, 3, 4] = 1.0, 2.0
    activation[:, 1] = -1.0
    activation[13, 1, 0, 0] = math.nan
    activation[3, 1, 0, 0] = 4.0
    tally = _Tally("layer1", 20, 5)
    tally.add(activation, sample.targets)
    case = investigate(lively(), tally.result(), sample, 0)
    assert [patch.picture for patch in case.patches] == [18, 7]
    assert case.tops == 2
    shares = {row.class_index: row.of_tops for row in case.classes if row.of_tops}
    assert shares == {int(sample.targets[18]): 0.5, int(sample.targets[7]): 0.5}
    assert 3 in [patch.picture for patch in investigate(lively(), tally.result(), sample, 1).patches][:1]


# Which pictures


def test_the_same_seed_chooses_the_same_pictures_by_either_road(monkeypatch: pytest.MonkeyPatch) -> None:
    flowers = rendered_flowers(train=1, val=6, size=52)

    def chosen(seed: int = 0, most: int = 7) -> list[int]:
        found = load_sample(flowers, "val", PREPROCESSING, most=most, seed=seed)
        return [int(found.square(index).long().sum()) for index in range(len(found))]

    first = chosen()
    assert len(first) == 7
    assert chosen() == first
    assert chosen(seed=1) != first
    assert len(chosen(most=1000)) == 30
    monkeypatch.setattr(picture_sample, "WHOLE_SPLIT", 10)  # now only the chosen ones are decoded
    assert chosen() == first


def test_squares_and_inputs_are_what_the_preprocessing_makes(sample: PictureSample) -> None:
    flowers = rendered_flowers(train=1, val=4, size=52)
    for index in (0, 7, 19):
        image = flowers.source.load(flowers.val[index].path)
        assert torch.equal(sample.inputs([index])[0], PREPROCESSING(image))
        assert int(sample.targets[index]) == flowers.val[index].class_index


def test_pictures_that_are_not_here_are_a_sentence_with_a_cure(tmp_path: Path) -> None:
    def asked(dataset: str, **options: Any) -> str:
        training = {"config": {"dataset": dataset}} if dataset else {}
        with pytest.raises(DatasetError) as raised:
            own_pictures(make_classifier(**training).checkpoint, tmp_path, **options)
        assert str(tmp_path) not in str(raised.value)
        assert "rendered flowers" in str(raised.value)
        return str(raised.value)

    assert "datasets get cifar10" in asked("cifar10")
    assert "put them back" in asked("/nowhere/meadow")
    assert "/nowhere" not in asked("/nowhere/meadow")
    assert "does not say" in asked("")
    assert "only to people at this machine" in asked("/nowhere/meadow", allow_paths=False)
    rendered = make_classifier(config={"dataset": "rendered-flowers"}).checkpoint
    assert own_pictures(rendered, tmp_path).name == "rendered-flowers"


# Ablation


def naive(classifier: Classifier, inputs: Tensor, layer: str, channel: int, number: float) -> Tensor:
    """Probabilities by a hook of one's own."""

    def replace(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        mask = torch.zeros_like(output)
        mask[:, channel] = 1
        return output * (1 - mask) + number * mask

    handle = classifier.model.get_submodule(layer).register_forward_hook(replace)
    with torch.no_grad():
        logits = classifier.model(inputs)
        if classifier.checkpoint.flip_average:
            logits = (logits + classifier.model(inputs.flip(-1))) / 2
    handle.remove()
    return torch.softmax(logits / 0.7, dim=1)


@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize("layer", [*LAYERS, "layer2", "avgpool", "layer2.0.downsample"])
def test_a_photo_without_a_channel_is_answered_as_with_a_hook_of_ones_own(
    sample: PictureSample, layer: str, flip_average: bool
) -> None:
    classifier = make_classifier(flip_average=flip_average)
    inputs = sample.inputs([3])
    for number in (0.0, 0.4):
        found = ablate(classifier, inputs, layer, 2, number)
        torch.testing.assert_close(found.before, classifier.judge(inputs).probabilities[0], atol=1e-5, rtol=0)
        expected = naive(classifier, inputs, layer, 2, number)[0]
        torch.testing.assert_close(found.after, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(found.before, found.after, atol=1e-6)


def test_accuracy_without_a_channel_counts_the_same_pictures_twice(sample: PictureSample) -> None:
    classifier = make_classifier()
    inputs = sample.inputs(range(20))
    right = classifier.judge(inputs).probabilities.argmax(1) == sample.targets
    without = naive(classifier, inputs, "layer1", 1, 0.0).argmax(1) == sample.targets
    heard: list[tuple[int, int]] = []
    found = ablated_accuracy(classifier, sample, "layer1", 1, progress=lambda *now: heard.append(now))
    assert (found.before, found.after, found.count) == (
        float(right.double().mean()),
        float(without.double().mean()),
        20,
    )
    assert heard[-1] == (20, 20)


def test_other_classes_cannot_be_right_or_wrong(sample: PictureSample) -> None:
    classifier = make_classifier()
    object.__setattr__(classifier.checkpoint, "class_names", ("a", "b", "c", "d", "e"))
    with pytest.raises(DatasetError, match="other classes"):
        ablated_accuracy(classifier, sample, "layer1", 1)


def test_ablating_gives_everything_back_also_after_an_error() -> None:
    model = lively()
    for number, module in enumerate(model.modules()):
        module.training = number % 3 != 0
    before = [(module.training, len(module._forward_hooks)) for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.randn(1, 3, 48, 48)
    for channel, error in ((0, None), (8, ModelError), (-1, ModelError)):
        with ablating(model, "layer1", {channel: 0.0}):
            if error:
                with pytest.raises(error, match="channels 0 to 7"):
                    model(images)
            else:
                model(images)
        assert [(module.training, len(module._forward_hooks)) for module in model.modules()] == before
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


# Through the epochs


class KeptRun:
    """A run that kept some epochs, as `Run` tells them."""

    run_id = "run"

    def __init__(self, folder: Path, epochs: tuple[int, ...]) -> None:
        self._folder, self._epochs = folder, epochs

    def kept_epochs(self) -> tuple[int, ...]:
        return self._epochs

    def kept_checkpoint(self, epoch: int) -> Path:
        return self._folder / f"{epoch}.safetensors"


def test_a_photo_is_shown_as_each_kept_epoch_saw_it(tmp_path: Path, sample: PictureSample) -> None:
    epochs, image = (1, 2, 5, 9), rendered_flowers(train=1, val=1, size=60)
    photo = image.source.load(image.val[0].path)
    networks = {}
    for epoch in epochs:
        classifier = make_classifier()
        for parameter in classifier.model.parameters():
            parameter.data.mul_(1 + 0.01 * epoch)
        networks[epoch] = classifier.model
        save_checkpoint(tmp_path / f"{epoch}.safetensors", classifier.checkpoint, classifier.model.state_dict())
    run: Any = KeptRun(tmp_path, epochs)
    looks = layer_through_epochs(run, photo, "layer2")
    assert [look.epoch for look in looks] == [1, 2, 5, 9]
    for look in looks:
        expected = capture_activations(networks[look.epoch], PREPROCESSING(photo)[None], ["layer2"])["layer2"][0]
        torch.testing.assert_close(look.activation, expected, atol=1e-4, rtol=1e-4)
    assert [look.epoch for look in layer_through_epochs(run, photo, "layer2", most=2)] == [1, 9]
    nothing: Any = KeptRun(tmp_path, ())
    with pytest.raises(RunError, match="kept no epochs"):
        layer_through_epochs(nothing, photo, "layer2")
