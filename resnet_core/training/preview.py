"""What a run will do, before it starts: its learning rate, picture size and frozen stages, epoch by epoch.

Everything is chosen as the run itself would choose it; one picture is opened to see how large they are, none decoded
for training, no network is built and nothing is timed. Steps are those of all pictures: unreadable ones are not known.
"""

from dataclasses import dataclass
from typing import Any

from resnet_core.data.cuts import ranges
from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.loaders import SMALLEST_BATCH
from resnet_core.device import DeviceChoice
from resnet_core.models.zoo import get_architecture
from resnet_core.training.beginning import begin
from resnet_core.training.config import TrainConfig
from resnet_core.training.feeding import choose_pictures, mix_dataset
from resnet_core.training.plan import Plan
from resnet_core.training.thawing import frozen_at, parse_thaw

RATES_AN_EPOCH = 8  # points of the learning rate's curve kept of an epoch at most
POINTS = 400  # … and of a run


@dataclass(frozen=True, kw_only=True)
class PlannedEpoch:
    """An epoch as it will be: the learning rate of its first and last step, its picture size in px, what is frozen."""

    epoch: int
    learning_rate: float
    last_learning_rate: float
    image_size: int
    freeze: str


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A run as it will be. `curve` is its learning rate: pairs of how far the run is, in epochs, and the rate there."""

    config: TrainConfig
    notes: tuple[str, ...]
    classes: int
    n_train: int
    n_val: int
    steps_per_epoch: int
    epochs: tuple[PlannedEpoch, ...]
    curve: tuple[tuple[float, float], ...]

    @property
    def network(self) -> str:
        """The network for people, such as “ResNet-18, 32 channels”."""
        title = get_architecture(self.config.model or "").title
        return title if self.config.width in (None, 64) else f"{title}, {self.config.width} channels"

    def sentence(self) -> str:
        """What was picked, in one sentence."""
        config = self.config
        return (
            f"{self.network}, {config.image_size} px, {config.epochs} epochs of {self.steps_per_epoch:,} steps, "
            f"batch {config.batch_size}, {config.optimizer}, {config.schedule} up to {config.learning_rate:g}."
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dict for machines."""
        return {
            "settings": self.config.to_json(),
            "sentence": self.sentence(),
            "notes": list(self.notes),
            "n_train": self.n_train,
            "n_val": self.n_val,
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": [vars(epoch).copy() for epoch in self.epochs],
        }


def preview(config: TrainConfig, dataset: DatasetSpec, where: DeviceChoice) -> Preview:
    """The run that this config would be. Raises ConfigError, ModelError or DatasetError where it could not begin."""
    begun = begin(config, dataset, where)
    chosen = begun.config
    pictures = mix_dataset(chosen, choose_pictures(chosen, dataset))
    assert chosen.batch_size is not None
    assert chosen.model is not None
    steps = len(ranges(len(pictures.train), chosen.batch_size, least=SMALLEST_BATCH))
    plan = Plan(config=chosen, steps_per_epoch=steps)
    thaws = parse_thaw(chosen.thaw) if chosen.thaw else ()
    epochs = tuple(
        PlannedEpoch(
            epoch=epoch,
            learning_rate=plan.learning_rate((epoch - 1) * steps + 1),
            last_learning_rate=plan.learning_rate(epoch * steps),
            image_size=plan.image_size(epoch),
            freeze=frozen_at(thaws, chosen.freeze, chosen.model, epoch),
        )
        for epoch in range(1, plan.epochs + 1)
    )
    return Preview(
        config=chosen,
        notes=begun.notes,
        classes=len(dataset.class_names),
        n_train=len(pictures.train),
        n_val=len(pictures.val),
        steps_per_epoch=steps,
        epochs=epochs,
        curve=_curve(plan),
    )


def _curve(plan: Plan) -> tuple[tuple[float, float], ...]:
    """The learning rate at places spread evenly over the run, its first and last step among them."""
    total = plan.epochs * plan.steps_per_epoch
    count = min(total, POINTS, max(2, plan.epochs * RATES_AN_EPOCH))
    places = sorted({1 + round(number * (total - 1) / max(1, count - 1)) for number in range(count)})
    return tuple((step / plan.steps_per_epoch, plan.learning_rate(step)) for step in places)
