"""What happens when weights are dropped, looked at again with other settings, and adopted."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.classify.weights.adopt_card import adopted_card, findings_card, refused_card
from demo.classify.weights.shelf_list import shown_shelf
from demo.sentences import toast_text
from demo.services import Services
from demo.text import language_of, say
from resnet_core.errors import CheckpointError, RunError
from resnet_core.inference.shelf import shelf_of

if TYPE_CHECKING:
    from resnet_core.inference.foreign import ForeignWeights
    from resnet_core.inference.inspector import Inspection, Wishes

PLAIN = "/plain"  # after a network's name in the dropdown: its plain twin


def wishes_of(class_file: str | None, typed: str, network: str, size: str, normalization: str) -> "Wishes":
    """What the form says about the weights. Raises CheckpointError for class names or a size that cannot be read."""
    from resnet_core.inference.class_list import parse_class_names, read_class_list
    from resnet_core.inference.inspector import Wishes

    names = parse_class_names(typed or "") or (read_class_list(Path(class_file)) if class_file else None)
    text = str(size or "").strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < 6):
        raise CheckpointError("The picture size must be a whole number of pixels, such as 224.")
    return Wishes(
        model=network.removesuffix(PLAIN) or None,
        plain=network.endswith(PLAIN) if network else None,
        class_names=names or None,
        image_size=int(text) if text else None,
        normalization=normalization or None,
    )


def network_choices(inspection: "Inspection") -> list[tuple[str, str]]:
    """(title, value for the dropdown) of the networks that fit; where the names cannot tell, the plain twin is one."""
    return [
        (fit.title, fit.architecture + (PLAIN if fit.arguments.get("residual") is False else ""))
        for fit in inspection.fits
        if fit.complete
    ]


class AdoptionDesk:
    """The handlers of the panel."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._shelf = shelf_of(services.store)
        self._staged = services.staged

    def take(self, uploaded: str | None, before: str, class_file: str | None, typed: str, request: gr.Request) -> Any:
        """Takes over an upload: the box is empty again, and the card says what the file is, or why it is refused."""
        if not uploaded:
            return [gr.skip()] * 8
        self._services.ready()
        language = language_of(request)
        self._staged.drop(before)
        token = ""
        try:
            token = self._staged.take(Path(uploaded))
            weights = self._waiting(token, language)
            inspection = _look(weights, class_file, typed)
        except (CheckpointError, RunError) as error:
            self._staged.drop(token)
            off, hidden = gr.update(interactive=False), gr.update(visible=False)
            return None, "", refused_card(str(error), language), "", off, hidden, "", ""
        fits = network_choices(inspection)
        network = gr.update(choices=fits or [("", "")], value=fits[0][1] if fits else "", visible=len(fits) > 1)
        ready = gr.update(interactive=inspection.problem is None)
        return None, token, findings_card(inspection, language), Path(weights.name).stem, ready, network, "", ""

    def look_again(self, token: str, request: gr.Request, *form: Any) -> Any:
        """The card for other class names, another size and so on."""
        from resnet_core.inference.inspector import inspect_weights

        weights = self._staged.find(token)
        if weights is None:
            return gr.skip(), gr.skip()
        inspection = inspect_weights(weights, wishes_of(*form))
        if self._staged.find(token) is None:  # adopted in the meantime
            return gr.skip(), gr.skip()
        return findings_card(inspection, language_of(request)), gr.update(interactive=inspection.problem is None)

    def adopt(self, token: str, name: str, request: gr.Request, *form: Any) -> Any:
        """Puts the weights on the shelf and empties the form. Raises CheckpointError, RunError in an app that reads."""
        from resnet_core.inference.adoption import adopt
        from resnet_core.inference.inspector import inspect_weights

        self._services.store.check_writable()
        language = language_of(request)
        weights = self._waiting(token, language)
        inspection = inspect_weights(weights, wishes_of(*form))
        entry = self._services.desk.run(partial(adopt, weights, inspection, self._shelf, name=name))
        self._staged.drop(token)
        if form[0]:
            Path(form[0]).unlink(missing_ok=True)
        done = adopted_card(entry.title, language), "", "", gr.update(interactive=False)
        return *done, None, "", gr.update(visible=False), "", "", *shown_shelf(self._services, language)

    def _waiting(self, token: str, language: str) -> "ForeignWeights":
        weights = self._staged.find(token)
        if weights is None:
            raise CheckpointError(say("adopt_gone", language))
        return weights


def _look(weights: "ForeignWeights", class_file: str | None, typed: str) -> "Inspection":
    """The findings, with class names that lie there already; names for other weights do not hinder the look."""
    from resnet_core.inference.inspector import inspect_weights

    try:
        return inspect_weights(weights, wishes_of(class_file, typed, "", "", ""))
    except CheckpointError as error:
        if not class_file and not typed:
            raise
        gr.Warning(toast_text(error))
        return inspect_weights(weights)
