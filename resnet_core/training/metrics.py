"""Sums and counts, divided once. (A mean of batch means is wrong: 64 pictures at 1.0 and one at 0.0 give 0.50
instead of 0.985.)
"""

import torch


class Tally:
    """Running sums on the training device; reading them is the only moment the host waits for it."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)

    def add(self, logits: torch.Tensor, targets: torch.Tensor, mean_loss: torch.Tensor) -> None:
        """Counts a batch: logits `[N, K]`, targets `[N]`, and the mean loss over the batch."""
        hits = (logits.detach().argmax(1) == targets).sum()
        count = len(targets)
        self._sums += torch.stack(
            [
                mean_loss.detach().to(self._sums) * count,
                hits.to(self._sums),
                torch.full_like(self._sums[0], count),
            ]
        )

    def state(self) -> torch.Tensor:
        """The sums on the CPU, for a resume file."""
        return self._sums.cpu().clone()

    def restore(self, state: torch.Tensor) -> None:
        """The inverse of `state`."""
        self._sums.copy_(state)

    def read(self) -> tuple[float, float, int]:
        """Mean loss, top-1 in [0, 1] and the number of pictures."""
        loss, hits, count = self._sums.tolist()
        return (loss / count, hits / count, int(count)) if count else (float("nan"), 0.0, 0)


def top_k(logits: torch.Tensor, targets: torch.Tensor, k: int) -> float:
    """Share in [0, 1] of pictures whose class is among the k highest logits; k is cut to the number of classes."""
    best = logits.topk(min(k, logits.shape[1]), dim=1).indices
    return float((best == targets[:, None]).any(1).double().mean())
