"""The second tab: choose data, network and preset, press Start, watch. The training lives in the runner's thread; this
page only asks and watches, so it may be closed, reloaded or opened twice.
"""

from typing import Any

import gradio as gr

from demo.change_section import change_section, followed_run
from demo.live_board.live_board import LiveBoard, make_poll
from demo.sentences import failing_in_a_sentence
from demo.services import Services, run_choices
from demo.text import label, language_of, say
from demo.training.fork_section import fork_section
from demo.training.history_section import history_section
from demo.training.plan_section import plan_section
from demo.training.queue_section import queue_section
from demo.training.rate_section import rate_section
from demo.training.reading_note import reading_note
from demo.training.repeat_section import repeat_section
from demo.training.resume_button import wire_resume
from demo.training.settings_section import settings_section
from demo.training.start_form import StartForm, data_choices, device_choices, start_choices, start_form, wanted
from resnet_core.training.runs import ENDED


def buttons_for(status: str) -> tuple[bool, bool, bool, bool]:
    """Which of pause, resume, stop and stop-after-epoch can be pressed for a run with this status."""
    moving = status in ("running", "preparing")
    resumable = status in ("paused", "interrupted", "stopped", "failed")
    return moving, resumable, status not in (*ENDED, "interrupted", "none"), moving


def training_tab(services: Services) -> gr.Tab:
    """Builds the tab."""
    with gr.Tab(label("train_tab"), id="train") as tab, gr.Row():
        form = start_form(services)
        with gr.Column(scale=8, min_width=320):
            run = gr.Dropdown(
                [(label("newest_run"), ""), *run_choices(services)], value="", label=label("run"), elem_id="train-run"
            )
            reading_note(services)
            board = LiveBoard(make_poll(services))
            change_section(services, run)
            repeat_section(services, run)
            queue_section(services, run, board)
            fork_section(services, run, board)
            history_section(services, run, board)
    plan_section(services, form, tab)
    rate_section(services, form)
    settings_section(services, form, run)
    _wire_start(services, form, run, board)
    with tab:
        _wire_controls(services, tab, form, run, board)
    return tab


def _wire_start(services: Services, form: StartForm, run: Any, board: LiveBoard) -> None:
    @failing_in_a_sentence
    def begin(request: gr.Request, *values: Any) -> tuple[Any, Any]:
        runner = services.runner
        started = runner.start(wanted(services, *values))
        waiting, language = runner.queued(), language_of(request)
        if started.run_id in waiting:
            gr.Info(say("queued", language, place=waiting.index(started.run_id) + 1), duration=6)
        return gr.update(
            choices=[(label("newest_run"), ""), *run_choices(services)], value=started.run_id
        ), started.run_id

    form.start.click(
        begin,
        form.inputs,
        [run, board],
        api_visibility="private",
        show_progress="hidden",
        concurrency_limit=4,
    )


def _wire_controls(services: Services, tab: gr.Tab, form: StartForm, run: Any, board: LiveBoard) -> None:
    pause, resume, stop, stop_epoch = form.controls

    @failing_in_a_sentence
    def pause_run(run_id: str) -> None:
        services.runner.pause(followed_run(services, run_id))

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
    wire_resume(services, resume, run, board)
    stop.click(stop_run, run, None, **quiet)
    stop_epoch.click(stop_run_after_epoch, run, None, **quiet)
    board.statechange(on_status, None, [*form.controls, run], **quiet)
    run.change(lambda run_id: run_id, run, board, **quiet)
    tab.select(lambda: gr.update(choices=data_choices(services)), None, form.fields["dataset"], **quiet)
    tab.select(lambda: gr.update(choices=start_choices(services)), None, form.fields["init_from"], **quiet)
    tab.select(lambda: device_choices(services), None, form.fields["device"], **quiet)
