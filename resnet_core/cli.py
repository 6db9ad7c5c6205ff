"""The command line: `python -m resnet_core train|predict|evaluate|describe|runs|datasets|models`.

Results go to stdout (`--json`: for machines), progress and errors to stderr. Exit 0: done, 1: could not, 2: wrong
usage. An error is one sentence, never a traceback. Nothing heavy is imported before a command needs it.
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from resnet_core.errors import ConfigError, ResNetLabError


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
        from resnet_core import commands

        code = commands.COMMANDS[options.command](options)
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
    describe = commands.add_parser("describe", parents=[shared], help="a network layer by layer")
    describe.add_argument("model", help="a name of «models list»")
    describe.add_argument("--image-size", type=int, default=None, help="px; the network's own size if left out")
    describe.add_argument("--num-classes", type=int, default=None)
    describe.add_argument("--as-published", action="store_true", help="the CIFAR tutorial's network with its fault")
    runs = commands.add_parser("runs", parents=[shared], help="recorded trainings")
    runs.add_argument("action", choices=("list", "show", "rm"))
    runs.add_argument("run", nargs="?", help="a run's id, for show and rm")
    datasets = commands.add_parser("datasets", parents=[shared], help="data sets")
    datasets.add_argument("action", choices=("list", "get"))
    datasets.add_argument("name", nargs="?", help="flower_photos or cifar10, for get")
    commands.add_parser("models", parents=[shared], help="networks and trained models").add_argument(
        "action", choices=("list",)
    )
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", default=None, help="a name, a folder or a zip")
    parser.add_argument(
        "--preset",
        default=None,
        help="default, tutorial-flowers, tutorial-cifar10, flowers, flowers-quick or cifar-fast",
    )
    parser.add_argument("--resume", metavar="RUN", default=None, help="go on with a stopped or interrupted run")
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
    parser.add_argument("--pretrained", action="store_true", default=None, help="start from ImageNet weights")
    parser.add_argument("--init-from", metavar="CHECKPOINT", default=None, help="start from a checkpoint's weights")
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
    parser.add_argument("--name", default=None, help="a name for the run")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", metavar="PICTURE")
    parser.add_argument("--checkpoint", default="flowers", help="flowers, a run's id, imagenet/NAME or a file")
    parser.add_argument("--top-k", type=int, default=5)
    _add_engine(parser)
    parser.add_argument("--device", default="auto")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", default="flowers", help="flowers, a run's id or a file")
    parser.add_argument("--dataset", default="flower_photos")
    parser.add_argument("--split", default="val", choices=("train", "val"))
    parser.add_argument("--batch-size", type=int, default=64)
    _add_engine(parser)
    parser.add_argument("--device", default="auto")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine", choices=("auto", "plain", "folded", "openvino"), default=None, help="what computes the answers"
    )


def _complain(problem: object, code: int) -> int:
    print(" ".join(str(problem).split()), file=sys.stderr)
    return code
