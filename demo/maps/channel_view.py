"""What the Channel part shows of one channel: its map, the answer without it, what excites it, how it came about."""

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from PIL import Image

from demo.maps.channel_map.channel_map import channel_map_value, image_address
from demo.maps.scans import Scanned, Scans
from demo.markup import class_color, escape
from demo.services import Services
from demo.text import say
from resnet_core.data.images import ReadImage

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_core.activations.detective import ChannelCase, ClassShare
    from resnet_core.activations.through_epochs import EpochLook
    from resnet_core.inference.classifier import Classifier

MAP_SIDE = 336  # px
TILE = 96  # px of a patch
EPOCH_TILE = 112  # px
CLASSES_SHOWN = 6  # bars; networks know up to thousands of classes
ANSWERS_SHOWN = 4
STILL = 0.0005  # a change of a probability below this is none

# what the rows and columns of a network's layers see, by (size of picture, layer); only the desk's thread reads it
_spans_of: WeakKeyDictionary[Any, dict[tuple[int, str], Any]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class ChannelLook:
    """What is known of a channel without looking at other pictures."""

    channel: int
    map_value: dict[str, Any]
    facts: str  # HTML
    without: str  # HTML


def look_at_channel(
    services: Services, photo: ReadImage, model: str, layer: str, channel: int, language: str, mean: float | None = None
) -> ChannelLook:
    """One channel of a layer for a photo, in turn with other visitors' photos; `mean` is that of many pictures, where
    it is known.

    A channel the layer lacks becomes its last one. Raises ResNetLabError for an unknown model or layer.
    """
    classifier = services.classifier(model)  # read from its file, maybe fetched, before anybody waits for it
    return services.desk.run(partial(_looked_at, services, photo, classifier, layer, channel, language, mean))


def _looked_at(
    services: Services,
    photo: ReadImage,
    classifier: "Classifier",
    layer: str,
    channel: int,
    language: str,
    mean: float | None,
) -> ChannelLook:
    from resnet_core.activations.capture import describe_activation
    from resnet_core.activations.gradcam import square_under
    from resnet_core.activations.render import render_channel

    activation = services.activations.get(classifier, photo.image, [layer])[layer]
    channel = min(max(0, channel), len(activation) - 1)
    maps = activation if activation.ndim == 3 else activation[:, None, None]
    preprocessing = classifier.checkpoint.preprocessing
    value = channel_map_value(
        maps[channel],
        picture=render_channel(activation, channel, size=MAP_SIDE),
        photo=square_under(photo.image, preprocessing, MAP_SIDE),
        side=preprocessing.crop,
        spans=_spans(classifier, layer, activation),
        language=language,
    )
    stats = describe_activation(maps[channel])
    numbers = {key: _short(getattr(stats, key)) for key in ("mean", "std", "minimum", "maximum")}
    lines = [say("detective_stats", language, zero=f"{stats.zero_share:.0%}", **numbers)]
    if stats.minimum == stats.maximum:
        lines.append(say("detective_flat", language))
    title = say("detective_title", language, layer=layer, channel=channel, last=len(activation) - 1)
    body = "".join(f'<p class="note">{escape(line)}</p>' for line in lines)
    return ChannelLook(
        channel=channel,
        map_value=value,
        facts=f'<div class="facts"><h3>{escape(title)}</h3>{body}</div>',
        without=without_html(classifier, photo, layer, channel, mean, language),
    )


def _spans(classifier: "Classifier", layer: str, activation: "Tensor") -> Any:
    """What each row and column sees, kept for the next channel; everything where a channel is a single number."""
    from resnet_core.activations.receptive_field import field_spans

    crop = classifier.checkpoint.preprocessing.crop
    if activation.ndim != 3:
        whole = ((0, crop - 1),)
        return whole, whole
    known = _spans_of.setdefault(classifier.model, {})
    if (crop, layer) not in known:
        known[crop, layer] = field_spans(classifier.model, (crop, crop), layer)
    return known[crop, layer]


def without_html(
    classifier: "Classifier", photo: ReadImage, layer: str, channel: int, mean: float | None, language: str
) -> str:
    """The photo's answer as it is, with the channel at zero, and at its mean where that is known."""
    from resnet_core.activations.ablation import ablate

    inputs = classifier.checkpoint.preprocessing(photo.image)[None]
    zero = ablate(classifier, inputs, layer, channel, 0.0)
    columns = [(say("detective_as_is", language), zero.before), (say("detective_at_zero", language), zero.after)]
    if mean is not None:
        heading = say("detective_at_mean", language, mean=_short(mean))
        columns.append((heading, ablate(classifier, inputs, layer, channel, mean).after))
    first = zero.before.topk(min(ANSWERS_SHOWN, len(zero.before))).indices.tolist()
    shown = [*first, *(index for index in [int(zero.after.argmax())] if index not in first)]
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading, _ in columns)
    rows = "".join(
        f'<tr><th scope="row">{escape(classifier.class_names[index])}</th>'
        + "".join(f"<td>{float(probabilities[index]):.1%}</td>" for _, probabilities in columns)
        + "</tr>"
        for index in shown
    )
    later = "" if mean is not None else f'<p class="note">{escape(say("detective_mean_later", language))}</p>'
    return (
        f'<div class="facts detective-without"><h3>{escape(say("detective_without", language))}</h3>'
        f"<p>{escape(_what_happened(classifier, zero.before, zero.after, language))}</p>"
        f'<table class="compared"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>{later}</div>'
    )


def _what_happened(classifier: "Classifier", before: "Tensor", after: "Tensor", language: str) -> str:
    index, other = int(before.argmax()), int(after.argmax())
    names = classifier.class_names
    was, now = float(before[index]), float(after[index])
    words = {"label": names[index], "before": f"{was:.1%}"}
    if other != index:
        return say("detective_turns", language, other=names[other], after=f"{float(after[other]):.1%}", **words)
    if abs(was - now) < STILL or f"{was:.1%}" == f"{now:.1%}":
        return say("detective_same", language, **words)
    return say("detective_falls" if now < was else "detective_rises", language, after=f"{now:.1%}", **words)


def case_html(
    services: Services, scans: Scans, classifier: "Classifier", scanned: Scanned, channel: int, language: str
) -> str:
    """The patches that excite a channel most and how often each class does; only the network waits for its turn, not
    the reading of pictures."""
    from resnet_core.activations.detective import investigate

    scan = scanned.scan
    channel = min(max(0, channel), scan.channels - 1)
    sample = scans.sample(classifier, scanned)
    case = services.desk.run(partial(investigate, classifier.model, scan, sample, channel))
    words = {
        "channel": channel,
        "layer": scan.layer,
        "count": f"{scan.count:,}",
        "dataset": scanned.dataset.name,
        "value": _short(float(scan.highest[channel])),
    }
    if case.silent:
        return f'<p class="note detective-silent">{escape(say("detective_silent", language, **words))}</p>'
    return (
        f'<div class="detective-case"><h3>{escape(say("detective_patches", language, **words))}</h3>'
        f"{_patches_html(case, classifier, scan.layer, language)}{_classes_html(case, language)}</div>"
    )


def _patches_html(case: "ChannelCase", classifier: "Classifier", layer: str, language: str) -> str:
    from resnet_core.activations.detective import patch_sheet

    sheet, last = image_address(patch_sheet(case.patches, tile=TILE), "PNG"), max(1, len(case.patches) - 1)
    tiles = "".join(
        f'<figure><div role="img" aria-label="{escape(patch.label)}" '
        f'style="background-size:{len(case.patches)}00% 100%;background-position:{100 * place / last:.3f}% 0"></div>'
        f"<figcaption>{escape(patch.label)} <b>{_short(patch.value)}</b></figcaption></figure>"
        for place, patch in enumerate(case.patches)
    )
    width, height = case.patches[0].image.size
    crop = classifier.checkpoint.preprocessing.crop
    how = say("detective_patches_how", language, width=width, height=height, crop=crop)
    name = "".join(letter if letter.isalnum() else "-" for letter in layer)
    return (
        f'<div class="detective-patches" style="--sheet:url({sheet})">{tiles}</div><p class="note">{escape(how)} '
        f'<a id="channel-patches-download" download="{name}-channel-{case.channel}-patches.png" href="{sheet}">'
        f"{escape(say('detective_download', language))}</a></p>"
    )


def _classes_html(case: "ChannelCase", language: str) -> str:
    most = case.classes[0]
    told = {"tops": case.tops, "label": most.label, "share": f"{most.of_tops:.0%}", "chance": f"{most.of_all:.0%}"}
    rows = "".join(map(_class_row, case.classes[:CLASSES_SHOWN]))
    return (
        f'<p class="detective-line">{escape(say("detective_classes", language, **told))}</p>'
        f'<ul class="bars detective-bars">{rows}</ul>'
        f'<p class="note">{escape(say("detective_mark", language, tops=case.tops))}</p>'
    )


def _class_row(row: "ClassShare") -> str:
    bar = f"width:{100 * row.of_tops:.1f}%;background:{class_color(row.class_index)}"
    return (
        f'<li><span class="bar-label">{escape(row.label)}</span><span class="bar-track"><span class="bar" '
        f'style="{bar}"></span><i style="left:{100 * row.of_all:.1f}%"></i></span>'
        f'<span class="bar-number">{row.of_tops:.0%}</span><span class="bar-number">{_short(row.mean)}</span></li>'
    )


def epochs_html(looks: "tuple[EpochLook, ...]", layer: str, channel: int, language: str) -> str:
    """One channel's maps of a photo in the kept epochs, in a row and on one colour scale."""
    from resnet_core.activations.color_map import paint, to_index

    channel = min(max(0, channel), len(looks[0].activation) - 1)
    maps = [
        look.activation[channel] if look.activation.ndim == 3 else look.activation[channel][None, None]
        for look in looks
    ]
    finite = [each[each.isfinite()] for each in maps]
    low = min((float(each.min()) for each in finite if each.numel()), default=0.0)
    high = max((float(each.max()) for each in finite if each.numel()), default=0.0)
    figures = ""
    for look, values in zip(looks, maps, strict=True):
        picture = paint(to_index(((values - low) / ((high - low) or 1.0)).numpy())).convert("RGB")
        tile = picture.resize((EPOCH_TILE, EPOCH_TILE), Image.Resampling.NEAREST)
        words = escape(say("detective_epoch", language, epoch=look.epoch))
        figures += (
            f'<figure><img src="{image_address(tile, "PNG")}" alt="{words}"><figcaption>{words}</figcaption></figure>'
        )
    title = say("detective_epochs_title", language, channel=channel, layer=layer)
    scale = say("detective_epochs_scale", language, low=_short(low), high=_short(high))
    return (
        f'<div class="detective-case"><h3>{escape(title)}</h3><div class="detective-epochs">{figures}</div>'
        f'<p class="note">{escape(scale)}</p></div>'
    )


def _short(value: float) -> str:
    """A number in three digits."""
    return f"{value:.3g}" if math.isfinite(value) else "–"
