"""The case of one channel: the patches of a data set that excite it most, and how often each class does.

scan = scan_channels(model, sample, "layer2")                  # once for all channels
case = investigate(model, scan, sample, 17)
case.patches[0].image, case.classes[0].label
"""

from collections import Counter
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn

from resnet_core.activations.channel_scan import SHOWN, ChannelScan
from resnet_core.activations.picture_sample import PictureSample
from resnet_core.activations.receptive_field import Spans, field_spans
from resnet_core.errors import ModelError

PADDING = 140  # grey of what a receptive field would see beyond the picture's border: the maps' neutral grey


@dataclass(frozen=True, kw_only=True)
class Patch:
    """What one picture showed the channel where it answered most."""

    image: Image.Image  # RGB; patches of one layer have one size, grey beyond the picture's border
    label: str
    value: float
    picture: int  # in the sample
    place: tuple[int, int]  # row and column of the map
    box: tuple[int, int, int, int]  # left, top, right, bottom in the network's input, the last two outside


@dataclass(frozen=True, kw_only=True)
class ClassShare:
    """How a channel takes to one class; shares in [0, 1]."""

    label: str
    class_index: int
    of_tops: float  # share of the class among the pictures that excite the channel most
    of_all: float  # its share among all pictures
    mean: float  # the channel's mean over the class's pictures


@dataclass(frozen=True, kw_only=True)
class ChannelCase:
    """Everything a scan knows of one channel."""

    channel: int
    patches: tuple[Patch, ...]  # the strongest first, one a picture that excites it; none of a silent channel
    classes: tuple[ClassShare, ...]  # the most excited first; those with pictures only
    tops: int  # pictures that `of_tops` speaks of: of the strongest those above the channel's lowest answer
    mean: float
    silent: bool


def investigate(model: nn.Module, scan: ChannelScan, sample: PictureSample, channel: int) -> ChannelCase:
    """Return what excites that channel. Raises ModelError for a channel the layer lacks."""
    if not 0 <= channel < scan.channels:
        raise ModelError(f"There is no channel {channel}; this layer has the channels 0 to {scan.channels - 1}.")
    silent = scan.silent(channel)
    return ChannelCase(
        channel=channel,
        patches=() if silent else _patches(model, scan, sample, channel),
        classes=() if silent else _classes(scan, sample, channel),
        tops=_excited(scan, channel),
        mean=scan.mean(channel),
        silent=silent,
    )


def _excited(scan: ChannelScan, channel: int) -> int:
    """How many of the strongest pictures excite the channel at all: at its lowest answer (zero behind a ReLU) stand
    pictures in the order of the data set, which would tell of classes that the channel knows nothing of."""
    lowest = scan.lowest[channel].nan_to_num(nan=-torch.inf)
    return int((scan.tops[channel] > lowest).sum())


def _patches(model: nn.Module, scan: ChannelScan, sample: PictureSample, channel: int) -> tuple[Patch, ...]:
    crop = sample.preprocessing.crop
    rows, columns = _fields(model, scan, crop)
    size = tuple(max(last - first + 1 for first, last in spans) for spans in (rows, columns))
    patches = []
    for rank in range(min(SHOWN, _excited(scan, channel))):
        picture = int(scan.pictures[channel, rank])
        row, column = divmod(int(scan.places[channel, rank]), scan.shape[1])
        (top, bottom), (left, right) = rows[row], columns[column]
        seen = sample.square(picture)[:, top : bottom + 1, left : right + 1]
        patches.append(
            Patch(
                image=_padded(seen, (size[0], size[1]), (top, left), crop),
                label=sample.class_names[int(sample.targets[picture])],
                value=float(scan.tops[channel, rank]),
                picture=picture,
                place=(row, column),
                box=(left, top, right + 1, bottom + 1),
            )
        )
    return tuple(patches)


def _fields(model: nn.Module, scan: ChannelScan, crop: int) -> tuple[Spans, Spans]:
    """Rows and columns that each row and column of a map sees; all of them where a channel is a single number."""
    if scan.shape == (1, 1):
        return ((0, crop - 1),), ((0, crop - 1),)
    return field_spans(model, (crop, crop), scan.layer)


def _padded(seen: Tensor, size: tuple[int, int], start: tuple[int, int], crop: int) -> Image.Image:
    """The part [3,h,w] of a picture at `start`, with grey where its whole field would reach over the border."""
    canvas = torch.full((3, *size), PADDING, dtype=torch.uint8)
    offsets = []
    for whole, part, first in zip(size, seen.shape[1:], start, strict=True):
        beyond = whole - part
        offsets.append(beyond if first == 0 and part < crop else 0)  # cut off before the picture, or behind it
    top, left = offsets
    canvas[:, top : top + seen.shape[1], left : left + seen.shape[2]] = seen
    return Image.fromarray(canvas.permute(1, 2, 0).contiguous().numpy())


def _classes(scan: ChannelScan, sample: PictureSample, channel: int) -> tuple[ClassShare, ...]:
    tops = _excited(scan, channel)
    found = Counter(sample.targets[scan.pictures[channel, :tops]].tolist())
    rows = [
        ClassShare(
            label=sample.class_names[index],
            class_index=index,
            of_tops=found[index] / max(1, tops),
            of_all=count / scan.count,
            mean=float(scan.class_sums[index, channel]) / count,
        )
        for index, count in enumerate(scan.class_counts.tolist())
        if count
    ]
    return tuple(sorted(rows, key=lambda row: (-row.of_tops, -row.mean)))


def patch_sheet(patches: tuple[Patch, ...], *, tile: int) -> Image.Image:
    """The patches side by side in one row, each `tile` px wide and high, RGB.

    Small ones are enlarged pixel by pixel, so that what the channel saw can be counted.
    """
    sheet = Image.new("RGB", (tile * max(1, len(patches)), tile))
    for place, patch in enumerate(patches):
        way = Image.Resampling.NEAREST if max(patch.image.size) * 2 < tile else Image.Resampling.BICUBIC
        scale = tile / max(patch.image.size)
        width, height = (max(1, round(edge * scale)) for edge in patch.image.size)
        sheet.paste(
            patch.image.resize((width, height), way), (place * tile + (tile - width) // 2, (tile - height) // 2)
        )
    return sheet
