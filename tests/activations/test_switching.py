"""What is left of a network without some branches or skips, held against torchvision's network with the same cut."""

import copy
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from test_residual import trained_looking
from torch import nn

from resnet_core.activations.residual import block_shares, list_blocks, switching_off
from resnet_core.activations.switching import (
    PrivateCopies,
    compare_accuracy,
    compare_answers,
    private_copy,
    switches,
    val_sample,
)
from resnet_core.data.datasets import DatasetSpec, rendered_flowers
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import DatasetError, ImageError, ModelError
from resnet_core.inference.classifier import Classifier
from resnet_core.training.checkpoint import Checkpoint

FLOWERS = ("daisy", "dandelion", "roses", "sunflowers", "tulips")


def made(name: str = "resnet18", class_names: tuple[str, ...] = FLOWERS, **training: object) -> Classifier:
    """A classifier over a network with statistics of its own."""
    arguments = {"width": 16} if name == "resnet18" else {}
    checkpoint = Checkpoint(
        architecture=name,
        architecture_arguments={"num_classes": len(class_names), **arguments},
        class_names=class_names,
        preprocessing=Preprocessing(resize=32, crop=32),
        temperature=2.0,
        training=dict(training),
    )
    return Classifier(checkpoint, trained_looking(name, **arguments))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    noise = torch.randint(0, 256, (40, 52, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    return Image.fromarray(noise.numpy())


@pytest.fixture
def reference() -> nn.Module:
    """torchvision's ResNet-18 with random weights and statistics."""
    torch.manual_seed(4)
    model = torchvision.models.resnet18(weights=None, num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def with_weights_of(reference: nn.Module) -> nn.Module:
    from resnet_core.models.zoo import build_model

    ours = build_model("resnet18", num_classes=5).eval()
    ours.load_state_dict(reference.state_dict())
    return ours


def test_without_branches_it_is_torchvisions_network_whose_last_norms_are_silent(reference: nn.Module) -> None:
    ours, images = with_weights_of(reference), torch.randn(2, 3, 64, 64)
    off = {"layer1.1": "branch", "layer3.0": "branch", "layer4.1": "branch"}
    for name in off:
        nn.init.zeros_(reference.get_submodule(name).bn2.weight)
        nn.init.zeros_(reference.get_submodule(name).bn2.bias)
    with torch.no_grad():
        with switching_off(ours, off):  # type: ignore[arg-type]
            cut = ours(images)
        assert torch.allclose(cut, reference(images), atol=1e-5)
        assert not torch.allclose(ours(images), reference(images), atol=1e-2)


def test_without_skips_it_is_torchvisions_network_with_the_sum_taken_away(reference: nn.Module) -> None:
    ours, images = with_weights_of(reference), torch.randn(2, 3, 64, 64)
    nn.init.zeros_(reference.layer2[0].downsample[1].weight)
    nn.init.zeros_(reference.layer2[0].downsample[1].bias)
    with torch.no_grad(), switching_off(ours, {"layer2.0": "skip"}):
        assert torch.allclose(ours(images), reference(images), atol=1e-5)


def test_shares_are_those_of_hooks_on_torchvisions_network(reference: nn.Module) -> None:
    ours, images = with_weights_of(reference), torch.randn(3, 3, 64, 64)
    seen: dict[str, torch.Tensor] = {}
    for name in list_blocks(ours):
        block = reference.get_submodule(name)
        block.register_forward_pre_hook(lambda _m, inputs, key=name: seen.update({f"{key}.x": inputs[0].clone()}))
        block.bn2.register_forward_hook(lambda _m, _i, out, key=name: seen.update({f"{key}.F": out.clone()}))
        if block.downsample is not None:
            block.downsample.register_forward_hook(lambda _m, _i, out, key=name: seen.update({f"{key}.x": out.clone()}))
    with torch.no_grad():
        reference(images)
    for share in block_shares(ours, images):
        norms = [seen[f"{share.name}.{part}"].flatten(1).norm(dim=1).mean() for part in ("F", "x")]
        assert share.ratio == pytest.approx(float(norms[0] / norms[1]), rel=1e-4)


def test_answers_before_are_the_classifiers_and_after_those_of_what_is_left(photo: Image.Image) -> None:
    classifier = made()
    twin = private_copy(classifier)
    off = switches(["layer2.1"], ["layer3.0"])
    switched = compare_answers(twin, photo, off)
    expected = {each.label: each.probability for each in classifier.classify(photo).predictions}
    assert {each.label: each.probability for each in switched.before.predictions} == pytest.approx(expected, abs=1e-6)
    with torch.no_grad(), switching_off(twin.model, off):
        logits = twin.model(twin.checkpoint.preprocessing(photo)[None])
    wanted = dict(zip(FLOWERS, torch.softmax(logits[0] / 2, 0).tolist(), strict=True))
    assert {each.label: each.probability for each in switched.after.predictions} == pytest.approx(wanted, abs=1e-5)
    assert wanted != pytest.approx(expected, abs=1e-3)


def test_the_model_itself_never_notices(photo: Image.Image) -> None:
    classifier = made()
    before = copy.deepcopy(classifier.model.state_dict())
    twin = private_copy(classifier)
    assert {id(each) for each in twin.model.parameters()}.isdisjoint(map(id, classifier.model.parameters()))
    compare_answers(twin, photo, {"layer1.0": "skip"})
    with pytest.raises(ModelError):
        compare_answers(twin, photo, {"conv1": "skip"})
    for network in (classifier.model, twin.model):
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        assert all(getattr(module, "off", None) is None and not module.training for module in network.modules())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_block_cannot_lose_both() -> None:
    with pytest.raises(ModelError, match=r"layer2\.0 would lose both"):
        switches(["layer1.0", "layer2.0"], ["layer2.0"])
    assert switches(["a"], ["b"]) == {"a": "branch", "b": "skip"}


def test_copies_are_made_once_and_few_are_kept() -> None:
    copies, classifiers = PrivateCopies(limit=2), [made("resnet20") for _ in range(3)]
    first = copies.of(classifiers[0])
    assert copies.of(classifiers[0]) is first
    copies.of(classifiers[1])
    assert copies.of(classifiers[0]) is first
    copies.of(classifiers[2])
    assert copies.of(classifiers[0]) is first
    assert len(copies._kept) == 2


# Accuracy


class Colours:
    """Pictures of one colour each; the second one cannot be read."""

    def load(self, path: str, *, draft_size: int | None = None) -> Image.Image:
        if path.endswith("/1"):
            raise ImageError("This one is torn.")
        return Image.new("RGB", (32, 32), (17 * len(path) % 256, 5 * int(path.rpartition("/")[2]) % 256, 90))


def colours(count: int) -> DatasetSpec:
    flowers = rendered_flowers(train=1, val=count // 5)
    return DatasetSpec(
        name="colours", class_names=FLOWERS, train=flowers.train, val=flowers.val, source=Colours(), fingerprint="c"
    )


def sample_of(dataset: DatasetSpec):
    from resnet_core.activations.switching import ValSample

    return ValSample(dataset=dataset, pictures=dataset.val, stand_in=False)


def test_the_count_is_that_of_one_picture_after_another() -> None:
    twin, dataset = private_copy(made()), colours(35)
    off = switches(["layer1.0"], ["layer4.1"])
    steps = list(compare_accuracy(twin, sample_of(dataset), off))
    before = after = 0
    readable = [each for each in dataset.val if not each.path.endswith("/1")]
    for picture in readable:
        switched = compare_answers(twin, Colours().load(picture.path), off)
        before += switched.before.predictions[0].label == FLOWERS[picture.class_index]
        after += switched.after.predictions[0].label == FLOWERS[picture.class_index]
    last = steps[-1]
    assert (last.before, last.after) == (before, after)
    assert last.done == last.total == len(readable) == 30
    assert [step.done for step in steps] == sorted({step.done for step in steps})


def test_whoever_stops_asking_stops_the_work() -> None:
    asked: list[int] = []

    def in_turn(work):
        asked.append(1)
        return work()

    twin = private_copy(made())
    steps = compare_accuracy(twin, sample_of(colours(50)), {"layer1.0": "branch"}, in_turn=in_turn)
    next(steps)
    steps.close()
    assert len(asked) == 1
    assert all(getattr(module, "off", None) is None for module in twin.model.modules())


def test_rendered_flowers_stand_in_for_photos_that_are_not_here(tmp_path: Path) -> None:
    sample = val_sample(made(config={"dataset": "flower_photos"}), tmp_path)
    assert sample.stand_in
    assert len(sample.pictures) == 200
    assert [sum(each.class_index == index for each in sample.pictures) for index in range(5)] == [40] * 5
    few = val_sample(made(config={"dataset": "rendered-flowers"}), tmp_path, count=10)
    assert not few.stand_in
    assert [each.class_index for each in few.pictures] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_other_classes_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not on this machine"):
        val_sample(made(class_names=("a", "b", "c", "d", "e")), tmp_path)
    other = made(class_names=("a", "b", "c", "d", "e"), config={"dataset": "rendered-flowers"})
    with pytest.raises(DatasetError, match="other classes"):
        val_sample(other, tmp_path)
