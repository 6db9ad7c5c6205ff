"""The left column of the training tab: what a run shall be, and the buttons that start and steer it."""

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from demo.services import Services
from demo.text import label
from demo.training.form_values import (
    AUTO,
    FIELDS,
    SHOWN_BY_PRESET,
    check_allowed,
    check_name,
    config_from_form,
    shown_by_preset,
)
from demo.uploads import keep_upload
from resnet_core.data.datasets import archive_dataset, list_datasets
from resnet_core.errors import DeviceError
from resnet_core.inference.catalog import list_checkpoints
from resnet_core.inference.starting import started_from
from resnet_core.models.zoo import get_architecture, list_models
from resnet_core.training.config import (
    AUGMENTATIONS,
    CLASS_WEIGHTS,
    FREEZE,
    KEEP,
    MEMORY_FORMATS,
    OPTIMIZERS,
    SAMPLINGS,
    SCHEDULES,
    TrainConfig,
)
from resnet_core.training.presets import PRESET_TITLES, PRESETS
from resnet_core.training.thawing import GRADUAL

DEVICES = ("auto", "cpu", "cuda", "mps")  # those a form can name before torch is there


class StartForm(NamedTuple):
    """The form's components; `inputs` is what a handler takes, `wanted` makes settings of it."""

    fields: dict[str, Any]  # by setting, in the order of FIELDS
    others: gr.Textbox
    own_zip: gr.File
    own_folder: gr.Textbox
    start: gr.Button
    controls: tuple[gr.Button, ...]  # pause, resume, stop, stop after this epoch
    plan: gr.HTML  # what all this means, see `plan_section`
    tools: gr.Column  # the end of “More”, for sections about the form

    @property
    def inputs(self) -> list[Any]:
        """What `wanted` takes, as components."""
        return [self.own_zip, self.own_folder, self.others, *self.fields.values()]


def wanted(
    services: Services, zip_path: str | None, folder: str, others: str, *values: Any, keep: bool = True
) -> TrainConfig:
    """The settings of the form; `keep` False leaves an uploaded zip where it is. Raises ResNetLabError."""
    own = zip_path or (folder.strip() if services.local and folder else None)
    config = config_from_form(values, others=others, own_data=own)
    check_allowed(config, local=services.local)
    check_name(config.name)
    config = started_from(config, services.store, allow_paths=services.local)
    if zip_path and keep:  # only now: what is refused leaves no copy behind
        services.store.check_writable()
        archive_dataset(Path(zip_path), name=Path(zip_path).stem)
        config = config.replace(dataset=str(keep_upload(Path(zip_path), services.data_dir)))
    return config


def data_choices(services: Services) -> list[tuple[str, str]]:
    """(title, name) of the named data sets that are here."""
    return [(entry.title, entry.name) for entry in list_datasets(services.data_dir) if entry.available]


def start_choices(services: Services) -> list[tuple[str, str]]:
    """(title, name) of what a training can start from: fresh weights, or any model of ours that is here."""
    models = list_checkpoints(services.store, with_imagenet=False, kept=True)
    return [(label("start_fresh"), AUTO), *((model.title, model.name) for model in models)]


def device_choices(services: Services) -> Any:
    """The update of the list of devices: those that torch finds, as soon as it is there."""
    with contextlib.suppress(DeviceError):  # a torch that does not load is told where it is needed
        services.ready()
        from resnet_core.device import offered_devices

        return gr.update(choices=list(offered_devices()))
    return gr.skip()


def start_form(services: Services) -> StartForm:
    """Builds the column's form inside the current row; sections about the form follow in `form.tools`."""
    with gr.Column(scale=3, min_width=260):
        built = _first_fields(services)
        start = gr.Button(label("start"), variant="primary", elem_id="train-start")
        controls = _controls()
        plan = gr.HTML("", elem_id="train-plan")
        with gr.Accordion(label("more"), open=False, elem_id="train-more"):
            built |= _network_fields(services) | _picture_fields() | _learning_fields() | _machine_fields()
            with _group("form_run"):
                built["name"] = gr.Textbox("", label=label("run_name"), max_length=80, elem_id="train-name")
                with gr.Row():
                    built["seed"] = gr.Number(
                        0, precision=0, minimum=0, label=label("seed"), elem_id="train-seed", min_width=120
                    )
                    built["keep"] = gr.Dropdown(
                        KEEP, value="some", label=label("form_keep"), elem_id="train-keep", min_width=120
                    )
            own_zip = gr.File(label=label("own_data"), file_types=[".zip"], type="filepath", elem_id="train-zip")
            own_folder = gr.Textbox("", label=label("own_folder"), visible=services.local, elem_id="train-folder")
            tools = gr.Column()  # for what is done with the form as a whole
        others = gr.Textbox("", visible=False)
    fields = {name: built[name] for name in FIELDS}
    _choose_one(fields["dataset"], own_zip, own_folder)
    form = StartForm(fields, others, own_zip, own_folder, start, controls, plan, tools)
    _wire_preset(form)
    return form


def _first_fields(services: Services) -> dict[str, Any]:
    """What stands above Start."""
    networks = [(label("automatic"), AUTO), *((get_architecture(name).title, name) for name in list_models())]
    presets = [(title, name) for name, title in PRESET_TITLES.items()]
    fields: dict[str, Any] = {}
    with gr.Group():
        fields["dataset"] = gr.Dropdown(
            data_choices(services), value="rendered-flowers", label=label("dataset"), elem_id="train-dataset"
        )
        fields["preset"] = gr.Dropdown(presets, value="default", label=label("preset"), elem_id="train-preset")
        fields["model"] = gr.Dropdown(networks, value=AUTO, label=label("network"), elem_id="train-model")
    with gr.Row(elem_classes="form-numbers"):
        fields["epochs"] = _typed("epochs", "train-epochs")
        fields["budget_minutes"] = _typed("form_minutes", "train-minutes", placeholder="–")
        fields["batch_size"] = _typed("form_batch", "train-batch")
        fields["learning_rate"] = _typed("form_rate", "train-rate")
    return fields


def _controls() -> tuple[gr.Button, ...]:
    with gr.Row():
        small = [
            gr.Button(label(key), size="sm", min_width=80, interactive=False, elem_id=f"train-{key}")
            for key in ("pause", "resume", "stop")
        ]
    last = gr.Button(label("stop_epoch"), size="sm", interactive=False, elem_id="train-stop-epoch")
    return (*small, last)


def _network_fields(services: Services) -> dict[str, Any]:
    with _group("form_network"):
        init_from = gr.Dropdown(
            start_choices(services),
            value=AUTO,
            label=label("start_from"),
            elem_id="train-init-from",
            allow_custom_value=True,  # people at this machine may name a file
        )
        pretrained = gr.Checkbox(False, label=label("pretrained"), elem_id="train-pretrained")
        residual = gr.Checkbox(True, label=label("residual"), elem_id="train-residual")
        with gr.Row():
            freeze = _choice("freeze", FREEZE, min_width=120)
            thaw = gr.Dropdown(
                [(label("form_thaw_none"), ""), (label("form_thaw_gradual"), GRADUAL)],
                value="",
                label=label("form_thaw"),
                elem_id="train-thaw",
                allow_custom_value=True,
                min_width=120,
            )
        drop_path = _typed("form_drop_path", "train-drop-path", placeholder="0")
    return {
        "pretrained": pretrained,
        "init_from": init_from,
        "residual": residual,
        "drop_path": drop_path,
        "freeze": freeze,
        "thaw": thaw,
    }


def _picture_fields() -> dict[str, Any]:
    with _group("form_pictures"):
        with gr.Row():
            image_size = _typed("form_image_size", "train-image-size")
            augment = _open_choice("augment", AUGMENTATIONS)
        with gr.Row():
            mixup = _typed("form_mixup", "train-mixup", placeholder="0")
            cutmix = _typed("form_cutmix", "train-cutmix", placeholder="0")
    with _group("form_balance"), gr.Row():
        class_weights = _choice("form_class_weights", CLASS_WEIGHTS, min_width=120)
        sampling = _choice("form_sampling", SAMPLINGS, min_width=120)
    return {
        "image_size": image_size,
        "augment": augment,
        "mixup": mixup,
        "cutmix": cutmix,
        "class_weights": class_weights,
        "sampling": sampling,
    }


def _learning_fields() -> dict[str, Any]:
    with _group("form_learning"):
        with gr.Row():
            optimizer = _open_choice("optimizer", OPTIMIZERS)
            schedule = _open_choice("form_schedule", SCHEDULES)
        with gr.Row():
            clip_norm = _typed("form_clip_norm", "train-clip-norm", placeholder="–")
            patience = _typed("form_patience", "train-patience", placeholder="–")
    return {"optimizer": optimizer, "schedule": schedule, "clip_norm": clip_norm, "patience": patience}


def _machine_fields() -> dict[str, Any]:
    with _group("form_machine"):
        with gr.Row():
            device = _choice("device", DEVICES, allow_custom_value=True, min_width=120)
            precision = _choice("precision", ("auto", "fp32", "bf16", "fp16"), min_width=120)
        with gr.Row():
            memory_format = _choice("memory_format", MEMORY_FORMATS, min_width=120)
            compiled = _choice("compile", ("auto", "on", "off"), min_width=120)
        halve = gr.Checkbox(False, label=label("form_halve"), elem_id="train-halve")
    return {
        "device": device,
        "precision": precision,
        "memory_format": memory_format,
        "compile": compiled,
        "halve_batch": halve,
    }


def _group(key: str) -> gr.Group:
    """A frame around fields that belong together, with a heading."""
    group = gr.Group(elem_classes="form-group")
    with group:
        gr.Markdown(label(key), elem_classes="form-heading")
    return group


def _choice(key: str, values: tuple[str, ...], **options: Any) -> gr.Dropdown:
    """One of some values, the first unless somebody chooses."""
    name = key.removeprefix("form_").replace("_", "-")
    return gr.Dropdown(values, value=values[0], label=label(key), elem_id=f"train-{name}", **options)


def _open_choice(key: str, values: tuple[str, ...]) -> gr.Dropdown:
    """One of some values, or left to be chosen."""
    choices = [(label("automatic"), AUTO), *values]
    return gr.Dropdown(
        choices, value=AUTO, label=label(key), elem_id=f"train-{key.removeprefix('form_')}", min_width=120
    )


def _typed(key: str, elem_id: str, *, placeholder: str = "auto", **options: Any) -> gr.Textbox:
    """A number that may be left open."""
    return gr.Textbox(
        "", label=label(key), placeholder=placeholder, min_width=70, max_lines=1, elem_id=elem_id, **options
    )


def _choose_one(dataset: gr.Dropdown, own_zip: gr.File, own_folder: gr.Textbox) -> None:
    """Who chooses a named data set does not mean the pictures given before, which would win."""
    quiet: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
    dataset.input(lambda: (None, ""), None, [own_zip, own_folder], **quiet)


def _wire_preset(form: StartForm) -> None:
    shown = [form.fields[name] for name in SHOWN_BY_PRESET]

    def show(preset: str, dataset: str) -> tuple[Any, ...]:
        # one that names its data does not mean the pictures given before, see `_choose_one`
        own = (None, "") if "dataset" in PRESETS[preset] else (gr.skip(), gr.skip())
        return (*shown_by_preset(preset, dataset), "", *own)

    preset, dataset = form.fields["preset"], form.fields["dataset"]
    outputs = [*shown, form.others, form.own_zip, form.own_folder]
    preset.input(show, [preset, dataset], outputs, queue=False, api_visibility="private", show_progress="hidden")
