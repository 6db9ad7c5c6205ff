"""“Resume” of the training tab: of a run whose pictures have changed it says what changed and wants a second press."""

from typing import Any

import gradio as gr

from demo.change_section import followed_run
from demo.sentences import failing_in_a_sentence, toast_text
from demo.services import Services
from demo.text import language_of, say
from resnet_core.errors import DataChangedError


def wire_resume(services: Services, button: gr.Button, run: Any, board: Any) -> None:
    """Makes the button take up the run on screen; to be called where a hidden text may stand."""
    asked = gr.Textbox("", visible="hidden")  # the run whose changed pictures were told

    @failing_in_a_sentence
    def resume(request: gr.Request, run_id: str, mark: str) -> tuple[Any, str]:
        wanted = followed_run(services, run_id)
        try:
            return services.runner.resume(wanted, anyway=mark == wanted).run_id, ""
        except DataChangedError as error:
            gr.Warning(toast_text(f"{error} {say('press_again', language_of(request))}"), duration=15)
            return gr.skip(), wanted

    button.click(resume, [run, asked], [board, asked], api_visibility="private", show_progress="hidden", queue=False)
