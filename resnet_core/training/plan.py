"""What is fixed for every step of a run before it begins: how many there are, how fast it learns, how large it sees."""

from dataclasses import dataclass

from resnet_core.training.config import TrainConfig
from resnet_core.training.optim import learning_rate_at

GROWTH = 0.6  # of a growing run is over when its pictures have their final size
SIZE_STEP = 16  # px


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a resolved config. Epochs and steps count from 1, steps through the whole run."""

    config: TrainConfig
    steps_per_epoch: int

    @property
    def epochs(self) -> int:
        """Passes over the training pictures in all."""
        assert self.config.epochs is not None
        return self.config.epochs

    def learning_rate(self, step: int) -> float:
        """The learning rate of that step."""
        assert self.config.learning_rate is not None
        assert self.config.schedule is not None
        return learning_rate_at(
            step,
            schedule=self.config.schedule,
            peak=self.config.learning_rate,
            total_steps=self.epochs * self.steps_per_epoch,
            warmup=self.config.warmup,
        )

    def image_size(self, epoch: int) -> int:
        """The picture size of that epoch in px: the final one, or growing to it in steps."""
        first, final = self.config.start_image_size, self.config.image_size
        assert final is not None
        if first is None:
            return final
        share = min(1.0, (epoch - 1) / max(1.0, GROWTH * self.epochs))
        return min(final, first + int(share * (final - first) / SIZE_STEP + 0.5) * SIZE_STEP)

    def reports(self, step_in_epoch: int) -> bool:
        """About a hundred steps an epoch are reported, the last always."""
        every = max(1, -(-self.steps_per_epoch // 100))
        return step_in_epoch % every == 0 or step_in_epoch == self.steps_per_epoch
