"""Each peer's loop trains the network it is given, in its own manner, for exactly the steps that are timed."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import peer_loops
from benchmarks.peer_loops import Clock, Terms
from benchmarks.train_peers import BENCHMARK, PEERS
from benchmarks.tutorials import flower_folder

LOOPS: dict[str, Callable[[Terms, Clock], None]] = {
    "fastai": peer_loops.train_fastai,
    "lightning": peer_loops.train_lightning,
    "timm": peer_loops.train_timm,
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with flower_folder(Path("nowhere"), per_class=10) as (found, _):
        yield found


class Tiny(nn.Module):
    """A network that remembers the batches of its training."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 5)
        self.shown: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.shown.append(torch.as_tensor(images).detach())
        return self.fc(images.mean((2, 3)))


@pytest.mark.parametrize("peer", LOOPS)
@pytest.mark.filterwarnings("ignore")
def test_a_peer_trains_the_given_network_on_normalised_cuts_for_the_wanted_steps(peer: str, folder: Path) -> None:
    if find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    torch.manual_seed(0)
    model, clock = Tiny(), Clock(1, 3)
    before = model.fc.weight.detach().clone()
    terms = Terms(
        model=model,
        folder=folder,
        device=torch.device("cpu"),
        memory_format=torch.contiguous_format,
        bf16=False,
        workers=0,
    )
    LOOPS[peer](terms, clock)
    assert len(clock.ends) == clock.wanted == 3
    assert [tuple(batch.shape) for batch in model.shown[:3]] == [(16, 3, 224, 224)] * 3
    pixels = torch.cat([batch.float() for batch in model.shown[:3]])
    assert float(pixels.min()) < -0.5, "ImageNet's mean was subtracted"
    assert float(pixels.max()) < 2.65, "and the spread divided by: (1 - 0.406) / 0.225 at most"
    moved = (model.fc.weight - before).abs().max().item()
    assert 1e-4 < moved < 1e-3, "three steps of Adam at 1e-4"


def test_the_clock_counts_from_the_end_of_the_warm_up() -> None:
    clock = Clock(1, 3)
    assert [clock.step_ended() for _ in range(3)] == [False, False, True]
    clock.ends = [10.0, 12.0, 14.0]
    assert clock.rate() == 16 * 2 / 4.0


def test_every_peer_is_compared_with_the_promise_of_the_issue() -> None:
    assert {row.peer for row in BENCHMARK.comparisons} == set(PEERS) == set(LOOPS)
    assert all(row.at_least == 1.05 for row in BENCHMARK.comparisons)
