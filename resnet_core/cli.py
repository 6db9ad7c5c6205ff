"""The command line: `python -m resnet_core train|predict|evaluate|describe|runs|datasets|models`.

Results go to stdout (`--json`: for machines), progress and errors to stderr. Exit 0: done, 1: could not, 2: wrong usage.
An error is one sentence, never a traceback. Nothing heavy is imported before a command needs it.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from resnet_core.errors import ConfigError, ResNetLabError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL if not options.verbose else logging.INFO, stream=sys.stderr)
    try:
        from resnet_core import commands

        return commands.COMMANDS[options.command](options)
    except ConfigError as error:
        return _complain(error, 2)
    except ResNetLabError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("Stopped.", 1)
    except BrokenPipeError:  # `| head` closed our stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, RuntimeError) as error:
        if "torchvision" not in str(error) and "torch" not in str(error):
            raise
        return _complain(f"A library does not load ({str(error).splitlines()[0][:200]}): run «pip install -r requirements.txt».", 1)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m resnet_core", description="Train, use and understand a ResNet on your own machine."
    )
    parser.add_argument("--verbose", action="store_true", help="also print the log")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print JSON for machines")
    shared.add_argument(
        "--data-dir", type=Path, default=Path(os.environ.get("RESNET_LAB_DATA", "data")), help="where data sets lie"
    )
    shared.add_argument(
        "--runs-dir", type=Path, default=Path(os.environ.get("RESNET_LAB_RUNS", "runs")), help="where runs are kept"
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
    parser.add_argument("--preset", default="default", help="default, tutorial-flowers, tutorial-cifar10 or flowers")
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
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--device", default=None)
    parser.add_argument("--precision", default=None)
    parser.add_argument("--num-threads", type=int, default=None)
    parser.add_argument("--name", default=None, help="a name for the run")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", metavar="PICTURE")
    parser.add_argument("--checkpoint", default="flowers", help="flowers, a run's id, imagenet/NAME or a file")
    parser.add_argument("--top-k", type=int, default=5)
    parser.add_argument("--device", default="auto")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", default="flowers", help="flowers, a run's id or a file")
    parser.add_argument("--dataset", default="flower_photos")
    parser.add_argument("--split", default="val", choices=("train", "val"))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="auto")


def _complain(problem: object, code: int) -> int:
    print(str(problem).replace("\n", " "), file=sys.stderr)
    return code
