"""The second tab: choose data, network and preset, press Start, watch. The training lives in the runner's thread; this
page only asks and watches, so it may be closed, reloaded or opened twice.
"""

from pathlib import Path
from typing import Any

import gradio as gr

from demo.change_section import change_section, followed_run
from demo.live_board.live_board import LiveBoard, make_poll
from demo.sentences import failing_in_a_sentence
from demo.services import Services, run_choices
from demo.text import label, language_of, say
from demo.typed_numbers import number, whole
from demo.uploads import keep_upload
from resnet_core.data.datasets import list_datasets
from resnet_core.models.zoo import get_architecture, list_models
from resnet_core.training.config import AUGMENTATIONS, FREEZE, MEMORY_FORMATS, OPTIMIZERS, SCHEDULES, TrainConfig
from resnet_core.training.presets import PRESET_TITLES, PRESETS, make_config
from resnet_core.training.runs import ENDED

AUTO = ""  # a setting left to `resolve`
# the settings of the form, in the order of its components
FIELDS = (
    "dataset", "model", "preset", "epochs", "batch_size", "learning_rate", "image_size", "optimizer", "schedule",
    "augment", "pretrained", "residual", "freeze", "seed", "device", "precision", "memory_format", "compile", "name",
)  # fmt: skip


def config_from_form(values: tuple[Any, ...], *, own_data: str | None = None) -> TrainConfig:
    """The settings of a filled-in form; what is empty is left to be chosen. Raises ConfigError."""
    form = dict(zip(FIELDS, values, strict=True))
    if own_data:
        form["dataset"] = own_data
    form["learning_rate"] = number(form["learning_rate"])
    for field in ("epochs", "batch_size", "image_size"):
        form[field] = whole(form[field])
    form["seed"] = int(form["seed"] or 0)
    form["residual"] = None if form["residual"] else False
    form["pretrained"] = form["pretrained"] or None
    form["compile"] = {"on": True, "off": False}.get(form["compile"])
    settings = {field: None if value in (AUTO, "auto") else value for field, value in form.items() if field != "preset"}
    return make_config(form["preset"], **settings)


def buttons_for(status: str) -> tuple[bool, bool, bool, bool]:
    """Which of pause, resume, stop and stop-after-epoch can be pressed for a run with this status."""
    moving = status in ("running", "preparing")
    resumable = status in ("paused", "interrupted", "stopped", "failed")
    return moving, resumable, status not in (*ENDED, "interrupted", "none"), moving


def data_choices(services: Services) -> list[tuple[str, str]]:
    """(title, name) of the named data sets that are here."""
    return [(entry.title, entry.name) for entry in list_datasets(services.data_dir) if entry.available]


def training_tab(services: Services) -> gr.Tab:
    """Builds the tab."""
    automatic = (label("automatic"), AUTO)
    with gr.Tab(label("train_tab"), id="train") as tab, gr.Row():
        with gr.Column(scale=3, min_width=260):
            dataset = gr.Dropdown(
                data_choices(services), value="rendered-flowers", label=label("dataset"), elem_id="train-dataset"
            )
            preset = gr.Dropdown(
                [(title, name) for name, title in PRESET_TITLES.items()],
                value="default",
                label=label("preset"),
                elem_id="train-preset",
            )
            model = gr.Dropdown(
                [automatic, *((get_architecture(name).title, name) for name in list_models())],
                value=AUTO,
                label=label("network"),
                elem_id="train-model",
            )
            with gr.Row():
                epochs = _open_setting("epochs", "train-epochs")
                batch_size = _open_setting("batch_size", "train-batch")
                learning_rate = _open_setting("learning_rate", "train-rate")
            start = gr.Button(label("start"), variant="primary", elem_id="train-start")
            with gr.Row():
                pause = gr.Button(label("pause"), size="sm", min_width=80, interactive=False, elem_id="train-pause")
                resume = gr.Button(label("resume"), size="sm", min_width=80, interactive=False, elem_id="train-resume")
                stop = gr.Button(label("stop"), size="sm", min_width=80, interactive=False, elem_id="train-stop")
            stop_epoch = gr.Button(label("stop_epoch"), size="sm", interactive=False, elem_id="train-stop-epoch")
            with gr.Accordion(label("more"), open=False):
                image_size = _open_setting("image_size", "train-image-size")
                optimizer = gr.Dropdown([automatic, *OPTIMIZERS], value=AUTO, label=label("optimizer"))
                schedule = gr.Dropdown([automatic, *SCHEDULES], value=AUTO, label=label("schedule"))
                augment = gr.Dropdown([automatic, *AUGMENTATIONS], value=AUTO, label=label("augment"))
                pretrained = gr.Checkbox(False, label=label("pretrained"))
                residual = gr.Checkbox(True, label=label("residual"))
                freeze = _choice("freeze", FREEZE)
                seed = gr.Number(0, precision=0, minimum=0, label=label("seed"))
                device = _choice("device", ("auto", "cpu", "cuda", "mps"), allow_custom_value=True)
                precision = _choice("precision", ("auto", "fp32", "bf16", "fp16"))
                memory_format = _choice("memory_format", MEMORY_FORMATS)
                compiled = _choice("compile", ("auto", "on", "off"))
                name = gr.Textbox("", label=label("run_name"), max_length=80, elem_id="train-name")
                own_zip = gr.File(label=label("own_data"), file_types=[".zip"], type="filepath", elem_id="train-zip")
                own_folder = gr.Textbox("", label=label("own_folder"), visible=services.local, elem_id="train-folder")
        with gr.Column(scale=8, min_width=320):
            run = gr.Dropdown(
                [(label("newest_run"), ""), *run_choices(services)], value="", label=label("run"), elem_id="train-run"
            )
            board = LiveBoard(make_poll(services))
            change_section(services, run)
    form = [
        dataset, model, preset, epochs, batch_size, learning_rate, image_size, optimizer, schedule, augment,
        pretrained, residual, freeze, seed, device, precision, memory_format, compiled, name,
    ]  # fmt: skip
    _wire_start(services, start, form, own_zip, own_folder, run, board)
    _wire_controls(services, tab, (pause, resume, stop, stop_epoch), run, board, dataset)
    preset.change(_show_preset, [preset, dataset], form[:7], queue=False, api_visibility="private")
    return tab


def _choice(key: str, values: tuple[str, ...], **options: Any) -> gr.Dropdown:
    """One of some values, the first unless somebody chooses."""
    return gr.Dropdown(values, value=values[0], label=label(key), elem_id=f"train-{key}", **options)


def _open_setting(key: str, elem_id: str) -> gr.Textbox:
    """A number that may be left to be chosen."""
    return gr.Textbox("", label=label(key), placeholder="auto", min_width=70, max_lines=1, elem_id=elem_id)


def _wire_start(
    services: Services, start: gr.Button, form: list[Any], own_zip: Any, own_folder: Any, run: Any, board: LiveBoard
) -> None:
    @failing_in_a_sentence
    def begin(request: gr.Request, zip_path: str | None, folder: str, *values: Any) -> tuple[Any, Any]:
        own = keep_upload(Path(zip_path), services.data_dir) if zip_path else None
        chosen = str(own) if own else folder.strip() if services.local and folder else None
        runner = services.runner
        started = runner.start(config_from_form(values, own_data=chosen))
        waiting, language = runner.queued(), language_of(request)
        if started.run_id in waiting:
            gr.Info(say("queued", language, place=waiting.index(started.run_id) + 1), duration=6)
        return gr.update(
            choices=[(label("newest_run"), ""), *run_choices(services)], value=started.run_id
        ), started.run_id

    start.click(
        begin,
        [own_zip, own_folder, *form],
        [run, board],
        api_visibility="private",
        show_progress="hidden",
        concurrency_limit=4,
    )


def _wire_controls(
    services: Services, tab: gr.Tab, controls: tuple[gr.Button, ...], run: Any, board: LiveBoard, dataset: Any
) -> None:
    pause, resume, stop, stop_epoch = controls

    @failing_in_a_sentence
    def pause_run(run_id: str) -> None:
        services.runner.pause(followed_run(services, run_id))

    @failing_in_a_sentence
    def resume_run(run_id: str) -> str:
        return services.runner.resume(followed_run(services, run_id)).run_id

    @failing_in_a_sentence
    def stop_run(run_id: str) -> None:
        services.runner.stop(followed_run(services, run_id))

    @failing_in_a_sentence
    def stop_run_after_epoch(run_id: str) -> None:
        services.runner.stop(followed_run(services, run_id), after_epoch=True)

    def on_status(event: gr.EventData) -> tuple[Any, ...]:
        can = buttons_for(str(event.status))
        return (
            *(gr.update(interactive=possible) for possible in can),
            gr.update(choices=[(label("newest_run"), ""), *run_choices(services)]),
        )

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    pause.click(pause_run, run, None, **quiet)
    resume.click(resume_run, run, board, **quiet)
    stop.click(stop_run, run, None, **quiet)
    stop_epoch.click(stop_run_after_epoch, run, None, **quiet)
    board.statechange(on_status, None, [*controls, run], **quiet)
    run.change(lambda run_id: run_id, run, board, **quiet)
    tab.select(lambda: gr.update(choices=data_choices(services)), None, dataset, **quiet)


def _show_preset(preset: str, dataset: str) -> tuple[Any, ...]:
    """The form's first fields as the preset has them; its data set only if it names one."""
    settings = PRESETS[preset]
    rate = settings.get("learning_rate")
    return (
        settings.get("dataset", dataset),
        settings.get("model", AUTO),
        preset,
        str(settings.get("epochs", "")),
        str(settings.get("batch_size", "")),
        "" if rate is None else f"{rate:g}",
        str(settings.get("image_size", "")),
    )
