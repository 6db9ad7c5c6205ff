"""“Runs”: the history of all trainings, below the curves of one: search, sort, name, note, tag, delete, compare."""

import time
from typing import Any

import gradio as gr

from demo.sentences import failing_in_a_sentence
from demo.services import Services, run_choices
from demo.text import label
from demo.training.run_table.run_feed import make_table_ask
from demo.training.run_table.run_table import RunTable
from resnet_core.errors import RunError
from resnet_core.training.differences import FEWEST, MOST

NEWS = "() => String(Date.now())"  # a new value makes a table on screen ask; the server hears nothing of it


def history_section(services: Services, run: Any, board: Any) -> RunTable:
    """Builds the section; `run` is the dropdown of the run on screen, `board` the curves."""
    with gr.Accordion(label("runs_title"), open=False, elem_id="run-history"):
        table = RunTable(make_table_ask(services))

    @failing_in_a_sentence
    def show(event: gr.EventData) -> Any:
        return shown_run(services, str(getattr(event, "run_id", "")))

    @failing_in_a_sentence
    def renew(chosen: str | None) -> Any:
        return renewed_choices(services, chosen)

    @failing_in_a_sentence
    def compare(chosen: str | None, event: gr.EventData) -> tuple[Any, Any]:
        return compared_runs(services, chosen, getattr(event, "run_ids", None))

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    table.showrun(show, None, run, **quiet)
    table.runschanged(renew, run, run, **quiet)
    table.comparison(compare, run, [run, board], **quiet)
    board.statechange(None, None, table, js=NEWS, **quiet)
    return table


def shown_run(services: Services, run_id: str) -> Any:
    """The update of the dropdown that puts this run on the screen. Raises RunError where it is gone."""
    services.store.get(run_id)
    return gr.update(choices=_choices(services), value=run_id)


def compared_runs(services: Services, chosen: str | None, run_ids: object) -> tuple[Any, Any]:
    """The updates of dropdown and board that lay these runs over one another; the one on screen stays the first.

    Raises RunError where one is gone, or for fewer than two or more than eight.
    """
    named = list(dict.fromkeys(map(str, run_ids))) if isinstance(run_ids, list | tuple) else []
    if not FEWEST <= len(named) <= MOST:
        raise RunError(f"Choose {FEWEST} to {MOST} runs to compare, not {len(named)}.")
    for run_id in named:
        services.store.get(run_id)
    first = chosen if chosen in named else named[0]
    others = [run_id for run_id in named if run_id != first]
    again = time.time()  # the board takes only texts; another number makes the same choice count once more
    return gr.update(choices=_choices(services), value=first), gr.update(value=first, overlays=[*others, again])


def renewed_choices(services: Services, chosen: str | None) -> Any:
    """The update of the dropdown after runs were renamed or deleted: a run that is gone gives way to the newest."""
    choices = _choices(services)
    if (chosen or "") in {run_id for _, run_id in choices}:
        return gr.update(choices=choices)  # with a value the board might begin anew
    return gr.update(choices=choices, value="")


def _choices(services: Services) -> list[tuple[Any, str]]:
    return [(label("newest_run"), ""), *run_choices(services)]
