"""Take it away: the sheet as PNG, the numbers as .npz, the way from pixels to answer as an animated WebP."""

import os
import re
import secrets
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import hash_bytes

from demo.maps.looking import Looking
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage
from resnet_core.errors import ConfigError

FORMATS = ("png", "npz", "webp")


def take_away_section(services: Services, looking: Looking, options: Any) -> None:
    """Builds three buttons, and the one that hands the file over; `options` are those of the Layers part."""
    with gr.Row(elem_id="maps-take"):
        buttons = [
            gr.Button(label(f"maps_take_{form}"), size="sm", min_width=120, elem_id=f"maps-take-{form}")
            for form in FORMATS
        ]
    file = gr.DownloadButton(visible=False, variant="primary", size="sm", elem_id="maps-take-file")
    gr.Markdown(label("maps_take_hint"), elem_id="maps-take-hint")

    def make(form: str) -> Any:
        @failing_in_a_sentence
        def made(
            picture: ReadImage | None, name: str, layer: str, scale: str, colors: str, order: str, wanted: str | None,
            relu: str, page: float | None, request: gr.Request,
        ) -> Any:  # fmt: skip
            language = language_of(request)
            if picture is None:
                raise ConfigError(say("maps_take_no_photo", language))
            how = {"scale": scale, "colors": colors, "order": order, "label": wanted or "", "relu": relu}
            content = maps_file(services, picture, name, layer, form, page=int(page or 1), **how)
            path = keep(content, file_name(name, layer, form), Path(file.GRADIO_CACHE))
            size = path.stat().st_size
            shown = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
            words = say("maps_take_ready", language, name=path.name, size=shown)
            return gr.update(value=str(path), label=words, visible=True)

        return made

    turns: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, "api_visibility": "private"}
    asked = [looking.photo, looking.model, looking.layer, *options]
    for form, button in zip(FORMATS, buttons, strict=True):
        button.click(make(form), asked, file, show_progress_on=file, **turns)
    hide = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    gr.on([looking.photo.change, looking.layer.change, looking.model.change], _hidden, None, file, **hide)


def maps_file(
    services: Services,
    photo: ReadImage,
    model: str,
    layer: str,
    form: str,
    *,
    scale: str = "channel",
    colors: str = "auto",
    order: str = "index",
    label: str = "",
    relu: str = "given",
    page: int = 1,
    layers: list[str] | None = None,
) -> bytes:
    """The file of that kind: "png" and "npz" of the layer, "webp" of all stages; `layers` instead of those, if given.

    Only the network's work is done in turn with other visitors' photos: packing takes longer than that. Raises
    ResNetLabError.
    """
    from demo.maps.layer_view import look
    from resnet_core.activations.film import make_film
    from resnet_core.activations.layers import relu_beside
    from resnet_core.activations.render import encode_sheet
    from resnet_core.activations.take_maps_away import take_maps, write_npz

    if form not in FORMATS:
        raise ConfigError(f"Choose one of the formats {', '.join(FORMATS)}.")
    drawn: dict[str, Any] = {"scale": scale, "colors": colors}
    if form == "png":
        view = look(services, photo, model, layer, order=order, label=label, relu=relu, page=page, **drawn)
        return encode_sheet(view.sheet)
    classifier, cache, in_turn = services.classifier(model), services.activations, services.desk.run
    if form == "webp":
        ranked = "index" if order == "relevance" else order  # which class would a film be about
        return make_film(cache, classifier, photo.image, layers or (), order=ranked, in_turn=in_turn, **drawn)
    names = layers or [layer]
    beside = in_turn(lambda: [relu_beside(classifier.model, name) for name in names])
    side: Any = "given" if "none" in beside else relu
    return write_npz(take_maps(cache, classifier, photo.image, names, model=model, relu=side, in_turn=in_turn))


def file_name(model: str, layer: str, form: str) -> str:
    """What the file is called where it is saved."""
    words = [model, "film" if form == "webp" else layer]
    return "-".join(re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-.")[:60] or "maps" for word in words) + f".{form}"


def keep(content: bytes, name: str, cache: Path) -> Path:
    """Puts a file where Gradio serves it from, whole or not at all."""
    target = cache / hash_bytes(content) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{secrets.token_hex(6)}.part")
    temporary.write_bytes(content)
    os.replace(temporary, target)
    return target


def _hidden() -> Any:
    return gr.update(visible=False)
