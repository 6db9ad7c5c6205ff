"""“Change while it runs”: other settings for the run on screen, from its next epoch on."""

from typing import Any

import gradio as gr

from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.typed_numbers import number, whole
from resnet_core.errors import ConfigError, RunError
from resnet_core.training.config import AUGMENTATIONS, FREEZE

AS_IT_IS = ""  # the choice that changes nothing


def wanted_changes(rate: str, epochs: str, augment: str, freeze: str) -> dict[str, Any]:
    """The settings a person filled in; what is empty stays as it is. Raises ConfigError where nothing is filled in."""
    given = {"learning_rate": number(rate), "epochs": whole(epochs), "augment": augment, "freeze": freeze}
    changes = {name: value for name, value in given.items() if value not in (None, AS_IT_IS)}
    if not changes:
        raise ConfigError("Nothing was filled in, so nothing changes.")
    return changes


def followed_run(services: Services, run_id: str) -> str:
    """The run a page shows: the chosen one, else the newest. Raises RunError where there is none."""
    found = run_id or services.current_run_id()
    if not found:
        raise RunError(say("no_run"))
    return found


def change_section(services: Services, run: Any) -> None:
    """Builds the section beside the control buttons of the run chosen in `run`."""
    as_it_is = (label("as_it_is"), AS_IT_IS)
    with gr.Accordion(label("change_run"), open=False, elem_id="train-change"):
        with gr.Row():
            rate = _typed("learning_rate", "change-rate")
            epochs = _typed("epochs", "change-epochs")
        augment = gr.Dropdown([as_it_is, *AUGMENTATIONS], value=AS_IT_IS, label=label("augment"))
        freeze = gr.Dropdown([as_it_is, *FREEZE], value=AS_IT_IS, label=label("freeze"))
        apply = gr.Button(label("change_apply"), size="sm", elem_id="change-apply")

    @failing_in_a_sentence
    def change(request: gr.Request, run_id: str, rate: str, epochs: str, augment: str, freeze: str) -> tuple[Any, ...]:
        changes = wanted_changes(rate, epochs, augment, freeze)
        services.runner.change(followed_run(services, run_id), **changes)
        gr.Info(say("change_taken", language_of(request)), duration=6)
        return "", "", AS_IT_IS, AS_IT_IS

    apply.click(
        change,
        [run, rate, epochs, augment, freeze],
        [rate, epochs, augment, freeze],
        api_visibility="private",
        show_progress="hidden",
        queue=False,
    )


def _typed(key: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox("", label=label(key), placeholder="–", min_width=70, max_lines=1, elem_id=elem_id)
