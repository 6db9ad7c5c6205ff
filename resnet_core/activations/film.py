"""From pixels to answer as an animated WebP: the photo, every stage's maps in turn, the answer.

Captions are drawn with the font that Pillow carries, so a film looks the same on every machine; characters it lacks
stand there as question marks.
"""

import io
from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from resnet_core.activations.kept import ActivationCache
from resnet_core.activations.layers import list_layers
from resnet_core.activations.orders import order_channels
from resnet_core.activations.render import Scale, render_sheet
from resnet_core.activations.turns import InTurn, at_once
from resnet_core.errors import ModelError
from resnet_core.inference.classifier import Classification, Classifier
from resnet_core.models.resnet import Network

WIDTH, HEIGHT, CAPTION, MARGIN = 640, 560, 60, 12  # px
MOST_LAYERS = 60
MOST_CHANNELS = 512  # on a frame; of a layer with more, the strongest
MOST_BYTES = 3_000_000
SECONDS, LAST_SECONDS = 1.3, 4.0  # a frame stays
QUALITIES = (84, 70, 55, 40)
ANSWERS = 5
BACK, TEXT, QUIET, BAR = "#16181d", "#f2f2f2", "#a9adb5", "#56b4e9"


def make_film(
    cache: ActivationCache,
    classifier: Classifier,
    image: Image.Image,
    layers: Sequence[str] = (),
    *,
    scale: Scale = "channel",
    colors: str = "auto",
    order: str = "index",
    in_turn: InTurn = at_once,
) -> bytes:
    """Return the WebP file, at most 3 MB: the photo, these layers (without: the stem and every stage), the answer.

    The network's work, not the drawing, is done by way of `in_turn`. Raises ModelError for an unknown layer and for
    more than 60.
    """
    chosen = tuple(layers) or in_turn(lambda: stages_of(classifier))
    if len(chosen) > MOST_LAYERS:
        raise ModelError(f"A film shows at most {MOST_LAYERS} layers, not {len(chosen):,}; choose fewer.")
    activations = in_turn(lambda: cache.get(classifier, image, chosen))
    answer = in_turn(lambda: classifier.classify(image, top_k=ANSWERS))
    frames = [_photo_frame(classifier.checkpoint.preprocessing.square(image))]
    for name, activation in activations.items():
        frames.append(_maps_frame(name, activation, scale=scale, colors=colors, order=order))
    frames.append(_answer_frame(answer))
    return _encode(frames)


def stages_of(classifier: Classifier) -> tuple[str, ...]:
    """Return the layers of a film from pixels to answer: first convolution, end of the stem, every stage."""
    model = classifier.model
    names = list_layers(model, classifier.checkpoint.preprocessing.crop)
    if not isinstance(model, Network):
        return tuple(name for name in names if "." not in name)[:MOST_LAYERS]
    stem = [name for name in model.stem_names if name in names]
    ends = [stem[0], stem[-1]] if stem else []
    return tuple(dict.fromkeys([*ends, *(name for name in model.stage_names if name in names)]))


def _photo_frame(square: Image.Image) -> Image.Image:
    frame, _ = _empty("Pixels", f"the photo as the network sees it: 3 x {square.height} x {square.width} numbers")
    side = HEIGHT - CAPTION - 2 * MARGIN
    _place(frame, square.resize((side, side), Image.Resampling.BICUBIC))
    return frame


def _maps_frame(name: str, activation: Tensor, *, scale: Scale, colors: str, order: str) -> Image.Image:
    count = len(activation)
    order = "strength" if count > MOST_CHANNELS else order
    shape = " x ".join(map(str, activation.shape))
    shown = f"the {MOST_CHANNELS} strongest of {count} channels" if count > MOST_CHANNELS else f"all {count} channels"
    frame, _ = _empty(name, f"{shape} numbers, {shown}" if activation.ndim == 3 else f"{count} numbers")
    sheet = render_sheet(
        activation,
        scale=scale,
        colors=colors,
        order=order_channels(activation, order),
        limit=MOST_CHANNELS,
        max_width=WIDTH - 2 * MARGIN,
    )
    _place(frame, sheet.image.convert("RGB"))
    return frame


def _answer_frame(answer: Classification) -> Image.Image:
    best = answer.predictions[0]
    title = "I do not know this" if answer.unknown else f"{best.label} · {best.probability:.0%}"
    frame, draw = _empty(title, "the answer")
    font = _font(19)
    top, left, right = CAPTION + 40, WIDTH * 2 // 5, WIDTH - 2 * MARGIN
    for row, prediction in enumerate(answer.predictions):
        y = top + row * 52
        draw.text((2 * MARGIN, y), drawable(_shortened(prediction.label, 24), font), fill=TEXT, font=font)
        draw.rounded_rectangle((left, y, right - 70, y + 24), 6, fill="#2b2f38")
        length = max(12, (right - 70 - left) * prediction.probability)  # px; less cannot have round corners
        draw.rounded_rectangle((left, y, left + length, y + 24), 6, fill=BAR)
        draw.text((right, y), f"{prediction.probability:.1%}", fill=TEXT, font=font, anchor="ra")
    return frame


def _empty(title: str, line: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A frame with its caption."""
    frame = Image.new("RGB", (WIDTH, HEIGHT), BACK)
    draw = ImageDraw.Draw(frame)
    large, small = _font(22), _font(15)
    draw.text((MARGIN, 8), drawable(_shortened(title, 48), large), fill=TEXT, font=large)
    draw.text((MARGIN, 37), drawable(line, small), fill=QUIET, font=small)
    return frame, draw


def _place(frame: Image.Image, picture: Image.Image) -> None:
    """Puts a picture into the middle below the caption, reduced or enlarged to fit."""
    room = (WIDTH - 2 * MARGIN, HEIGHT - CAPTION - MARGIN)
    share = min(room[0] / picture.width, room[1] / picture.height)
    if share >= 2:
        picture = picture.resize((picture.width * int(share), picture.height * int(share)), Image.Resampling.NEAREST)
    elif share < 1:
        size = (max(1, int(picture.width * share)), max(1, int(picture.height * share)))
        picture = picture.resize(size, Image.Resampling.BOX)
    frame.paste(picture, ((WIDTH - picture.width) // 2, CAPTION + (room[1] - picture.height) // 2))


def drawable(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Return the text with a question mark for every character that the font has no picture of."""
    missing = bytes(font.getmask("\uffff"))
    return "".join(char if char == " " or bytes(font.getmask(char)) != missing else "?" for char in text)


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _encode(frames: list[Image.Image]) -> bytes:
    """The film in the best quality, and if need be size, that stays below the limit."""
    durations = [round(SECONDS * 1000)] * (len(frames) - 1) + [round(LAST_SECONDS * 1000)]
    content = b""
    for size, quality in _ever_smaller():
        shown = [frame if size == frame.size else frame.resize(size, Image.Resampling.BOX) for frame in frames]
        stream = io.BytesIO()
        options = {"save_all": True, "append_images": shown[1:], "duration": durations, "loop": 0}
        shown[0].save(stream, "WEBP", quality=quality, method=3, **options)
        content = stream.getvalue()
        if len(content) <= MOST_BYTES:
            break
    return content


def _ever_smaller() -> Iterator[tuple[tuple[int, int], int]]:
    for share in (1, 2, 4, 8):
        for quality in QUALITIES:
            yield (WIDTH // share, HEIGHT // share), quality
