"""`train`: a training on the command line, stopped by Ctrl-C with everything saved."""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from resnet_core.data.datasets import load_dataset
from resnet_core.errors import ConfigError, RunError
from resnet_core.inference.catalog import checkpoint_path
from resnet_core.terminal import ProgressBar
from resnet_core.training.checkpoint import read_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control, Replay
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded, event_to_json
from resnet_core.training.presets import make_config
from resnet_core.training.promotion import fine_tuning_settings
from resnet_core.training.recorder import RunRecorder, load_resume
from resnet_core.training.runs import Run, RunStore

_TRAIN_FIELDS = (
    "dataset", "model", "stem", "as_published", "epochs", "image_size", "batch_size", "learning_rate", "optimizer",
    "schedule", "augment", "mixup", "cutmix", "drop_path", "clip_norm", "patience", "pretrained", "init_from",
    "freeze", "seed", "device", "precision", "memory_format", "compile", "num_threads", "name",
)  # fmt: skip


def train(options: argparse.Namespace) -> int:
    """Trains and prints what happens; Ctrl-C and SIGTERM stop it with everything saved."""
    store = RunStore(options.runs_dir)
    config, run, state = _new_or_resumed(options, store)
    changes = store.get(options.replay).events() if options.replay else run.events() if run else ()
    dataset = load_dataset(config.dataset, data_dir=options.data_dir, seed=config.seed)
    run = run or store.create(config)
    control, bar = Replay(changes), ProgressBar(sys.stderr)
    ended = RunEnded(status="failed", reason="")
    with RunRecorder(run) as recorder, _stopping_on_signals(control):
        say = _stopping_when_nobody_listens(control)
        say(json.dumps({"run_id": run.run_id}) if options.json else f"Run {run.run_id} in {options.runs_dir}")

        def progress(done: int, total: int) -> None:
            recorder.progress(done, total)
            bar.decoding(done, total)

        events = fit(config, dataset, saver=recorder, control=control, resume=state, progress=progress)
        for event in recorder.record(events):
            ended = event if isinstance(event, RunEnded) else ended
            lines = bar.show(event)
            for line in [json.dumps(event_to_json(event))] if options.json else lines:
                say(line)
    if ended.status == "failed":
        raise RunError(ended.reason)
    return 0


def _new_or_resumed(
    options: argparse.Namespace, store: RunStore
) -> tuple[TrainConfig, Run | None, dict[str, Any] | None]:
    settings = {field: getattr(options, field) for field in _TRAIN_FIELDS}
    given = options.preset or options.plain or any(value is not None for value in settings.values())
    if options.replay:
        if options.resume or given:
            raise ConfigError("A run is repeated with the settings it had; give --replay without others.")
        return store.get(options.replay).config(), None, None
    if options.resume is None:
        if options.plain:
            settings["residual"] = False
        if options.init_from:
            start = checkpoint_path(options.init_from, store, allow_paths=True).resolve()
            settings["init_from"] = str(start)
            if options.model is None and options.preset is None:
                settings = _network_of(start) | {key: value for key, value in settings.items() if value is not None}
        return make_config(options.preset or "default", **settings), None, None
    if given:
        raise ConfigError("A run is taken up with the settings it has; give --resume without others.")
    run = store.get(options.resume)
    status = run.status()
    if status not in ("stopped", "failed", "interrupted"):
        raise RunError(f"Run {run.run_id} is {status}; only a stopped, failed or interrupted run can be taken up.")
    return run.config(), run, load_resume(run)


def _network_of(checkpoint: Path) -> dict[str, Any]:
    """The settings that continue with a checkpoint's own network and pictures."""
    settings = fine_tuning_settings(read_checkpoint(checkpoint), way="full")
    return {key: value for key, value in settings.items() if key not in ("freeze", "resize")}


@contextlib.contextmanager
def _stopping_on_signals(control: Control) -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM ask the training to stop; a second Ctrl-C ends the program."""

    def stop(number: int, frame: FrameType | None) -> None:
        if control.stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        control.stop()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopping_when_nobody_listens(control: Control) -> Callable[[str], None]:
    """Prints; when the other end of the pipe is gone, asks the training to stop instead, so that it is saved."""

    def say(line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            control.stop()

    return say
