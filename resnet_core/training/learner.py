"""The network that learns and everything that changes it: one step, and its whole state in and out."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from resnet_core.data.loaders import Batch, Loaders
from resnet_core.data.sharing import Whole
from resnet_core.device import DeviceChoice, make_generator
from resnet_core.models.resnet import Network
from resnet_core.training.compiling import compile_forward
from resnet_core.training.config import TrainConfig
from resnet_core.training.distributed import ALONE, Team
from resnet_core.training.feeding import weigh_classes
from resnet_core.training.freezing import freeze_weights, set_training
from resnet_core.training.optim import WeightAverage, carry_memory, make_optimizer, set_learning_rate
from resnet_core.training.starting_weights import build_starting_model, prepare_first_layer
from resnet_core.training.stochastic_depth import check_drop_path, choose_dropped, keep_all
from resnet_core.training.validation import diverged


class Learner:
    """Network, optimizer, loss and weight average of a resolved config; `forward` maps a batch's images to logits."""

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        where: DeviceChoice,
        *,
        class_weights: torch.Tensor | None,
        team: Team = ALONE,
    ) -> None:
        self._config = config
        self._where = where
        self._team = team
        check_drop_path(network, config.drop_path)
        self.network = network.to(where.device).to(memory_format=where.memory_format)
        freeze_weights(self.network, config.freeze)
        self._wrapped = team.wrap(self.network, where.device)
        self.forward: Callable[[torch.Tensor], torch.Tensor] = self._wrapped
        self.optimizer = _make_optimizer(self.network, config)
        self.scaler = torch.amp.GradScaler(where.device.type, enabled=where.precision == "fp16")
        self.average = WeightAverage(self.network, config.ema_decay) if config.ema_decay else None
        self._class_weights = None if class_weights is None else class_weights.to(where.device)
        self._criterion = nn.CrossEntropyLoss(weight=self._class_weights, label_smoothing=config.label_smoothing or 0.0)

    @property
    def judged(self) -> Network:
        """What is validated and kept: the weight average where there is one."""
        return self.average.model if self.average else self.network  # type: ignore[return-value]

    def begin(self) -> None:
        """Puts the network into the modes of training, after a validation."""
        set_training(self.network, self._config.freeze)

    def change(self, config: TrainConfig) -> None:
        """Other settings from the next step on. What thaws joins the optimizer without a memory; what goes on learning
        keeps its own. Raises ConfigError, having changed nothing."""
        check_drop_path(self.network, config.drop_path)
        thawed, self._config = config.freeze != self._config.freeze, config
        if thawed:
            self.network.requires_grad_(True)
            freeze_weights(self.network, config.freeze)
            self._wrapped = self._team.wrap(self.network, self._where.device)
            memory = self.optimizer.state
            self.optimizer = _make_optimizer(self.network, config)
            carry_memory(self.optimizer, memory)
        self.forward = self._wrapped

    def compile(self, batch_size: int, image_size: int) -> None:
        """Compiles the steps on full batches of this picture size. Raises CompilationFailed, having changed nothing."""
        self.begin()
        self.forward = compile_forward(self._wrapped, (batch_size, 3, image_size, image_size), self._where)

    def step(self, batch: Batch, *, learning_rate: float, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The `number`-th update: logits `[N, K]` and the mean loss, both on the device.

        Nothing here asks a GPU whether its numbers are some, so there it is noticed when the loss is next read. On a
        CPU a loss or gradient that is no number raises RunError before the weights are touched.
        """
        set_learning_rate(self.optimizer, learning_rate)
        self.optimizer.zero_grad(set_to_none=True)  # now, not after the forward pass: its peak would hold them too
        drop_path = self._config.drop_path
        if drop_path:
            drawn = make_generator("depth", self._config.seed, number)
            choose_dropped(self.network, drop_path, batch.step_size, drawn, rows=self._team.share.rows(batch.step_size))
        with self._where.autocast():
            logits = self.forward(batch.images)
            loss = self._loss(logits.float(), batch)
        if drop_path:
            keep_all(self.network)
        if self._where.device.type == "cpu" and not torch.isfinite(self._team.total(loss)):
            raise diverged(number)
        self.scaler.scale(self._team.for_backward(loss)).backward()  # type: ignore[no-untyped-call]
        norm = self._measure_and_clip()
        if norm is not None and not torch.isfinite(norm):
            raise diverged(number, "The gradient is")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update(self.network)
        return logits, loss

    def _measure_and_clip(self) -> torch.Tensor | None:
        """Cuts the gradient to `clip_norm`; on a CPU, a norm of it before that."""
        on_cpu = self._where.device.type == "cpu"
        if self._config.clip_norm:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._config.clip_norm)
            return norm if on_cpu else None
        if not on_cpu:
            return None
        gradients = (weight.grad for weight in self.network.parameters())
        return _largest([gradient for gradient in gradients if gradient is not None])

    @property
    def holds_numbers(self) -> bool:
        """Whether all weights, their average and what BatchNorm has gathered are finite; waits for a GPU."""
        networks = (self.network, *([self.average.model] if self.average else []))
        kept = [tensor for network in networks for tensor in network.state_dict().values()]
        return bool(torch.isfinite(_largest([tensor for tensor in kept if tensor.is_floating_point()])))

    def _loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The mean over the batch; of a part, what it adds to the mean over the whole."""
        whole = batch.whole
        loss = self._mean(logits, batch.targets, whole, whole.targets if whole else None)
        if batch.mixture is None:
            return loss
        others = self._mean(logits, batch.mixture.targets, whole, whole.partners if whole else None)
        return batch.mixture.share * loss + (1 - batch.mixture.share) * others

    def _mean(
        self, logits: torch.Tensor, targets: torch.Tensor, whole: Whole | None, all_targets: torch.Tensor | None
    ) -> torch.Tensor:
        loss: torch.Tensor = self._criterion(logits, targets)
        if whole is None or all_targets is None:
            return loss
        return loss * (self._weight(targets) / (self._weight(all_targets) * whole.times))

    def _weight(self, targets: torch.Tensor) -> torch.Tensor | int:
        return len(targets) if self._class_weights is None else self._class_weights[targets].sum()

    def settle(self) -> None:
        """Gives all processes the mean of their BatchNorm statistics, before the network is judged or saved."""
        self._team.level(self.network, *([self.average.model] if self.average else []))

    def state(self) -> dict[str, Any]:
        """Plain tensors and numbers from which `restore` goes on."""
        return {
            "model": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.model.state_dict() if self.average else None,
            "average_updates": self.average.updates if self.average else 0,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler.is_enabled() and state["scaler"]:  # empty where the run was begun in another precision
            self.scaler.load_state_dict(state["scaler"])
        if self.average and state["average"] is not None:
            self.average.model.load_state_dict(state["average"])
            self.average.updates = state["average_updates"]


def _largest(tensors: list[torch.Tensor]) -> torch.Tensor:
    """The largest magnitude in all of them; no number where one holds what is none."""
    return nn.utils.get_total_norm(tensors, norm_type=float("inf"))


def _make_optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    assert config.optimizer is not None
    assert config.learning_rate is not None
    assert config.weight_decay is not None
    return make_optimizer(
        network,
        config.optimizer,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
    )


def make_learner(
    config: TrainConfig,
    loaders: Loaders,
    class_names: Sequence[str],
    where: DeviceChoice,
    *,
    fresh: bool,
    team: Team = ALONE,
) -> Learner:
    """The learner of a resolved config; `fresh` False: its weights are about to be restored."""
    num_classes = len(class_names)
    network = build_starting_model(config, num_classes, class_names=class_names, fresh=fresh)
    assert isinstance(network, Network)
    if fresh and not config.pretrained and not config.init_from:
        prepare_first_layer(network, loaders)
    weights = weigh_classes(config.class_weights, loaders.train.store.targets, num_classes)
    return Learner(network, config, where, class_weights=weights, team=team)
