"""“Repeat this run elsewhere”: its command line, its settings, and a train.py that needs no ResNet Lab."""

from typing import Any

import gradio as gr

from demo.change_section import followed_run
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label
from demo.training.settings_section import file_stem, to_be_shared
from demo.training.take_file import take_file
from resnet_core.errors import RunError
from resnet_core.training.command_line import quoted, train_command
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import Run
from resnet_core.training.settings_files import write_settings


def script_of(run: Run) -> str:
    """The text of `train.py` for a run that has begun. Raises RunError or ConfigError with what stands against it."""
    from resnet_core.training.reproduction import write_train_script

    events = run.events()
    started = next((event for event in events if event["event"] == "RunStarted"), None)
    if started is None:
        raise RunError(f"Run {run.run_id} has not chosen its settings yet; they are known once it trains.")
    changed = {name for event in events if event["event"] == "Changed" for name in event["settings"]}
    config = TrainConfig.from_json(started["settings"])
    return write_train_script(config, device=str(started["device"]), changed=tuple(sorted(changed)))


def repeat_section(services: Services, run: Any) -> None:
    """Builds the section for the run chosen in `run`."""
    with gr.Accordion(label("form_repeat"), open=False, elem_id="train-repeat") as section:
        command = gr.Textbox(
            "", label=label("form_command"), interactive=False, buttons=["copy"], lines=2, elem_id="repeat-command"
        )
        with gr.Row():
            script = gr.Button(label("form_script"), size="sm", elem_id="repeat-script")
            settings = gr.Button(label("form_run_settings"), size="sm", min_width=90, elem_id="repeat-settings")

    def shown(run_id: str) -> Run:
        return services.store.get(followed_run(services, run_id))

    @failing_in_a_sentence
    def line(run_id: str) -> str:
        try:
            config = shown(run_id).config()
        except RunError:  # nobody asked: no run is left, or this one is just being deleted
            return ""
        return quoted(train_command(to_be_shared(services, config)))

    @failing_in_a_sentence
    def train_script(run_id: str) -> dict[str, str]:
        services.ready()
        return {"name": "train.py", "text": script_of(shown(run_id))}

    @failing_in_a_sentence
    def asked(run_id: str) -> dict[str, str]:
        config = to_be_shared(services, shown(run_id).config())
        return {"name": f"{file_stem(config)}.json", "text": write_settings(config)}

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    gr.on([section.expand, run.change], line, run, command, **quiet)
    take_file(script, train_script, run)
    take_file(settings, asked, run)
