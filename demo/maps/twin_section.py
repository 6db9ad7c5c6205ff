"""The plain twin beside the residual network, trained alike: what both learned, and what reaches their first blocks."""

import dataclasses
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr

from demo.maps.looking import Looking
from demo.maps.twin_chart import line_chart
from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services, run_choices
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage
from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.event_log import number_of, whole_of
from resnet_core.training.runs import Run

# what may differ between twins without a word: names, and how a machine computes
BESIDES = {"residual", "zero_init_residual", "name", "preset", "device", "precision", "memory_format", "compile"}
BESIDES |= {"num_threads", "forked_from"}
# settings of a run that its command names, and how
OPTIONS = {
    "model": "--model", "stem": "--stem", "epochs": "--epochs", "image_size": "--image-size",
    "batch_size": "--batch-size", "learning_rate": "--learning-rate", "optimizer": "--optimizer",
    "schedule": "--schedule", "augment": "--augment", "mixup": "--mixup", "cutmix": "--cutmix",
    "clip_norm": "--clip-norm", "seed": "--seed",
}  # fmt: skip


def twin_section(services: Services, looking: Looking) -> None:
    """Builds the section, closed; nothing is computed before it is opened and a run chosen."""
    with gr.Accordion(label("blocks_twin_title"), open=False, elem_id="twin-section") as section:
        twin = gr.Dropdown([], value=None, label=label("blocks_twin"), elem_id="twin-run")
        shown = gr.HTML("", elem_id="twin-shown")
        command = gr.Textbox(
            label=label("blocks_command"), interactive=False, buttons=["copy"], elem_id="twin-command", lines=2
        )

    @failing_in_a_sentence
    def opened(photo: ReadImage | None, model: str, chosen: str | None, request: gr.Request) -> tuple[Any, str, str]:
        services.ready()
        choices = twin_choices(services, model)
        kept = chosen if chosen in {run_id for _, run_id in choices} else None
        told = twin_html(services, photo, model, kept, language_of(request))
        return gr.update(choices=choices, value=kept), told, twin_command(services, model)

    @failing_in_a_sentence
    def compare(photo: ReadImage | None, model: str, chosen: str | None, request: gr.Request) -> str:
        return twin_html(services, photo, model, chosen, language_of(request))

    heavy: dict[str, Any] = {
        "concurrency_id": HEAVY, "concurrency_limit": 2, "api_visibility": "private", "show_progress": "hidden"
    }  # fmt: skip
    asked = [looking.photo, looking.model, twin]
    section.expand(opened, asked, [twin, shown, command], **heavy)
    # `change` also comes when the choices are replaced (gradio 6.31); a person's choice is a `select`
    twin.select(compare, asked, shown, **heavy)


def twin_choices(services: Services, model: str) -> list[tuple[str, str]]:
    """(title, run id) of every other run that can be asked, those of plain networks first."""
    plain: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for title, run_id in run_choices(services):
        run = services.store.get(run_id)
        if run_id == model.partition("/")[0] or not (run.folder / "best.safetensors").is_file():
            continue
        (others if _residual(run) else plain).append((title, run_id))
    return [*plain, *others]


def twin_command(services: Services, model: str) -> str:
    """The command that trains the plain twin of a model, with its own settings as far as the command line has them."""
    config = _config(services, model)
    dataset = str(config.get("dataset") or "rendered-flowers")
    from resnet_core.data.datasets import list_datasets

    named = dataset in {listing.name for listing in list_datasets(services.data_dir)}
    words = ["python", "-m", "resnet_core", "train", "--plain"]
    words += ["--dataset", dataset if named or services.local else "FOLDER"]
    if "model" not in config:
        words += ["--model", services.classifier(model).checkpoint.architecture]
    for key, option in OPTIONS.items():
        if config.get(key) not in (None, 0, 0.0, ""):
            words += [option, str(config[key])]
    return shlex.join([*words, "--name", "plain twin"])


def twin_html(services: Services, photo: ReadImage | None, model: str, twin: str | None, language: str) -> str:
    """What both learned and, with a photo, how gradient and signal change over depth. Raises ResNetLabError."""
    if not twin:
        plain = any(not _residual(services.store.get(run_id)) for _, run_id in twin_choices(services, model))
        return _line(say("blocks_twin_choose" if plain else "blocks_twin_no_runs", language))
    names = _titles(services, model, twin)
    lines = [_likeness(services, model, twin, language)]
    charts = [_curves(services, model, twin, names, language)]
    if photo is not None:
        sentence, profiles = services.desk.run(partial(_profiles, services, photo, model, twin, names, language))
        lines.append(sentence)
        charts += profiles
    told = "".join(map(_line, lines))
    return f'{told}<div class="twin-charts">{"".join(charts)}</div>'


def _profiles(
    services: Services, photo: ReadImage, model: str, twin: str, names: tuple[str, str], language: str
) -> tuple[str, list[str]]:
    """Both networks on the photo, judged against what the first one says it is."""
    from resnet_core.activations.depth_profile import depth_profile

    wanted, found = "", []
    for name in (model, twin):
        copy = services.private_copies.of(services.classifier(name))
        wanted = wanted or copy.classify(photo.image, top_k=1).predictions[0].label
        label = wanted if wanted in copy.class_names else copy.classify(photo.image, top_k=1).predictions[0].label
        inputs = copy.checkpoint.preprocessing(photo.image)[None]
        found.append(depth_profile(copy.model, inputs, copy.class_names.index(label)))
    ratios = [points[0].gradient / points[-1].gradient if points[-1].gradient else 0.0 for points in found]
    sentence = say("blocks_twin_depth", language, one=ratios[0], two=ratios[1], first=names[0], second=names[1])
    charts = []
    for key in ("gradient", "activation"):
        series = {
            name: [(float(place), getattr(point, key)) for place, point in enumerate(points, 1)]
            for name, points in zip(names, found, strict=True)
        }
        charts.append(line_chart(say(f"blocks_twin_{key}", language), series, logarithmic=True))
    return sentence, charts


def _curves(services: Services, model: str, twin: str, names: tuple[str, str], language: str) -> str:
    series: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for name, asked in zip(names, (model, twin), strict=True):
        run = _run(services, asked)
        if run is not None:
            events = (event for event in run.events() if event["event"] == "EpochEnded")
            told = ((whole_of(event, "epoch"), number_of(event, "val_top1")) for event in events)
            series[name] = [(float(epoch), top1) for epoch, top1 in told if epoch and top1 is not None]
    chart = line_chart(say("blocks_twin_accuracy", language), series, share=True)
    if _run(services, model) is None:
        chart += _line(say("blocks_twin_no_curve", language, model=names[0]))
    return f"<div>{chart}</div>"


def _likeness(services: Services, model: str, twin: str, language: str) -> str:
    """Whether the two differ in nothing but the skips."""
    if _residual(services.store.get(twin)):
        return say("blocks_twin_not_plain", language)
    one, other = _config(services, model), _config(services, twin)
    usual = TrainConfig().to_json()  # what a checkpoint older than a setting was trained with
    wanted = [{**usual, **config} for config in (one, other)]
    differing = sorted(key for key in usual.keys() - BESIDES if wanted[0][key] != wanted[1][key])
    if differing:
        return say("blocks_twin_differ", language, what=", ".join(differing[:6]))
    return say("blocks_twin_alike", language)


def _config(services: Services, model: str) -> Mapping[str, Any]:
    """The settings as resolved, which the checkpoint holds; those asked for where it holds none."""
    config = services.classifier(model).checkpoint.training.get("config")
    if isinstance(config, dict):
        return config
    run = _run(services, model)
    try:
        return dataclasses.asdict(run.config()) if run else {}
    except RunError:
        return {}


def _run(services: Services, model: str) -> Run | None:
    try:
        return services.store.get(model.partition("/")[0])
    except RunError:
        return None


def _residual(run: Run) -> bool:
    try:
        return run.config().residual
    except RunError:
        return True


def _titles(services: Services, model: str, twin: str) -> tuple[str, str]:
    """What people call the two, different from each other."""
    runs = [_run(services, each) for each in (model, twin)]
    names = [run.summary().name or run.run_id if run else each for run, each in zip(runs, (model, twin), strict=True)]
    return (names[0], names[1]) if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")


def _line(sentence: str) -> str:
    return f'<p class="note">{escape(sentence)}</p>'
