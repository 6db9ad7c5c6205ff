"""What the Layers part shows of one layer of a network, for a photo."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image

from demo.maps.layer_words import (
    dead_words,
    facts_html,
    field_words,
    histogram_svg,
    scale_html,
    shape_words,
    side_words,
    stats_words,
    title_words,
)
from demo.services import Services
from demo.text import say
from resnet_core.data.images import ReadImage
from resnet_core.errors import ConfigError

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classifier

CHANNELS_A_PAGE = 512


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """Everything the part shows of one layer."""

    sheet: Image.Image
    alt: str
    facts: str  # HTML
    shown: list[int]  # the channels on the sheet, in their order
    pages: int
    statistics: Any  # an ActivationStats
    dead: list[int] | None  # never above zero on this photo; None where that has no meaning
    channel: Image.Image
    channel_facts: str  # HTML
    channel_alt: str
    chosen: int  # the channel that is shown large


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """A layer's activation, on the side of the ReLU that there is."""

    classifier: Any
    inputs: Any  # [3,H,W]
    layer: str
    activation: Any
    side: str
    beside: str


def look(services: Services, photo: ReadImage, model: str, layer: str, **how: Any) -> LayerView:
    """One layer's channels for a photo, in turn with other visitors' photos; `how` is what `_drawn` takes by name.

    Raises ResNetLabError for an unknown model, layer or class.
    """
    classifier = services.classifier(model)  # read from its file, maybe fetched, before anybody waits for it
    return services.desk.run(partial(_drawn, services, photo, classifier, layer, **how))


def _drawn(
    services: Services,
    photo: ReadImage,
    classifier: "Classifier",
    layer: str,
    *,
    scale: str = "channel",
    colors: str = "auto",
    order: str = "index",
    label: str = "",
    relu: str = "given",
    page: int = 1,
    channel: int = 0,
    language: str = "en",
) -> LayerView:
    """A page or channel that does not exist becomes the nearest. label: the class of the order by relevance, "" for the
    answer."""
    from resnet_core.activations.capture import describe_activation
    from resnet_core.activations.render import count_pages, render_channel, render_sheet
    from resnet_core.activations.statistics import can_be_dead, dead_channels
    from resnet_core.activations.stretching import fitting_colors

    seen = _see(services, photo, classifier, layer, relu)
    activation, total = seen.activation, len(seen.activation)
    pages, channel = count_pages(total, CHANNELS_A_PAGE), min(max(0, channel), total - 1)
    dead = dead_channels(activation) if can_be_dead(activation, seen.beside) else None
    ranked, ranking = _ranked(seen, photo, order, label, language)
    colors = fitting_colors(activation, colors)
    sheet = render_sheet(
        activation,
        scale=scale,  # type: ignore[arg-type]
        colors=colors,
        order=ranked,
        marked=dead,
        page=min(max(1, page), pages),
        limit=CHANNELS_A_PAGE,
    )
    statistics = describe_activation(activation)
    title = f"{title_words(layer, seen.side, language)} · {shape_words(activation, language)}"
    lines = [stats_words(statistics, language), *dead_words(dead, language), *ranking]
    lines += side_words(layer, relu, seen.side, seen.beside, language) + _more_lines(seen, photo, sheet, language)
    large = render_channel(activation, channel, scale=scale, colors=colors)  # type: ignore[arg-type]
    return LayerView(
        sheet=sheet.image,
        alt=_alt(sheet, layer, language),
        facts=facts_html(title, lines, histogram_svg(activation, language))
        + scale_html(activation, scale, colors, language),
        shown=list(sheet.order or ()),
        pages=pages,
        statistics=statistics,
        dead=None if dead is None else dead.nonzero().flatten().tolist(),
        channel=large,
        channel_facts=_channel_facts(seen, channel, dead, language),
        channel_alt=say("maps_channel_alt", language, channel=channel, layer=layer),
        chosen=channel,
    )


def channel_under(
    services: Services,
    photo: ReadImage,
    model: str,
    layer: str,
    page: int,
    x: float,
    y: float,
    shown: list[int] | None = None,
) -> int | None:
    """The channel shown at a point of the sheet, in its own pixels, in turn; None between two tiles.

    shown: the channels on the sheet as they stand there; by index if left out.
    """
    from resnet_core.activations.render import channel_at, count_pages, render_sheet

    asked = partial(services.activations.get, services.classifier(model), photo.image, [layer])
    activation = services.desk.run(asked)[layer]
    page = min(max(1, page), count_pages(len(activation), CHANNELS_A_PAGE))
    found = channel_at(render_sheet(activation, page=page, limit=CHANNELS_A_PAGE), x, y)
    place = None if found is None else found - (page - 1) * CHANNELS_A_PAGE
    return shown[place] if shown and place is not None and place < len(shown) else found


def _see(services: Services, photo: ReadImage, classifier: "Classifier", layer: str, relu: str) -> _Seen:
    """Where no ReLU is beside the layer, its activation as it is."""
    from resnet_core.activations.layers import relu_beside

    if relu not in ("given", "before", "after"):
        raise ConfigError(f"There is no side “{str(relu)[:40]}” of a ReLU; choose given, before or after.")
    beside = relu_beside(classifier.model, layer)
    side: Any = "given" if beside == "none" else relu
    inputs = classifier.checkpoint.preprocessing(photo.image)
    activation = services.activations.get_of(classifier, inputs, [layer], side)[layer]
    return _Seen(classifier=classifier, inputs=inputs, layer=layer, activation=activation, side=side, beside=beside)


def _ranked(seen: _Seen, photo: ReadImage, order: str, label: str, language: str) -> tuple[tuple[int, ...], list[str]]:
    """The channels in the order asked for, and what there is to say about it."""
    from resnet_core.activations.orders import channel_relevance, order_channels

    if order != "relevance":
        return order_channels(seen.activation, order), []
    names = seen.classifier.class_names
    if label and label not in names:
        raise ConfigError(f"This model has no class “{label[:60]}”; it has {', '.join(names[:10])}.")
    label = label or seen.classifier.classify(photo.image, top_k=1).predictions[0].label
    relevance = channel_relevance(seen.classifier.model, seen.inputs[None], seen.layer, names.index(label))
    ranked = order_channels(seen.activation, order, relevance)
    first, last = ranked[0], ranked[-1]
    told = say(
        "maps_relevance",
        language,
        label=label,
        first=first,
        most=float(relevance[first]),
        last=last,
        least=float(relevance[last]),
    )
    return ranked, [told]


def _more_lines(seen: _Seen, photo: ReadImage, sheet: Any, language: str) -> list[str]:
    """How much of the photo a place sees, which page this is, and what was noticed when the photo was read."""
    from resnet_core.activations.field_size import field_size

    lines = []
    if seen.activation.ndim == 3:
        lines += field_words(field_size(seen.classifier.model, seen.layer), seen.inputs.shape[-1], language)
    if sheet.channels < sheet.total:
        last = sheet.first_channel + sheet.channels - 1
        lines.append(say("page_of", language, first=sheet.first_channel, last=last, total=sheet.total))
    return [*lines, *photo.notes]


def _alt(sheet: Any, layer: str, language: str) -> str:
    shown = sheet.order or (sheet.first_channel, sheet.first_channel + sheet.channels - 1)
    return say(
        "maps_sheet_alt",
        language,
        layer=layer,
        count=sheet.channels,
        rows=sheet.rows,
        columns=sheet.columns,
        first=shown[0],
        last=shown[-1],
    )


def _channel_facts(seen: _Seen, channel: int, dead: Any, language: str) -> str:
    from resnet_core.activations.capture import describe_activation

    one = seen.activation[channel : channel + 1]
    lines = [stats_words(describe_activation(one), language)]
    if dead is not None and bool(dead[channel]):
        lines.append(say("maps_dead_one", language))
    title = say("channel_line", language, channel=channel, layer=seen.layer)
    return facts_html(title, lines, histogram_svg(one, language))
