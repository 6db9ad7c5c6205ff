"""`train` in several processes: what each does that torchrun has started, and how they are started from here."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from resnet_core.commands.stopping import stopping_on_signals
from resnet_core.data.datasets import load_dataset
from resnet_core.errors import DataChangedError, ResNetLabError, RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.data_changes import ready_to_go_on
from resnet_core.training.distributed import Team, joined_team
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded
from resnet_core.training.launching import LAUNCHED, run_of_this_launch, train_together
from resnet_core.training.recorder import RunRecorder, load_resume
from resnet_core.training.runs import Run, RunStore

Task = tuple[TrainConfig, Run | None, dict[str, Any] | None]  # settings; the run, where there is one; where it goes on
_Parcel = tuple[TrainConfig, str | None, dict[str, Any] | None]  # the same, as it travels


def train_under_torchrun(
    options: argparse.Namespace,
    store: RunStore,
    choose: Callable[[argparse.Namespace, RunStore], Task],
    lead: Callable[[argparse.Namespace, RunStore, Task, Team], int],
) -> int:
    """One of torchrun's processes: the first one chooses and leads, the others follow without a word."""
    with joined_team() as team:
        begun = time.time()
        try:
            config, run_id, state = team.first(partial(_parcel, options, store, team, choose))
            if team.leads:
                return lead(options, store, (config, store.get(run_id) if run_id else None, state), team)
            return _follow(options, config, state, team)
        except ResNetLabError as error:
            if LAUNCHED in os.environ:  # what failed once would fail again: told in the run, not by a replacement
                if team.leads and options.begin:
                    _record_failure(store, options.begin, begun, error)
                sys.exit(0)
            if team.leads:
                raise
            sys.exit(1)  # the first process says why


def _record_failure(store: RunStore, run_id: str, begun: float, error: ResNetLabError) -> None:
    """Ends a run that could not even begin, unless it has had an ending since this process began (seconds)."""
    with contextlib.suppress(RunError):  # deleted meanwhile
        run = store.get(run_id)
        if not any(event["event"] == "RunEnded" and event["time"] >= begun - 0.001 for event in run.events()):
            with RunRecorder(run, locks=False) as recorder:
                recorder.write(RunEnded(status="failed", reason=str(error)))


@contextlib.contextmanager
def advising_anyway() -> Iterator[None]:
    """Inside, the question whether to go on with changed pictures says how to answer it here."""
    try:
        yield
    except DataChangedError as error:
        raise RunError(f"{error} Add --anyway to go on with them as they are now.") from error


def train_elsewhere(options: argparse.Namespace, store: RunStore, task: Task, processes: int) -> int:
    """Trains in so many processes; this one carries its signals over to them and waits."""
    config, run, state = task
    dataset = load_dataset(config.dataset, data_dir=options.data_dir, seed=config.seed)  # a wrong name is told at once
    if run and state is not None:
        with advising_anyway():
            ready_to_go_on(run, state, dataset, anyway=options.anyway)
    run, control = run or store.create(config), Control()
    with stopping_on_signals(control):
        train_together(
            run,
            control,
            processes=processes,
            data_dir=options.data_dir,
            json_lines=options.json,
            replay=options.replay,
        )
    ended = run.events()[-1]
    if ended["status"] == "failed":
        raise RunError(ended["reason"])
    return 0


def _parcel(
    options: argparse.Namespace,
    store: RunStore,
    team: Team,
    choose: Callable[[argparse.Namespace, RunStore], Task],
) -> _Parcel:
    """What to train; after killed processes were replaced, that is the run which they had begun."""
    config, run, state = choose(options, store)
    if run is None:
        config = config.replace(processes=team.size)
        run = run_of_this_launch(store, config)
        state = load_resume(run) if run and (run.folder / "resume.pt").is_file() else None
    if run and state is not None:  # agreed on before the others hear of it
        dataset = load_dataset(config.dataset, data_dir=options.data_dir, seed=config.seed)
        with advising_anyway():
            state = ready_to_go_on(run, state, dataset, anyway=options.anyway)
    return config, run.run_id if run else None, state


def _follow(options: argparse.Namespace, config: TrainConfig, state: dict[str, Any] | None, team: Team) -> int:
    """The same training as the first process's, without a file and without a word."""
    dataset = load_dataset(config.dataset, data_dir=options.data_dir, seed=config.seed)
    control, ended = Control(), None
    with stopping_on_signals(control):
        for event in fit(config, dataset, control=control, resume=state, team=team):
            ended = event
    if isinstance(ended, RunEnded) and ended.status == "failed":
        sys.exit(0 if LAUNCHED in os.environ else 1)
    return 0
