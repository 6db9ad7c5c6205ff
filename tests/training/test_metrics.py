"""Sums over pictures, not means of batch means."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from resnet_core.training.metrics import Tally, top_k

CPU = torch.device("cpu")


def test_an_uneven_last_batch_counts_by_its_pictures() -> None:
    tally = Tally(CPU)
    right, wrong = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]])
    tally.add(right.repeat(64, 1), torch.zeros(64, dtype=torch.long), torch.tensor(0.0))
    tally.add(wrong, torch.zeros(1, dtype=torch.long), torch.tensor(65.0))
    loss, top1, count = tally.read()
    assert (loss, top1, count) == (pytest.approx(1.0), pytest.approx(64 / 65), 65)


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 999))
def test_any_split_into_batches_gives_the_numbers_of_the_whole(sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(sum(sizes), 4, generator=generator)
    targets = torch.randint(4, (sum(sizes),), generator=generator)
    tally = Tally(CPU)
    for part, labels in zip(logits.split(sizes), targets.split(sizes), strict=True):
        tally.add(part, labels, cross_entropy(part, labels))
    loss, top1, count = tally.read()
    assert count == len(targets)
    assert loss == pytest.approx(float(cross_entropy(logits, targets)), rel=1e-5)
    assert top1 == pytest.approx(float((logits.argmax(1) == targets).double().mean()), abs=1e-12)


def test_a_tally_goes_on_from_its_state() -> None:
    one, other = Tally(CPU), Tally(CPU)
    batch = torch.tensor([[1.0, 2.0], [4.0, 3.0]]), torch.tensor([1, 1]), torch.tensor(0.5)
    one.add(*batch)
    kept = one.state()
    other.restore(kept)
    one.add(*batch)
    other.add(*batch)
    assert one.read() == other.read()
    assert kept.tolist() == [1.0, 1.0, 2.0], "the state is a copy, not a view"


def test_an_empty_tally_divides_by_nothing() -> None:
    loss, top1, count = Tally(CPU).read()
    assert loss != loss
    assert (top1, count) == (0.0, 0)


def test_tally_keeps_no_graph() -> None:
    logits = torch.randn(3, 2, requires_grad=True)
    targets = torch.tensor([0, 1, 0])
    tally = Tally(CPU)
    tally.add(logits, targets, cross_entropy(logits, targets))
    assert not tally.state().requires_grad


@pytest.mark.parametrize(("k", "expected"), [(1, 1 / 3), (2, 2 / 3), (3, 1.0), (5, 1.0), (1000, 1.0)])
def test_top_k_is_cut_to_the_number_of_classes(k: int, expected: float) -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert top_k(logits, torch.tensor([0, 1, 2]), k) == pytest.approx(expected)
