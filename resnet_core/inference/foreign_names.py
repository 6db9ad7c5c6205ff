"""From the names others give to a ResNet's tensors to ours, which are torchvision's.

module.layer1.0.conv1.weight            a prefix of DataParallel, torch.compile, Lightning or an EMA
layer1.0.shortcut.0.weight, linear.*    the common CIFAR repositories
blk1.conv1.weight, extra, outlayer      the CIFAR-10 tutorial
fc.1.weight                             a head in a Sequential, behind a Dropout
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "resnet.", "ema.", "ema_model.")
_WRAPPED = re.compile(rf"((?:{'|'.join(map(re.escape, PREFIXES))})+)(?:conv1|layer1|blk1)\.")
_HEADS = ("fc", "linear", "outlayer", "classifier", "head")
_TUTORIAL = (
    (re.compile(r"^blk(\d)\."), r"layer\1.0."),
    (re.compile(r"\.extra\."), ".downsample."),
    (re.compile(r"^outlayer\."), "fc."),
    (re.compile(r"^conv1\.0\."), "conv1."),
    (re.compile(r"^conv1\.1\."), "bn1."),
)
_REPOSITORIES = ((re.compile(r"\.shortcut\."), ".downsample."), (re.compile(r"^linear\."), "fc."))
_NESTED_HEAD = re.compile(r"^fc\.(\d+)\.(weight|bias)$")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Where each tensor of a file belongs."""

    ours: dict[str, str]  # our name → the file's
    prefix: str  # what was taken off, e.g. "module."
    convention: str  # "torchvision", "cifar repositories" or "tutorial"
    left_out: tuple[str, ...]  # names outside the prefix: counters, losses


def find_naming(names: Iterable[str]) -> Naming:
    """How the file's names become ours; a name that is unknown stays, for the comparison to report."""
    prefix, inside, left_out = _strip({name: name for name in names})
    convention, rules = _convention(inside)
    renamed = {_apply(rules, name): original for name, original in inside.items()}
    if len(renamed) < len(inside):  # two names became one: then it is no convention of ours
        convention, renamed = "torchvision", inside
    return Naming(ours=_flat_head(renamed), prefix=prefix, convention=convention, left_out=left_out)


def _strip(names: dict[str, str]) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """The prefix, what lies behind it (name → the file's name), and what neither does nor is a head."""
    found = next(filter(None, map(_WRAPPED.match, names)), None)
    if found is None:
        return "", names, ()
    prefix = found[1]
    below = {name.removeprefix(prefix): original for name, original in names.items() if name.startswith(prefix)}
    beside = [name for name in names if not name.startswith(prefix)]
    heads = {name: name for name in beside if name.split(".")[0] in _HEADS and name not in below}
    return prefix, {**below, **heads}, tuple(name for name in beside if name not in heads)


def _convention(names: Mapping[str, str]) -> tuple[str, tuple[tuple[re.Pattern[str], str], ...]]:
    if any(name.startswith("blk1.") for name in names):
        return "tutorial", _TUTORIAL
    if any(name.startswith("linear.") or ".shortcut." in name for name in names):
        return "cifar repositories", _REPOSITORIES
    return "torchvision", ()


def _apply(rules: Iterable[tuple[re.Pattern[str], str]], name: str) -> str:
    for pattern, replacement in rules:
        name = pattern.sub(replacement, name)
    return name


def _flat_head(names: dict[str, str]) -> dict[str, str]:
    """A head of one linear layer in a Sequential becomes `fc`; what stands beside it there has no weights."""
    nested = {match[1] for match in map(_NESTED_HEAD.match, names) if match}
    if len(nested) != 1 or "fc.weight" in names:
        return names
    return {_NESTED_HEAD.sub(r"fc.\2", name): original for name, original in names.items()}
