"""“Settings: save, load, clone”: the form as a file, a file in the form, the settings of the run shown in the form."""

import re
from pathlib import Path
from typing import Any

import gradio as gr

from demo.change_section import followed_run
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.training.form_values import check_allowed, form_from_config, shareable
from demo.training.start_form import StartForm, data_choices, wanted
from demo.training.take_file import take_file
from resnet_core.errors import ConfigError, ResNetLabError
from resnet_core.inference.catalog import checkpoint_path
from resnet_core.inference.starting import start_name
from resnet_core.training.config import TrainConfig
from resnet_core.training.settings_files import LARGEST, read_settings, write_settings


def settings_section(services: Services, form: StartForm, run: Any) -> None:
    """Builds the section at the end of the form; `run` is the dropdown of runs."""
    with form.tools, gr.Accordion(label("form_files"), open=False, elem_id="train-files"):
        with gr.Row():
            save = gr.Button(label("form_save"), size="sm", min_width=90, elem_id="settings-save")
            load = gr.UploadButton(
                label("form_load"), size="sm", min_width=90, file_types=[".json"], elem_id="settings-load"
            )
        clone = gr.Button(label("form_clone"), size="sm", elem_id="settings-clone")

    @failing_in_a_sentence
    def written(*values: Any) -> dict[str, str]:
        config = to_be_shared(services, wanted(services, *values))
        return {"name": f"{file_stem(config)}.json", "text": write_settings(config)}

    @failing_in_a_sentence
    def from_file(path: str, request: gr.Request) -> tuple[Any, ...]:
        with Path(path).open("rb") as opened:
            config = read_settings(opened.read(LARGEST + 1))
        return fill(services, config, request)

    @failing_in_a_sentence
    def from_run(run_id: str, request: gr.Request) -> tuple[Any, ...]:
        return fill(services, services.store.get(followed_run(services, run_id)).config(), request)

    filled = [form.own_folder, form.others, *form.fields.values(), form.own_zip]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    take_file(save, written, form.inputs)
    load.upload(from_file, load, filled, **quiet)
    clone.click(from_run, run, filled, **quiet)


def fill(services: Services, config: TrainConfig, request: gr.Request | None) -> tuple[Any, ...]:
    """Values of the folder box, of what travels beside the form, of its fields, and of the zip box: none, since its
    pictures would win. Raises ConfigError where somebody at another machine names files of this one."""
    check_allowed(config, local=services.local)
    values, others = form_from_config(_with_start(services, config))
    named = [name for _, name in data_choices(services)]
    folder = "" if config.dataset in named else config.dataset
    if folder and not services.local:
        raise ConfigError("These settings name a data set that is not here; upload its pictures as a zip instead.")
    shown = (gr.skip() if folder else values[0], *values[1:])
    gr.Info(say("form_loaded", language_of(request)), duration=5)
    return (folder, others, *shown, None)


def to_be_shared(services: Services, config: TrainConfig) -> TrainConfig:
    """The settings as a file for others: the start by its name, if it has one, and to people elsewhere no folders."""
    name = start_name(config.init_from, services.store) if config.init_from else None
    shown = shareable(config, local=services.local)
    return shown.replace(init_from=name) if name else shown


def _with_start(services: Services, config: TrainConfig) -> TrainConfig:
    """The config with the name of the model it starts from, which reads better than its file."""
    if not config.init_from:
        return config
    name = start_name(config.init_from, services.store)
    if name is None and not services.local:
        try:
            checkpoint_path(config.init_from, services.store)  # a name as it is?
        except ResNetLabError:
            raise ConfigError("init_from names a file of this machine; only people at it may do that.") from None
    return config.replace(init_from=name or config.init_from)


def file_stem(config: TrainConfig) -> str:
    """A name for a file about these settings: letters, digits, dots and dashes only."""
    words = config.name or "-".join(filter(None, (config.model, Path(config.dataset).stem)))
    return re.sub(r"[^\w.-]+", "-", words, flags=re.ASCII).strip("-.")[:60] or "settings"
