"""The training loop. It reads top to bottom and yields facts; it knows nothing of files, pages or printing.

    for event in fit(config, dataset): ...

Whatever happens, the last event is exactly one RunEnded. What should be kept goes through a `Saver`; what people ask
for arrives through a `Control`.
"""

import logging
from collections.abc import Iterator
from typing import Any, Protocol

import torch

from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import ResNetLabError
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control, StopAsked
from resnet_core.training.events import CheckpointSaved, Event, Paused, Resumed, RunEnded, Warned
from resnet_core.training.session import Session, Validation

log = logging.getLogger(__name__)


class Saver(Protocol):
    """Keeps what a training makes. Called between steps, in the training thread."""

    def save_best(self, session: Session, validation: Validation) -> None:
        """The judged model is the best so far."""

    def save_epoch(self, session: Session, validation: Validation) -> None:
        """An epoch has ended; the session could be taken up again from here."""

    def save_resume(self, session: Session) -> None:
        """The session pauses or stops in the middle of an epoch and could be taken up again from here."""


class KeepNothing:
    """The saver of a training whose events are all that is wanted."""

    def save_best(self, session: Session, validation: Validation) -> None:
        """Keeps nothing."""

    def save_epoch(self, session: Session, validation: Validation) -> None:
        """Keeps nothing."""

    def save_resume(self, session: Session) -> None:
        """Keeps nothing."""


def fit(
    config: TrainConfig,
    dataset: DatasetSpec,
    *,
    saver: Saver | None = None,
    control: Control | None = None,
    resume: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Iterator[Event]:
    """Trains and yields events, RunStarted first (if it gets that far) and RunEnded last.

    `resume` is a state that an earlier session saved; `progress(done, total)` is told while pictures are decoded.
    Never raises for what goes wrong inside: that is RunEnded(status="failed") with a sentence.
    """
    saver, control = saver or KeepNothing(), control or Control()
    session: Session | None = None
    try:
        session = Session(config, dataset, state=resume, progress=progress)
        yield session.started()
        yield from _warnings(session)
        if resume is not None:
            yield Resumed(step=session.position.step)
        yield from _epochs(session, saver, control)
        early = session.position.epoch <= session.epochs
        ending = RunEnded(status="stopped", reason="Stopped after the epoch, as asked.") if early else _finished(session)
    except StopAsked:
        assert session is not None
        saver.save_resume(session)
        ending = RunEnded(status="stopped", reason=f"Stopped after step {session.position.step}, as asked.")
    except ResNetLabError as error:
        ending = RunEnded(status="failed", reason=str(error))
    except torch.OutOfMemoryError:
        ending = RunEnded(status="failed", reason="The device ran out of memory; use a smaller batch or picture size.")
    except OSError as error:
        log.exception("training failed")
        ending = RunEnded(status="failed", reason=f"A file could not be read or written ({error.strerror or error}).")
    except Exception as error:
        log.exception("training failed")
        ending = RunEnded(status="failed", reason=f"The training broke off unexpectedly ({type(error).__name__}); see the log.")
    yield ending


def _epochs(session: Session, saver: Saver, control: Control) -> Iterator[Event]:
    while session.position.epoch <= session.epochs:
        for step_ended in session.train_epoch():
            if step_ended:
                yield step_ended
            yield from _heed(session, saver, control)
        validation = session.validate(control)
        epoch_ended = session.end_epoch(validation)
        yield epoch_ended
        if epoch_ended.best:
            saver.save_best(session, validation)
            yield CheckpointSaved(kind="best", epoch=epoch_ended.epoch, step=epoch_ended.step)
        saver.save_epoch(session, validation)
        yield CheckpointSaved(kind="last", epoch=epoch_ended.epoch, step=epoch_ended.step)
        if control.ends_after_epoch:
            return


def _heed(session: Session, saver: Saver, control: Control) -> Iterator[Event]:
    """Between two steps: stop or wait if someone asked for it. Raises StopAsked."""
    control.check()
    if control.pausing:
        saver.save_resume(session)
        yield Paused(step=session.position.step)
        control.wait()
        control.check()
        yield Resumed(step=session.position.step)


def _warnings(session: Session) -> Iterator[Warned]:
    skipped = session.skipped_pictures()
    if skipped:
        path, reason = skipped[0]
        more = f" and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
        yield Warned(message=f"{len(skipped):,} pictures could not be read and are left out: {path}{more} ({reason})")


def _finished(session: Session) -> RunEnded:
    best = session.position.best_top1
    return RunEnded(status="finished", reason=f"All {session.epochs} epochs are done; best validation accuracy {best:.1%}.")
