"""One model taken away: exported, asked in every way whether it still answers the same, packed with its card.

    model.onnx …        the file alone; beside a .pt2 lies predict.py, which needs only torch and pillow
    model.zip           a folder with the file, its card MODEL_CARD.md and, for .pt2, predict.py

Nothing is written before the check is passed.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_core.data.images import display_name
from resnet_core.errors import CheckpointError, ConfigError
from resnet_core.files import replacing, write_bytes
from resnet_core.inference.catalog import IMAGENET, checkpoint_path, list_checkpoints, load_classifier
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.engine_choice import PROBABILITY_LIMIT
from resnet_core.inference.evaluation import Evaluation
from resnet_core.inference.export import NEEDED, Source, check_format, export_model, require
from resnet_core.inference.exported import open_exported
from resnet_core.inference.model_card import model_card
from resnet_core.inference.verification import Verification, verify, write_test_pictures
from resnet_core.inference.ways import LIMIT, CommandLine, Way, ask_api, ask_app, ask_file, ask_file_scores
from resnet_core.training.runs import RunStore

SCRIPT = Path(__file__).resolve().parents[2] / "assets" / "predict.py"
SCRIPT_MODEL = '"model.pt2"'  # the model's name in SCRIPT
CARD = "MODEL_CARD.md"

Scorer = Callable[[Classifier], Evaluation]


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to take away, and where to."""

    checkpoint: str  # a name of `list_checkpoints`, or a checkpoint file
    format: str
    output: Path  # a file; one that ends in .zip gets everything
    check: bool = True
    api_url: str | None = None  # of an app that runs and has the same model under the same name


@dataclass(frozen=True, kw_only=True)
class TakenAway:
    """What was made. Without agreement nothing was written: `files` is empty."""

    files: tuple[str, ...]  # names, those inside a zip after the zip's own
    bytes: int  # of the model's file
    seconds: float  # that writing it took
    verification: Verification | None  # None: nobody asked
    card: str

    @property
    def agrees(self) -> bool:
        """False where a way of asking gave other answers."""
        return self.verification is None or self.verification.agrees


def take_away(
    order: Order, store: RunStore, *, scorer: Scorer | None = None, scored_on: str = "", card: Path | None = None
) -> TakenAway:
    """Exports, checks, writes. `scorer` measures the model for its card, `card` is a file of its own for that.

    Raises ConfigError, CheckpointError, ModelError, RunError, or DeviceError for a missing package.
    """
    _check_order(order, card)
    with tempfile.TemporaryDirectory(prefix="resnet-lab-export-") as folder, contextlib.ExitStack() as ending:
        work = Path(folder)
        pictures = write_test_pictures(work) if order.check else []
        asked_for = _held_still(order.checkpoint, store, work)
        asked = CommandLine(asked_for, pictures, runs_dir=store.runs_dir) if order.check else None
        if asked:
            ending.callback(asked.close)
        classifier = load_classifier(asked_for, store, allow_paths=True)
        source = open_source(order.checkpoint, classifier, store)
        model = work / f"{file_stem(order.checkpoint)}.{order.format}"
        started = time.perf_counter()
        export_model(source, model, format=order.format)
        seconds = time.perf_counter() - started
        verification = verify(source, _ways(order, classifier, model, asked), pictures) if asked else None
        text = model_card(
            source, format=order.format, scores=scorer(classifier) if scorer else None, scored_on=scored_on
        )
        agrees = verification is None or verification.agrees
        return TakenAway(
            files=deliver(model, order.output, text, card) if agrees else (),
            bytes=model.stat().st_size,
            seconds=seconds,
            verification=verification,
            card=text,
        )


def open_source(name: str, classifier: Classifier, store: RunStore) -> Source:
    """The model with the name people know it by."""
    titles = {entry.name: entry.title for entry in list_checkpoints(store)}
    title = titles.get(name) or display_name(Path(name).stem)
    return Source(name=title, checkpoint=classifier.checkpoint, network=classifier.model)


def file_stem(name: str) -> str:
    """A file name that every system takes, made from a model's name."""
    last = Path(name).stem if os.path.isfile(name) else name.replace("/", "-")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-.")[:60] or "model"


def deliver(model: Path, output: Path, card: str, card_file: Path | None = None) -> tuple[str, ...]:
    """Puts the exported file, or a zip of everything, at `output`; the names of what was written."""
    with _writing(output):
        if output.suffix.lower() == ".zip":
            files = _write_zip(model, output, card)
        else:
            with replacing(output) as temporary:
                shutil.copyfile(model, temporary)
            files = (output.name, *_write_script(model, output))
    if card_file is None:
        return files
    write_card(card_file, card)
    return (*files, card_file.name)


def write_card(path: Path, card: str) -> None:
    """Writes a card as a whole. Raises CheckpointError where that cannot be."""
    with _writing(path):
        write_bytes(path, card.encode("utf-8", "replace"))


def predict_script(model_name: str) -> str:
    """The script that asks the .pt2 file of that name, which lies beside it."""
    text = SCRIPT.read_text(encoding="utf-8")
    assert SCRIPT_MODEL in text
    return text.replace(SCRIPT_MODEL, json.dumps(model_name))


def check_target(path: Path) -> None:
    """Raises ConfigError where no file can be put, CheckpointError where nothing can be written."""
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no ordinary file"
        raise ConfigError(f"“{display_name(path.name or str(path))}” is {kind}; name a file to write.")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(13, "Permission denied")


def _check_order(order: Order, card: Path | None) -> None:
    check_format(order.format)
    ending = order.output.suffix.lower()
    if ending in (".onnx", ".pt2", ".safetensors", ".md", ".py") and ending != f".{order.format}":
        raise ConfigError(
            f"A file of format {order.format} should not end in {ending}; name it .{order.format} or .zip."
        )
    for target in (order.output, card):
        if target is not None:
            check_target(target)
    for package in NEEDED[order.format]:
        require(package, "Writing ONNX")
    if order.check and order.format == "onnx":
        require("onnxruntime", "Checking an ONNX file (--no-verify leaves it out)")


def _held_still(name: str, store: RunStore, work: Path) -> str:
    """A copy of the model's file in `work`: the run it belongs to may write its next epoch while this one is taken.

    ImageNet's never change and keep their name. Raises CheckpointError or RunError.
    """
    if name.startswith(IMAGENET):
        return name
    path = checkpoint_path(name, store, allow_paths=True)
    copy = work / "asked" / path.name
    copy.parent.mkdir()
    try:
        shutil.copyfile(path, copy)
    except OSError as error:
        raise CheckpointError(
            f"“{display_name(path.name)}” could not be copied ({error.strerror}); export it again, or free some space."
        ) from error
    return str(copy)


def _ways(order: Order, classifier: Classifier, model: Path, asked: CommandLine) -> list[Way]:
    """App, command line and API may choose an engine in bfloat16 where the processor has it; the file never does."""
    names, preprocessing = classifier.class_names, classifier.checkpoint.preprocessing

    def limit() -> float:
        return PROBABILITY_LIMIT if "bf16" in classifier.engine_name else LIMIT

    ways = [
        Way(name="app", ask=ask_app(classifier), engine=lambda: classifier.engine_name, limit=limit),
        Way(name="command_line", ask=asked.asker(names), limit=limit),
    ]
    if order.api_url:
        epoch = classifier.checkpoint.training.get("epoch")
        ways.append(Way(name="api", ask=ask_api(order.api_url, order.checkpoint, names, epoch=epoch), limit=limit))
    exported = open_exported(model, format=order.format)
    ways.append(Way(name="file", ask=ask_file(exported, preprocessing)))
    if classifier.checkpoint.unknown_threshold is not None:
        ways.append(Way(name="file_score", ask=ask_file_scores(exported, preprocessing), scores=True))
    return ways


def _write_zip(model: Path, output: Path, card: str) -> tuple[str, ...]:
    texts = {CARD: card}
    if model.suffix == ".pt2":
        texts[SCRIPT.name] = predict_script(model.name)
    folder = output.stem if re.fullmatch(r"[\w.-]+", output.stem) else model.stem
    with replacing(output) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(model, f"{folder}/{model.name}", zipfile.ZIP_STORED)  # weights hardly shrink
        for name, text in texts.items():
            packed.writestr(f"{folder}/{name}", text.encode("utf-8", "replace"))
    return (output.name, model.name, *texts)


def _write_script(model: Path, output: Path) -> Sequence[str]:
    """predict.py beside a .pt2, unless a file of somebody else's has that name."""
    if model.suffix != ".pt2":
        return ()
    target = output.with_name(SCRIPT.name)
    if target.exists() and not _is_ours(target):
        return ()
    write_bytes(target, predict_script(output.name).encode())
    return (target.name,)


def _is_ours(script: Path) -> bool:
    first = SCRIPT.read_bytes().splitlines()[0]
    try:
        return script.is_file() and script.stat().st_size < 10_000 and script.read_bytes().startswith(first)
    except OSError:
        return False


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CheckpointError(
            f"“{display_name(path.name)}” could not be written ({reason}); choose another folder or free some space."
        ) from error
