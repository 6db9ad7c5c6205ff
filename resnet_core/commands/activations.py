"""`activations`: what the layers of a network make of a picture, as a list, a sheet, numbers or a film."""

import argparse
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from resnet_core.activations.capture import describe_activation
from resnet_core.activations.film import make_film, stages_of
from resnet_core.activations.kept import ActivationCache
from resnet_core.activations.layers import list_layers, relu_beside
from resnet_core.activations.orders import channel_relevance, order_channels
from resnet_core.activations.render import count_pages, encode_sheet, render_sheet
from resnet_core.activations.statistics import dead_on_photo
from resnet_core.activations.take_maps_away import take_maps, write_npz
from resnet_core.data.images import display_name, read_image
from resnet_core.device import find_device
from resnet_core.errors import ConfigError
from resnet_core.files import write_bytes
from resnet_core.inference.catalog import load_classifier
from resnet_core.inference.classifier import Classifier
from resnet_core.training.runs import RunStore

COLUMNS = {"mean": "mean", "std": "std", "minimum": "least", "maximum": "largest"}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """A picture and the network that looks at it."""

    options: argparse.Namespace
    classifier: Classifier
    image: Image.Image
    cache: ActivationCache

    @property
    def layers(self) -> list[str]:
        """The layers asked for, each once."""
        return list(dict.fromkeys(self.options.layer or ()))


def activations(options: argparse.Namespace) -> int:
    """Lists layers with their shapes and statistics, or writes what was asked for."""
    write = None if options.output is None else _writer(options.output)
    classifier = load_classifier(
        options.checkpoint, RunStore(options.runs_dir), allow_paths=True, device=find_device(options.device)
    )
    image = read_image(Path(options.picture), draft_size=classifier.draft_size)
    asked = _Asked(options=options, classifier=classifier, image=image, cache=ActivationCache())
    if write is None:
        return _list(asked)
    content, facts = write(asked)
    write_bytes(options.output, content)
    _report(options, facts, len(content))
    return 0


def _writer(output: Path) -> Callable[[_Asked], tuple[bytes, dict[str, Any]]]:
    writer = {".png": _sheet, ".npz": _numbers, ".webp": _film}.get(output.suffix.lower())
    if writer is None:
        raise ConfigError(f"--output must end in .png, .npz or .webp, not “{display_name(output.name)}”.")
    return writer


def _list(asked: _Asked) -> int:
    rows = [_row(asked, *found) for found in _captured(asked).items()]
    if asked.options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return 0
    print(f"{'layer':<28} {'shape':<14}" + "".join(f"{title:>11}" for title in COLUMNS.values()) + "  zeros  dead")
    for row in rows:
        shape, dead = "×".join(map(str, row["shape"])), "–" if row["dead"] is None else row["dead"]
        numbers = "".join(f"{math.nan if row[key] is None else row[key]:>11.4g}" for key in COLUMNS)
        print(f"{row['layer']:<28} {shape:<14}{numbers} {row['zero_share']:>6.0%} {dead:>5}")
    return 0


def _captured(asked: _Asked) -> dict[str, Tensor]:
    """The layers asked for; without any, all that can be looked at on that side of their ReLU."""
    names, relu, model = asked.layers, asked.options.relu, asked.classifier.model
    if not names:
        every = list_layers(model, asked.classifier.checkpoint.preprocessing.crop)
        names = [name for name in every if relu == "given" or relu_beside(model, name) != "none"]
    return asked.cache.get(asked.classifier, asked.image, names, relu)


def _row(asked: _Asked, name: str, activation: Tensor) -> dict[str, Any]:
    stats = dataclasses.asdict(describe_activation(activation))
    known = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in stats.items()}
    dead = dead_on_photo(asked.classifier.model, name, activation)
    return {"layer": name, **known, "dead": None if dead is None else int(dead.sum())}


def _sheet(asked: _Asked) -> tuple[bytes, dict[str, Any]]:
    options, classifier = asked.options, asked.classifier
    if len(asked.layers) != 1:
        raise ConfigError("A .png shows one layer: name it with --layer; .npz and .webp take several.")
    (name,) = asked.layers
    activation = asked.cache.get(classifier, asked.image, [name], options.relu)[name]
    relevance = None
    if options.order == "relevance":
        inputs = classifier.checkpoint.preprocessing(asked.image)[None]
        relevance = channel_relevance(classifier.model, inputs, name, _class_index(classifier, options.label))
    order = order_channels(activation, options.order, relevance)
    dead = dead_on_photo(classifier.model, name, activation)
    sheet = render_sheet(
        activation, scale=options.scale, colors=options.colors, order=order, marked=dead, page=options.page
    )
    shown = list(sheet.order or ())
    facts = {"layers": [name], "channels": shown, "pages": count_pages(len(activation))}
    return encode_sheet(sheet.image), facts


def _numbers(asked: _Asked) -> tuple[bytes, dict[str, Any]]:
    options = asked.options
    layers = asked.layers or stages_of(asked.classifier)
    taken = take_maps(
        asked.cache,
        asked.classifier,
        asked.image,
        layers,
        model=options.checkpoint,
        picture=display_name(Path(options.picture).name),
        relu=options.relu,
    )
    return write_npz(taken), {"layers": list(taken.activations), "shapes": taken.about["shapes"]}


def _film(asked: _Asked) -> tuple[bytes, dict[str, Any]]:
    options = asked.options
    layers = asked.layers or stages_of(asked.classifier)
    if options.order == "relevance":
        raise ConfigError("A film knows the orders index and strength; relevance is for a .png.")
    content = make_film(
        asked.cache,
        asked.classifier,
        asked.image,
        layers,
        scale=options.scale,
        colors=options.colors,
        order=options.order,
    )
    return content, {"layers": list(layers)}


def _class_index(classifier: Classifier, label: str | None) -> int | None:
    if label is None:
        return None
    if label not in classifier.class_names:
        names = ", ".join(map(display_name, classifier.class_names[:10]))
        raise ConfigError(f"This model has no class “{display_name(label)}”; it has {names}.")
    return classifier.class_names.index(label)


def _report(options: argparse.Namespace, facts: dict[str, Any], size: int) -> None:
    if options.json:
        print(json.dumps({"image": options.picture, **facts, "output": str(options.output)}, ensure_ascii=False))
        return
    shown = ", ".join(facts["layers"][:12]) + (" …" if len(facts["layers"]) > 12 else "")
    print(f"{display_name(str(options.output))}: {shown} ({size / 1000:,.0f} kB).")
