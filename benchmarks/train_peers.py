"""Training ResNet-34 at 224 px in batches of 16: ours against fastai, Lightning and a loop of timm's parts.

Each peer trains torchvision's network with the same starting weights on the same pictures (a random cut of 8-100 % of
the area, a flip, ImageNet's mean and spread, Adam 1e-4) with its own loader and worker processes. Each gets the memory
format in which it is faster here (both are measured), a fused optimizer, and bf16 where this processor or GPU has it;
progress bars, logs and checkpoints are off. Their rows stand one by one: the claim against the best is the smallest.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

from benchmarks import peer_loops
from benchmarks.harness import Benchmark, Comparison, Measured, Options
from benchmarks.peer_loops import Clock, Terms
from benchmarks.train_epoch import WARMUP, ours, starting_weights, step_count, training_pictures


def fastai(options: Options) -> Measured:
    """fastai's Learner on ImageDataLoaders."""
    return _measured(peer_loops.train_fastai, options)


def lightning(options: Options) -> Measured:
    """Lightning's Trainer on a torchvision ImageFolder."""
    return _measured(peer_loops.train_lightning, options)


def timm(options: Options) -> Measured:
    """timm's data set, loader and optimizer in the loop of its training script."""
    return _measured(peer_loops.train_timm, options)


def _measured(train: "Callable[[Terms, Clock], None]", options: Options) -> Measured:
    """Images a second from the end of the warm-up step on, in the faster of the two memory formats."""
    import torch

    from benchmarks.tutorials import training_logits
    from resnet_core.device import choose_device

    where = choose_device(precision=options.precision)
    answers = training_logits(starting_weights().to(where.device))
    formats = {"plain": torch.contiguous_format, "channels_last": torch.channels_last}
    rates, workers, bf16 = {}, min(8, where.num_threads), where.precision == "bf16"
    with training_pictures(options) as (folder, pictures):
        for name, memory_format in formats.items():
            clock = Clock(WARMUP, WARMUP + max(2, step_count() // 2))
            terms = Terms(
                model=starting_weights().to(where.device, memory_format=memory_format),
                folder=folder,
                device=where.device,
                memory_format=memory_format,
                bf16=bf16,
                workers=workers,
            )
            train(terms, clock)
            rates[name] = clock.rate()
    notes = {"pictures": pictures, "rates": rates, "bf16": bf16, "workers": workers}
    return Measured(values={"training": max(rates.values())}, answers=answers, notes=notes)


def _absent(package: str) -> str | None:
    return None if find_spec(package) else "is not installed (pip install -r requirements-bench.txt)"


PEERS = {"fastai": fastai, "lightning": lightning, "timm": timm}

BENCHMARK = Benchmark(
    name="train-peers",
    claim="Training runs faster than in the loops of other libraries with their own best settings.",
    sides={"ours": ours, **PEERS},
    comparisons=tuple(
        Comparison(
            metric="training",
            unit="images/s",
            peer=peer,
            larger_is_better=True,
            at_least=1.05,
            moonshot=1.5,
            note="ResNet-34, 224 px, batch 16",
        )
        for peer in PEERS
    ),
    tolerance=1e-4,
    blocks=3,
    missing={peer: partial(_absent, peer) for peer in PEERS},
)
