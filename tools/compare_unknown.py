"""Which score tells pictures of no flower from flowers? Many, each tried on sources its fit did not see.

    python -m tools.compare_unknown --data-dir DATA [--checkpoint FILE] [--answers FILE] [--output FILE]

Writes one Markdown table a question: AUROC and share refused where 5 % of the val flowers are lost. `--answers` keeps
the network's answers, so that another run only fits. docs/unknown.md tells what came of it.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import normalize

from resnet_core.data.datasets import DatasetSpec, load_dataset, rendered_flowers
from resnet_core.data.images import read_image
from resnet_core.data.rendered_others import KINDS, render_other
from resnet_core.inference.calibrating import fit_without
from resnet_core.inference.catalog import SHIPPED
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.gathering import Gathered, Others, ask, find_others, gather
from resnet_core.inference.unknown import Recipe, auroc
from resnet_core.models.pooled import stage_columns
from resnet_core.terminal import ProgressBar
from resnet_core.training.calibration import expected_calibration_error, fit_temperature, held_out_probabilities
from resnet_core.training.checkpoint import load_checkpoint

ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
DOGS, BEASTS, VEHICLES = "not_flowers", "cifar10 animals", "cifar10 vehicles"
SEEN_BY = {  # question: sources the fit may not see, sources it is tried on
    "nothing left out": ((), (DOGS, BEASTS, VEHICLES, "drawn")),
    "dogs left out": ((DOGS,), (DOGS,)),
    "CIFAR-10 left out": ((BEASTS, VEHICLES), (BEASTS, VEHICLES)),
    "CIFAR-10's animals left out": ((BEASTS,), (BEASTS,)),
    "CIFAR-10's vehicles left out": ((VEHICLES,), (VEHICLES,)),
    "all animals left out": ((DOGS, BEASTS), (DOGS, BEASTS)),
    "all drawn left out": (tuple(KINDS), ("drawn",)),
}
RECIPES = {
    "linear head": Recipe(hidden=0),
    "head": Recipe(),
    "head, means only": Recipe(spreads=False),
    "head, last stage": Recipe(stages=(3,)),
    "head, stages 1–3": Recipe(stages=(0, 1, 2)),
    "head + nearness": Recipe(nearness=True),
    "nearness": Recipe(head=False, nearness=True),
}
Score = Callable[[Tensor], Tensor]
Loads = Sequence[Callable[[], Image.Image]]


def main() -> None:
    """Reads the arguments, asks the network once, writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--answers", type=Path, default=None)
    parser.add_argument("--output", type=Path, default=None)
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--questions", nargs="*", default=list(SEEN_BY))
    options = parser.parse_args()
    gathered, trials, views = _answers(options)
    lines = [*calibration_table(gathered), "", *simple_table(gathered, trials), "", *mirror_table(views), ""]
    for question in options.questions:
        lines += [*fitted_table(gathered, trials, question, options.recipes), ""]
    text = "\n".join(lines)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")
    print(text)


def calibration_table(gathered: Gathered, *, times: int = 20) -> list[str]:
    """Whether a temperature fitted on val holds for photos it has not seen, and what chance alone would show."""
    logits, targets = gathered.held_logits, gathered.held_targets
    fitted = fit_temperature(logits, targets)
    own = torch.softmax(logits / fitted, 1)
    held = [
        expected_calibration_error(held_out_probabilities(logits, targets, seed=seed), targets) for seed in range(times)
    ]
    generator = torch.Generator().manual_seed(0)
    chance = [
        expected_calibration_error(own, torch.multinomial(own, 1, generator=generator)[:, 0]) for _ in range(10 * times)
    ]
    rows = {
        "as the network says it": f"{expected_calibration_error(torch.softmax(logits, 1), targets):.1%}",
        f"temperature {fitted:.3f}, fitted on the same photos": f"{expected_calibration_error(own, targets):.1%}",
        f"temperature fitted on the other 4/5, {times} splits": _spread(held),
        "answers that are exactly as sure as they should be": _spread(chance),
    }
    head = ["### Calibration", "", f"| on {len(targets)} val photos | expected calibration error |", "|---|---:|"]
    return [*head, *(f"| {name} | {value} |" for name, value in rows.items())]


def _spread(values: list[float]) -> str:
    numbers = torch.tensor(values)
    low, middle, high = torch.quantile(numbers, torch.tensor([0.05, 0.5, 0.95])).tolist()
    return f"{middle:.1%} ({low:.1%}–{high:.1%})"


def simple_table(gathered: Gathered, trials: dict[str, Tensor]) -> list[str]:
    """Scores that no other picture taught, tried on everything."""
    names = (DOGS, BEASTS, VEHICLES, *KINDS)
    rows = [_row(name, score, gathered, trials, names) for name, score in _simple(gathered).items()]
    return ["### Without other pictures", "", *_head(names), *rows]


def mirror_table(views: dict[str, Tensor]) -> list[str]:
    """How alike the answers for a picture and for its mirror image are, as a score: one minus their total variation."""
    scores = {name: 1 - (views[name][0] - views[name][1]).abs().sum(1) / 2 for name in views}
    known = scores.pop("flowers")
    limit = torch.quantile(known.double(), 0.05)
    cells = [_cell(known, found, limit) for found in scores.values()]
    head = [f"| score | {' | '.join(scores)} |", f"|---|{'---:|' * len(scores)}"]
    return ["### Flip agreement", "", *head, f"| same answer for the mirror image | {' | '.join(cells)} |"]


def fitted_table(gathered: Gathered, trials: dict[str, Tensor], question: str, recipes: Sequence[str]) -> list[str]:
    """Scores fitted without what the question leaves out, tried on it."""
    left_out, tried = SEEN_BY[question]
    names = tuple(name for source in tried for name in (KINDS if source == "drawn" else (source,)))
    rows = []
    for name in recipes:
        fitted = fit_without(gathered, left_out, RECIPES[name])
        rows.append(_row(name, partial(_features_score, gathered, fitted.raw), gathered, trials, names))
        print(question, rows[-1], file=sys.stderr)
    return [f"### {question[:1].upper()}{question[1:]}", "", *_head(names), *rows]


def _features_score(gathered: Gathered, raw: Score, rows: Tensor) -> Tensor:
    return raw(gathered.features(rows))


def _head(names: Sequence[str]) -> list[str]:
    columns = ["score", *names, "flowers at 32 px lost", "rendered flowers lost"]
    return [f"| {' | '.join(columns)} |", f"|---|{'---:|' * (len(columns) - 1)}"]


def _row(name: str, score: Score, gathered: Gathered, trials: dict[str, Tensor], names: Sequence[str]) -> str:
    known = score(gathered.held)
    limit = torch.quantile(known.double(), 0.05)
    cells = []
    for trial in names:
        found = score(trials[trial])
        cells.append(_cell(known, found, limit))
    lost = [f"{float((score(trials[flowers]) < limit).double().mean()):.0%}" for flowers in ("at 32 px", "rendered")]
    return f"| {' | '.join([name, *cells, *lost])} |"


def _cell(known: Tensor, found: Tensor, limit: Tensor) -> str:
    """AUROC and the share of `found` below the limit."""
    return f"{auroc(known, found):.3f} / {float((found < limit).double().mean()):.0%}"


def _simple(gathered: Gathered) -> dict[str, Score]:
    """What can be read off logits and features without pictures of other things."""
    classes = gathered.classes
    last = stage_columns(gathered.channels)[-1]
    means = slice(classes + last.start, classes + last.start + gathered.channels[-1])
    train = normalize(gathered.known[::2, means])  # every second row is a picture as it is
    targets = gathered.known_targets[::2]
    centres = normalize(torch.stack([train[targets == index].mean(0) for index in range(classes)]))
    everything = gathered.features(gathered.known[::2])
    middle, spread = everything.mean(0), everything.std(0) + 1e-3

    def whole(rows: Tensor) -> Tensor:
        return ((gathered.features(rows) - middle) / spread).clamp(-4, 4)

    neighbours = whole(gathered.known[::2])
    return {
        "largest softmax": lambda rows: rows[:, :classes].softmax(1).max(1).values,
        "energy": lambda rows: rows[:, :classes].logsumexp(1),
        "cosine to class centres": lambda rows: (normalize(rows[:, means]) @ centres.T).max(1).values,
        "10th neighbour, last stage": lambda rows: (normalize(rows[:, means]) @ train.T).topk(10, 1).values[:, -1],
        "10th neighbour, all stages": lambda rows: (
            -torch.cdist(whole(rows), neighbours).topk(10, 1, False).values[:, -1]
        ),
    }


def _answers(options: argparse.Namespace) -> tuple[Gathered, dict[str, Tensor], dict[str, Tensor]]:
    """The network's answers on everything, and beside mirror images; from the file where there is one."""
    if options.answers and options.answers.is_file():
        kept = torch.load(options.answers, weights_only=True)
        if "views" in kept:  # else an older version wrote it
            return Gathered(**kept["gathered"]), kept["trials"], kept["views"]
    dataset = load_dataset("flower_photos", data_dir=options.data_dir)
    checkpoint, model = load_checkpoint(options.checkpoint)
    classifier = Classifier(checkpoint, model, precision="fp32", features=True)
    classifier.warm_up()
    sources = [find_others(DOGS, dataset, data_dir=options.data_dir), *_cifar(options.data_dir, "train", 250)]
    bar = ProgressBar(sys.stderr)
    gathered = gather(classifier, dataset, sources, progress=bar.decoding)
    pictures = _unseen(sources[0], options.data_dir)
    trials = _trials(classifier, dataset, pictures)
    single = Classifier(replace(checkpoint, flip_average=False), model, precision="fp32", engine="plain")
    flowers = tuple(partial(dataset.source.load, each.path) for each in dataset.val)
    views = _views(single, {"flowers": flowers, **pictures})
    if options.answers:
        torch.save({"gathered": {**vars(gathered)}, "trials": trials, "views": views}, options.answers)
    return gathered, trials, views


def _cifar(data_dir: Path, split: str, per_class: int) -> list[Others]:
    """CIFAR-10's animals and its vehicles as two sources."""
    cifar = load_dataset("cifar10", data_dir=data_dir)
    chosen: dict[str, list[Callable[[], object]]] = {BEASTS: [], VEHICLES: []}
    counts = dict.fromkeys(range(10), 0)
    for picture in cifar.split(split):
        if counts[picture.class_index] < per_class:
            counts[picture.class_index] += 1
            animal = cifar.class_names[picture.class_index] in ANIMALS
            chosen[BEASTS if animal else VEHICLES].append(partial(cifar.source.load, picture.path))
    return [Others(name=name, pictures=tuple(loads)) for name, loads in chosen.items()]  # type: ignore[arg-type]


def _unseen(dogs: Others, data_dir: Path) -> dict[str, Loads]:
    """Pictures of no flower as they are that no fit sees, or that it only sees where its question says so."""
    pictures: dict[str, Loads] = {source.name: source.pictures for source in (dogs, *_cifar(data_dir, "val", 100))}
    return pictures | {kind: tuple(partial(render_other, kind, i, seed=77) for i in range(80)) for kind in KINDS}


def _views(single: Classifier, pictures: dict[str, Loads]) -> dict[str, Tensor]:
    """Probabilities [2, N, K] of each picture and of its mirror image, by a classifier that averages nothing."""

    def answers(loads: Loads) -> Tensor:
        rows, _ = ask(single, [(load, -1) for load in loads], lambda _: None)
        return rows[:, : len(single.checkpoint.class_names)].softmax(1)

    return {
        name: torch.stack([answers(loads), answers([partial(_mirrored, load) for load in loads])])
        for name, loads in pictures.items()
    }


def _mirrored(load: Callable[[], Image.Image]) -> Image.Image:
    return ImageOps.mirror(load())


def _trials(classifier: Classifier, dataset: DatasetSpec, unseen: dict[str, Loads]) -> dict[str, Tensor]:
    """The network's answers on pictures that no fit sees, or that it only sees where its question says so."""
    rendered = rendered_flowers()
    pictures = unseen | {
        "at 32 px": tuple(partial(_small, dataset, each.path) for each in dataset.val),
        "rendered": tuple(partial(rendered.source.load, each.path) for each in rendered.val),
        "examples": tuple(partial(read_image, path) for path in sorted((SHIPPED.parent / "examples").glob("*.png"))),
    }
    return {
        name: ask(classifier, [(load, -1) for load in loads], lambda _: None)[0] for name, loads in pictures.items()
    }


def _small(dataset: DatasetSpec, path: str) -> Image.Image:
    return dataset.source.load(path).resize((32, 32))


if __name__ == "__main__":
    main()
