"""The training loops of other libraries, each in its own manner: what `train-peers` measures."""

import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

BATCH, LEARNING_RATE = 16, 1e-4


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a peer trains with: the network as starting point, the pictures and the settings that are best here."""

    model: "nn.Module"
    folder: Path
    device: "torch.device"
    memory_format: "torch.memory_format"
    bf16: bool
    workers: int


class Clock:
    """The moments at which steps ended; a training stops when it has as many as wanted."""

    def __init__(self, warmup: int, wanted: int) -> None:
        self.warmup, self.wanted = warmup, wanted
        self.ends: list[float] = []

    def step_ended(self) -> bool:
        """Notes a step and says whether it was the last. A GPU is waited for only where the clock counts."""
        from benchmarks.tutorials import wait_for_gpu

        if len(self.ends) + 1 in (self.warmup, self.wanted):
            wait_for_gpu()
        self.ends.append(time.perf_counter())
        return len(self.ends) >= self.wanted

    def rate(self) -> float:
        """Images a second from the end of the warm-up to that of the last step."""
        return BATCH * (self.wanted - self.warmup) / (self.ends[self.wanted - 1] - self.ends[self.warmup - 1])


def train_fastai(terms: Terms, clock: Clock) -> None:
    """fastai's Learner on its own loaders, the optimizer torch's."""
    import torch
    from fastai.callback import channelslast, fp16, progress  # noqa: F401  each adds methods to Learner
    from fastai.callback.core import Callback, CancelFitException
    from fastai.data.transforms import Normalize
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper
    from fastai.vision.augment import FlipItem, RandomResizedCrop
    from fastai.vision.core import imagenet_stats
    from fastai.vision.data import ImageDataLoaders

    class Watch(Callback):
        def after_batch(self) -> None:
            if clock.step_ended():
                raise CancelFitException

    pictures = ImageDataLoaders.from_folder(
        terms.folder,
        train="train",
        valid="val",
        bs=BATCH,
        item_tfms=[RandomResizedCrop(224, min_scale=0.08), FlipItem()],
        batch_tfms=[Normalize.from_stats(*imagenet_stats)],
        num_workers=terms.workers,
        device=terms.device,
    )
    learner = Learner(
        pictures,
        terms.model,
        loss_func=torch.nn.CrossEntropyLoss(),
        opt_func=partial(OptimWrapper, opt=torch.optim.Adam, fused=True),
        cbs=[Watch()],
    )
    if terms.memory_format is torch.channels_last:
        learner.to_channelslast(use_amp=False)
    if terms.bf16:
        learner.to_bf16()
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, lr=LEARNING_RATE)


def train_lightning(terms: Terms, clock: Clock) -> None:
    """Lightning's Trainer on a torchvision ImageFolder."""
    import lightning
    import torch
    from torch.utils.data import DataLoader

    from benchmarks.tutorials import t1_sets

    class Flowers(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = terms.model

        def training_step(self, batch: Any, _: int) -> Any:
            images, targets = batch
            answers = self.network(images.contiguous(memory_format=terms.memory_format))
            return torch.nn.functional.cross_entropy(answers, targets)

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE, fused=True)

        def on_train_batch_end(self, *_: Any) -> None:
            clock.step_ended()

    train, _ = t1_sets(terms.folder)
    loader = DataLoader(
        train, batch_size=BATCH, shuffle=True, num_workers=terms.workers, persistent_workers=terms.workers > 0
    )
    with tempfile.TemporaryDirectory() as nowhere:
        trainer = lightning.Trainer(
            accelerator="gpu" if terms.device.type == "cuda" else "cpu",
            devices=1,
            max_steps=clock.wanted,
            precision="bf16-mixed" if terms.bf16 else "32-true",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=nowhere,
        )
        trainer.fit(Flowers(), loader)


def train_timm(terms: Terms, clock: Clock) -> None:
    """timm's data set, loader and optimizer in the loop of its training script."""
    import torch
    from timm.data import ImageDataset, create_loader
    from timm.optim import create_optimizer_v2

    on_gpu = terms.device.type == "cuda"
    loader = create_loader(
        ImageDataset(str(terms.folder / "train")),
        input_size=(3, 224, 224),
        batch_size=BATCH,
        is_training=True,
        scale=(0.08, 1.0),
        ratio=(3 / 4, 4 / 3),
        hflip=0.5,
        color_jitter=None,
        interpolation="bilinear",
        num_workers=terms.workers,
        use_prefetcher=on_gpu,
        device=terms.device,
    )
    optimizer = create_optimizer_v2(terms.model, opt="adam", lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    criterion = torch.nn.CrossEntropyLoss()
    terms.model.train()
    for images, targets in loader:
        batch = images.to(terms.device).contiguous(memory_format=terms.memory_format)
        with torch.autocast(terms.device.type, dtype=torch.bfloat16, enabled=terms.bf16):
            loss = criterion(terms.model(batch), targets.to(terms.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if clock.step_ended():
            return
