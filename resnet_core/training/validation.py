"""The network's answers on the validation pictures."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from resnet_core.data.loaders import Batch
from resnet_core.device import DeviceChoice
from resnet_core.errors import RunError
from resnet_core.models.logits import compute_logits
from resnet_core.training.calibration import Calibration, calibrate_sureness
from resnet_core.training.control import Control
from resnet_core.training.distributed import ALONE, Team


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The model's answers on the validation pictures, in their fixed order."""

    logits: torch.Tensor  # float32 [N, K]
    targets: torch.Tensor  # int64 [N]
    paths: tuple[str, ...]
    loss: float  # of the logits as they are
    top1: float

    @functools.cached_property
    def calibration(self) -> Calibration:
        """How sure these answers may claim to be."""
        return calibrate_sureness(self.logits, self.targets)


@torch.inference_mode()
def validate(
    network: nn.Module,
    batches: Iterable[Batch],
    *,
    where: DeviceChoice,
    flip_average: bool,
    paths: tuple[str, ...],
    control: Control,
    team: Team = ALONE,
) -> Validation | None:
    """All answers of the network in eval mode; None where they are not numbers. Raises StopAsked between batches.

    Each process of a team answers its own pictures, and gets the answers of all.
    """
    network.eval()
    logits, targets = [], []
    for batch in batches:
        if len(batch.targets):  # a process may have no picture left, but looks at the control as often as the others
            with where.autocast():
                answer = compute_logits(network, batch.images, flip_average=flip_average)
            logits.append(answer.cpu())
        targets.append(batch.targets.cpu())
        control.check()
    all_logits = team.joined(torch.cat(logits) if logits else torch.empty(0))
    all_targets = team.joined(torch.cat(targets))
    loss = float(nn.functional.cross_entropy(all_logits.double(), all_targets))
    if not math.isfinite(loss):
        return None
    top1 = float((all_logits.argmax(1) == all_targets).double().mean())
    return Validation(logits=all_logits, targets=all_targets, paths=paths, loss=loss, top1=top1)


def diverged(step: int, what: str = "The loss is") -> RunError:
    """The failure of a training whose numbers have run away, seen at this step."""
    return RunError(
        f"{what} no longer a number at step {step}; the best weights so far are kept. "
        "Start again with a smaller learning rate."
    )
