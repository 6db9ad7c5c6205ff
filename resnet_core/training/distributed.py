"""The processes that train one network together, under torchrun.

    Team    a process that is alone: every question is answered at once, nothing is sent
    Group   the same for several processes: what the first one decides all learn, what each has counted is added up

So the loop asks its team and needs no second way through. Each process holds the whole network and takes its part of
every batch; DistributedDataParallel averages the gradients. BatchNorm stays what it is in a process: it takes the
statistics of that process's own part, and the running ones are averaged before anyone looks at the network.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from resnet_core.data.sharing import Share
from resnet_core.errors import DeviceError, ResNetLabError
from resnet_core.training.control import StopAsked

T = TypeVar("T")

PATIENCE = timedelta(hours=6)  # a process may decode pictures for as long before the others give it up
FAILURE = "resnet-lab/failure"  # where a process leaves its last words for the others
BROKEN = "Another process of this training has ended; Resume goes on from where the run was last saved."


class Team:
    """A process that trains alone."""

    rank = 0
    size = 1
    local_size = 1  # processes on this machine

    @property
    def leads(self) -> bool:
        """True for the one process that decides, writes the run's folder and speaks to people."""
        return self.rank == 0

    @property
    def share(self) -> Share:
        """This process's part of every batch."""
        return Share(self.rank, self.size)

    def device(self, requested: str) -> str:
        """The device of this process where the training as a whole asks for `requested`. Raises DeviceError."""
        return requested

    def first(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, in all of them; what it raises there is raised in all."""
        return work()

    def in_turn(self, work: Callable[[], T]) -> T:
        """What `work` gives, once one process of each machine has done it: the others find its files."""
        return work()

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients that are those of all parts of a batch."""
        return network

    def for_backward(self, loss: Tensor) -> Tensor:
        """What to differentiate, where `loss` is this process's part of the mean."""
        return loss

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        return tensor

    def joined(self, rows: Tensor) -> Tensor:
        """The rows of all processes, one after the other, on the CPU."""
        return rows

    def level(self, *networks: nn.Module) -> None:
        """Gives the networks the mean of all processes' BatchNorm statistics; done twice, it changes nothing."""

    def loudest(self, signs: Sequence[int]) -> list[int]:
        """The highest that any process shows, sign by sign."""
        return list(signs)

    def failed(self, reason: str) -> None:
        """Leaves this process's last words, so that the others can say why it ends."""

    def why(self, error: Exception) -> str | None:
        """A sentence where the error comes from another process that is gone."""
        return None


ALONE = Team()


@dataclass(frozen=True)
class _Outcome:
    """What work gave or raised, on its way to other processes."""

    value: Any = None
    error: Exception | None = None

    def opened(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class Group(Team):
    """One of several processes, as torchrun has set up its environment."""

    def __init__(self) -> None:
        self.rank = int(os.environ["RANK"])
        self.size = int(os.environ["WORLD_SIZE"])
        self._local_rank = int(os.environ.get("LOCAL_RANK", self.rank))
        self.local_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        nccl = torch.cuda.is_available() and dist.is_nccl_available()
        self._store = _find_store()
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if nccl else "gloo",
            store=self._store,
            rank=self.rank,
            world_size=self.size,
            timeout=PATIENCE,
        )
        self._talk: Any = dist.new_group(backend="gloo", timeout=PATIENCE)  # for words, beside what GPUs exchange

    def device(self, requested: str) -> str:
        """A GPU of its own, or the CPU."""
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if requested == "cpu" or (requested == "auto" and not gpus):
            return "cpu"
        if requested not in ("auto", "all", "cuda"):
            raise DeviceError(f"{self.size} processes cannot share {requested}; use --device all, cuda or cpu.")
        if self.local_size > gpus:
            raise DeviceError(
                f"{self.local_size} processes need as many GPUs and this machine has {gpus}; start fewer processes "
                "or use --device cpu."
            )
        torch.cuda.set_device(self._local_rank)
        return f"cuda:{self._local_rank}"

    def first(self, work: Callable[[], T]) -> T:
        outcome = [_outcome(work) if self.leads else None]
        dist.broadcast_object_list(outcome, src=0, group=self._talk)
        assert outcome[0] is not None
        return outcome[0].opened()  # type: ignore[no-any-return]

    def in_turn(self, work: Callable[[], T]) -> T:
        ahead = self._local_rank == 0
        mine = _outcome(work) if ahead else _Outcome()
        self._heed(mine)
        if not ahead:
            mine = _outcome(work)
        self._heed(mine)
        return mine.value  # type: ignore[no-any-return]

    def wrap(self, network: nn.Module, device: torch.device) -> nn.Module:
        devices = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)

    def for_backward(self, loss: Tensor) -> Tensor:
        return loss * self.size  # DistributedDataParallel divides what it adds up

    def total(self, tensor: Tensor) -> Tensor:
        summed = tensor.detach().clone()
        dist.all_reduce(summed)
        return summed

    def joined(self, rows: Tensor) -> Tensor:
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, rows.cpu(), group=self._talk)
        return torch.cat([part for part in parts if len(part)])

    @torch.no_grad()
    def level(self, *networks: nn.Module) -> None:
        buffers = [b for network in networks for b in network.buffers() if b.is_floating_point()]
        if not buffers:
            return
        mean = self.total(torch.cat([buffer.flatten().double() for buffer in buffers])) / self.size
        for buffer, leveled in zip(buffers, torch.split(mean, [b.numel() for b in buffers]), strict=True):
            buffer.copy_(leveled.view_as(buffer))

    def loudest(self, signs: Sequence[int]) -> list[int]:
        shown = torch.tensor(signs)
        dist.all_reduce(shown, op=dist.ReduceOp.MAX, group=self._talk)
        return shown.tolist()  # type: ignore[no-any-return]

    def failed(self, reason: str) -> None:
        with contextlib.suppress(RuntimeError):  # whoever held the store may be gone
            self._store.compare_set(FAILURE, "", f"{self.rank}\n{reason}")

    def why(self, error: Exception) -> str | None:
        with contextlib.suppress(RuntimeError):
            if self._store.check([FAILURE]):
                rank, _, reason = self._store.get(FAILURE).decode("utf-8", "replace").partition("\n")
                return f"Process {rank} of {self.size} broke off: {reason}"
        words = str(error).lower()
        return BROKEN if any(sign in words for sign in ("gloo", "nccl", "connection", "peer")) else None

    def leave(self) -> None:
        """Ends the talk with the others; called once nobody waits for this process any more."""
        dist.destroy_process_group()

    def _heed(self, mine: _Outcome) -> None:
        """Raises what any process's work has raised, in all of them."""
        errors: list[Any] = [None] * self.size
        dist.all_gather_object(errors, mine.error, group=self._talk)
        if mine.error is not None:
            raise mine.error
        for error in errors:
            if error is not None:
                raise error


@contextlib.contextmanager
def joined_team() -> Iterator[Team]:
    """This process's team: torchrun's processes, or it alone."""
    if int(os.environ.get("WORLD_SIZE") or 1) < 2:
        yield ALONE
        return
    group = Group()
    yield group  # after a failure the others may be in the middle of an exchange: the process just ends
    group.leave()


def _find_store() -> Any:
    """Where the processes leave notes for one another: what torchrun has told them in their environment."""
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    # torch 2.15 gives replaced processes the store in which those before them have left their addresses
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return dist.PrefixStore(f"resnet-lab/{attempt}", store)  # type: ignore[attr-defined]


def _outcome(work: Callable[[], Any]) -> _Outcome:
    try:
        return _Outcome(value=work())
    except (ResNetLabError, OSError, StopAsked) as error:
        return _Outcome(error=error)
    except Exception as error:  # of any kind: not each of them can travel
        return _Outcome(error=RuntimeError(f"{type(error).__name__}: {error}"))
