"""What a run will do, told while the form is filled in: a sentence, the schedule as a picture, and why."""

import threading
import time
from pathlib import Path
from typing import Any

import gradio as gr

from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import language_of, say
from demo.training.form_values import others_in_words
from demo.training.plan_picture import plan_picture, summary
from demo.training.start_form import StartForm, wanted
from resnet_core.data.datasets import DatasetSpec, load_dataset
from resnet_core.data.images import display_name
from resnet_core.errors import ResNetLabError
from resnet_core.training.config import TrainConfig

KNOWN_SECONDS = 20.0  # a folder is not listed anew for every letter that is typed
KNOWN = 4


class DatasetsAtHand:
    """The data sets last asked for, as they were a few seconds ago."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], tuple[float, DatasetSpec]] = {}

    def get(self, name: str, seed: int) -> DatasetSpec:
        """The data set of that name, folder or zip. Raises DatasetError or ArchiveError."""
        with self._lock:
            seen, dataset = self._known.get((name, seed), (0.0, None))
        if dataset is None or time.monotonic() - seen > KNOWN_SECONDS:
            dataset = load_dataset(name, data_dir=self._services.data_dir, seed=seed)
            with self._lock:
                self._known[name, seed] = time.monotonic(), dataset
                while len(self._known) > KNOWN:
                    del self._known[next(iter(self._known))]
        return dataset


def plan_section(services: Services, form: StartForm, tab: gr.Tab) -> None:
    """Lets the form's plan follow every change of the form."""
    at_hand = DatasetsAtHand(services)

    @failing_in_a_sentence
    def show(request: gr.Request, *values: Any) -> str:
        return plan_html(services, at_hand, values, language_of(request))

    moments = [component.change for component in form.fields.values() if component is not form.fields["name"]]
    gr.on(
        [tab.select, form.others.change, form.own_folder.change, form.own_zip.change, *moments],
        show,
        form.inputs,
        form.plan,
        api_visibility="private",
        show_progress="hidden",
        trigger_mode="always_last",  # while one answer is on its way, only the newest wish waits
        concurrency_limit=4,
    )


def plan_html(services: Services, at_hand: DatasetsAtHand, values: tuple[Any, ...], language: str) -> str:
    """What the section shows of a filled-in form; where it cannot start, why."""
    if not services.warm:
        return _note(say("plan_pending", language))
    try:
        config = wanted(services, *values, keep=False)
        return _told(config, at_hand.get(config.dataset, config.seed), language) + _others(values, language)
    except ResNetLabError as error:
        return _note(say("plan_impossible", language, reason=str(error)), kind="plan-refused")


def _told(config: TrainConfig, dataset: DatasetSpec, language: str) -> str:
    from resnet_core.device import choose_device
    from resnet_core.training.preview import preview

    where = choose_device(
        "auto" if config.device == "all" else config.device,
        precision=config.precision,
        num_threads=config.num_threads,
        memory_format=config.memory_format,
    )
    planned = preview(config, dataset, where)
    if config.budget_minutes:
        minutes, schedule = f"{config.budget_minutes:g}", planned.config.schedule
        data = display_name(Path(config.dataset).name)
        return _note(say("plan_budget", language, data=data, minutes=minutes, schedule=schedule))
    why = "".join(f"<li>{escape(note)}</li>" for note in planned.notes)
    head = f"<summary>{escape(say('plan_why', language))}</summary>"
    reasons = f'<details class="plan-why">{head}<ul>{why}</ul></details>'
    return _note(summary(planned, language)) + plan_picture(planned, language) + reasons


def _others(values: tuple[Any, ...], language: str) -> str:
    told = others_in_words(str(values[2] or ""), language)
    return _note(told) if told else ""


def _note(words: str, kind: str = "plan-line") -> str:
    return f'<p class="{kind}">{escape(words)}</p>'
