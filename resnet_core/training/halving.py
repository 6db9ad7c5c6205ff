"""Going on with half the batch where the memory runs out, instead of ending there.

The epoch begins again from where it was begun, or taken up, last: so every picture of it is learned from once, and a
replay, which changes settings between epochs, repeats it. What a picture counts stays as it was: half the batch means
twice the steps, so SGD's learning rate is halved (Goyal et al. 2017, §2.1), that of optimizers which scale their steps
themselves is divided by √2 (Malladi et al. 2022). Steps are numbered as if all batches had been that small.
"""

from __future__ import annotations

import gc
import math
from typing import TYPE_CHECKING, Any

import torch

from resnet_core.training.config import TrainConfig

if TYPE_CHECKING:
    from resnet_core.training.session import Session

HALVINGS = 3  # at most; a batch of an eighth that still does not fit means that something else is wrong
LEAST_BATCH = 2  # BatchNorm needs two pictures
SIGNS = ("can't allocate memory", "out of memory", "not enough memory", "std::bad_alloc")


def state_to_halve(session: Session) -> dict[str, Any] | None:
    """Where the epoch of a session begins, to begin it again with half the batch; None where that is not asked for, or
    was done often enough. Several processes cannot: only one of them may have run out."""
    possible = session.config.halve_batch and session.team.size == 1 and session.halvings < HALVINGS
    return copy_to_cpu(session.state()) if possible and halved(session.config) else None


def halve_batch(session: Session, begun: dict[str, Any]) -> str:
    """Takes the session back to there and on with half the batch; a sentence that says so."""
    free_what_can_be_freed()
    settings = halved(session.config)
    assert settings is not None
    sentence = halving_sentence(session.config, settings, session.position.epoch)
    session.restore(begun)
    session.halvings += 1
    session.change(settings)
    return sentence


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that processor or GPU had no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def halved(config: TrainConfig) -> dict[str, Any] | None:
    """The changed settings of a resolved config with half its batch; None where it cannot be halved."""
    assert config.batch_size is not None
    assert config.learning_rate is not None
    if config.batch_size < 2 * LEAST_BATCH:
        return None
    batch = config.batch_size // 2
    share = batch / config.batch_size
    rate = config.learning_rate * (share if config.optimizer == "sgd" else math.sqrt(share))
    return {"batch_size": batch, "learning_rate": float(f"{rate:.6g}")}


def halving_sentence(config: TrainConfig, settings: dict[str, Any], epoch: int) -> str:
    """What happened and what is done about it, for people."""
    rate = f"{settings['learning_rate']:g} instead of {config.learning_rate:g}"
    return (
        f"The memory ran out with batches of {config.batch_size}. Epoch {epoch} begins again with "
        f"{settings['batch_size']} pictures a step and a learning rate up to {rate}, so that a picture counts as much "
        "as before."
    )


def free_what_can_be_freed() -> None:
    """Gives back what the failed step held: Python's cycles, then the blocks that torch keeps on a GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def copy_to_cpu(state: Any) -> Any:
    """A copy of a session's state that takes no memory of the device; dicts, lists, tuples and tensors are copied."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copy_to_cpu(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(copy_to_cpu(value) for value in state)
    return state
