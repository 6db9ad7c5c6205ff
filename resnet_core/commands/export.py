"""`export`: takes a model away as ONNX, `torch.export` or safetensors, checked, with its card."""

import argparse
import json
from pathlib import Path

from resnet_core.data.datasets import load_dataset
from resnet_core.errors import ConfigError
from resnet_core.inference.catalog import load_classifier
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.evaluation import Evaluation, evaluate
from resnet_core.inference.export import FORMATS
from resnet_core.inference.model_card import model_card
from resnet_core.inference.take_away import Order, Scorer, TakenAway, check_target, open_source, take_away, write_card
from resnet_core.inference.verification import Compared, Verification
from resnet_core.training.runs import RunStore

WAYS = {
    "app": "the app",
    "command_line": "the command line",
    "api": "the API",
    "file": "the exported file",
    "file_score": "its score of the unknown",
}


def export(options: argparse.Namespace) -> int:
    """Writes what was asked for; 1 where the exported model does not answer as the original."""
    store = RunStore(options.runs_dir)
    if options.output is None:
        return _card_alone(options, store)
    order = Order(
        checkpoint=options.checkpoint,
        format=options.format or _format_of(options.output),
        output=options.output,
        check=options.verify,
        api_url=options.api_url,
    )
    taken = take_away(order, store, scorer=_scorer(options), scored_on=options.dataset or "", card=options.card)
    if options.json:
        print(json.dumps(_json_of(order, taken), ensure_ascii=False))
    else:
        _print_report(order, taken)
    return 0 if taken.agrees else 1


def _card_alone(options: argparse.Namespace, store: RunStore) -> int:
    if options.card is None:
        raise ConfigError("«export» needs --output FILE, --card FILE or both.")
    check_target(options.card)
    classifier = load_classifier(options.checkpoint, store, allow_paths=True)
    scorer = _scorer(options)
    text = model_card(
        open_source(options.checkpoint, classifier, store),
        format=options.format,
        scores=scorer(classifier) if scorer else None,
        scored_on=options.dataset or "",
    )
    write_card(options.card, text)
    print(json.dumps({"files": [options.card.name]}) if options.json else f"The model card is in {options.card}")
    return 0


def _format_of(output: Path) -> str:
    ending = output.suffix.lower().removeprefix(".")
    if ending in FORMATS:
        return ending
    raise ConfigError(f"--format says what to export to: {', '.join(FORMATS)}.")


def _scorer(options: argparse.Namespace) -> Scorer | None:
    if options.dataset is None:
        return None

    def measure(classifier: Classifier) -> Evaluation:
        seed = classifier.checkpoint.split_seed
        return evaluate(classifier, load_dataset(options.dataset, data_dir=options.data_dir, seed=seed))

    return measure


def _json_of(order: Order, taken: TakenAway) -> dict[str, object]:
    return {
        "checkpoint": order.checkpoint,
        "format": order.format,
        "files": list(taken.files),
        "bytes": taken.bytes,
        "seconds": round(taken.seconds, 3),
        "verification": taken.verification.to_json() if taken.verification else None,
    }


def _print_report(order: Order, taken: TakenAway) -> None:
    written = ", ".join(taken.files) or "nothing"
    print(
        f"{order.checkpoint}: {taken.bytes / 1e6:.1f} MB of {order.format} in {taken.seconds:.1f} s; wrote {written}."
    )
    if taken.verification:
        _print_verification(taken.verification)
    if not taken.agrees:
        print("The answers differ, so nothing was written; --no-verify writes it all the same.")


def _print_verification(checked: Verification) -> None:
    print(f"{checked.pictures} test pictures; largest difference of a probability from the network itself:")
    for one in checked.compared:
        engine = f" (by {one.engine})" if one.engine else ""
        print(f"  {WAYS.get(one.way, one.way):<26} {_words(one)}{engine}")


def _words(one: Compared) -> str:
    if one.difference is None:
        return one.cause
    return f"{one.difference:.7f}" + (f"  {one.cause}" if one.cause else "")
