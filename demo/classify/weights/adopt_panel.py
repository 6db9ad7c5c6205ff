"""Bring your own weights: drop a file, read what it is, give it a name, adopt it. Below, the shelf of such models."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from demo.classify.weights.adoption_desk import AdoptionDesk
from demo.classify.weights.shelf_list import shelf_list
from demo.markup import empty_card
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY

NORMALIZATIONS = ("imagenet", "cifar10", "half", "none")


class Choices(NamedTuple):
    """The components a person sets, besides the file itself; `wishes_of` reads their values in this order."""

    class_file: Any
    typed: Any
    network: Any
    size: Any
    normalization: Any


class Parts(NamedTuple):
    """The other components."""

    file: Any
    token: Any
    card: Any
    name: Any
    button: Any


def adopt_panel(services: Services, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the panel."""
    gr.Markdown(label("adopt_title"))
    gr.Markdown(label("adopt_intro"), elem_id="adopt-intro")
    with gr.Row():
        with gr.Column(scale=5, min_width=300):
            file = gr.File(label=label("adopt_file"), type="filepath", height=132, elem_id="adopt-file")
            class_file = gr.File(
                label=label("adopt_class_file"), type="filepath", height=132, elem_id="adopt-class-file"
            )
            typed = gr.Textbox(
                "", label=label("adopt_typed"), placeholder=label("adopt_typed_example"), elem_id="adopt-typed"
            )
        with gr.Column(scale=6, min_width=300):
            card = gr.HTML(empty_card(say("adopt_drop")), elem_id="adopt-findings")
            network = gr.Dropdown(
                [("", "")], value="", label=label("adopt_network"), visible=False, elem_id="adopt-network"
            )
            with gr.Accordion(label("adopt_more"), open=False), gr.Row():
                size = gr.Textbox(
                    "", label=label("adopt_size"), placeholder="auto", min_width=120, elem_id="adopt-size"
                )
                normalization = gr.Dropdown(
                    [(label("automatic"), ""), *((label(f"adopt_{key}"), key) for key in NORMALIZATIONS)],
                    value="",
                    label=label("adopt_normalization"),
                    min_width=180,
                    elem_id="adopt-normalization",
                )
            name = gr.Textbox("", label=label("adopt_name"), max_length=80, elem_id="adopt-name")
            button = gr.Button(label("adopt_button"), variant="primary", interactive=False, elem_id="adopt-button")
            token = gr.Textbox("", visible=False)
    page.load(_greeting, None, card, queue=False, api_visibility="private")
    shelf = shelf_list(services, page, tab)
    _wire(
        services,
        Choices(class_file, typed, network, size, normalization),
        Parts(file, token, card, name, button),
        shelf,
    )


def _greeting(request: gr.Request) -> str:
    return empty_card(say("adopt_drop", language_of(request)))


def _wire(services: Services, choices: Choices, parts: Parts, shelf: tuple[Any, Any]) -> None:
    desk = AdoptionDesk(services)
    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, "api_visibility": "private"}
    parts.file.upload(
        failing_in_a_sentence(desk.take),
        [parts.file, parts.token, choices.class_file, choices.typed],
        [parts.file, parts.token, parts.card, parts.name, parts.button, *choices[2:]],
        **heavy,
    )
    again: Callable[..., Any] = partial(
        gr.on,
        fn=failing_in_a_sentence(desk.look_again),
        inputs=[parts.token, *choices],
        outputs=[parts.card, parts.button],
        **heavy,
    )
    again([choices.class_file.change, choices.typed.blur, choices.typed.submit], show_progress="hidden")
    again([choices.network.input, choices.normalization.input], show_progress="hidden")
    again([choices.size.blur, choices.size.submit], show_progress="hidden")
    parts.button.click(
        failing_in_a_sentence(desk.adopt),
        [parts.token, parts.name, *choices],
        [parts.card, parts.token, parts.name, parts.button, *choices, *shelf],
        **heavy,
    )
