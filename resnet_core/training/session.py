"""What a training owns while it runs: model, optimizer, average, loaders and its exact position; one optimizer step,
one validation, and the whole state in and out. The order of things is `engine.fit`'s business.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from resnet_core.data.augment import get_policy
from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec, with_rendered
from resnet_core.data.loaders import Batch, Loaders, make_loaders
from resnet_core.device import DeviceChoice, choose_device
from resnet_core.errors import RunError
from resnet_core.models.logits import compute_logits
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.clock import Clock
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.events import EpochEnded, RunStarted, StepEnded
from resnet_core.training.metrics import Tally
from resnet_core.training.optim import WeightAverage, learning_rate_at, make_optimizer, set_learning_rate
from resnet_core.training.resolve import make_preprocessing, resolve
from resnet_core.training.starting_weights import build_starting_model

STATE_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The model's answers on the validation pictures, in their fixed order."""

    logits: torch.Tensor  # float32 [N, K]
    targets: torch.Tensor  # int64 [N]
    paths: tuple[str, ...]
    loss: float
    top1: float


@dataclass
class Position:
    """Where the training stands; `step` counts all optimizer updates done, `step_in_epoch` those of this epoch."""

    epoch: int = 1
    step: int = 0
    step_in_epoch: int = 0
    best_top1: float = -1.0
    best_loss: float = math.inf


class Session:
    """A training in progress; lives in the one thread that trains."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: DatasetSpec,
        *,
        state: dict[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.where: DeviceChoice = choose_device(
            config.device, precision=config.precision, num_threads=config.num_threads
        )
        torch.set_num_threads(self.where.num_threads)  # binds only the thread that calls it
        self.config, notes = resolve(config, dataset, self.where)
        self.dataset = with_rendered(dataset, self.config.rendered_share, size=self._source_size())
        self.preprocessing = make_preprocessing(self.config)
        self.loaders = self._make_loaders(progress)
        self.notes = (*self.where.reasons, *notes, *dataset.notes)
        self.position = Position()
        model = build_starting_model(self.config, len(dataset.class_names), fresh=state is None)
        self.model = model.to(self.where.device).to(memory_format=self.where.memory_format)
        self._epoch_tally, self._window_tally = Tally(self.where.device), Tally(self.where.device)
        self._build_optimizer()
        if state is not None:
            self.restore(state)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer updates of one pass over the training pictures."""
        return len(self.loaders.train)

    @property
    def epochs(self) -> int:
        """Passes over the training pictures in all."""
        assert self.config.epochs is not None
        return self.config.epochs

    @property
    def judged_model(self) -> nn.Module:
        """The model that is validated and kept: the weight average where there is one."""
        return self.average.model if self.average else self.model

    def started(self) -> RunStarted:
        """The first event."""
        return RunStarted(
            model=self.config.model or "",
            dataset=self.dataset.name,
            class_names=self.dataset.class_names,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            n_train=len(self.loaders.train.store),
            n_val=len(self.loaders.val.store),
            epochs=self.epochs,
            steps_per_epoch=self.steps_per_epoch,
            device=str(self.where.device),
            precision=self.where.precision,
            settings=self.config.to_json(),
            notes=self.notes,
            first_step=self.position.step + 1,
        )

    def skipped_pictures(self) -> tuple[tuple[str, str], ...]:
        """Path and reason of every picture that could not be read."""
        return (*self.loaders.train.store.skipped, *self.loaders.val.store.skipped)

    def train_epoch(self) -> Iterator[StepEnded | None]:
        """The rest of the current epoch, step by step; about a hundred steps an epoch are reported, the others None."""
        self.model.train()
        self._clock.start()
        batches = self.loaders.train.epoch(
            self.position.epoch, image_size=self.image_size(), first_step=self.position.step_in_epoch + 1
        )
        for batch in batches:
            self._clock.arrived()
            self._step(batch)
            self._clock.stepped(len(batch.targets))
            done = self.position.step_in_epoch
            yield self._step_ended() if done % self._log_every == 0 or done == self.steps_per_epoch else None
            self._clock.start()

    @torch.inference_mode()
    def validate(self, control: Control) -> Validation:
        """The judged model's answers on all validation pictures. Raises StopAsked between two batches,
        RunError where they are not numbers."""
        model, loader = self.judged_model, self.loaders.val
        model.eval()
        logits, targets = [], []
        for batch in loader:
            with self.where.autocast():
                answer = compute_logits(model, batch.images, flip_average=bool(self.config.flip_average))
            logits.append(answer.cpu())
            targets.append(batch.targets.cpu())
            control.check()
        all_logits, all_targets = torch.cat(logits), torch.cat(targets)
        loss = float(nn.functional.cross_entropy(all_logits.double(), all_targets))
        if not math.isfinite(loss):
            raise diverged(self.position.step)
        top1 = float((all_logits.argmax(1) == all_targets).double().mean())
        return Validation(logits=all_logits, targets=all_targets, paths=loader.store.paths, loss=loss, top1=top1)

    def end_epoch(self, validation: Validation) -> EpochEnded:
        """Closes the epoch's sums and moves on to the next one."""
        train_loss, train_top1, _ = self._epoch_tally.read()
        position = self.position
        best = (validation.top1, -validation.loss) > (position.best_top1, -position.best_loss)
        if best:
            position.best_top1, position.best_loss = validation.top1, validation.loss
        ended = EpochEnded(
            epoch=position.epoch,
            step=position.step,
            train_loss=train_loss,
            train_top1=train_top1,
            val_loss=validation.loss,
            val_top1=validation.top1,
            learning_rate=self._learning_rate(position.step),
            images_per_second=self._clock.images_per_second,
            seconds=self._clock.seconds,
            waited=self._clock.waited_share,
            best=best,
        )
        position.epoch += 1
        position.step_in_epoch = 0
        self._fresh_tallies()
        return ended

    def image_size(self) -> int:
        """The picture size of the current epoch in px: grows in steps of 16 over the first 60 % of a growing run."""
        final, first = self.preprocessing.crop, self.config.start_image_size
        if first is None:
            return final
        share = min(1.0, (self.position.epoch - 1) / max(1.0, 0.6 * self.epochs))
        return min(final, first + int(share * (final - first) / 16 + 0.5) * 16)

    def checkpoint(self, validation: Validation) -> Checkpoint:
        """The description of the judged model, right after its epoch has ended."""
        assert self.config.model is not None
        return Checkpoint(
            architecture=str(self.model.architecture),
            architecture_arguments=dict(self.model.architecture_arguments),  # type: ignore[arg-type]
            class_names=self.dataset.class_names,
            preprocessing=self.preprocessing,
            flip_average=bool(self.config.flip_average),
            metrics={
                "val_top1": validation.top1,
                "val_loss": validation.loss,
                "n_val": len(validation.targets),
            },
            training={
                "config": self.config.to_json(),
                "epoch": self.position.epoch - 1,
                "step": self.position.step,
            },
            data_fingerprint=self.dataset.fingerprint,
        )

    def state(self) -> dict[str, Any]:
        """Everything needed to go on from exactly here; plain tensors, numbers and strings only."""
        return {
            "state_version": STATE_VERSION,
            "config": self.config.to_json(),
            "data_fingerprint": self.dataset.fingerprint,
            "position": vars(self.position).copy(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.model.state_dict() if self.average else None,
            "average_updates": self.average.updates if self.average else 0,
            "epoch_tally": self._epoch_tally.state(),
            "window_tally": self._window_tally.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`. Raises RunError when it belongs to other data or a newer version."""
        if state.get("state_version") != STATE_VERSION:
            raise RunError("This run was saved by another version of ResNet Lab and cannot be taken up by this one.")
        if state["data_fingerprint"] != self.dataset.fingerprint:
            raise RunError("The pictures of this run have changed since it stopped; start a new run on them instead.")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average and state["average"] is not None:
            self.average.model.load_state_dict(state["average"])
            self.average.updates = state["average_updates"]
        self._epoch_tally.restore(state["epoch_tally"])
        self._window_tally.restore(state["window_tally"])
        self.position = Position(**state["position"])

    def _step(self, batch: Batch) -> None:
        set_learning_rate(self.optimizer, self._learning_rate(self.position.step + 1))
        with self.where.autocast():
            logits = self.model(batch.images)
            loss = self._criterion(logits.float(), batch.targets)
        if self.where.device.type == "cpu" and not torch.isfinite(loss):
            raise diverged(self.position.step + 1)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update(self.model)
        for tally in (self._epoch_tally, self._window_tally):
            tally.add(logits, batch.targets, loss)
        self.position.step += 1
        self.position.step_in_epoch += 1

    def _step_ended(self) -> StepEnded:
        loss, _, _ = self._window_tally.read()
        if not math.isfinite(loss):
            raise diverged(self.position.step)
        self._window_tally = Tally(self.where.device)
        step = self.position.step
        return StepEnded(step=step, epoch=self.position.epoch, loss=loss, learning_rate=self._learning_rate(step))

    def _learning_rate(self, step: int) -> float:
        assert self.config.learning_rate is not None
        assert self.config.schedule is not None
        return learning_rate_at(
            step,
            schedule=self.config.schedule,
            peak=self.config.learning_rate,
            total_steps=self.epochs * self.steps_per_epoch,
            warmup=self.config.warmup,
        )

    def _make_loaders(self, progress: Progress | None) -> Loaders:
        assert self.config.augment is not None
        assert self.config.batch_size is not None
        return make_loaders(
            self.dataset,
            self.preprocessing,
            policy=get_policy(self.config.augment),
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            device=self.where.device,
            progress=progress,
        )

    def _build_optimizer(self) -> None:
        assert self.config.optimizer is not None
        assert self.config.learning_rate is not None
        assert self.config.weight_decay is not None
        self.optimizer = make_optimizer(
            self.model,
            self.config.optimizer,
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            momentum=self.config.momentum,
        )
        self.scaler = torch.amp.GradScaler(self.where.device.type, enabled=self.where.precision == "fp16")
        self.average = WeightAverage(self.model, self.config.ema_decay) if self.config.ema_decay else None
        self._criterion = nn.CrossEntropyLoss(
            weight=self._class_weights(), label_smoothing=self.config.label_smoothing or 0.0
        )
        self._log_every = max(1, math.ceil(self.steps_per_epoch / 100))
        self._clock = Clock()
        self._fresh_tallies()

    def _class_weights(self) -> torch.Tensor | None:
        if self.config.class_weights == "none":
            return None
        counts = torch.bincount(self.loaders.train.store.targets, minlength=len(self.dataset.class_names))
        weights = counts.sum() / (len(counts) * counts.clamp(min=1))
        return weights.to(self.where.device, torch.float32)

    def _fresh_tallies(self) -> None:
        self._epoch_tally = Tally(self.where.device)
        self._window_tally = Tally(self.where.device)
        self._clock = Clock()

    def _source_size(self) -> int:
        assert self.config.resize is not None
        return self.config.resize


def diverged(step: int) -> RunError:
    """The failure of a training whose numbers have run away, seen at this step."""
    return RunError(
        f"The loss is no longer a number at step {step}; the best weights so far are kept. "
        "Start again with a smaller learning rate."
    )
