"""`train`: a training on the command line, stopped by Ctrl-C with everything saved."""

import argparse
import json
import sys
from itertools import chain
from pathlib import Path
from typing import Any

from resnet_core.commands.before_training import dry_run, find_rate
from resnet_core.commands.stopping import stopping_on_signals, stopping_when_nobody_listens
from resnet_core.commands.training_together import Task, advising_anyway, train_elsewhere, train_under_torchrun
from resnet_core.data.datasets import load_dataset
from resnet_core.data.images import display_name
from resnet_core.errors import ConfigError, RunError
from resnet_core.inference.starting import started_from
from resnet_core.terminal import ProgressBar
from resnet_core.training.branching import branch_off
from resnet_core.training.budget import as_decided
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control, Replay
from resnet_core.training.data_changes import ready_to_go_on
from resnet_core.training.distributed import ALONE, Team
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded, event_to_json
from resnet_core.training.kept_epochs import in_words
from resnet_core.training.launching import branch_of_this_launch, count_processes, note_launch, under_torchrun
from resnet_core.training.lost_steps import begins_again
from resnet_core.training.orders import OrderedControl
from resnet_core.training.presets import make_config
from resnet_core.training.recorder import RunRecorder, find_resume, load_resume
from resnet_core.training.runs import Run, RunStore
from resnet_core.training.settings_files import read_settings

_TRAIN_FIELDS = (
    "dataset", "model", "stem", "as_published", "epochs", "image_size", "batch_size", "learning_rate", "optimizer",
    "schedule", "augment", "mixup", "cutmix", "drop_path", "clip_norm", "patience", "pretrained", "init_from",
    "freeze", "seed", "device", "precision", "memory_format", "compile", "num_threads", "name", "keep",
    "width", "zero_init_residual", "thaw", "max_pictures", "sampling", "class_weights", "resize", "start_image_size",
    "normalize", "rendered_share", "flip_average", "budget_minutes", "momentum", "weight_decay", "warmup",
    "label_smoothing", "ema_decay", "halve_batch",
    "processes",
)  # fmt: skip


def train(options: argparse.Namespace) -> int:
    """Trains and prints what happens; Ctrl-C and SIGTERM stop it with everything saved."""
    store = RunStore(options.runs_dir)
    only_looks = options.dry_run or options.find_rate
    if only_looks and (options.resume or options.fork):
        raise ConfigError("--dry-run and --find-rate are about a new run; leave out --resume and --fork.")
    if under_torchrun():
        return train_under_torchrun(options, store, _new_or_resumed, _train)
    task = _new_or_resumed(options, store)
    processes = 1 if only_looks else count_processes(task[0])
    return train_elsewhere(options, store, task, processes) if processes > 1 else _train(options, store, task, ALONE)


def _train(options: argparse.Namespace, store: RunStore, task: Task, team: Team) -> int:
    config, run, state = task
    dataset = load_dataset(config.dataset, data_dir=options.data_dir, seed=config.seed)
    if options.dry_run or options.find_rate:
        return (dry_run if options.dry_run else find_rate)(config, dataset, options)
    if run and state is not None:
        with advising_anyway():
            state = ready_to_go_on(run, state, dataset, anyway=options.anyway)
    run = run or _new_run(store, config)
    control, bar = _control(options, store, run), ProgressBar(sys.stderr)
    ended = RunEnded(status="failed", reason="")
    with RunRecorder(run, locks=not options.begin) as recorder, stopping_on_signals(control):
        say = stopping_when_nobody_listens(control)
        say(json.dumps({"run_id": run.run_id}) if options.json else f"Run {run.run_id} in {options.runs_dir}")

        def progress(done: int, total: int) -> None:
            recorder.progress(done, total)
            bar.decoding(done, total)

        again = begins_again(run.folder, run.events()) if state is None else ()
        events = fit(config, dataset, saver=recorder, control=control, resume=state, progress=progress, team=team)
        for event in recorder.record(chain(again, events)):
            ended = event if isinstance(event, RunEnded) else ended
            if recorder.homeless:
                control.stop()
            lines = bar.show(event)
            for line in [json.dumps(event_to_json(event))] if options.json else lines:
                say(line)
    if ended.status == "failed" and not options.begin:  # else the process that started this one says so
        raise RunError(ended.reason)
    return 0


def _new_run(store: RunStore, config: TrainConfig) -> Run:
    run = store.create(config)
    note_launch(run)
    return run


def _control(options: argparse.Namespace, store: RunStore, run: Run) -> Control:
    """A control that repeats the changes of the run itself, or of the one that is replayed."""
    changes = (store.get(options.replay) if options.replay else run).events()
    return OrderedControl(changes, run.folder) if options.begin else Replay(changes)


def _new_or_resumed(options: argparse.Namespace, store: RunStore) -> Task:
    settings = {field: getattr(options, field) for field in _TRAIN_FIELDS}
    if options.begin:
        run = store.get(options.begin)
        return run.config(), run, load_resume(run) if (run.folder / "resume.pt").is_file() else None
    processes = settings.pop("processes") if options.resume or options.replay else None
    given = options.preset or options.plain or options.settings or any(value is not None for value in settings.values())
    if options.replay:
        if options.resume or given:
            raise ConfigError("A run is repeated with the settings it had; give --replay without others.")
        return _in_processes(_repeated(store.get(options.replay)), processes), None, None
    if options.from_epoch is not None and not options.fork:
        raise ConfigError("--from-epoch needs --fork RUN.")
    if options.fork:
        run = _forked(options, store, {key: value for key, value in settings.items() if value is not None})
        return run.config(), run, load_resume(run)
    if options.resume is None:
        if options.plain:
            settings["residual"] = False
        if options.settings:
            config = _from_file(options.settings, options.preset, settings)
        else:
            config = make_config(options.preset or "default", **settings)
        return started_from(config, store, allow_paths=True), None, None
    if given:
        raise ConfigError("A run is taken up with the settings it has; give --resume without others.")
    run = store.get(options.resume)
    status = run.status()
    if status not in ("stopped", "failed", "interrupted"):
        raise RunError(f"Run {run.run_id} is {status}; only a stopped, failed or interrupted run can be taken up.")
    return _in_processes(run.config(), processes), run, find_resume(run)


def _in_processes(config: TrainConfig, processes: int | None) -> TrainConfig:
    """The config with another number of processes, where one was asked for: the training stays the same."""
    return config if processes is None else config.replace(processes=processes)


def _repeated(run: Run) -> TrainConfig:
    config = run.config()
    if config.forked_from:
        raise ConfigError(
            f"Run {run.run_id} branched off from {config.forked_from}, so it did not begin from the start; "
            "repeat it with --fork and --from-epoch."
        )
    return as_decided(config, run.events())


def _from_file(path: Path, preset: str | None, settings: dict[str, Any]) -> TrainConfig:
    """The settings of a JSON file, with those given beside it laid over them."""
    if preset:
        raise ConfigError("The file holds a preset's settings already; give --settings without --preset.")
    try:
        config = read_settings(path.read_bytes())
    except OSError as error:
        shown = display_name(path)
        raise ConfigError(
            f"The settings file “{shown}” cannot be read ({error.strerror}); check the name and the folder."
        ) from error
    return config.replace(**{name: value for name, value in settings.items() if value is not None})


def _forked(options: argparse.Namespace, store: RunStore, settings: dict[str, Any]) -> Run:
    """The branch asked for, made but not trained yet."""
    if options.resume or options.preset or options.plain:
        raise ConfigError("A branch keeps the network and the pictures; give --fork without --resume or a preset.")
    if options.from_epoch is None:
        kept = in_words(store.get(options.fork).kept_epochs()) or "none"
        raise ConfigError(f"Say after which epoch the branch begins, with --from-epoch; kept are: {kept}.")
    begun = branch_of_this_launch(store, f"{options.fork}/{options.from_epoch}", settings)
    if begun:  # before killed processes were replaced
        return begun
    with advising_anyway():
        run, _ = branch_off(
            store, options.fork, options.from_epoch, settings, data_dir=options.data_dir, anyway=options.anyway
        )
    note_launch(run)
    return run
