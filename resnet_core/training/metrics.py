"""Sums and counts, divided once. (A mean of batch means is wrong: 64 pictures at 1.0 and one at 0.0 give 0.50
instead of 0.985.)
"""

import torch

from resnet_core.data.sharing import Whole
from resnet_core.training.distributed import ALONE, Team


class Tally:
    """Running sums on the training device; reading them is the only moment the host waits for it.

    Each process of a team adds up its own part; `read` tells the sums over all of them, divided once.
    """

    def __init__(self, device: torch.device, team: Team = ALONE) -> None:
        self._team = team
        self._sums = torch.zeros(3, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)

    def add(
        self, logits: torch.Tensor, targets: torch.Tensor, mean_loss: torch.Tensor, whole: Whole | None = None
    ) -> None:
        """Counts a batch: logits `[N, K]`, targets `[N]`, and the mean loss over the batch.

        Of a part of the `whole` batch, `mean_loss` is what the part adds to the mean over the whole.
        """
        hits = (logits.detach().argmax(1) == targets).sum()
        count = len(targets)
        counted = whole is None or whole.counted
        self._sums += torch.stack(
            [
                mean_loss.detach().to(self._sums) * (len(whole.targets) if whole else count),
                hits.to(self._sums) * counted,
                torch.full_like(self._sums[0], count * counted),
            ]
        )

    def settle(self) -> None:
        """Moves the sums of all processes to the first one."""
        self._sums = self._team.total(self._sums)
        if not self._team.leads:
            self._sums.zero_()

    def state(self) -> torch.Tensor:
        """The sums on the CPU, for a resume file."""
        return self._sums.cpu().clone()

    def restore(self, state: torch.Tensor) -> None:
        """The inverse of `state`; what was counted before counts once, whatever the number of processes."""
        if self._team.leads:
            self._sums.copy_(state)

    def read(self) -> tuple[float, float, int]:
        """Mean loss, top-1 in [0, 1] and the number of pictures."""
        loss, hits, count = self._team.total(self._sums).tolist()
        return (loss / count, hits / count, int(count)) if count else (float("nan"), 0.0, 0)


def top_k(logits: torch.Tensor, targets: torch.Tensor, k: int) -> float:
    """Share in [0, 1] of pictures whose class is among the k highest logits; k is cut to the number of classes."""
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return float((best == targets[:, None]).any(1).double().mean())
