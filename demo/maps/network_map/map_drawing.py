"""What the map asks the server: the outline of the opened model, or of any network, for a size of picture.

    browser {"model": name, "network": "" or "resnet34" or "resnet34/plain" …, "size": px or 0, "pooled": bool}
       ── draw ──►  outline_json(…) | {"title", "opened", "usual"}
                    {"error": sentence}                                     nothing raised, ever

Outlines need no weights, so they are kept by architecture: a second look, and another model of the kind, cost nothing.
"""

import functools
import json
import logging
from collections.abc import Callable
from typing import Any

from demo.services import Services
from resnet_core.errors import ConfigError, ResNetLabError
from resnet_core.models.zoo import get_architecture, list_models

PLAIN, PUBLISHED = "plain", "as-published"
WAYS: dict[str, dict[str, Any]] = {"": {}, PLAIN: {"residual": False}, PUBLISHED: {"as_published": True}}
OUTLINES_KEPT = 64  # a few kB each
MAX_NAME = 300

log = logging.getLogger(__name__)


def network_names() -> dict[str, list[str]]:
    """What can be drawn besides the opened model: residual networks, then their plain twins, then the faulty one."""
    names = list_models()
    return {
        "networks": [*names, f"tutorial-cifar/{PUBLISHED}"],
        "plain": [f"{name}/{PLAIN}" for name in names],
    }


def make_draw(services: Services) -> Callable[[object], dict[str, Any]]:
    """The function the browser calls: any JSON in, an outline or a sentence out; it never raises."""

    def draw(question: object) -> dict[str, Any]:
        try:
            services.ready()
            asked = question[0] if isinstance(question, list) and len(question) == 1 else question
            return _drawing(services, asked)  # no network runs for it, so nobody's photo need wait
        except ResNetLabError as problem:
            return {"error": str(problem)}
        except Exception:
            log.exception("the map of a network could not be drawn")
            return {"error": "The map could not be drawn just now; choose the network again."}

    return draw


def _drawing(services: Services, asked: object) -> dict[str, Any]:
    if not isinstance(asked, dict):
        raise ConfigError("The map asked in a form this app does not know. Reload the page.")
    name, network = (_name(asked.get(key)) for key in ("model", "network"))
    size, pooled = asked.get("size") or 0, asked.get("pooled", True) is not False
    if network:
        architecture, arguments, title = _named(network)
        usual = get_architecture(architecture).default_image_size
    else:
        checkpoint = services.classifier(name).checkpoint
        architecture, arguments = checkpoint.architecture, checkpoint.architecture_arguments
        title, usual = get_architecture(architecture).title, checkpoint.preprocessing.crop
    outline = _outline(architecture, json.dumps(arguments, sort_keys=True), size or usual, pooled)
    return outline | {"title": title, "opened": not network, "usual": usual}


@functools.lru_cache(maxsize=OUTLINES_KEPT)
def _outline(architecture: str, arguments: str, size: int, pooled: bool) -> dict[str, Any]:
    from resnet_core.models.outline import make_outline, outline_json
    from resnet_core.training.hollow import build_hollow

    return outline_json(make_outline(build_hollow(architecture, **json.loads(arguments)), size, pooled=pooled))


def _named(network: str) -> tuple[str, dict[str, Any], str]:
    """Architecture, its arguments and what people call it. Raises ConfigError, ModelError."""
    architecture, _, way = network.partition("/")
    if way not in WAYS:
        raise ConfigError("There is no such way to draw a network; choose one of the list.")
    ending = f", {way.replace('-', ' ')}" if way else ""
    return architecture, WAYS[way], get_architecture(architecture).title + ending


def _name(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise ConfigError("The map asked for a network by something that is not a name. Reload the page.")
    return value
