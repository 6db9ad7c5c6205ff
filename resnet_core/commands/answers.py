"""`predict` and `evaluate`: a model's answers for pictures, and how good they are."""

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from resnet_core.data.datasets import load_dataset
from resnet_core.data.images import display_name
from resnet_core.data.picture_files import PictureFile, find_pictures, shown_name
from resnet_core.device import find_device
from resnet_core.errors import ArchiveError, CheckpointError, ConfigError, ImageError
from resnet_core.files import write_bytes
from resnet_core.inference.batch_report import NAME_LIMIT, BatchRow, answered_row, csv_text, truth_of
from resnet_core.inference.catalog import load_classifier
from resnet_core.inference.classifier import Classification, Classifier
from resnet_core.inference.evaluation import evaluate
from resnet_core.terminal import ProgressBar
from resnet_core.training.runs import RunStore


def predict(options: argparse.Namespace) -> int:
    """One line a picture, in the order given; a bad picture is reported and the rest go on.

    A folder or a zip stands for all pictures in it. With `--csv` the answers so far are also in a table, whatever
    ends the command.
    """
    if options.top_k < 1:
        raise ConfigError("--top-k must be at least 1.")
    if options.csv is not None and not options.csv.absolute().parent.is_dir():
        raise ConfigError("The folder for --csv does not exist; make it first or name another.")
    classifier = _load_asked(options)
    failed = 0
    rows: list[BatchRow] | None = [] if options.csv is not None else None
    with contextlib.ExitStack() as opened:
        files = [file for path in options.pictures for file in _pictures_at(path, opened)]
        try:
            for answer in _answers(classifier, files, options.top_k, rows):
                failed += answer["error"] is not None
                _print_answer(answer, as_json=options.json)
        finally:
            if rows is not None:
                text = csv_text(rows, classifier.class_names)
                write_bytes(options.csv, text.encode("utf-8", "replace"))
    return 1 if failed else 0


def _pictures_at(path: str, opened: contextlib.ExitStack) -> Sequence[PictureFile]:
    """What a path on the command line stands for; where it cannot be opened, one picture that says so."""
    try:
        found = find_pictures(Path(path))
    except (ImageError, ArchiveError) as error:
        return [PictureFile(name=path, content=partial(_refuse, str(error)))]
    opened.callback(found.close)
    return found.pictures


def _refuse(sentence: str) -> bytes:
    raise ImageError(sentence)


def _answers(
    classifier: Classifier, files: Sequence[PictureFile], top_k: int, rows: list[BatchRow] | None
) -> Iterator[dict[str, Any]]:
    """One JSON object a picture; each also becomes a row of `rows` where there is such a list."""
    notes: dict[int, tuple[str, ...]] = {}

    def read(number: int, file: PictureFile) -> Image.Image:
        photo = file.read(draft_size=classifier.draft_size)
        notes[number] = photo.notes
        return photo.image

    sources = [partial(read, number, file) for number, file in enumerate(files)]
    results = classifier.classify_many(sources, top_k=top_k if rows is None else None)
    for number, (file, result) in enumerate(zip(files, results, strict=True)):
        if rows is not None:
            rows.append(_row(file, result, classifier.class_names, notes.pop(number, ())))
        answer: dict[str, Any] = {"image": file.name, "predictions": [], "unknown": False, "error": None}
        if isinstance(result, ImageError):  # it names the picture
            yield answer | {"error": str(result)}
        elif isinstance(result, CheckpointError):
            yield answer | {"error": f"{display_name(file.name)}: {result}"}
        else:
            best = [dataclasses.asdict(prediction) for prediction in result.predictions[:top_k]]
            yield answer | {"predictions": best, "unknown": result.unknown}


def _row(
    file: PictureFile,
    result: Classification | ImageError | CheckpointError,
    class_names: Sequence[str],
    notes: tuple[str, ...],
) -> BatchRow:
    name, truth = shown_name(file.name, NAME_LIMIT), truth_of(file.name, class_names)
    if isinstance(result, ImageError | CheckpointError):
        return BatchRow(name=name, reason=str(result), truth=truth)
    return answered_row(name, result, class_names, notes=notes, truth=truth)


def evaluate_command(options: argparse.Namespace) -> int:
    """Scores a checkpoint on a split."""
    if options.batch_size < 1:
        raise ConfigError("--batch-size must be at least 1.")
    classifier = _load_asked(options)
    seed = classifier.checkpoint.split_seed
    dataset = load_dataset(options.dataset, data_dir=options.data_dir, seed=seed)
    bar = ProgressBar(sys.stderr)
    scores = evaluate(classifier, dataset, split=options.split, batch_size=options.batch_size, progress=bar.decoding)
    if options.json:
        print(json.dumps(scores.to_json(), ensure_ascii=False))
        return 0
    print(f"{scores.n:,} pictures: top-1 {scores.top1:.2%}, loss {scores.loss:.3f}, calibration error {scores.ece:.1%}")
    print(f"  calibration error with a temperature fitted to other pictures of these: {scores.ece_held_out:.1%}")
    if scores.unknown_rate is not None:
        print(f"  refused as unknown: {scores.unknown_rate:.1%}")
    for row in scores.per_class:
        print(
            f"  {display_name(row.label):<24} {row.n:>6,} pictures  found {row.recall:6.1%}  right {row.precision:6.1%}"
        )
    return 0


def _load_asked(options: argparse.Namespace) -> Classifier:
    return load_classifier(
        options.checkpoint,
        RunStore(options.runs_dir),
        allow_paths=True,
        device=find_device(options.device),
        engine=options.engine,
    )


def _print_answer(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    elif answer["error"]:
        print(answer["error"], file=sys.stderr, flush=True)
    else:
        ranked = ", ".join(f"{p['label']} {p['probability']:.1%}" for p in answer["predictions"])
        name = display_name(answer["image"])
        print(f"{name}: {'I do not know this; nearest: ' if answer['unknown'] else ''}{ranked}", flush=True)
