"""What a training owns while it runs: what learns, the pictures, and its exact position; an epoch of steps, a
validation, and the whole state in and out. The order of things is `engine.fit`'s business.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.loaders import Batch
from resnet_core.models.resnet import Network
from resnet_core.training.beginning import begin
from resnet_core.training.budget import Budget
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.clock import Clock
from resnet_core.training.compiling import CompilationFailed
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.distributed import ALONE, Team
from resnet_core.training.events import EpochEnded, RunStarted, StepEnded
from resnet_core.training.features import FeatureLoaders, Head, cached_loaders
from resnet_core.training.feeding import choose_pictures, load_share, mix_dataset, mixing_of
from resnet_core.training.learner import make_learner
from resnet_core.training.plan import Plan
from resnet_core.training.reckoning import Reckoning
from resnet_core.training.resolve import check_together, make_preprocessing
from resnet_core.training.resuming import (
    STATE_VERSION,
    Position,
    as_begun,
    check_state,
    start_computing,
    stretch,
)
from resnet_core.training.stochastic_depth import check_drop_path
from resnet_core.training.thawing import due_thaw
from resnet_core.training.validation import Validation, diverged, validate


class Session:
    """A training in progress; lives in the one thread that trains. `warnings` are what people should know at once."""

    def __init__(
        self,
        config: TrainConfig,
        dataset: DatasetSpec,
        *,
        state: dict[str, Any] | None = None,
        progress: Progress | None = None,
        team: Team = ALONE,
    ) -> None:
        self.team = team
        config = config if state is None else as_begun(config, state, team)
        self.where = start_computing(config, team)
        self.budget = Budget(config.budget_minutes, state)
        begun = team.first(lambda: begin(config, dataset, self.where, budget=self.budget, fresh=state is None))
        self.config, notes = begun.config, begun.notes
        self.dataset = mix_dataset(self.config, choose_pictures(self.config, dataset))
        self.preprocessing = make_preprocessing(self.config)
        self.loaders = load_share(team, self.config, self.dataset, self.preprocessing, self.where, progress)
        continued = ("The rest is as it was chosen when this run began.",) if state else ()
        self.changes: dict[str, Any] = dict(state.get("changes", {})) if state else dict(begun.otherwise)
        self.halvings = int(state.get("halvings", 0)) if state else 0  # of the batch, where the memory ran out
        self.pending: dict[str, Any] = {}  # changes that are still to come, as the control tells them
        self.notes = (*self.where.reasons, *notes, *continued, *dataset.notes)
        self.warnings: list[str] = []
        self._reckoning = Reckoning(self.where.device, team)
        self.learner = make_learner(
            self.config, self.loaders, dataset.class_names, self.where, fresh=state is None, team=team
        )
        self.plan = Plan(config=self.config, steps_per_epoch=len(self.loaders.train))
        if state is not None:
            self.restore(state)
        self._features: FeatureLoaders | None = None
        self._speed_up(progress)

    @property
    def position(self) -> Position:
        """Where the training stands."""
        return self._reckoning.position

    @property
    def _clock(self) -> Clock:
        return self._reckoning.clock

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer updates of one pass over the training pictures."""
        return self.plan.steps_per_epoch

    @property
    def epochs(self) -> int:
        """Passes over the training pictures in all."""
        return self.plan.epochs

    @property
    def model(self) -> Network:
        """The network that learns."""
        return self.learner.network

    @property
    def judged_model(self) -> Network:
        """The network that is validated and kept: the weight average where there is one."""
        return self.learner.judged

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

    def change(self, settings: dict[str, Any], *, progress: Progress | None = None) -> None:
        """Other settings from here on, between two epochs. Raises ConfigError, having changed nothing, where they do
        not go together with the rest."""
        config = self.config.replace(**settings)
        check_together(config)
        check_drop_path(self.model, config.drop_path)
        loaders = self.loaders
        if settings.keys() <= {"epochs", "patience", "budget_minutes"}:  # what is ready for the steps stays as it is
            self.config, self.plan = config, replace(self.plan, config=config)
            self.changes |= settings
            if self.learner.forward is self.model:
                self._speed_up(progress)
            return
        if "batch_size" in settings or "augment" in settings:
            loaders = load_share(self.team, config, self.dataset, self.preprocessing, self.where, progress)
        elif {"mixup", "cutmix"} & settings.keys():
            loaders = replace(loaders, train=replace(loaders.train, mixing=mixing_of(config)))
        self.config, self.loaders = config, loaders
        self.changes |= settings
        before, self.plan = self.steps_per_epoch, Plan(config=config, steps_per_epoch=len(loaders.train))
        stretch(self.position, before, self.steps_per_epoch)
        self.learner.change(config)
        self._features = None
        self._speed_up(progress)

    def due_changes(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What else changes with the current epoch: a stage that thaws, and the epochs the budget has room for."""
        timed = self.config.budget_minutes  # 0 also once a person has chosen the epochs
        epochs = self.budget.epochs(self.plan, self.position.epoch - 1) if timed else self.epochs
        due = {**due_thaw(self.config, self.position.epoch), **({"epochs": epochs} if epochs != self.epochs else {})}
        return {name: value for name, value in due.items() if name not in asked}

    def train_epoch(self) -> Iterator[StepEnded | None]:
        """The rest of the current epoch, step by step; about a hundred steps an epoch are reported, the others None."""
        self.learner.begin()
        self._clock.start()
        for batch in self._batches():
            self._clock.arrived()
            self._step(batch)
            told = self._step_ended() if self.plan.reports(self.position.step_in_epoch) else None
            self._clock.stepped(batch.step_size)  # after reading the loss: a GPU is waited for only there
            yield told
            self._clock.start()

    def validate(self, control: Control) -> Validation:
        """The judged model's answers on all validation pictures. Raises StopAsked between two batches,
        RunError where they are not numbers."""
        self.settle()
        cached = self._features
        validation = validate(
            Head(self.judged_model) if cached else self.judged_model,
            cached.val_batches() if cached else self.loaders.val,
            where=self.where,
            flip_average=bool(self.config.flip_average),
            paths=self.loaders.val.store.paths,
            control=control,
            team=self.team,
        )
        if validation is None:
            raise diverged(self.position.step)
        return validation

    def end_epoch(self, validation: Validation) -> EpochEnded:
        """Closes the epoch's sums and moves on to the next one."""
        return self._reckoning.epoch_ended(validation, self.plan.learning_rate(self.position.step))

    @property
    def has_stalled(self) -> bool:
        """True once as many epochs as the config has patience for have brought nothing better."""
        patience = self.config.patience
        return 0 < patience <= self.position.epoch - 1 - self.position.best_epoch

    def settle(self) -> None:
        """Brings together what the processes have learned apart, so that the first one's state is that of all."""
        self.learner.settle()
        self._reckoning.settle()

    def check_numbers(self) -> None:
        """Raises RunError where the weights are no numbers any more: nothing saved from here could ever go on."""
        if not self.learner.holds_numbers:
            raise diverged(self.position.step, "A weight is")

    def image_size(self) -> int:
        """The picture size of the current epoch in px."""
        return self.plan.image_size(self.position.epoch)

    def checkpoint(self, validation: Validation) -> Checkpoint:
        """The description of the judged model, right after its epoch has ended; its val loss is of plain logits."""
        measured = {"val_top1": validation.top1, "val_loss": validation.loss, "n_val": len(validation.targets)}
        return Checkpoint(
            architecture=self.model.architecture,
            architecture_arguments=dict(self.model.architecture_arguments),
            class_names=self.dataset.class_names,
            preprocessing=self.preprocessing,
            flip_average=bool(self.config.flip_average),
            temperature=validation.calibration.temperature,
            metrics={**measured, **validation.calibration.metrics()},
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
            "device": self.where.device.type,
            "data_fingerprint": self.dataset.fingerprint,
            "changes": self.changes,
            "pending": self.pending,
            "steps_per_epoch": self.steps_per_epoch,
            "halvings": self.halvings,
            "budget": self.budget.state(),
            **self._reckoning.state(),
            **self.learner.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`. Raises RunError when it belongs to other data or another version."""
        check_state(state, self.dataset.fingerprint)
        self.learner.restore(state)
        self._reckoning.restore(state)
        stretch(self.position, state.get("steps_per_epoch", self.steps_per_epoch), self.steps_per_epoch)
        if state.get("accepted"):
            self.warnings.append(str(state["accepted"]))

    def batches(self, epoch: int, *, first_step: int = 1) -> Iterator[Batch]:
        """The batches of that epoch as the learner takes them: pictures, or features where only the head learns."""
        if self._features:
            return self._features.epoch(epoch, first_step=first_step)
        return self.loaders.train.epoch(epoch, image_size=self.plan.image_size(epoch), first_step=first_step)

    def _batches(self) -> Iterator[Batch]:
        """What is left of the current epoch."""
        return self.batches(self.position.epoch, first_step=self.position.step_in_epoch + 1)

    def _step(self, batch: Batch) -> None:
        number = self.position.step + 1
        logits, loss = self.learner.step(batch, learning_rate=self.plan.learning_rate(number), number=number)
        self._reckoning.count(logits, batch, loss)

    def _step_ended(self) -> StepEnded:
        return self._reckoning.step_ended(self.plan.learning_rate(self.position.step))

    def _speed_up(self, progress: Progress | None) -> None:
        """Makes the epochs that are left cheaper: with features computed once, or a compiled step if that is asked."""
        if self.position.epoch > self.epochs:
            return
        alone = self.team.size == 1  # features are soon computed; several processes share the pictures instead
        self._features = cached_loaders(self.model, self.loaders, self.config, self.where, progress) if alone else None
        if self._features:
            self.learner.forward = Head(self.model)
        elif self.config.compile:
            batch = min(self.loaders.train.batch_size, len(self.loaders.train.store))
            try:
                self.learner.compile(batch, self.preprocessing.crop)
            except CompilationFailed as failure:
                self.warnings.append(str(failure))
                self.config = self.config.replace(compile=False)
