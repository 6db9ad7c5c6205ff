"""What each command does. A function takes the parsed options, prints, and returns the exit code."""

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from resnet_core.data.datasets import list_datasets, load_dataset
from resnet_core.data.download import download_dataset
from resnet_core.data.images import display_name
from resnet_core.device import find_device
from resnet_core.errors import ConfigError, ImageError, RunError
from resnet_core.inference.catalog import checkpoint_path, list_checkpoints, load_classifier
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.evaluation import evaluate
from resnet_core.models.describe import describe
from resnet_core.models.zoo import build_model, get_architecture, list_models
from resnet_core.terminal import ProgressBar
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded, event_to_json
from resnet_core.training.presets import make_config
from resnet_core.training.recorder import RunRecorder, load_resume
from resnet_core.training.runs import Run, RunStore

_TRAIN_FIELDS = (
    "dataset", "model", "stem", "as_published", "epochs", "image_size", "batch_size", "learning_rate", "optimizer",
    "schedule", "augment", "pretrained", "init_from", "freeze", "seed", "device", "precision",
    "memory_format", "compile", "num_threads", "name",
)  # fmt: skip


def train(options: argparse.Namespace) -> int:
    """Trains and prints what happens; Ctrl-C and SIGTERM stop it with everything saved."""
    store = RunStore(options.runs_dir)
    config, run, state = _new_or_resumed(options, store)
    dataset = load_dataset(config.dataset, data_dir=options.data_dir, seed=config.seed)
    run = run or store.create(config)
    control, bar = Control(), ProgressBar(sys.stderr)
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


def predict(options: argparse.Namespace) -> int:
    """One line a picture, in the order given; a bad picture is reported and the rest go on."""
    if options.top_k < 1:
        raise ConfigError("--top-k must be at least 1.")
    classifier = _load_asked(options)
    failed = 0
    results = classifier.classify_many(map(Path, options.pictures), top_k=options.top_k)
    for picture, result in zip(options.pictures, results, strict=True):
        answer: dict[str, Any] = {"image": picture, "predictions": [], "unknown": False, "error": None}
        if isinstance(result, ImageError):
            failed += 1
            answer["error"] = str(result)
        else:
            answer["predictions"] = [dataclasses.asdict(prediction) for prediction in result.predictions]
            answer["unknown"] = result.unknown
        _print_answer(answer, as_json=options.json)
    return 1 if failed else 0


def _load_asked(options: argparse.Namespace) -> Classifier:
    return load_classifier(
        options.checkpoint,
        RunStore(options.runs_dir),
        allow_paths=True,
        device=find_device(options.device),
        engine=options.engine,
    )


def evaluate_command(options: argparse.Namespace) -> int:
    """Scores a checkpoint on a split."""
    if options.batch_size < 1:
        raise ConfigError("--batch-size must be at least 1.")
    classifier = _load_asked(options)
    seed = int(classifier.checkpoint.training.get("config", {}).get("seed", 0))  # the split its training used
    dataset = load_dataset(options.dataset, data_dir=options.data_dir, seed=seed)
    bar = ProgressBar(sys.stderr)
    scores = evaluate(classifier, dataset, split=options.split, batch_size=options.batch_size, progress=bar.decoding)
    if options.json:
        print(json.dumps(scores.to_json(), ensure_ascii=False))
        return 0
    print(f"{scores.n:,} pictures: top-1 {scores.top1:.2%}, loss {scores.loss:.3f}, calibration error {scores.ece:.1%}")
    for row in scores.per_class:
        print(
            f"  {display_name(row.label):<24} {row.n:>6,} pictures  found {row.recall:6.1%}  right {row.precision:6.1%}"
        )
    return 0


def describe_command(options: argparse.Namespace) -> int:
    """The layer table of a network."""
    architecture = get_architecture(options.model)
    arguments = {"as_published": True} if options.as_published else {}
    model = build_model(options.model, num_classes=options.num_classes, **arguments)
    size = architecture.default_image_size if options.image_size is None else options.image_size
    table = describe(model, size)
    if options.json:
        print(json.dumps(dataclasses.asdict(table)))
        return 0
    print(f"{'layer':<28} {'kind':<18} {'output':<16} {'parameters':>12} {'MACs':>16}")
    for layer in table.layers:
        shape = "×".join(map(str, layer.output_shape))
        print(f"{layer.name:<28} {layer.kind:<18} {shape:<16} {layer.parameters:>12,} {layer.macs:>16,}")
    print(f"{'in all':<28} {'':<18} {'':<16} {table.parameters:>12,} {table.macs:>16,}")
    return 0


def runs(options: argparse.Namespace) -> int:
    """Lists, shows or removes runs."""
    store = RunStore(options.runs_dir)
    if options.action == "list":
        summaries = [dataclasses.asdict(run.summary()) for run in store.list()]
        return _print_rows(
            summaries, ("run_id", "status", "model", "dataset", "epochs_done", "best_top1"), options.json
        )
    if not options.run:
        raise ConfigError(f"«runs {options.action}» needs a run's id; «runs list» shows them.")
    if options.action == "rm":
        store.remove(options.run)
        return 0
    run = store.get(options.run)
    shown = {**dataclasses.asdict(run.summary()), "config": run.config().to_json(), "events": run.events()}
    print(json.dumps(shown, indent=None if options.json else 2, ensure_ascii=False))
    return 0


def datasets(options: argparse.Namespace) -> int:
    """Lists the named data sets, or downloads one."""
    if options.action == "list":
        rows = [dataclasses.asdict(listing) for listing in list_datasets(options.data_dir)]
        return _print_rows(rows, ("name", "available", "detail"), options.json)
    if not options.name:
        raise ConfigError("«datasets get» needs a name: flower_photos or cifar10.")
    bar = ProgressBar(sys.stderr)
    folder = download_dataset(options.name, options.data_dir, progress=bar.downloading)
    print(json.dumps({"name": options.name, "path": str(folder)}) if options.json else f"{options.name} is in {folder}")
    return 0


def models(options: argparse.Namespace) -> int:
    """Lists the networks that can be built and the trained models at hand."""
    rows = [{"name": name, "kind": "network", "detail": get_architecture(name).title} for name in list_models()]
    trained = list_checkpoints(RunStore(options.runs_dir))
    rows += [{"name": entry.name, "kind": "trained", "detail": entry.detail} for entry in trained]
    return _print_rows(rows, ("name", "kind", "detail"), options.json)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": train,
    "predict": predict,
    "evaluate": evaluate_command,
    "describe": describe_command,
    "runs": runs,
    "datasets": datasets,
    "models": models,
}


def _new_or_resumed(
    options: argparse.Namespace, store: RunStore
) -> tuple[TrainConfig, Run | None, dict[str, Any] | None]:
    settings = {field: getattr(options, field) for field in _TRAIN_FIELDS}
    if options.resume is None:
        if options.plain:
            settings["residual"] = False
        if options.init_from:
            settings["init_from"] = str(checkpoint_path(options.init_from, store, allow_paths=True).resolve())
        return make_config(options.preset or "default", **settings), None, None
    if options.preset or options.plain or any(value is not None for value in settings.values()):
        raise ConfigError("A run is taken up with the settings it has; give --resume without others.")
    run = store.get(options.resume)
    status = run.status()
    if status not in ("stopped", "failed", "interrupted"):
        raise RunError(f"Run {run.run_id} is {status}; only a stopped, failed or interrupted run can be taken up.")
    return run.config(), run, load_resume(run)


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


def _print_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    elif answer["error"]:
        print(answer["error"], file=sys.stderr, flush=True)
    else:
        ranked = ", ".join(f"{p['label']} {p['probability']:.1%}" for p in answer["predictions"])
        name = display_name(answer["image"])
        print(f"{name}: {'I do not know this; nearest: ' if answer['unknown'] else ''}{ranked}", flush=True)


def _print_rows(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> int:
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    texts = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max([len(column), *(len(row[i]) for row in texts)]) for i, column in enumerate(columns)]
    for row in ([*map(str, columns)], *texts):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.1%}" if isinstance(value, float) else display_name(str(value)) if value is not None else "–"
