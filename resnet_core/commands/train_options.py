"""The options of `train` beyond the everyday ones: every setting of a run has one, and is called like it."""

import argparse
from pathlib import Path


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Adds them to the parser of `train`; an option that is left out keeps what preset, file or `resolve` say."""
    _add_ways(parser)
    _add_network(parser)
    _add_pictures(parser)
    _add_learning(parser)


def _add_ways(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("before a run starts")
    group.add_argument(
        "--settings", type=Path, metavar="FILE", default=None, help="settings as JSON, see «runs show RUN --settings»"
    )
    group.add_argument("--dry-run", action="store_true", help="say what would be trained; train nothing")
    group.add_argument("--find-rate", action="store_true", help="scan for a learning rate; train nothing")


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network")
    group.add_argument("--width", type=int, default=None, help="channels of the first stage, 64 in the paper")
    group.add_argument(
        "--zero-init-residual",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="each block starts as an identity",
    )
    group.add_argument(
        "--thaw", metavar="STAGE@EPOCH,…", default=None, help="stages that learn later: layer4@3,layer3@5 or gradual"
    )


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pictures")
    group.add_argument("--max-pictures", type=int, default=None, help="train on so many, of every class a share")
    group.add_argument("--sampling", choices=("plain", "balanced"), default=None, help="balanced: all alike often")
    group.add_argument("--class-weights", choices=("none", "balanced"), default=None, help="balanced: rare weigh more")
    group.add_argument("--resize", type=int, default=None, help="shorter side before the central cut, px")
    group.add_argument("--start-image-size", type=int, default=None, help="px; the first epochs see smaller pictures")
    group.add_argument("--normalize", choices=("imagenet", "none"), default=None)
    group.add_argument("--rendered-share", type=float, default=None, help="rendered flowers mixed in, as a share")
    group.add_argument(
        "--flip-average",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="predict from the picture and its mirror image",
    )


def _add_learning(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("learning")
    group.add_argument("--budget-minutes", type=float, default=None, help="end by then; the epochs follow the clock")
    group.add_argument("--momentum", type=float, default=None, help="of SGD and Muon")
    group.add_argument("--weight-decay", type=float, default=None)
    group.add_argument("--warmup", type=float, default=None, help="share of the steps in which the learning rate rises")
    group.add_argument("--label-smoothing", type=float, default=None)
    group.add_argument("--ema-decay", type=float, default=None, help="average the weights; 0 turns it off")
    group.add_argument(
        "--halve-batch", action="store_true", default=None, help="out of memory: go on with half the batch"
    )
