"""The command line: `python -m resnet_core COMMAND …`; what commands there are stands in COMMANDS.

Results go to stdout (`--json`: for machines), progress and errors to stderr. Exit 0: done, 1: could not, 2: wrong
usage. An error is one sentence, never a traceback. Nothing heavy is imported before a command needs it.
"""

import argparse
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from resnet_core.commands.train_options import add_train_options
from resnet_core.errors import ConfigError, ResNetLabError

# command: module of resnet_core/commands, function; it takes the parsed options, prints, returns the exit code
COMMANDS = {
    "train": ("training", "train"),
    "predict": ("answers", "predict"),
    "evaluate": ("answers", "evaluate_command"),
    "export": ("export", "export"),
    "calibrate": ("calibrate", "calibrate_command"),
    "gradcam": ("gradcam", "gradcam"),
    "activations": ("activations", "activations"),
    "describe": ("overview", "describe_command"),
    "runs": ("run_history", "runs"),
    "datasets": ("overview", "datasets"),
    "models": ("overview", "models"),
    "adopt": ("adopt", "adopt_command"),
    "teach": ("teach", "teach_command"),
    "audit": ("audit", "audit_command"),
}


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one sentence."""

    def error(self, message: str) -> NoReturn:
        """Exits with 2."""
        self.exit(2, f"{message[:1].upper()}{message[1:]}; «{self.prog} --help» shows what there is.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that are no UTF-8 stay valid JSON
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.CRITICAL + 1, stream=sys.stderr)
    try:
        module, function = COMMANDS[options.command]
        code = int(getattr(importlib.import_module(f"resnet_core.commands.{module}"), function)(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` closed our stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _complain("Stopped.", 1)
    except Exception as error:
        return _complain(*_explain(error))


def _explain(error: Exception) -> tuple[str, int]:
    """The sentence for a failure and the exit code."""
    if isinstance(error, ResNetLabError):
        return str(error), 2 if isinstance(error, ConfigError) else 1
    logging.getLogger(__name__).error("unforeseen", exc_info=error)
    if isinstance(error, OSError) and error.strerror:
        return f"A file could not be read or written ({error.strerror}).", 1
    if isinstance(error, ImportError) or "torchvision" in str(error):
        return f"A library does not load ({str(error)[:200]}): run «pip install -r requirements.txt».", 1
    return f"This broke off unexpectedly ({type(error).__name__}); --verbose before the command shows where.", 1


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(prog="python -m resnet_core", description="Train, use and understand a ResNet on your own machine.")
    parser.add_argument("--verbose", action="store_true", help="also print the log")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON for machines")
    shared.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("RESNET_LAB_DATA", "data")),
        help="where data sets lie",
    )
    shared.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(os.environ.get("RESNET_LAB_RUNS", "runs")),
        help="where runs are kept",
    )
    _add_train(commands.add_parser("train", parents=[shared], help="train a network"))
    _add_predict(commands.add_parser("predict", parents=[shared], help="say what is on pictures"))
    _add_evaluate(commands.add_parser("evaluate", parents=[shared], help="score a model on a data set"))
    _add_export(commands.add_parser("export", parents=[shared], help="take a model away in another format"))
    _add_adopt(commands.add_parser("adopt", parents=[shared], help="bring weights from elsewhere"))
    _add_teach(commands.add_parser("teach", parents=[shared], help="teach a model classes of your own"))
    _add_gradcam(commands.add_parser("gradcam", parents=[shared], help="where a network looked, painted on a picture"))
    _add_activations(commands.add_parser("activations", parents=[shared], help="what the layers make of a picture"))
    commands.add_parser("audit", parents=[shared], help="what is wrong with a data set").add_argument(
        "--dataset", required=True, help="a name, a folder or a zip"
    )
    _add_calibrate(commands.add_parser("calibrate", parents=[shared], help="teach a model how sure it may be"))
    describe = commands.add_parser("describe", parents=[shared], help="a network layer by layer")
    describe.add_argument("model", help="a name of «models list»")
    describe.add_argument("--image-size", type=int, default=None, help="px; the network's own size if left out")
    describe.add_argument("--num-classes", type=int, default=None)
    describe.add_argument("--outline", action="store_true", help="only stem, rows of equal blocks and head")
    describe.add_argument("--as-published", action="store_true", help="the CIFAR tutorial's network with its fault")
    runs = commands.add_parser("runs", parents=[shared], help="recorded trainings")
    _add_runs(runs)
    datasets = commands.add_parser("datasets", parents=[shared], help="data sets")
    datasets.add_argument("action", choices=("list", "get"))
    datasets.add_argument("name", nargs="?", help="flower_photos or cifar10, for get")
    commands.add_parser("models", parents=[shared], help="networks and trained models").add_argument(
        "action", choices=("list",)
    )
    return parser


def _add_runs(parser: argparse.ArgumentParser) -> None:
    actions = ("list", "show", "rm", "restore", "rename", "note", "tag", "bin", "empty-bin")
    parser.add_argument("action", choices=actions, help="rm: into the bin, for a day; restore: back from there")
    parser.add_argument("run", nargs="?", help="a run's id; list, bin and empty-bin need none")
    parser.add_argument("words", nargs="*", help="the name, the note or the tags, for rename, note and tag")
    parser.add_argument("--search", metavar="WORDS", default=None, help="list only runs in which all words occur")
    parser.add_argument("--settings", action="store_true", help="for show: only its settings, as a file for train")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", default=None, help="a name, a folder or a zip")
    parser.add_argument(
        "--preset",
        default=None,
        help="default, tutorial-flowers, tutorial-cifar10, flowers, flowers-finish, flowers-quick or cifar-fast",
    )
    parser.add_argument("--resume", metavar="RUN", default=None, help="go on with a stopped or interrupted run")
    parser.add_argument("--anyway", action="store_true", help="go on although its pictures have changed")
    parser.add_argument("--fork", metavar="RUN", default=None, help="a new run that begins where that one stood")
    parser.add_argument("--from-epoch", type=int, metavar="N", default=None, help="after which epoch, for --fork")
    parser.add_argument("--replay", metavar="RUN", default=None, help="a run's settings and the changes made in it")
    parser.add_argument("--begin", metavar="RUN", default=None, help=argparse.SUPPRESS)  # for a launcher
    parser.add_argument("--model", default=None)
    parser.add_argument("--stem", choices=("imagenet", "small"), default=None)
    parser.add_argument("--as-published", action="store_true", default=None)
    parser.add_argument("--plain", action="store_true", help="the plain twin, without skip connections")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--image-size", type=int, default=None)
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--learning-rate", type=float, default=None)
    parser.add_argument("--optimizer", default=None)
    parser.add_argument("--schedule", default=None)
    parser.add_argument("--augment", default=None)
    parser.add_argument("--mixup", type=float, default=None, help="strength of blending pictures; 0.2 is usual")
    parser.add_argument("--cutmix", type=float, default=None, help="strength of laying parts over others; 1 is usual")
    parser.add_argument("--drop-path", type=float, default=None, help="chance that a picture skips the last block")
    parser.add_argument("--clip-norm", type=float, default=None, help="longest gradient a step may take")
    parser.add_argument("--patience", type=int, default=None, help="end after so many epochs without a better one")
    parser.add_argument("--pretrained", action="store_true", default=None, help="start from ImageNet weights")
    parser.add_argument(
        "--init-from",
        metavar="CHECKPOINT",
        default=None,
        help="start from the weights of flowers, models/NAME, RUN, RUN/EPOCH or a file",
    )
    parser.add_argument(
        "--freeze", metavar="STAGE", default=None, help="keep the weights up to stem, layer1 …; the last: head only"
    )
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--device", default=None)
    parser.add_argument("--precision", default=None)
    parser.add_argument("--memory-format", choices=("auto", "channels-last", "contiguous"), default=None)
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=None, help="compile the training step, or never"
    )
    parser.add_argument("--num-threads", type=int, default=None)
    parser.add_argument("--processes", type=int, default=None, help="that train together, each with its GPU")
    parser.add_argument("--name", default=None, help="a name for the run")
    parser.add_argument(
        "--keep", choices=("none", "some", "all"), default=None, help="epochs one can branch off from, to be kept"
    )
    add_train_options(parser)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pictures", nargs="+", metavar="PICTURE", help="a picture; a folder or a zip stands for all pictures in it"
    )
    parser.add_argument("--checkpoint", default="flowers", help="a name of «models list», or a file")
    parser.add_argument("--top-k", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=None, metavar="FILE", help="also write a table for spreadsheets")
    _add_engine(parser)
    parser.add_argument("--device", default="auto")


def _add_adopt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a .pth, .pt or .safetensors file of weights")
    parser.add_argument("--inspect", action="store_true", help="only say what the file is")
    parser.add_argument("--class-names", metavar="FILE", default=None, help="class_indices.json or a name a line")
    parser.add_argument("--classes", metavar="A,B,C", default=None, help="class names in the order of the training")
    parser.add_argument("--model", default=None, help="the network to compare with; found out if left out")
    parser.add_argument("--plain", action="store_true", default=None, help="the plain twin, without skip connections")
    parser.add_argument("--image-size", type=int, default=None, help="px, edge of the square the network sees")
    parser.add_argument("--normalize", choices=("imagenet", "cifar10", "half", "none"), default=None)
    parser.add_argument("--name", default=None, help="what to call the model; the file's name if left out")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", default="flowers", help="flowers, models/NAME, a run's id or a file")
    parser.add_argument("--dataset", default="flower_photos")
    parser.add_argument("--split", default="val", choices=("train", "val"))
    parser.add_argument("--batch-size", type=int, default=64)
    _add_engine(parser)
    parser.add_argument("--device", default="auto")


def _add_gradcam(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", metavar="PICTURE")
    parser.add_argument("--checkpoint", default="flowers", help="a name of «models list», or a file")
    parser.add_argument("--label", default=None, help="the class to explain; the answer if left out")
    parser.add_argument("--against", default=None, help="another class: why the first one and not this one")
    parser.add_argument("--layer", default=None, help="layer1 …; the deepest that still has a map if left out")
    parser.add_argument(
        "--method", choices=("gradcam", "ablation"), default="gradcam", help="ablation: without gradients, slower"
    )
    parser.add_argument("--trust", action="store_true", help="also test whether the map may be trusted")
    parser.add_argument("--strength", type=float, default=0.6, help="of the colours over the picture, 0 to 1")
    parser.add_argument("--output", type=Path, required=True, help="the picture to write: .png, .jpg or .webp")
    parser.add_argument("--device", default="auto")


def _add_activations(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", metavar="PICTURE")
    parser.add_argument("--checkpoint", default="flowers", help="a name of «models list», or a file")
    parser.add_argument("--layer", action="append", default=None, help="layer1 …; may be given again; without: all")
    parser.add_argument(
        "--output",
        type=Path,
        default=None,
        metavar="FILE",
        help=".png: a layer's channels; .npz: numbers; .webp: a film from pixels to answer; without: a list",
    )
    parser.add_argument("--order", choices=("index", "strength", "relevance"), default="index", help="of the channels")
    parser.add_argument("--label", default=None, help="the class of --order relevance; the answer if left out")
    parser.add_argument(
        "--colors", choices=("auto", "viridis", "cividis", "magma", "grey", "blue-orange"), default="auto"
    )
    parser.add_argument("--scale", choices=("channel", "shared"), default="channel", help="of the colours")
    parser.add_argument(
        "--relu", choices=("given", "before", "after"), default="given", help="which side of the ReLU beside a layer"
    )
    parser.add_argument("--page", type=int, default=1, help="512 channels each, for a .png")
    parser.add_argument("--device", default="auto")


def _add_teach(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset", required=True, help="a folder or zip with a folder a class; folders inside those are bursts"
    )
    parser.add_argument("--checkpoint", default="flowers", help="whose body to borrow: a name of «models list», a file")
    parser.add_argument("--name", default=None, help="what the new model is called")
    parser.add_argument("--seed", type=int, default=0, help="which pictures are kept back")
    parser.add_argument("--device", default="auto")


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", default="flowers", help="flowers, models/NAME, a run's id or a file")
    parser.add_argument("--dataset", default="flower_photos", help="what the model was trained on")
    parser.add_argument(
        "--negatives",
        nargs="*",
        metavar="NAME",
        default=None,
        help="folders or data sets of other things; without: cifar10 and not_flowers, where they are",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the calibrated checkpoint")
    _add_engine(parser)
    parser.add_argument("--device", default="auto")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", default="flowers", help="a name of «models list», or a file")
    parser.add_argument(
        "--format", choices=("onnx", "pt2", "safetensors"), default=None, help="without: by the ending of --output"
    )
    parser.add_argument(
        "--output", type=Path, default=None, metavar="FILE", help="one that ends in .zip also holds the model card"
    )
    parser.add_argument("--card", type=Path, default=None, metavar="FILE", help="write a model card, in Markdown")
    parser.add_argument("--dataset", default=None, help="score the model on its val pictures for the card")
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="do not compare the answers")
    parser.add_argument("--api-url", metavar="URL", default=None, help="an app that runs; its API is asked as well")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine", choices=("auto", "plain", "folded", "openvino"), default=None, help="what computes the answers"
    )


def _complain(problem: object, code: int) -> int:
    print(" ".join(str(problem).split()), file=sys.stderr)
    return code
