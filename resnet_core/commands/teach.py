"""`teach`: new classes for the body of a trained network, in seconds, judged honestly and put on the shelf."""

import argparse
import json
import sys

from resnet_core.data.datasets import load_dataset
from resnet_core.data.image_gate import visible_text
from resnet_core.device import find_device
from resnet_core.inference.catalog import load_classifier
from resnet_core.inference.shelf import shelf_of
from resnet_core.inference.taught import refusing_unknown, remember_pictures
from resnet_core.terminal import ProgressBar
from resnet_core.training.examples import examples_of
from resnet_core.training.judging import Judgement
from resnet_core.training.looking import make_backbone
from resnet_core.training.runs import RunStore
from resnet_core.training.teaching import TeachingReport, teach

CONFUSIONS = 3  # lines of the report


def teach_command(options: argparse.Namespace) -> int:
    """Teaches, prints the report, saves the model."""
    store = RunStore(options.runs_dir)
    dataset = load_dataset(options.dataset, data_dir=options.data_dir, seed=options.seed)
    classifier = load_classifier(
        options.checkpoint, store, allow_paths=True, device=find_device(options.device), engine="plain"
    )
    backbone = make_backbone(options.checkpoint, classifier.checkpoint, classifier.model)
    bar = ProgressBar(sys.stderr)
    taught = teach(examples_of(dataset), backbone, seed=options.seed, progress=bar.decoding)
    checkpoint = refusing_unknown(taught)
    shelf = shelf_of(store)
    entry = shelf.add(checkpoint, taught.state_dict, name=options.name or f"{dataset.name} taught")
    remember_pictures(taught, shelf.pictures(entry.name))
    if options.json:
        print(
            json.dumps(
                {"model": entry.name, "refuses_unknown": checkpoint.unknown is not None, **taught.report.to_json()},
                ensure_ascii=False,
            )
        )
        return 0
    for line in report_lines(taught.report):
        print(line)
    print(f"The model is {entry.name}; ask it with «predict --checkpoint {entry.name} PICTURE».")
    return 0


def report_lines(report: TeachingReport) -> list[str]:
    """What a person should know about a teaching, a sentence a line."""
    total = sum(report.counts.values())
    lines = [
        f"{len(report.counts)} classes were taught from {total:,} pictures with the body of "
        f"“{visible_text(report.backbone)}”: {report.seconds_looking:.1f} s to look at them, "
        f"{report.seconds_learning:.1f} s to learn."
    ]
    lines += _judged_lines(report.judgement, tuple(report.counts))
    lines += [f"Note: {note}" for note in report.notes]
    return lines + [f"Left out: {reason}" for _, reason in report.left_out]


def _judged_lines(judged: Judgement | None, names: tuple[str, ...]) -> list[str]:
    if judged is None:
        return ["How good it is cannot be told: every class is one burst. Add pictures taken at another moment."]
    how = (
        f"{judged.n:,} pictures kept back"
        if judged.method == "hold-out"
        else f"{judged.n:,} pictures, each kept back once in turn ({judged.folds}-fold cross-validation)"
    )
    grouped = f", which are {judged.groups:,} bursts or single pictures" if judged.groups < judged.n else ""
    between = f"most likely between {judged.low:.0%} and {judged.high:.0%}"
    lines = [f"About {judged.top1:.0%} of its answers are right, {between}: judged on {how}{grouped}."]
    for true, answer, count, total in judged.confusions()[:CONFUSIONS]:
        lines.append(
            f"  {count} of {total} “{visible_text(names[true])}” were taken for “{visible_text(names[answer])}”."
        )
    if judged.unjudged:
        shown = ", ".join(f"“{visible_text(names[index])}”" for index in judged.unjudged)
        lines.append(f"Not judged, since all their pictures are one burst: {shown}.")
    return lines
