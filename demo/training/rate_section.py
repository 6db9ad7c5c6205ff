"""“Find a learning rate”: a short scan with the form's settings, its curve, and a button that takes the suggestion."""

from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.training.rate_picture import scan_picture
from demo.training.start_form import StartForm, wanted
from resnet_core.data.datasets import load_dataset
from resnet_core.training.config import TrainConfig

if TYPE_CHECKING:
    from resnet_core.data.cache import Progress  # which imports torch

SCANS: dict[str, Any] = {"concurrency_id": "rate-scan", "concurrency_limit": 4}


def scan_rates(services: Services, config: TrainConfig, progress: "Progress | None" = None) -> tuple[Any, TrainConfig]:
    """The scan of these settings, and the settings as they were chosen. Raises RunError while a run trains."""
    runner = services.runner
    from resnet_core.training.rate_finder import find_learning_rate
    from resnet_core.training.session import Session

    dataset = load_dataset(config.dataset, data_dir=services.data_dir, seed=config.seed)

    def work(told: "Progress") -> tuple[Any, TrainConfig]:
        session = Session(config.replace(budget_minutes=0.0), dataset, progress=told)
        return find_learning_rate(session, progress=told), session.config

    return runner.aside(work, progress=progress)


def rate_section(services: Services, form: StartForm) -> None:
    """Builds the section at the end of the form."""
    with form.tools, gr.Accordion(label("form_finder"), open=False, elem_id="train-finder"):
        with gr.Row():
            scan = gr.Button(label("form_find"), size="sm", min_width=80, elem_id="finder-scan")
            stop = gr.Button(label("form_find_stop"), size="sm", min_width=80, elem_id="finder-stop")
        curve = gr.HTML("", elem_id="finder-curve", min_height=40)
        found = gr.Textbox("", visible=False)
        use = gr.Button(label("form_use_rate"), size="sm", visible=False, elem_id="finder-use")

    @failing_in_a_sentence
    def look(
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (gradio finds it by this default, and by its place)
        *values: Any,
    ) -> tuple[Any, ...]:
        language = language_of(request)

        def told(done: int, total: int) -> None:
            progress((done, total), desc=say("find_scanning", language, done=done, total=total))

        scan, config = scan_rates(services, wanted(services, *values), told)
        rate = "" if scan.suggested is None else f"{scan.suggested:.2g}"
        picture = scan_picture(scan.learning_rates, scan.losses, scan.suggested, language)
        suggestion = say("find_suggested", language, rate=rate, schedule=config.schedule)
        words = suggestion if rate else say("find_nothing", language)
        return f'{picture}<p class="plan-line">{escape(words)}</p>', rate, gr.update(visible=bool(rate))

    quiet: dict[str, Any] = {"api_visibility": "private", "queue": False, "show_progress": "hidden"}
    scan.click(look, form.inputs, [curve, found, use], api_visibility="private", show_progress_on=curve, **SCANS)
    stop.click(failing_in_a_sentence(lambda: services.runner.stop_aside()), None, None, **quiet)
    use.click(lambda rate: rate, found, form.fields["learning_rate"], **quiet)
