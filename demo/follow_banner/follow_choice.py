"""A dropdown of models in which runs can be followed, with the kept epochs behind a box to tick, and its banner."""

from typing import Any, NamedTuple

import gradio as gr

from demo.follow_banner.follow_banner import FollowBanner
from demo.following import LAST, followed, make_follow_ask
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from resnet_core.inference.catalog import ModelEntry

LAST_TITLE = " · last epoch"  # how the catalog's titles of these end


class ModelChoice(NamedTuple):
    """The dropdown, and the box that adds the kept epochs to it."""

    model: gr.Dropdown
    kept: gr.Checkbox


def model_choice(services: Services, elem_id: str) -> ModelChoice:
    """Builds both into the current context."""
    model = gr.Dropdown(
        followed_choices(services), value="flowers", label=label("model"), elem_id=elem_id,
        allow_custom_value=True,  # kept epochs are listed in the session only: a restarted app does not know them
    )  # fmt: skip
    kept = gr.Checkbox(
        False, label=label("runs_show_kept"), visible=has_kept(services), container=False, elem_id=f"{elem_id}-kept",
        elem_classes="kept-epochs",
    )  # fmt: skip
    return ModelChoice(model, kept)


def follow_banner(services: Services, elem_id: str) -> FollowBanner:
    """Builds the banner into the current context; it takes no room before a run's model is chosen."""
    return FollowBanner(make_follow_ask(services), elem_id=elem_id, visible="hidden")


def told(services: Services, model: str, classifier: Any = None) -> Any:
    """The update of the banner after an answer of that model."""
    told_of = followed(services, model, classifier)
    return gr.update(value=told_of.to_json() if told_of else None, visible=True if told_of else "hidden")


def keep_choices_fresh(services: Services, tab: gr.Tab, choice: ModelChoice) -> None:
    """Whenever the tab opens or the box is ticked, the dropdown lists what there is."""

    @failing_in_a_sentence
    def refresh(chosen: str | None, kept: bool, request: gr.Request) -> tuple[Any, Any]:
        return refreshed(services, chosen, bool(kept), language_of(request)), gr.update(visible=has_kept(services))

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    tab.select(refresh, list(choice), list(choice), **quiet)
    choice.kept.input(refresh, list(choice), list(choice), **quiet)


def followed_choices(services: Services, *, kept: bool = False, language: str = "en") -> list[tuple[str, str]]:
    """(title, name) of the models that can be asked; a run's newest epoch is offered as one to follow."""
    return [(_title(entry, language), entry.name) for entry in services.models(kept=kept)]


def refreshed(services: Services, chosen: str | None, kept: bool, language: str) -> Any:
    """The update of the dropdown: all there are now, and the shipped one where the chosen one has gone."""
    choices = followed_choices(services, kept=kept, language=language)
    names = {name for _, name in choices}
    if chosen and chosen not in names and chosen.rpartition("/")[2].isdigit():  # a kept epoch stays though others hide
        every = followed_choices(services, kept=True, language=language)
        choices += [(title, name) for title, name in every if name == chosen]
        names = {name for _, name in choices}
    if chosen in names:
        return gr.update(choices=choices)  # with a value the page might ask again
    return gr.update(choices=choices, value="flowers")


def has_kept(services: Services) -> bool:
    """True once a run here has an epoch that was kept."""
    return any(run.kept_epochs() for run in services.store.list())


def _title(entry: ModelEntry, language: str) -> str:
    if entry.name.endswith(f"/{LAST}"):
        return say("runs_follow", language, name=entry.title.removesuffix(LAST_TITLE))
    return entry.title
