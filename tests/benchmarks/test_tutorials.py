"""The tutorials' loops do what their texts say, and ours is held against the same network on the same terms."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import train_epoch
from benchmarks.harness import Options
from benchmarks.tutorials import (
    T1,
    T2,
    ArrayPictures,
    TutorialTraining,
    array_pictures,
    flower_folder,
    seconds_of,
    start_t1,
    start_t2,
    t1_sets,
    train_t1_steps,
    training_logits,
)
from resnet_core.data.datasets import load_dataset
from resnet_core.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from resnet_core.models.zoo import build_model

CLASSES = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """35 train and 5 val pictures of flowers, rendered."""
    with flower_folder(Path("nowhere"), per_class=7) as (found, said):
        assert "rendered" in said
        yield found
    assert not found.exists()


class Seen(nn.Module):
    """A linear network on averaged pixels that remembers what it was shown."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.fc = nn.Linear(3, classes)
        self.shown: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.shown.append(images.detach().clone())
        return self.fc(images.mean((2, 3)))


def squares(count: int, *, seed: int = 0) -> ArrayPictures:
    """Plain pictures of 32 px in two classes, dark and bright."""
    draw = np.random.default_rng(seed)
    targets = [index % 2 for index in range(count)]
    pixels = [np.full((32, 32, 3), 60 + 120 * target + draw.integers(20), np.uint8) for target in targets]
    return ArrayPictures(pixels, targets)


def finish(training: TutorialTraining) -> TutorialTraining:
    for _ in training.work():
        pass
    return training


def test_t1_reads_five_classes_in_the_order_of_its_class_map(folder: Path) -> None:
    for pictures in t1_sets(folder):
        assert pictures.classes == CLASSES
        assert pictures.class_to_idx == {name: index for index, name in enumerate(CLASSES)}


def test_t1_cuts_and_flips_training_pictures_and_only_those(folder: Path) -> None:
    train, val = t1_sets(folder)
    names = [type(step).__name__ for step in train.transform.transforms]
    assert names == ["RandomResizedCrop", "RandomHorizontalFlip", "ToTensor", "Normalize"]
    cut, flip = train.transform.transforms[:2]
    assert (tuple(cut.size), tuple(cut.scale), flip.p) == ((224, 224), (0.08, 1.0), 0.5)
    assert not torch.equal(train[0][0], train[0][0])
    assert torch.equal(val[0][0], val[0][0])


def test_t1_judges_pictures_prepared_as_our_own_preprocessing_prepares_them(folder: Path) -> None:
    """Two independent ways to resize to 256, cut 224 and normalise."""
    _, val = t1_sets(folder)
    prepared = Preprocessing(resize=256, crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    for index in (0, 4):
        path, target = val.samples[index]
        theirs, label = val[index]
        assert (label, Path(path).parent.name) == (target, CLASSES[target])
        torch.testing.assert_close(theirs, prepared(Image.open(path).convert("RGB")), atol=1e-5, rtol=0)


def test_t1_sees_every_picture_once_an_epoch_in_batches_of_16_with_the_rest_kept(folder: Path) -> None:
    model = Seen()
    training = start_t1(model, folder)
    for _ in training.train_epoch():
        pass
    assert [len(batch) for batch in model.shown] == [16, 16, 3]
    assert sorted(training.order) == list(range(35))
    assert training.order != sorted(training.order)
    assert len(training.losses) == 3, "T1 shows the loss of every step"
    assert all(batch.dtype == torch.float32 and batch.is_contiguous() for batch in model.shown)


@pytest.mark.parametrize(("lesson", "batch", "rate"), [(T1, 16, 1e-4), (T2, 32, 1e-3)])
def test_a_lesson_has_the_texts_batch_rate_epochs_and_plain_adam(lesson: Any, batch: int, rate: float) -> None:
    training = TutorialTraining(lesson, Seen(2), squares(4), squares(2), seed=0)
    assert (lesson.batch_size, lesson.epochs) == (batch, 3)
    assert type(training.optimizer) is torch.optim.Adam
    settings = training.optimizer.param_groups[0]
    assert (settings["lr"], settings["weight_decay"], settings["fused"]) == (rate, 0, None)


def test_t2_takes_the_same_steps_as_a_loop_written_out() -> None:
    """The oracle is a loop over the same order without loader, data set or class."""
    pictures = squares(70)
    torch.manual_seed(3)
    ours = Seen(2)
    theirs = Seen(2)
    theirs.load_state_dict(ours.state_dict())
    training = start_t2(ours, pictures, squares(10), seed=5)
    for _ in training.train_epoch():
        pass
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)
    for start in (0, 32, 64):
        chosen = training.order[start : start + 32]
        images = torch.stack([torch.from_numpy(pictures.pixels[i]).permute(2, 0, 1) / 255 for i in chosen])
        loss = nn.functional.cross_entropy(theirs(images), torch.tensor([pictures.targets[i] for i in chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(ours.fc.weight, theirs.fc.weight)
    assert training.losses == pytest.approx([loss.item()]), "T2 shows the last loss of an epoch"


def test_t2_feeds_pixels_from_0_to_1_without_normalisation() -> None:
    picture, label = squares(2)[1]
    assert (tuple(picture.shape), label) == ((3, 32, 32), 1)
    assert 180 / 255 <= float(picture.min()) == float(picture.max()) <= 200 / 255


@pytest.mark.parametrize(("as_published", "parameters"), [(True, 9_553_674), (False, 9_817_354)])
def test_t2_trains_its_network_in_both_forms(as_published: bool, parameters: int) -> None:
    torch.manual_seed(0)
    model = build_model("tutorial-cifar", as_published=as_published)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    training = start_t2(model, squares(64), squares(8))
    before = model.fc.weight.clone()
    for _ in training.train_epoch():
        pass
    first = training.losses[-1]
    training.order, training.step = [], 0
    for _ in training.train_epoch():
        pass
    assert not torch.equal(before, model.fc.weight)
    assert training.losses[-1] < first


def test_pictures_of_a_split_are_decoded_with_their_labels(folder: Path) -> None:
    dataset = load_dataset(str(folder), data_dir=folder)
    pictures = array_pictures(dataset.source, dataset.val)
    assert pictures.targets == [0, 1, 2, 3, 4]
    assert tuple(pictures[0][0].shape) == (3, 32, 32)


def test_accuracy_is_the_share_of_right_answers_after_each_of_three_epochs() -> None:
    training = finish(TutorialTraining(T2, Seen(2), squares(64), squares(11), seed=0))
    assert len(training.accuracies) == 3
    images = torch.stack([picture for picture, _ in (squares(11)[index] for index in range(11))])
    right = training.model.eval()(images).argmax(1) == torch.tensor(squares(11).targets)
    assert training.accuracies[-1] == pytest.approx(float(right.double().mean()))


@pytest.mark.parametrize("stop", [1, 3, 7])
def test_a_lesson_taken_up_again_ends_as_if_it_had_never_stopped(stop: int, folder: Path) -> None:
    def begin() -> TutorialTraining:
        torch.manual_seed(1)
        return start_t1(Seen(), folder, seed=2)

    whole, first, second = finish(begin()), begin(), begin()
    pauses = 0
    for may_keep in first.work():
        pauses += may_keep
        if pauses == stop:
            break
    kept = first.state()
    torch.manual_seed(99)
    second.restore(kept)
    finish(second)
    assert second.accuracies == whole.accuracies
    assert second.losses == pytest.approx(whole.losses)
    assert torch.equal(second.model.fc.weight, whole.model.fc.weight)


def test_timed_steps_come_after_the_warm_up_and_too_few_are_an_error(folder: Path) -> None:
    model = Seen()
    assert train_t1_steps(model, folder, 1, warmup=1) > 0
    assert len(model.shown) == 2
    with pytest.raises(ValueError, match="fewer than 4 steps"):
        train_t1_steps(Seen(), folder, 3, warmup=1)
    assert seconds_of(iter(range(9)), 3) > 0


def test_real_photos_are_used_where_the_data_folder_has_them(tmp_path: Path) -> None:
    (tmp_path / "flower_photos" / "train").mkdir(parents=True)
    with flower_folder(tmp_path) as (found, said):
        assert (found, said) == (tmp_path / "flower_photos", "flower photos")
    assert found.exists()


def test_training_logits_leave_a_network_as_it_was() -> None:
    torch.manual_seed(0)
    model = build_model("resnet20", num_classes=3).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = training_logits(model, size=32), training_logits(model, size=32)
    assert first == second
    assert len(first) == 4 * 3
    assert not model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_ours_trains_t1s_network_with_its_batch_cut_optimizer_and_answers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path))
    session = train_epoch.open_session(folder, Options(precision="fp32"))
    batch = next(iter(session.loaders.train.epoch(1)))
    settings = session.learner.optimizer.param_groups
    theirs = train_epoch.starting_weights()
    assert sum(parameter.numel() for parameter in session.model.parameters()) == 21_287_237
    assert tuple(batch.images.shape) == (train_epoch.BATCH, 3, 224, 224) == (16, 3, 224, 224)
    assert session.config.augment == "crop-flip"
    assert (session.loaders.train.policy.area, session.loaders.train.policy.flip) == ((0.08, 1.0), True)
    assert isinstance(session.learner.optimizer, torch.optim.Adam)
    assert not isinstance(session.learner.optimizer, torch.optim.AdamW)
    assert all((group["lr"], group["weight_decay"]) == (1e-4, 0.0) for group in settings)
    session.model.load_state_dict(theirs.state_dict())
    assert training_logits(session.model, size=64) == pytest.approx(training_logits(theirs, size=64), abs=1e-4)


def test_precision_is_left_to_the_machine_unless_the_command_line_asks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("resnet_core.training.session.Session", lambda config, _: asked.append(config.precision))
    for precision in ("auto", "fp32"):
        train_epoch.open_session(folder, Options(precision=precision))
    assert asked == ["auto", "fp32"]


def test_a_side_without_photos_leaves_nothing_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "users"))
    monkeypatch.setattr(train_epoch, "PER_CLASS", 1)
    with train_epoch.training_pictures(Options(data_dir=tmp_path)) as (folder, said):
        assert train_epoch.os.environ["RESNET_LAB_CACHE"] != str(tmp_path / "users")
        assert (folder / "train" / "tulips" / "0000.jpg").is_file()
        assert "rendered" in said
    assert train_epoch.os.environ["RESNET_LAB_CACHE"] == str(tmp_path / "users")
    assert not folder.exists()
