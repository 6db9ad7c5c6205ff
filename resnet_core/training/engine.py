"""The training loop. It reads top to bottom and yields facts; it knows nothing of files, pages or printing.

    for event in fit(config, dataset): ...

Whatever happens, the last event is exactly one RunEnded. What should be kept goes through a `Saver`; what people ask
for arrives through a `Control`.
"""

import errno
import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from resnet_core.allocator import keeping_freed_memory
from resnet_core.data.cache import Progress
from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import ResNetLabError
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control, StopAsked
from resnet_core.training.distributed import ALONE, Team
from resnet_core.training.events import Changed, CheckpointSaved, Event, Paused, Resumed, RunEnded, Warned
from resnet_core.training.halving import halve_batch, ran_out_of_memory, state_to_halve
from resnet_core.training.lost_steps import in_steps
from resnet_core.training.resuming import Position
from resnet_core.training.session import Session
from resnet_core.training.shared_control import share_control
from resnet_core.training.validation import Validation

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two attempts to save on a full disk
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Saver(Protocol):
    """Keeps what a training makes. Called between steps, in the training thread.

    An OSError of a full disk means: not now. The training waits and asks again.
    """

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
    team: Team = ALONE,
) -> Iterator[Event]:
    """Trains and yields events, RunStarted first (if it gets that far) and RunEnded last.

    Every process of a team does the same and yields the same events; only the first one saves.

    `resume` is a state that an earlier session saved; `progress(done, total)` is told while pictures are decoded.
    Never raises for what goes wrong inside: that is RunEnded(status="failed") with a sentence.
    """
    saver, control = saver or KeepNothing(), share_control(control or Control(), team)
    try:
        session = Session(config, dataset, state=resume, progress=_heeding(progress, control), team=team)
        yield session.started()
        yield from _warnings(session)
        if resume is not None:
            control.recall(resume.get("pending", {}), session.position.epoch)
            yield from _taken_up(session.position.step, int(resume.get("lost_steps", 0)))
        with keeping_freed_memory():
            ending = yield from _until_stopped(session, saver, control)
    except StopAsked:
        ending = RunEnded(status="stopped", reason="Stopped while the pictures were prepared, as asked.")
    except ResNetLabError as error:
        ending = RunEnded(status="failed", reason=str(error))
    except OSError as error:
        log.exception("training failed")
        ending = RunEnded(status="failed", reason=f"A file could not be read or written ({_why(error)}).")
    except Exception as error:
        log.exception("training failed")
        ending = RunEnded(status="failed", reason=team.why(error) or _unforeseen(error))
    if ending.status == "failed":
        team.failed(ending.reason)
    yield ending


def _until_stopped(session: Session, saver: Saver, control: Control) -> Generator[Event, None, RunEnded]:
    try:
        yield from _epochs(session, saver, control)
    except StopAsked:
        reason = f"Stopped after step {session.position.step}, as asked."
        try:
            _note_place(session, control)
            session.team.first(partial(saver.save_resume, session))
        except OSError as error:
            reason += f" It could not be saved there ({_why(error)}); Resume goes on from where it last was."
        return RunEnded(status="stopped", reason=reason)
    if session.has_stalled and session.position.epoch <= session.epochs:
        best_epoch, waited = session.position.best_epoch, session.config.patience
        reason = f"Ended early: epoch {best_epoch} was the best, and {waited} epochs since then brought nothing better."
        return RunEnded(status="finished", reason=reason)
    if session.position.epoch <= session.epochs:
        return RunEnded(status="stopped", reason="Stopped after the epoch, as asked.")
    best = session.position.best_top1
    reason = f"All {session.epochs} epochs are done; best validation accuracy {best:.1%}."
    return RunEnded(status="finished", reason=reason)


def _epochs(session: Session, saver: Saver, control: Control) -> Iterator[Event]:
    session.budget.begin_training()
    while True:
        if session.position.step_in_epoch == 0:
            yield from _changed(session, control)
        if session.position.epoch > session.epochs or session.has_stalled:
            return
        validation = yield from _epoch(session, saver, control)
        if validation is None:
            continue
        before = replace(session.position)
        ended = session.end_epoch(validation)
        yield ended
        if ended.best:
            yield from _keep_best(partial(saver.save_best, session, validation), session, control, before)
            yield CheckpointSaved(kind="best", epoch=ended.epoch, step=ended.step)
        session.pending = control.pending()
        yield from _kept(partial(saver.save_epoch, session, validation), session, control)
        yield CheckpointSaved(kind="last", epoch=ended.epoch, step=ended.step)
        if control.ends_after_epoch:
            return


def _keep_best(save: Callable[[], None], session: Session, control: Control, before: Position) -> Iterator[Event]:
    """Saves the best epoch; where a stop ends the wait for room it is tried once more, and else is not the best: what
    is saved of the run never names a best epoch that is not on the disk."""
    try:
        yield from _kept(save, session, control)
    except StopAsked:
        position = session.position
        try:
            session.team.first(save)
        except OSError:
            position.best_top1, position.best_loss = before.best_top1, before.best_loss
            position.best_epoch = before.best_epoch
        else:
            yield CheckpointSaved(kind="best", epoch=position.best_epoch, step=position.step)
        raise


def _epoch(session: Session, saver: Saver, control: Control) -> Generator[Event, None, Validation | None]:
    """Trains an epoch and judges it; None where the memory ran out and the epoch is to begin again with less."""
    begun = state_to_halve(session)
    try:
        for step_ended in session.train_epoch():
            if step_ended:
                yield step_ended
            yield from _heed(session, saver, control)
        return session.validate(control)
    except (MemoryError, RuntimeError) as error:
        if begun is None or not ran_out_of_memory(error):
            raise
    yield Warned(message=halve_batch(session, begun))  # here what the failed step held is free
    changed = {name: getattr(session.config, name) for name in ("batch_size", "learning_rate")}
    yield Changed(epoch=session.position.epoch, step=session.position.step, settings=changed)
    yield session.started()
    return None


def _changed(session: Session, control: Control) -> Iterator[Event]:
    """What people want otherwise from this epoch on, and what was to change by then."""
    asked = control.take_changes(session.position.epoch)
    try:
        for settings in (session.team.first(partial(session.due_changes, asked)), asked):
            if settings:
                yield from _change(session, settings, control)
    except StopAsked:  # while a change was prepared: it is still to come
        control.give_back(session.position.epoch, asked)
        raise


def _change(session: Session, settings: dict[str, Any], control: Control) -> Iterator[Event]:
    """Other settings from here on; what does not go together with the rest stays as it was."""
    told = len(session.warnings)
    try:
        session.change(settings, progress=_heeding(None, control))
    except ResNetLabError as error:
        yield Warned(message=f"Nothing was changed: {error}", refused=settings)
    else:
        yield from (Warned(message=message) for message in session.warnings[told:])
        yield Changed(epoch=session.position.epoch, step=session.position.step, settings=settings)


def _kept(save: Callable[[], None], session: Session, control: Control) -> Iterator[Event]:
    """Saves; where the disk is full, pauses and tries again until it is not. Raises StopAsked, other OSErrors."""
    waiting = False
    while True:
        try:
            session.team.first(save)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            if not waiting:
                log.exception("saving failed")
                full = f"The run could not be saved ({_why(error)})"
                yield Warned(message=f"{full}; the training waits and goes on once there is room.")
                yield Paused(step=session.position.step)
            waiting = True
            control.rest(RETRY_SECONDS)
        else:
            break
    if waiting:
        yield Resumed(step=session.position.step)


def _heed(session: Session, saver: Saver, control: Control) -> Iterator[Event]:
    """Between two steps: stop or wait if someone asked for it. Raises StopAsked."""
    control.check()
    if control.pausing:
        _note_place(session, control)
        yield from _kept(partial(saver.save_resume, session), session, control)
        yield Paused(step=session.position.step)
        with session.budget.resting():
            control.wait()
        yield Resumed(step=session.position.step)


def _taken_up(step: int, lost: int) -> Iterator[Event]:
    if lost:
        yield Warned(message=f"The run was interrupted and lost {in_steps(lost)}; it goes on after step {step:,}.")
    yield Resumed(step=step, lost=lost)


def _note_place(session: Session, control: Control) -> None:
    """Makes the session ready to be saved in the middle of an epoch. Raises RunError where it has diverged: what was
    saved before stays."""
    session.settle()
    session.check_numbers()
    session.pending = control.pending()


def _warnings(session: Session) -> Iterator[Warned]:
    skipped = session.skipped_pictures()
    if skipped:
        path, reason = skipped[0]
        more = f" and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
        yield Warned(message=f"{len(skipped):,} pictures could not be read and are left out: {path}{more} ({reason})")
    yield from (Warned(message=message) for message in session.warnings)


def _heeding(progress: Progress | None, control: Control) -> Progress:
    """The same progress, which also notices between two pictures that a stop was asked for."""

    def told(done: int, total: int) -> None:
        control.check_alone()
        if progress:
            progress(done, total)

    return told


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _unforeseen(error: Exception) -> str:
    if ran_out_of_memory(error):
        return "The memory ran out; use a smaller batch or picture size."
    return f"The training broke off unexpectedly ({type(error).__name__}); see the log."
