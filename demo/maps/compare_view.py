"""What the Compare part shows: a layer of two models, of two epochs or for two photos, as sheets over each other."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demo.classify.sureness import per_cent
from demo.maps.compare_slider.compare_slider import Side, slider_value
from demo.maps.epoch_looks import run_of
from demo.services import Services
from demo.text import say
from resnet_core.data.images import ReadImage
from resnet_core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_core.inference.classifier import Classifier

CHANNELS_SHOWN = 256  # of the first page of a layer; more would be dots
SHEET_WIDTH = 900  # px
NAMED = 3  # channels that are told by number


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One of the two: a model, a photo, and what to call it."""

    model: str
    photo: ReadImage
    title: str


def compare(services: Services, left: Seen, right: Seen, layer: str, language: str) -> dict[str, Any]:
    """The slider's value for one layer, in turn with other visitors' photos. Raises ModelError where one of the models
    lacks it."""
    classifiers = [services.classifier(seen.model) for seen in (left, right)]
    return services.desk.run(partial(_compared, services, classifiers, left, right, layer, language))


def _compared(
    services: Services, classifiers: "list[Classifier]", left: Seen, right: Seen, layer: str, language: str
) -> dict[str, Any]:
    maps = [_maps(services, c, seen, layer, language) for c, seen in zip(classifiers, (left, right), strict=True)]
    together = maps[0].shape == maps[1].shape
    pictures = joint_sheets(*maps) if together else separate_sheets(*maps)
    sides = [
        Side(picture=picture, title=seen.title, says=_says(services, classifier, seen, language))
        for classifier, seen, picture in zip(classifiers, (left, right), pictures, strict=True)
    ]
    notes = _notes(left, right, maps, layer, together, language)
    return slider_value(sides[0], sides[1], notes=notes, language=language)


def _maps(services: Services, classifier: "Classifier", seen: Seen, layer: str, language: str) -> "Tensor":
    from resnet_core.activations.layers import list_layers

    if layer not in list_layers(classifier.model, classifier.checkpoint.preprocessing.crop):
        raise ModelError(say("compare_no_layer", language, layer=layer))
    return services.activations.get(classifier, seen.photo.image, [layer])[layer]


def _says(services: Services, classifier: "Classifier", seen: Seen, language: str) -> str:
    best = classifier.classify(seen.photo.image, top_k=1).predictions[0]
    return say("compare_says", language, title=seen.title, label=best.label, share=per_cent(best.probability))


def joint_sheets(left: "Tensor", right: "Tensor") -> tuple[Image.Image, Image.Image]:
    """Both activations [C,h,w] or [K] as sheets of one layout and, channel by channel, one colour scale.

    Drawn as a single sheet of maps twice as high, whose tiles are then cut in two.
    """
    import torch

    from resnet_core.activations.render import render_sheet

    maps = [each if each.ndim == 3 else each[:, None, None] for each in (left, right)]
    alone = render_sheet(left, limit=CHANNELS_SHOWN, max_width=SHEET_WIDTH)
    sheet = render_sheet(
        torch.cat(maps, dim=1),
        tile=max(2 * alone.tile_height, alone.tile_width),
        columns=alone.columns,
        limit=CHANNELS_SHOWN,
        max_width=SHEET_WIDTH,
        scale="shared" if maps[0].shape[1:] == (1, 1) else "channel",  # one number alone has no range of its own
    )
    pixels, step, half = np.asarray(sheet.image), sheet.tile_height + sheet.gap, sheet.tile_height // 2
    cut = []
    for offset in (0, half):
        rows = np.arange(sheet.rows * (half + sheet.gap) - sheet.gap)
        tile, inside = np.divmod(rows, half + sheet.gap)
        # behind a half come the lines between two tiles, which the whole sheet has behind its tiles
        source = tile * step + np.where(inside < half, inside + offset, inside + half)
        cut.append(_like(pixels[source], sheet.image))
    return cut[0], cut[1]


def separate_sheets(left: "Tensor", right: "Tensor") -> tuple[Image.Image, Image.Image]:
    """Activations of different shapes as sheets of one width of tiles, filled up with grey to one size."""
    from resnet_core.activations.render import render_sheet

    first = render_sheet(left, limit=CHANNELS_SHOWN, max_width=SHEET_WIDTH)
    second = render_sheet(
        right,
        tile=max(first.tile_width, first.tile_height),
        columns=first.columns,
        limit=CHANNELS_SHOWN,
        max_width=SHEET_WIDTH,
    )
    size = tuple(max(edges) for edges in zip(first.image.size, second.image.size, strict=True))
    return _filled(first.image, size), _filled(second.image, size)


def _like(pixels: Any, sheet: Image.Image) -> Image.Image:
    """Places on the colour map as a picture in the colours of a sheet."""
    picture = Image.fromarray(pixels)
    picture.putpalette(sheet.getpalette() or [])
    return picture


def _filled(image: Image.Image, size: tuple[int, ...]) -> Image.Image:
    from resnet_core.activations.color_map import NEUTRAL

    canvas = Image.new("RGB", (size[0], size[1]), NEUTRAL)
    canvas.paste(image.convert("RGB"))
    return canvas


def _notes(left: Seen, right: Seen, maps: list["Tensor"], layer: str, together: bool, language: str) -> list[str]:
    last = min(CHANNELS_SHOWN, len(maps[0])) - 1
    key = "compare_channels" if together else "compare_channels_apart"
    notes = [say(key, language, first=0, last=last, layer=layer)]
    if left.model == right.model:
        return notes
    if not (together and correspond(left.model, right.model)):
        return [*notes, say("compare_not_matching", language)]
    return [*notes, *likeness_notes(maps[0], maps[1], language)] if maps[0].ndim == 3 else notes


def correspond(first: str, second: str) -> bool:
    """True where both names are of one run: then a channel is the same channel at another time."""
    return run_of(first) is not None and run_of(first) == run_of(second)


def likeness_notes(left: "Tensor", right: "Tensor", language: str) -> list[str]:
    """How alike two epochs' maps of one photo are, channel by channel."""
    from resnet_core.activations.likeness import channel_likeness

    alike = channel_likeness(left, right)
    flat = int(alike.isnan().sum())
    told = [say("compare_alike_flat", language, count=flat)] if flat else []
    known = (~alike.isnan()).nonzero().flatten()
    if not len(known):
        return told
    order = known[alike[known].argsort()]

    def named(channels: "Tensor") -> str:
        told = [(int(channel), f"{float(alike[channel]):.2f}") for channel in channels]
        return ", ".join(say("compare_one", language, channel=channel, value=value) for channel, value in told)

    words = {"changed": named(order[:NAMED]), "alike": named(order.flip(0)[:NAMED])}
    return [say("compare_alike", language, median=f"{float(alike[known].median()):.2f}", **words), *told]
