"""“Branch off”: a new run from a kept epoch of the run on screen, with other settings from there on."""

from typing import Any

import gradio as gr

from demo.change_section import AS_IT_IS, followed_run
from demo.sentences import failing_in_a_sentence, toast_text
from demo.services import Services, run_choices
from demo.text import label, language_of, say
from demo.training.form_values import check_name
from demo.typed_numbers import number, whole
from resnet_core.data.image_gate import visible_text
from resnet_core.errors import ConfigError, DataChangedError, RunError
from resnet_core.training.config import AUGMENTATIONS
from resnet_core.training.event_log import number_of, whole_of


def kept_choices(services: Services, run_id: str) -> list[tuple[str, str]]:
    """(title, epoch) of the epochs a run keeps, with the accuracy each had; none where there is no such run."""
    try:
        run = services.store.get(followed_run(services, run_id))
    except RunError:
        return []
    ended = [event for event in run.events() if event["event"] == "EpochEnded"]
    told = {whole_of(event, "epoch"): number_of(event, "val_top1") for event in ended}
    accuracy = {epoch: top1 for epoch, top1 in told.items() if top1 is not None}
    kept = run.kept_epochs()
    return [(f"{epoch} · {accuracy[epoch]:.1%}" if epoch in accuracy else str(epoch), str(epoch)) for epoch in kept]


def branch_settings(rate: str, epochs: str, augment: str, name: str) -> dict[str, Any]:
    """The settings a person filled in; what is empty stays as it is. Raises ConfigError."""
    given = {"learning_rate": number(rate), "epochs": whole(epochs), "augment": augment, "name": name.strip()}
    return {key: value for key, value in given.items() if value not in (None, AS_IT_IS, "")}


def fork_section(services: Services, run: Any, board: Any) -> None:
    """Builds the section; `run` is the dropdown of the run on screen, `board` the curves."""
    with gr.Accordion(label("fork_title"), open=False, elem_id="run-fork") as section:
        gr.Markdown(label("fork_hint"), elem_id="fork-hint")
        with gr.Row():
            epoch = gr.Dropdown(
                [], label=label("fork_epoch"), min_width=180, elem_id="fork-epoch",
                allow_custom_value=True,  # the choices live in the session: a restarted app has none of them
            )  # fmt: skip
            rate = _typed("learning_rate", "fork-rate")
            epochs = _typed("epochs", "fork-epochs")
        with gr.Row():
            augment = gr.Dropdown(
                [(label("as_it_is"), AS_IT_IS), *AUGMENTATIONS], value=AS_IT_IS, label=label("augment"), min_width=160
            )
            name = gr.Textbox("", label=label("run_name"), max_length=80, min_width=160, elem_id="fork-name")
        go = gr.Button(label("fork_go"), size="sm", elem_id="fork-go")
        asked = gr.Textbox("", visible="hidden")  # whose changed pictures were told: pressed once more it goes on
    fields = [rate, epochs, augment, name]

    @failing_in_a_sentence
    def offer(run_id: str, chosen: str | None) -> Any:
        choices = kept_choices(services, run_id)
        values = [value for _, value in choices]
        return gr.update(choices=choices, value=chosen if chosen in values else (values or [None])[-1])

    @failing_in_a_sentence
    def branch(request: gr.Request, run_id: str, chosen: str | None, mark: str, *typed: str) -> tuple[Any, ...]:
        language, parent = language_of(request), followed_run(services, run_id)
        if not chosen:
            raise RunError(say("fork_no_epoch", language))
        after, wanted = whole(chosen), f"{parent}/{chosen}"
        if not isinstance(after, int):
            raise ConfigError(f"“{visible_text(chosen, 40)}” is no epoch; choose one of the list.")
        try:
            settings = branch_settings(*typed)
            check_name(settings.get("name"))
            begun = services.runner.fork(parent, after, anyway=mark == wanted, **settings).run_id
        except DataChangedError as error:
            gr.Warning(toast_text(f"{error} {say('press_again', language)}"), duration=15)
            return (gr.skip(), gr.skip(), wanted, *typed)
        waiting = services.queued()
        if begun in waiting:
            gr.Info(say("fork_waits", language, place=waiting.index(begun) + 1), duration=6)
        choices = [(label("newest_run"), ""), *run_choices(services)]
        return gr.update(choices=choices, value=begun), begun, "", "", "", AS_IT_IS, ""

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    for changed in (section.expand, run.change, board.statechange):
        changed(offer, [run, epoch], epoch, **quiet)
    go.click(branch, [run, epoch, asked, *fields], [run, board, asked, *fields], **quiet)


def _typed(key: str, elem_id: str) -> gr.Textbox:
    return gr.Textbox("", label=label(key), placeholder="–", min_width=70, max_lines=1, elem_id=elem_id)
