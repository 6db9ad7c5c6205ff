"""The Where part: what in the photo speaks for a class at the chosen layer, and whether that map may be trusted."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from demo.maps.looking import Looking
from demo.maps.newest import Newest
from demo.maps.refreshing import QUIET, hash_of, refreshed_with
from demo.maps.where_view import WhereLook, look_where, trust_html
from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage
from resnet_core.errors import ConfigError, ModelError

NONE = ""  # of the classes to tell it from
# the strength is changed in the browser alone: the maps lie over the photo as pictures of their own
STRENGTH = (
    "(share) => { document.getElementById('where-body').style.setProperty('--why-strength', share / 100); return []; }"
)


def where_section(services: Services, looking: Looking) -> None:
    """Builds the part into the current context; nothing is computed while another part is on view."""
    with gr.Column(elem_id="where-body"):
        with gr.Row():
            method = gr.Radio(
                [(label("where_gradcam"), "gradcam"), (label("where_ablation"), "ablation")],
                value="gradcam",
                label=label("where_method"),
                elem_id="where-method",
                min_width=220,
            )
            strength = gr.Slider(
                0, 100, 60, step=5, label=label("where_strength"), elem_id="where-strength", min_width=200
            )
        with gr.Row():
            wanted = gr.Dropdown([], label=label("where_for"), elem_id="where-for", min_width=140)
            against = gr.Dropdown([], label=label("where_against"), elem_id="where-against", min_width=140)
        about = gr.Textbox("", visible="hidden")  # the photo and model that the class was chosen for
        maps = gr.HTML(_note(say("where_no_photo")), elem_id="where-maps")
        test = gr.Button(label("where_trust"), elem_id="where-trust-button")
        trust = gr.HTML(_note(say("where_unasked")), elem_id="where-trust")
    refresh, tests = refreshed_with(looking, "where-body"), Newest()
    outputs = [maps, wanted, against, trust, about]

    @failing_in_a_sentence
    def show(
        picture: ReadImage | None, name: str, layer: str, how: str, first: str | None, other: str | None, before: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:  # fmt: skip
        language = language_of(request)
        tests.stop(str(request.session_hash))  # a verdict on what is no longer shown helps nobody
        if picture is None:
            return _note(say("where_no_photo", language)), gr.skip(), gr.skip(), "", ""
        now = f"{name}/{hash_of(picture)}"
        asked = partial(look_where, services, picture, name, layer, method=how, language=language)
        try:  # another photo is asked about its own answer, another layer or method about the class that was chosen
            look = asked(wanted=first if now == before else None, against=other or None)
        except ModelError as error:  # a layer without places is no mishap: the sentence stands where the map would
            return _note(str(error)), gr.skip(), gr.skip(), "", gr.skip()
        return look.html, *_choices(look, language), _note(say("where_unasked", language)), now

    @failing_in_a_sentence
    def tested(
        picture: ReadImage | None, name: str, layer: str, how: str, first: str | None, request: gr.Request
    ) -> Any:
        language = language_of(request)
        if picture is None:
            raise ConfigError(say("where_no_photo", language))
        asked = partial(trust_html, services, picture, name, layer, method=how, wanted=first, language=language)
        return _newest_verdict(tests, str(request.session_hash), asked)

    looked = [looking.photo, looking.model, looking.layer, method]
    # "always_last": the photo may change while maps are made, and those of the newest must follow
    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2}
    latest: dict[str, Any] = {"trigger_mode": "always_last", **heavy, **QUIET}
    # `input` and `change` also come when the choices are replaced (gradio 6.31); a person's choice is a `select`
    events = [refresh.click, wanted.select, against.select, method.input]
    gr.on(events, show, [*looked, wanted, against, about], outputs, **latest)
    strength.input(None, strength, None, js=STRENGTH, api_visibility="private")
    test.click(tested, [*looked, wanted], trust, api_visibility="private", show_progress="minimal", **heavy)


def _newest_verdict(tests: Newest, session: str, asked: Callable[..., str]) -> Any:
    """The verdict; nothing where the visitor looks at something else by then."""
    from resnet_core.activations.turns import WorkStopped

    stopped = tests.begin(session)
    try:
        return asked(stopped=stopped)
    except WorkStopped:
        return gr.skip()
    finally:
        if not stopped():
            tests.stop(session)


def _choices(look: WhereLook, language: str) -> tuple[Any, Any]:
    others = [(say("where_none", language), NONE), *((name, name) for name in look.class_names if name != look.wanted)]
    return (
        gr.update(choices=list(look.class_names), value=look.wanted),
        gr.update(choices=others, value=look.against or NONE),
    )


def _note(sentence: str) -> str:
    return f'<p class="note">{escape(sentence)}</p>'
