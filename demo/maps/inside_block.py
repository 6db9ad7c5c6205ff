"""What the Block part shows: the inside of a block of a private copy of the network, and the answers before and after
some branches or skips were switched off."""

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from demo.maps.switchboard.switchboard import board_value
from demo.markup import class_color, empty_card, escape
from demo.services import Services
from demo.text import say
from resnet_core.data.images import ReadImage

if TYPE_CHECKING:
    from resnet_core.activations.block_pictures import PartPicture
    from resnet_core.activations.switching import PrivateCopies, Switched
    from resnet_core.inference.classifier import Classifier

TITLES = {"identity": "x", "branch": "F(x)", "total": "x + F(x)", "output": "ReLU(x + F(x))"}
PARTS = tuple(TITLES)
BARS = 5  # classes shown
NAMED = 3  # blocks named in a sentence; of more there is only the number

Off = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class BlockView:
    """Everything the part shows for a photo; sheets by the names of PARTS."""

    board: dict[str, Any]
    figures: str  # HTML
    sheets: dict[str, Image.Image]
    answer: str  # HTML


def look_inside(
    services: Services,
    copies: "PrivateCopies",
    photo: ReadImage,
    model: str,
    *,
    block: str,
    channel: int,
    off: Off,
    shared: bool,
    language: str,
) -> BlockView:
    """The block's parts with `off` switched off, every block's share, both answers, in turn with other visitors'
    photos. Raises ResNetLabError."""
    classifier = services.classifier(model)  # read from its file, maybe fetched, before anybody waits for it

    def seen() -> BlockView:
        return _seen(copies.of(classifier), photo, model, block, channel, off, shared, language)

    return services.desk.run(seen)


def _seen(
    twin: "Classifier", photo: ReadImage, model: str, block: str, channel: int, off: Off, shared: bool, language: str
) -> BlockView:
    from resnet_core.activations.residual import block_parts, block_shares, list_blocks, switching_off
    from resnet_core.activations.switching import compare_answers

    blocks = list_blocks(twin.model)
    if not blocks:
        return _without_blocks(language)
    off = fitting(off, twin)
    chosen = block if block in blocks else blocks[0]
    inputs = twin.checkpoint.preprocessing(photo.image)[None]
    with switching_off(twin.model, off):  # type: ignore[arg-type]
        shares = {share.name: share.ratio for share in block_shares(twin.model, inputs)}
        parts = block_parts(twin.model, inputs, chosen)
    figures, sheets = _pictures(parts, chosen, channel, off, shares, shared, language)
    return BlockView(
        board=board_value(model, blocks, shares, chosen, off),
        figures=figures,
        sheets=sheets,
        answer=answer_html(compare_answers(twin, photo.image, off), twin, off, language),  # type: ignore[arg-type]
    )


def read_off(text: str | None) -> Off:
    """What is switched off, from the page's text; whatever is no such thing is left out."""
    try:
        told = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(told, dict):
        return {}
    return {str(name): what for name, what in list(told.items())[:5000] if what in ("branch", "skip")}


def fitting(off: Off, classifier: "Classifier") -> Off:
    """Those of the switches that this network has, in the order of its blocks."""
    from resnet_core.activations.residual import list_blocks

    names = [name for name in list_blocks(classifier.model) if classifier.model.get_submodule(name).residual]
    return {name: off[name] for name in names if name in off}


def what_words(off: Mapping[str, str], language: str) -> str:
    """ "F(x) of layer2.1 and the skip of layer3.0" and the like."""
    told = []
    for kind in ("branch", "skip"):
        names = [name for name, what in off.items() if what == kind]
        if names:
            some = ", ".join(names[:NAMED])
            more = len(names) - NAMED
            told.append(
                say(
                    f"blocks_what_{kind}",
                    language,
                    names=say("blocks_what_many", language, first=some, count=more) if more > 0 else some,
                )
            )
    return say("blocks_what_and", language, first=told[0], second=told[1]) if len(told) > 1 else "".join(told)


def answer_html(switched: "Switched", classifier: "Classifier", off: Off, language: str) -> str:
    """A sentence, and the bars of what is left of the network with a mark for the whole one."""
    before, after = switched.before, switched.after
    first, now = before.predictions[0], after.predictions[0]
    values = {"label": first.label, "before": first.probability, "other": now.label, "after": now.probability}
    if not off:
        sentence = say("blocks_whole", language, label=first.label, share=first.probability)
    else:
        key = "blocks_same" if first.label == now.label else "blocks_other"
        sentence = say(key, language, what=what_words(off, language), **values)
    marks = {prediction.label: prediction.probability for prediction in before.predictions}
    index = {name: position for position, name in enumerate(classifier.class_names)}
    shown = after.predictions[:BARS]
    if first.label not in {prediction.label for prediction in shown}:
        shown = (*shown, next(each for each in after.predictions if each.label == first.label))
    rows = "".join(
        _bar(each.label, each.probability, marks[each.label], class_color(index[each.label])) for each in shown
    )
    note = f'<p class="note">{escape(say("blocks_mark", language))}</p>' if off else ""
    return f'<div class="block-answer"><p role="status">{escape(sentence)}</p><ul class="bars">{rows}</ul>{note}</div>'


def _bar(name: str, share: float, mark: float, color: str) -> str:
    return (
        f'<li><span class="bar-label">{escape(name)}</span><span class="bar-track">'
        f'<span class="bar" style="width:{max(0.4, share * 100):.1f}%;background:{color}"></span>'
        f'<i class="block-mark" style="left:{min(99.5, mark * 100):.1f}%"></i></span>'
        f'<span class="bar-number">{share:.1%}</span></li>'
    )


def _pictures(
    parts: Any, block: str, channel: int, off: Off, shares: Mapping[str, float], shared: bool, language: str
) -> tuple[str, dict[str, Image.Image]]:
    from resnet_core.activations.block_pictures import PAGE, draw_parts, page_of

    total = len(parts.output[0])
    channel = min(max(0, channel), total - 1)
    drawn = draw_parts(parts, channel=channel, shared=shared)
    left_out = {"branch": "branch", "skip": "identity"}.get(off.get(block, ""), "")
    figures = "".join(_figure(name, drawn.get(name), name == left_out, language) for name in PARTS)
    first = page_of(channel)
    ratio = shares.get(block)
    headline = (
        say("blocks_plain", language, block=block)
        if ratio is None
        else say("blocks_facts", language, block=block, ratio=ratio)
    )
    where = say("blocks_channel", language, channel=channel, total=total)
    page = say("blocks_page", language, first=first, last=min(first + PAGE, total) - 1)
    html = (
        f'<p class="block-line">{escape(headline)} <span class="note">{escape(where)}</span></p>'
        f'<div class="block-parts">{figures}</div><p class="note">{escape(page)}</p>'
    )
    return html, {name: picture.sheet for name, picture in drawn.items()}


def _figure(name: str, picture: "PartPicture | None", left_out: bool, language: str) -> str:
    title = escape(TITLES[name])
    if picture is None:
        nothing = escape(say("blocks_no_skip", language))
        return f'<figure class="block-part"><h3>{title}</h3><p class="note">{nothing}</p></figure>'
    words = say("blocks_range", language, low=picture.low, high=picture.high, norm=picture.norm)
    kind = " left-out" if left_out else ""
    more = f" · {say('blocks_left_out', language)}" if left_out else ""
    return (
        f'<figure class="block-part{kind}" data-part="{name}"><h3>{title}</h3>'
        f'<img src="{_address(picture.large)}" alt="{title}"><figcaption>{escape(words + more)}</figcaption></figure>'
    )


def _without_blocks(language: str) -> BlockView:
    card = empty_card(say("blocks_none", language))
    return BlockView(board=board_value("", (), {}, "", {}), figures=card, sheets={}, answer="")


def _address(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
