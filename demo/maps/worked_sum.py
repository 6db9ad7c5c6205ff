"""The arithmetic behind one number of a layer as HTML: what came in, the weights, their products, the sum.

`work_out` computes it for a photo; what it shows sums to the network's own number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.markup import escape
from demo.services import Services
from demo.text import say
from resnet_core.data.images import ReadImage

if TYPE_CHECKING:
    from torch import Tensor, nn

    from resnet_core.activations.arithmetic import Explanation

WINDOWS_A_PAGE, VALUES_A_PAGE = 6, 24  # input channels with a window each, and single inputs
FIGURES = 6  # significant digits of sums


@dataclass(frozen=True, kw_only=True)
class WorkedSum:
    """One number of a layer worked out, and the map it stands in."""

    html: str
    activation: "Tensor"  # [C, h, w] or [K]
    place: tuple[int, int, int]  # channel, row, column, inside the activation
    shown: float  # the sum as worked out
    value: float  # the network's own number
    pages: int


def work_out(
    services: Services, photo: ReadImage, model: str, layer: str, place: tuple[int, int, int], page: int, language: str
) -> WorkedSum:
    """The number at (channel, row, column), brought inside the layer's shape. Raises ResNetLabError."""
    from resnet_core.activations.layers import find_layer
    from resnet_core.models.resnet import ResidualBlock

    classifier = services.classifier(model)
    activation = services.activations.get(classifier, photo.image, [layer])[layer]
    sizes = [*activation.shape, 1, 1][:3]
    channel, row, column = (min(max(0, at), size - 1) for at, size in zip(place, sizes, strict=True))
    inputs = classifier.checkpoint.preprocessing(photo.image)[None]
    name, module, notes = layer, find_layer(classifier.model, layer), []
    while not isinstance(module, ResidualBlock) and (children := list(module.named_children())):
        name, module = f"{name}.{children[-1][0]}", children[-1][1]
    if name != layer:
        notes.append(say("arithmetic_stage", language, layer=layer, last=name))
    shape = "×".join(map(str, activation.shape))
    title = say("arithmetic_where", language, channel=channel, row=row, column=column, layer=layer, shape=shape)
    at = (channel, row, column)
    if isinstance(module, ResidualBlock):
        body, shown, value, pages = _block_end(classifier.model, inputs, name, at, language)
    else:
        body, shown, value, pages = _layer(classifier.model, module, inputs, name, at, page, language)
    lines = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    return WorkedSum(
        html=f'<div class="worked"><h3>{escape(title)}</h3>{lines}{body}{_agreement(shown, value, language)}</div>',
        activation=activation,
        place=at,
        shown=shown,
        value=value,
        pages=pages,
    )


def _layer(
    network: "nn.Module", module: Any, inputs: "Tensor", name: str, at: tuple[int, int, int], page: int, language: str
) -> tuple[str, float, float, int]:
    from resnet_core.activations.arithmetic import explain_value

    shown = explain_value(network, inputs, name, channel=at[0], row=at[1], column=at[2])
    pages = 1
    if shown.kind in ("convolution", "linear"):
        body, pages = _weighted(shown, page, language)
    elif shown.kind == "batch-norm":
        body = _batch_norm(shown, module, at[0], language)
    elif shown.kind in ("max-pool", "average-pool"):
        body = _pooled(shown, language)
    else:
        key = {"relu": "arithmetic_relu", "identity": "arithmetic_same", "padded": "arithmetic_padded"}[shown.kind]
        came_in = float(shown.inputs[0])
        equation = f"max(0, {_number(came_in)})" if shown.kind == "relu" else _number(came_in)
        body = f"<p>{escape(say(key, language))}</p>{_equation(f'{equation} = {_number(shown.result)}')}"
    return body, shown.result, shown.value, pages


def _weighted(shown: "Explanation", page: int, language: str) -> tuple[str, int]:
    """A convolution or linear layer: its inputs page by page, the largest first, then the sum of them all."""
    from resnet_core.activations.arithmetic import channel_sums

    sums = channel_sums(shown)
    single = shown.inputs[0].numel() == 1
    length = VALUES_A_PAGE if single else WINDOWS_A_PAGE
    pages = -(-len(sums) // length)
    first = (min(max(1, page), pages) - 1) * length
    chosen = [each.channel for each in sums[first : first + length]]
    parts = [_window_words(shown, language)] if shown.window else []
    if pages > 1:
        last = first + len(chosen)
        parts.append(say("arithmetic_largest", language, first=first + 1, last=last, total=len(sums)))
    lines = "".join(f'<p class="note">{escape(part)}</p>' for part in parts)
    draw = _values if single else _windows
    return f"{lines}{draw(shown, chosen, language)}{_total(shown, language)}", pages


def _windows(shown: "Explanation", channels: Sequence[int], language: str) -> str:
    """Window, kernel and products of each of these input channels."""
    outside = ~shown.inside
    bounds = [float(each.abs().max()) or 1.0 for each in (shown.inputs, shown.weights, shown.products)]
    names = [say(f"arithmetic_{key}", language) for key in ("in", "kernel", "product")]
    figures = []
    for channel in channels:
        grids = [
            _grid(each[channel], bound, name, outside)
            for each, bound, name in zip((shown.inputs, shown.weights, shown.products), bounds, names, strict=True)
        ]
        total = _number(float(shown.products[channel].sum()))
        caption = escape(say("arithmetic_channel", language, channel=channel, sum=total))
        equation = f"{grids[0]}<b>×</b>{grids[1]}<b>=</b>{grids[2]}"
        figures.append(f'<figure><figcaption>{caption}</figcaption><div class="worked-row">{equation}</div></figure>')
    return f'<div class="worked-windows">{"".join(figures)}</div>'


def _values(shown: "Explanation", channels: Sequence[int], language: str) -> str:
    """A row an input: where there is a single number in each channel."""
    columns = [each.flatten() for each in (shown.inputs, shown.weights, shown.products)]
    bound = float(columns[2].abs().max()) or 1.0
    rows = ""
    for index in channels:
        came_in, weight, product = (float(each[index]) for each in columns)
        rows += (
            f"<tr><th>{escape(say('arithmetic_value', language, place=index))}</th><td>{_number(came_in)}</td>"
            f"<td>{_number(weight)}</td><td{_shade(product, bound)}>{_number(product)}</td></tr>"
        )
    heads = "".join(f"<th>{escape(say(f'arithmetic_{key}', language))}</th>" for key in ("in", "kernel", "product"))
    return f'<table class="worked-values"><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _pooled(shown: "Explanation", language: str) -> str:
    count = shown.inputs[0].numel()
    if shown.kind == "average-pool":
        words = escape(say("arithmetic_average", language, count=count))
        equation = f"{_number(float(shown.inputs.sum()))} / {count} = {_number(shown.result)}"
        return f"<p>{words}</p>{_equation(equation)}"
    bound = float(shown.inputs.abs().max()) or 1.0
    grid = _grid(shown.inputs[0], bound, say("arithmetic_in", language), ~shown.inside, chosen=shown.weights[0])
    words = f'<p class="note">{escape(_window_words(shown, language))}</p>'
    title = f"<p>{escape(say('arithmetic_max', language))}</p>"
    return f'{title}{words}<div class="worked-row">{grid}<b>→</b><span>{_number(shown.result)}</span></div>'


def _batch_norm(shown: "Explanation", module: Any, channel: int, language: str) -> str:
    """The formula with its five numbers in place."""
    mean, variance = float(module.running_mean[channel]), float(module.running_var[channel])
    scale, shift = (float(each[channel]) if module.affine else default for each, default in (
        (module.weight, 1.0), (module.bias, 0.0)
    ))  # fmt: skip
    value = _number(float(shown.inputs[0]))
    equation = (
        f"({value} {_signed(-mean)}) / √({_number(variance)} + {module.eps:g}) · {_number(scale)} {_signed(shift)} "
        f"= {_number(shown.result)}"
    )
    return f"<p>{escape(say('arithmetic_bn', language))}</p>{_equation(equation)}"


def _block_end(
    network: "nn.Module", inputs: "Tensor", name: str, at: tuple[int, int, int], language: str
) -> tuple[str, float, float, int]:
    from resnet_core.activations.residual import block_parts

    parts = block_parts(network, inputs, name)
    value = float(parts.output[0][at])
    # the published tutorial network's shortcut is larger than its branch, which is then stretched over it
    branch = float(parts.branch[0].expand_as(parts.output[0])[at])
    identity = None if parts.identity is None else float(parts.identity[0].expand_as(parts.output[0])[at])
    total = branch + (identity or 0.0)
    result = max(0.0, total)
    told = _number(branch) if identity is None else f"{_number(identity)} {_signed(branch)}"
    equation = f"max(0, {told}) = max(0, {_number(total)}) = {_number(result)}"
    key = "arithmetic_block_plain" if identity is None else "arithmetic_block"
    return f"<p>{escape(say(key, language))}</p>{_equation(equation)}", result, value, 1


def _total(shown: "Explanation", language: str) -> str:
    rows = [
        (say("arithmetic_sum", language, count=f"{shown.products.numel():,}"), float(shown.products.sum())),
        (say("arithmetic_bias", language), shown.bias),
        (say("arithmetic_result", language), shown.result),
    ]
    if not shown.bias:
        rows = [rows[0]]
    cells = "".join(f"<tr><th>{escape(words)}</th><td>{_number(value)}</td></tr>" for words, value in rows)
    return f'<table class="worked-total"><tbody>{cells}</tbody></table>'


def _agreement(shown: float, value: float, language: str) -> str:
    difference = f"{abs(shown - value):.1g}"
    words = say("arithmetic_agrees", language, value=_number(value), difference=difference)
    return f'<p class="worked-agrees" data-shown="{shown!r}" data-value="{value!r}">{escape(words)}</p>'


def _window_words(shown: "Explanation", language: str) -> str:
    assert shown.window is not None
    top, left, height, width = shown.window
    values = {"top": top, "left": left, "bottom": top + height - 1, "right": left + width - 1}
    told = [say("arithmetic_window", language, channels=shown.incoming[0], **values)]
    over = int((~shown.inside).sum())
    if over:
        told.append(say("arithmetic_padding", language, count=over))
    return " ".join(told)


def _grid(values: "Tensor", bound: float, name: str, outside: "Tensor", *, chosen: "Tensor | None" = None) -> str:
    """A small table of numbers, blue below zero and orange above; places over the border are hatched."""
    rows = []
    for row, numbers in enumerate(values.tolist()):
        cells = []
        for column, number in enumerate(numbers):
            kind = " class=over" if outside[row, column] else ""
            words = _number(number, digits=2)
            words = f"<strong>{words}</strong>" if chosen is not None and chosen[row, column] else words
            cells.append(f"<td{kind}{_shade(number, bound)}>{words}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="worked-grid" aria-label="{escape(name)}"><tbody>{"".join(rows)}</tbody></table>'


def _shade(number: float, bound: float) -> str:
    color = "230,159,0" if number > 0 else "0,114,178"
    return f' style="background:rgba({color},{min(1.0, abs(number) / bound) * 0.55:.2f})"'


def _equation(text: str) -> str:
    return f'<p class="worked-equation">{escape(text)}</p>'


def _signed(value: float) -> str:
    """ "+ 0.5" or "− 0.5"."""
    return f"{'−' if value < 0 else '+'} {_number(abs(value))}"


def _number(value: float, *, digits: int = FIGURES) -> str:
    return f"{value + 0.0:.{digits}g}".replace("-", "−")  # adding 0 turns −0 into 0
