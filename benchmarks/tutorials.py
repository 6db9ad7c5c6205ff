"""The two tutorials' trainings, as their texts have them: what ours is held against.

T1   ResNet-34 on five kinds of flowers: 224 px, random cut and flip, batch 16, Adam 1e-4, 3 epochs
T2   a small ResNet on CIFAR-10: 32 px, no normalisation, batch 32, Adam 1e-3

Both decode or convert each picture in the main process whenever it is asked for, train in float32 in the plain memory
format with the optimizer's plain constructor on `cuda:0` if there is one, and judge the network after every epoch.
Nothing here is tuned; `workers` is for the one comparison that grants T1 some.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from resnet_core.data.rendered import CLASS_NAMES, render_flower
from resnet_core.data.sources import PictureSource
from resnet_core.device import import_torchvision

Pictures = Any  # a torchvision data set or `ArrayPictures`: an index gives a tensor and a label
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What one of the texts fixes."""

    name: str
    batch_size: int
    learning_rate: float
    loss_every_step: bool  # T1 shows the loss of every step, T2 that of an epoch's last
    shuffled_val: bool  # T2 shuffles its test pictures too
    epochs: int = 3


T1 = Lesson(name="T1", batch_size=16, learning_rate=1e-4, loss_every_step=True, shuffled_val=False)
T2 = Lesson(name="T2", batch_size=32, learning_rate=1e-3, loss_every_step=False, shuffled_val=True)


class TutorialTraining:
    """A lesson in progress. `work` goes through it bit by bit, so that a long one can rest and be taken up again."""

    def __init__(
        self, lesson: Lesson, model: nn.Module, train: Pictures, val: Pictures, *, seed: int, workers: int = 0
    ) -> None:
        self.device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
        self.lesson, self.model, self.train, self.val = lesson, model.to(self.device), train, val
        self.workers = workers
        torch.manual_seed(seed)  # the texts draw the order and the cuts from the global generator
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lesson.learning_rate)
        self.criterion = nn.CrossEntropyLoss()
        self.order: list[int] = []  # of the epoch under way
        self.step = 0  # steps done in it
        self.accuracies: list[float] = []  # one for each epoch that has ended
        self.losses: list[float] = []

    def work(self) -> Iterator[bool]:
        """Goes on to the end of the last epoch, pausing after each batch; true where `state` could be kept."""
        while len(self.accuracies) < self.lesson.epochs:
            for _ in self.train_epoch():
                yield True
            correct = 0
            for hits in self.judge():
                correct += hits
                yield False
            self.accuracies.append(correct / len(self.val))
            self.order, self.step = [], 0
            yield True

    def train_epoch(self) -> Iterator[None]:
        """The rest of the current epoch, a pause after every step."""
        if not self.order:
            self.order = torch.randperm(len(self.train)).tolist()
        rest = self.order[self.step * self.lesson.batch_size :]
        self.model.train()
        loss = None
        batches = DataLoader(
            self.train,
            batch_size=self.lesson.batch_size,
            sampler=rest,
            num_workers=self.workers,
            generator=torch.Generator(),  # its own, so that taking a training up again draws nothing more
        )
        for images, labels in batches:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images.to(self.device)), labels.to(self.device))
            loss.backward()
            self.optimizer.step()
            if self.lesson.loss_every_step:
                self.losses.append(loss.item())
            self.step += 1
            yield
        if loss is not None and not self.lesson.loss_every_step:
            self.losses.append(loss.item())

    def judge(self) -> Iterator[int]:
        """Right answers on the val pictures, batch by batch."""
        self.model.eval()
        batches = DataLoader(self.val, batch_size=self.lesson.batch_size, shuffle=self.lesson.shuffled_val)
        for images, labels in batches:
            with torch.no_grad():
                answers = self.model(images.to(self.device)).argmax(dim=1)
            yield int((answers == labels.to(self.device)).sum())

    def state(self) -> dict[str, Any]:
        """Everything needed to go on from exactly here."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "progress": [self.order, self.step, self.accuracies, self.losses],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        self.order, self.step, self.accuracies, self.losses = state["progress"]


def start_t1(model: nn.Module, folder: Path, *, seed: int = 0, workers: int = 0) -> TutorialTraining:
    """T1's training of `model` on `folder/{train,val}/<class>/*.jpg`."""
    train, val = t1_sets(folder)
    return TutorialTraining(T1, model, train, val, seed=seed, workers=workers)


def train_t1_steps(model: nn.Module, folder: Path, steps: int, *, warmup: int = 1, workers: int = 0) -> float:
    """Seconds that `steps` steps of T1's loop take, after `warmup` others; decoding included, as in the text."""
    training = start_t1(model, folder, workers=workers)
    return seconds_of(training.train_epoch(), steps, warmup=warmup)


def seconds_of(steps: Iterator[Any], count: int, *, warmup: int = 1) -> float:
    """Seconds of `count` steps after `warmup` others. Raises ValueError where there are not that many."""
    try:
        for _ in range(warmup):
            next(steps)
        wait_for_gpu()
        started = time.perf_counter()
        for _ in range(count):
            next(steps)
        wait_for_gpu()
    except StopIteration:
        raise ValueError(f"an epoch of this folder has fewer than {warmup + count} steps") from None
    return time.perf_counter() - started


def wait_for_gpu() -> None:
    """Lets a GPU finish what it was given, so that a clock read next tells the truth."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def training_logits(model: nn.Module, *, size: int = 224) -> list[float]:
    """The logits of four fixed pictures of noise, computed as a training step computes them: BatchNorm by the batch,
    gradients on, no reduced precision. The model is left as it was.

    A network that has not learned yet only gives numbers of a sensible size this way: with its initial running
    statistics they would grow with every block.
    """
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    was_training, place = model.training, next(model.parameters()).device
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    exact = torch.float64 if place.type == "cuda" else torch.float32  # a GPU's float32 convolutions may be TF32
    model.train().to(exact)
    logits = model(images.to(place, exact))
    answers = [float(number) for number in logits.detach().cpu().flatten()]
    model.to(torch.float32).load_state_dict(before)
    model.train(was_training)
    return answers


def t1_sets(folder: Path) -> tuple[Pictures, Pictures]:
    """T1's train and val pictures, each decoded when it is asked for."""
    torchvision = import_torchvision()
    from torchvision import transforms as steps

    tail = [steps.ToTensor(), steps.Normalize(MEAN, STD)]
    train = steps.Compose([steps.RandomResizedCrop(224), steps.RandomHorizontalFlip(), *tail])
    val = steps.Compose([steps.Resize(256), steps.CenterCrop(224), *tail])
    read = torchvision.datasets.ImageFolder
    return read(str(folder / "train"), transform=train), read(str(folder / "val"), transform=val)


class ArrayPictures:
    """CIFAR's pictures as torchvision's own data set holds them: pixels in memory, a PIL picture made for each call."""

    def __init__(self, pixels: Sequence[Any], targets: Sequence[int]) -> None:
        from torchvision import transforms as steps

        self.pixels, self.targets = pixels, list(targets)
        self.prepare = steps.Compose([steps.Resize((32, 32)), steps.ToTensor()])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.prepare(Image.fromarray(self.pixels[index])), self.targets[index]


def start_t2(model: nn.Module, train: Pictures, val: Pictures, *, seed: int = 0) -> TutorialTraining:
    """T2's training of `model` on pictures of 32 px."""
    return TutorialTraining(T2, model, train, val, seed=seed)


def array_pictures(source: PictureSource, pictures: Sequence[Any]) -> ArrayPictures:
    """The pictures of a split, decoded once; T2's own files need no decoding, so this is not counted against it."""
    import numpy as np

    pixels = [np.asarray(source.load(picture.path)) for picture in pictures]
    return ArrayPictures(pixels, [picture.class_index for picture in pictures])


@contextmanager
def flower_folder(data_dir: Path, *, per_class: int = 40) -> Iterator[tuple[Path, str]]:
    """The folder of flower photos in `data_dir`, or else of rendered flowers, kept while in use; and what it is."""
    photos = data_dir / "flower_photos"
    if (photos / "train").is_dir():
        yield photos, "flower photos"
        return
    with tempfile.TemporaryDirectory() as kept:
        for split, numbers in (("train", range(per_class)), ("val", range(per_class, per_class + per_class // 4))):
            for class_name in CLASS_NAMES:
                folder = Path(kept, split, class_name)
                folder.mkdir(parents=True)
                for number in numbers:
                    picture = render_flower(class_name, number, size=224)
                    picture.save(folder / f"{number:04}.jpg", quality=90)
        yield Path(kept), "rendered flowers, since the data folder holds no flower photos"
