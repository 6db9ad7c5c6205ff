"""What excites every channel of a layer, found in one pass over many pictures.

    scan = scan_channels(model, sample, "layer2")
    scan.tops[17], scan.pictures[17], scan.places[17]     # the strongest of channel 17, which picture, where in it

Kept are only running lists of the strongest pictures and sums a class: 2,048 channels cost 2.5 MB and eight bytes a
channel and class, however many pictures there are.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from resnet_core.activations.capture import capture_activations
from resnet_core.activations.picture_sample import PictureSample
from resnet_core.errors import RunError

BATCH = 8  # pictures that go through the network together, as at the desk: others' photos come in between
SHOWN = 9  # patches
TOP_SHARE = 0.1  # of the pictures count as those that excite a channel most
MOST_TOPS = 100

InTurn = Callable[[Callable[[], Tensor]], Tensor]  # does a piece of work when it is its turn


class ScanStopped(RunError):
    """Somebody stopped the scan."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelScan:
    """The strongest pictures of every channel, the strongest first, and sums over all pictures."""

    layer: str
    count: int  # pictures looked at
    shape: tuple[int, int]  # of a map; (1, 1) where a channel is a single number
    tops: Tensor  # float32 [C, T]: the largest value of each of the strongest pictures
    pictures: Tensor  # int64 [C, T]: their index in the sample
    places: Tensor  # int64 [C, T]: row × width + column of that value
    class_sums: Tensor  # float64 [K, C]: of each picture's mean activation
    class_counts: Tensor  # int64 [K]
    lowest: Tensor  # float32 [C]
    highest: Tensor  # float32 [C]

    @property
    def channels(self) -> int:
        """How many the layer has."""
        return len(self.tops)

    def mean(self, channel: int) -> float:
        """The channel's mean over all places of all pictures."""
        return float(self.class_sums[:, channel].sum()) / self.count

    def silent(self, channel: int) -> bool:
        """True for a channel that gave the same number everywhere in all pictures: nothing excites it."""
        return bool(self.lowest[channel] == self.highest[channel])


def scan_channels(
    model: nn.Module,
    sample: PictureSample,
    layer: str,
    *,
    progress: Callable[[int, int], None] | None = None,
    in_turn: InTurn | None = None,
    stopped: Callable[[], bool] | None = None,
) -> ChannelScan:
    """Look at all pictures of a sample once and return what excites each channel of the layer.

    Every batch is one piece of work for `in_turn`, after which `progress(done, total)` is told. A picture counts once
    for each channel, at its strongest place; of equals the earlier picture wins. Raises ModelError for a layer that
    cannot be observed, ScanStopped once `stopped()` is true.
    """
    tally = _Tally(layer, len(sample), len(sample.class_names))
    for start in range(0, len(sample), BATCH):
        if stopped and stopped():
            raise ScanStopped(f"Stopped after {start:,} of {len(sample):,} pictures; start again whenever you like.")
        indices = range(start, min(start + BATCH, len(sample)))
        work = partial(_look, model, sample, layer, indices)
        tally.add((in_turn or _at_once)(work), sample.targets[list(indices)])
        if progress:
            progress(indices.stop, len(sample))
    return tally.result()


def _look(model: nn.Module, sample: PictureSample, layer: str, indices: range) -> Tensor:
    return capture_activations(model, sample.inputs(indices), [layer])[layer]


def _at_once(work: Callable[[], Tensor]) -> Tensor:
    return work()


class _Tally:
    """Running lists and sums."""

    def __init__(self, layer: str, pictures: int, classes: int) -> None:
        self._layer = layer
        self._kept = min(pictures, MOST_TOPS, max(SHOWN, math.ceil(TOP_SHARE * pictures)))
        self._classes = classes
        self._seen = 0
        self._shape = (1, 1)
        self._lists: tuple[Tensor, Tensor, Tensor] | None = None  # values, pictures, places: [C, up to T] each

    def add(self, activation: Tensor, targets: Tensor) -> None:
        """Takes the activations [n,C,h,w] or [n,K] of the next n pictures."""
        self._shape = (activation.shape[-2], activation.shape[-1]) if activation.ndim == 4 else (1, 1)
        maps = activation.flatten(2) if activation.ndim == 4 else activation[..., None]
        values, places = maps.nan_to_num(nan=-math.inf).max(dim=2)
        count, channels = values.shape
        numbers = torch.arange(self._seen, self._seen + count)[:, None].expand(count, channels)
        self._keep(values.T, numbers.T, places.T)
        if self._seen == 0:
            self._sums = torch.zeros(self._classes, channels, dtype=torch.float64)
            self._counts = torch.zeros(self._classes, dtype=torch.int64)
            self._low, self._high = torch.full((channels,), math.inf), torch.full((channels,), -math.inf)
        self._sums.index_add_(0, targets, maps.double().mean(dim=2))
        self._counts += torch.bincount(targets, minlength=self._classes)
        self._low = torch.minimum(self._low, maps.amin(dim=(0, 2)))
        self._high = torch.maximum(self._high, maps.amax(dim=(0, 2)))
        self._seen += count

    def _keep(self, *fresh: Tensor) -> None:
        """Joins the lists [C, T] with those of a batch [C, n] and keeps the strongest."""
        joined = fresh if self._lists is None else [torch.cat(pair, 1) for pair in zip(self._lists, fresh, strict=True)]
        order = joined[0].sort(dim=1, descending=True, stable=True).indices[:, : self._kept]
        values, pictures, places = (each.gather(1, order) for each in joined)
        self._lists = values, pictures, places

    def result(self) -> ChannelScan:
        assert self._lists is not None
        tops, pictures, places = self._lists
        return ChannelScan(
            layer=self._layer,
            count=self._seen,
            shape=self._shape,
            tops=tops,
            pictures=pictures,
            places=places,
            class_sums=self._sums,
            class_counts=self._counts,
            lowest=self._low,
            highest=self._high,
        )
