"""“Waiting runs”: the queue, live: the board on the page tells when it changes, so nothing is asked in between."""

import json
from typing import Any

import gradio as gr

from demo.sentences import failing_in_a_sentence, toast_text
from demo.services import Services
from demo.text import label, language_of, say
from demo.training.queue_list.queue_list import QueueList
from resnet_core.data.picture_files import shown_name
from resnet_core.errors import RunError


def queue_rows(services: Services) -> list[dict[str, Any]]:
    """The waiting runs, the next first: place, run_id, name, model, data set, epochs (0: chosen when it starts)."""
    rows = []
    for run_id in services.queued():
        try:
            found = services.store.get(run_id).summary()
        except RunError:  # deleted in this moment
            continue
        about = {"name": found.name, "model": found.model, "dataset": found.dataset, "epochs": found.epochs}
        rows.append({"place": len(rows) + 1, "run_id": run_id, **about, "forked_from": found.forked_from})
    return rows


def queue_value(services: Services) -> str:
    """The queue as `QueueList` shows it."""
    rows = []
    for row in queue_rows(services):
        parts = [row["run_id"] if row["name"] else "", row["model"], row["dataset"]]
        detail = " · ".join(shown_name(part) for part in parts if part)
        title = shown_name(row["name"] or row["run_id"])
        rows.append({"id": row["run_id"], "title": title, "detail": detail, "epochs": row["epochs"]})
    return json.dumps(rows)


def queue_section(services: Services, run: Any, board: Any) -> QueueList:
    """Builds the section; its title tells how many wait."""
    with gr.Accordion(label("queue_title"), open=False, elem_id="run-queue") as section:
        listed = QueueList()

    def renewed(request: gr.Request) -> tuple[Any, Any]:
        value = queue_value(services)
        count = len(json.loads(value))
        title = say("queue_count", language_of(request), count=count) if count else label("queue_title")
        return value, gr.update(label=title)

    @failing_in_a_sentence
    def act(request: gr.Request, event: gr.EventData) -> tuple[Any, Any]:
        run_id, place = str(getattr(event, "run_id", "")), getattr(event, "place", 0)
        try:
            if place:
                services.runner.move(run_id, int(place))
            else:
                services.runner.drop(run_id)
        except RunError as error:  # it began meanwhile, or another app has the folder: say so, and show what is
            gr.Warning(toast_text(error), duration=8)
        return renewed(request)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    listed.act(act, None, [listed, section], **quiet)
    board.statechange(failing_in_a_sentence(renewed), None, [listed, section], **quiet)
    return listed
