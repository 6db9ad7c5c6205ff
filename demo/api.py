"""The named end points for programs (`gradio_client` or plain HTTP). Same names and results as the command line.

Pictures come through a hidden photo box, so that they pass the same reader as on the page; everything else is `gr.api`.
Failures arrive as the sentence of a gr.Error.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from demo.classify.many.many_answers import answer_all
from demo.following import model_facts
from demo.maps.heat_api import add_heat_api
from demo.maps.layer_view import look
from demo.maps.looking import DEFAULT_LAYER
from demo.maps.switch_api import add_switching
from demo.maps.take_away_section import file_name, keep, maps_file
from demo.photo import Photo, Picture, StoredPhoto
from demo.sentences import failing_for_programs
from demo.services import Services
from demo.training.form_values import NOT_CARRIED, check_allowed, check_name, shareable_event
from demo.training.history_api import add_history_api
from demo.training.queue_api import add_queue_api, advising_anyway, flag
from demo.training.rate_api import add_rate_api
from demo.turns import HEAVY, TOGETHER
from resnet_core.data.images import ReadImage
from resnet_core.data.picture_files import PictureFile
from resnet_core.errors import ConfigError, ResNetLabError
from resnet_core.inference.starting import started_from
from resnet_core.training.config import TrainConfig
from resnet_core.training.presets import make_config

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classification

MANY_LIMIT = 500  # pictures a call of /classify_many


def add_api(services: Services) -> None:
    """Registers the end points inside the current Blocks."""
    _add_pictures(services)
    _add_models(services)
    _add_training(services)
    add_rate_api(services, partial(_asked, services))
    add_queue_api(services)
    add_history_api(services)


def answer_json(result: "Classification", name: str) -> dict[str, Any]:
    """One picture's answer in the shape of `predict --json`."""
    predictions = [dataclasses.asdict(prediction) for prediction in result.predictions]
    return {"image": name, "predictions": predictions, "unknown": result.unknown, "error": None}


def _add_pictures(services: Services) -> None:
    with gr.Group(visible=False):
        photo = Photo(type="pil", label="image", interactive=True)
        files = gr.File(file_count="multiple", type="filepath", label="images")
        model = gr.Textbox("flowers", label="model")
        layer = gr.Textbox(DEFAULT_LAYER, label="layer")
        top_k = gr.Number(5, precision=0, label="top_k")
        scale = gr.Textbox("channel", label="scale")
        order = gr.Textbox("index", label="order")
        colors = gr.Textbox("auto", label="colors")
        relu = gr.Textbox("given", label="relu")
        page = gr.Number(1, precision=0, label="page")
        layers = gr.Textbox("", label="layers")
        form = gr.Textbox("npz", label="format")
        label = gr.Textbox("", label="label")
        answer = gr.JSON()
        picture = Picture(format="png", label="picture")
        file = gr.File(label="file")
        trigger = gr.Button()

    @failing_for_programs
    def classify(image: ReadImage, model: str, top_k: int) -> dict[str, Any]:
        return _classified(services, _required(image), model, _count(top_k))

    @failing_for_programs
    def classify_many(images: list[str], model: str, top_k: int) -> list[dict[str, Any]]:
        if not images:
            raise ConfigError("Send at least one picture.")
        return _many(services, images, model, _count(top_k))

    @failing_for_programs
    def feature_maps(
        image: ReadImage, layer: str, model: str, scale: str, order: str, colors: str, relu: str, label: str, page: int
    ) -> tuple[Image.Image, dict[str, Any]]:
        number = _whole(page, "page")
        drawn: dict[str, Any] = {"scale": scale, "order": order, "colors": colors, "relu": relu, "label": label}
        view = look(services, _required(image), model, layer, page=number, **drawn)
        facts = {"channels": view.shown, "pages": view.pages, "dead": view.dead}
        return view.sheet, {"layer": layer, "model": model, **dataclasses.asdict(view.statistics), **facts}

    @failing_for_programs
    def activation_file(
        image: ReadImage, layers: str, model: str, form: str, scale: str, order: str, colors: str, relu: str, label: str
    ) -> str:
        photo, names = _required(image), [name.strip() for name in (layers or "").split(",") if name.strip()]
        drawn: dict[str, Any] = {"scale": scale, "order": order, "colors": colors, "relu": relu, "label": label}
        first = names[0] if names else DEFAULT_LAYER
        content = maps_file(services, photo, model, first, form, layers=names, **drawn)
        return str(keep(content, file_name(model, first, form), Path(file.GRADIO_CACHE)))

    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2}
    trigger.click(classify, [photo, model, top_k], answer, api_name="classify", **TOGETHER)
    trigger.click(classify_many, [files, model, top_k], answer, api_name="classify_many", **heavy)
    asked = [photo, layer, model, scale, order, colors, relu, label, page]
    trigger.click(feature_maps, asked, [picture, answer], api_name="feature_maps", **heavy)
    asked = [photo, layers, model, form, scale, order, colors, relu, label]
    trigger.click(activation_file, asked, file, api_name="activation_file", **heavy)
    add_heat_api(services, trigger, photo, model, label, picture, answer)
    add_switching(services, trigger, photo, model, answer)


def _add_models(services: Services) -> None:
    @failing_for_programs
    def describe_model(
        model: str, image_size: int = 0, num_classes: int = 0, as_published: bool = False
    ) -> dict[str, Any]:
        services.ready()
        from resnet_core.models.describe import describe
        from resnet_core.models.outline import make_outline, outline_json
        from resnet_core.models.zoo import build_model, get_architecture

        size = _whole(image_size, "image_size") or get_architecture(model).default_image_size
        classes = _whole(num_classes, "num_classes") or None
        faulty = {"as_published": True} if flag(as_published, "as_published") else {}
        network = build_model(model, num_classes=classes, **faulty)
        return dataclasses.asdict(describe(network, size)) | {"outline": outline_json(make_outline(network, size))}

    @failing_for_programs
    def list_models() -> list[dict[str, Any]]:
        from resnet_core.models.zoo import get_architecture
        from resnet_core.models.zoo import list_models as names

        networks = [{"name": name, "kind": "network", "detail": get_architecture(name).title} for name in names()]
        return networks + [{"name": m.name, "kind": "trained", "detail": m.detail} for m in services.models()]

    gr.api(describe_model, api_name="describe_model", concurrency_limit=2)
    gr.api(list_models, api_name="list_models", queue=False)


def _add_training(services: Services) -> None:
    @failing_for_programs
    def start_training(dataset: str | None = None, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        runner = services.runner
        run = runner.start(_asked(services, dataset, settings))
        return {"run_id": run.run_id, "queued": run.run_id in runner.queued()}

    @failing_for_programs
    def pause_training(run_id: str) -> dict[str, Any]:
        return _state(services, services.runner.pause(run_id).run_id)

    @failing_for_programs
    def resume_training(run_id: str, anyway: bool = False) -> dict[str, Any]:
        with advising_anyway():
            return _state(services, services.runner.resume(run_id, anyway=flag(anyway, "anyway")).run_id)

    @failing_for_programs
    def stop_training(run_id: str, after_epoch: bool = False) -> dict[str, Any]:
        return _state(services, services.runner.stop(run_id, after_epoch=flag(after_epoch, "after_epoch")).run_id)

    @failing_for_programs
    def change_training(run_id: str, settings: dict[str, Any]) -> dict[str, Any]:
        return _state(services, services.runner.change(run_id, **_plain_settings(settings)).run_id)

    @failing_for_programs
    def run_events(run_id: str, cursor: int = 0) -> dict[str, Any]:
        read = services.read(run_id, max(0, _whole(cursor, "cursor")))
        events = [shareable_event(event, local=services.local) for event in read.events]
        return {"events": events, "cursor": read.cursor, "status": read.status}

    for end_point in (
        start_training, pause_training, resume_training, stop_training, change_training, run_events
    ):  # fmt: skip
        gr.api(end_point, api_name=end_point.__name__, queue=False)


def _classified(services: Services, photo: ReadImage, model: str, top_k: int) -> dict[str, Any]:
    classifier = services.classifier(model)
    result = services.desk.classify(classifier, photo.image, top_k=top_k).result()
    name = photo.name if isinstance(photo, StoredPhoto) else "image"
    return answer_json(result, name) | model_facts(model, classifier)


def _many(services: Services, paths: list[str], model: str, top_k: int) -> list[dict[str, Any]]:
    """Every picture's answer or sentence, in order; other visitors' photos come in between two batches. What is more
    than a call takes is told so."""
    files = [PictureFile(name=Path(path).name, content=Path(path)) for path in paths]
    taken, left = files[:MANY_LIMIT], files[MANY_LIMIT:]
    answers = answer_all(services.desk, services.classifier(model), taken, top_k=top_k)
    refused = ConfigError(f"A call takes {MANY_LIMIT} pictures; of this one {len(left):,} were not looked at.")
    told = [*zip(answers, taken, strict=True), *((refused, file) for file in left)]
    return [_told(answer, file.name) for answer, file in told]


def _told(answer: "Classification | ResNetLabError", name: str) -> dict[str, Any]:
    if isinstance(answer, ResNetLabError):
        return {"image": name, "predictions": [], "unknown": False, "error": str(answer)}
    return answer_json(answer, name)


def _state(services: Services, run_id: str) -> dict[str, Any]:
    return {"run_id": run_id, "status": services.status(services.store.get(run_id))}


def _asked(services: Services, dataset: str | None, settings: Any) -> TrainConfig:
    """The settings of a call that names a training; without a data set it has its preset's. Raises ConfigError."""
    given = _plain_settings(settings)
    for field in NOT_CARRIED:
        given.pop(field, None)
    config = make_config(str(given.pop("preset", "default")), dataset=_named(services, dataset), **given)
    check_allowed(config, local=services.local)
    check_name(config.name)
    return started_from(config, services.store, allow_paths=services.local)


def _named(services: Services, dataset: str | None) -> str | None:
    """Over the network only data sets with a name may be used; people at this machine may name folders."""
    from resnet_core.data.datasets import list_datasets

    if not isinstance(dataset, str | None):  # programs may send anything
        raise ConfigError("Name the data set by a text, such as “rendered-flowers”.")
    if dataset is None or services.local or dataset in {entry.name for entry in list_datasets(services.data_dir)}:
        return dataset
    raise ConfigError(f"There is no data set “{dataset[:60]}”; use one of those that datasets list names.")


def _plain_settings(settings: Any) -> dict[str, Any]:
    """The settings of a call, as a plain object."""
    if not isinstance(settings, dict | None):
        raise ConfigError('settings must be an object of names and values, like {"epochs": 3}.')
    given = dict(settings or {})
    if "dataset" in given:
        raise ConfigError("The data set is the first argument; leave it out of the settings.")
    return given


def _required(image: ReadImage | None) -> ReadImage:
    if image is None:
        raise ConfigError("Send a picture.")
    return image


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0:  # also of NaN and infinity
        raise ConfigError(f"{name} must be a whole number.")
    return int(value)


def _count(top_k: Any) -> int:
    if not isinstance(top_k, int | float) or not 1 <= top_k <= 1000:
        raise ConfigError("top_k must be a whole number from 1 to 1000.")
    return int(top_k)
