"""The first tab: a photo in, an answer out, with how sure the network is and what it saw."""

from typing import Any

import gradio as gr

from demo.examples import example_pictures
from demo.markup import answer_card, class_color, empty_card
from demo.photo import Picture, photo_input
from demo.sentences import failing_in_a_sentence
from demo.services import Services, model_choices
from demo.text import label, language_of, say
from resnet_core.data.images import ReadImage

SURE, LIKELY = 0.9, 0.6  # from here on the words are "quite sure" and "probably"
HEAVY = "network"  # events with this id take turns
TOGETHER: dict[str, Any] = {"concurrency_id": "photos", "concurrency_limit": 16}  # wait at the desk, one thread each


def answer_html(services: Services, photo: ReadImage, model: str, top_k: int, language: str) -> tuple[str, Any]:
    """The answer card, and the square the network saw. Raises ResNetLabError."""
    classifier = services.classifier(model)
    result = services.classify(model, photo.image, top_k=max(1, int(top_k or 5)))
    best = result.predictions[0]
    if result.unknown:
        headline, sureness = say("unknown", language), say("nearest", language, label=best.label)
    else:
        headline, sureness = best.label, sureness_words(best.probability, language)
    index = {name: position for position, name in enumerate(classifier.class_names)}
    bars = [(p.label, p.probability, class_color(index[p.label])) for p in result.predictions]
    how = classifier.checkpoint.preprocessing.describe()
    notes = [
        say("took", language, milliseconds=f"{result.seconds * 1000:.0f}", engine=engine_title(classifier.engine_name)),
        *photo.notes,
        say("preprocessing", language, how=how),
    ]
    return answer_card(headline, sureness, bars, notes, unknown=result.unknown), result.seen


def sureness_words(probability: float, language: str) -> str:
    """ "Quite sure · 97 %" and the like."""
    word = "certain" if probability >= SURE else "likely" if probability >= LIKELY else "unsure"
    return f"{say(word, language)} · {probability:.0%}"


def engine_title(name: str) -> str:
    """What people call the engine that computed an answer."""
    family, _, precision = name.partition("-")
    title = {"openvino": "OpenVINO", "folded": "PyTorch, BatchNorm folded"}.get(family, "PyTorch")
    return f"{title}, {precision}" if precision else title


def classification_tab(services: Services, page: gr.Blocks) -> gr.Tab:
    """Builds the tab; when the page opens, it waits for the network and says so."""
    with gr.Tab(label("classify_tab"), id="classify") as tab:
        with gr.Row():  # on a phone the answer follows the photo at once
            with gr.Column(scale=5, min_width=300):
                photo = photo_input(label=label("photo"), height=340, elem_id="classify-photo")
            with gr.Column(scale=6, min_width=300):
                card = gr.HTML(empty_card(say("loading")), elem_id="classify-answer")
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                gr.Examples(
                    example_pictures(services.data_dir), photo, label=label("examples"), elem_id="classify-examples"
                )
            with gr.Column(scale=6, min_width=300):
                model = gr.Dropdown(
                    model_choices(services), value="flowers", label=label("model"), elem_id="classify-model"
                )
                with gr.Accordion(label("more"), open=False):
                    seen = Picture(
                        label=label("seen"),
                        interactive=False,
                        height=200,
                        format="png",
                        buttons=["download"],
                        elem_id="classify-seen",
                    )
                    top_k = gr.Slider(1, 10, 5, step=1, label=label("top_k"), elem_id="classify-top-k")

    @failing_in_a_sentence
    def classify_photo(picture: ReadImage | None, name: str, count: float, request: gr.Request) -> tuple[str, Any]:
        language = language_of(request)
        if picture is None:
            return empty_card(say("drop_photo", language)), None
        return answer_html(services, picture, name, int(count), language)

    @failing_in_a_sentence
    def greet(request: gr.Request) -> tuple[str, Any]:
        services.ready()
        return empty_card(say("drop_photo", language_of(request))), _fresh_models(services)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    inputs, outputs = [photo, model, top_k], [card, seen]
    for trigger in (photo.change, model.change, top_k.release):  # a dropdown's `input` comes twice (gradio 6.31)
        trigger(classify_photo, inputs, outputs, **TOGETHER, **quiet)
    page.load(greet, None, [card, model], concurrency_limit=None, **quiet)
    tab.select(lambda: _fresh_models(services), None, model, queue=False, **quiet)
    return tab


def _fresh_models(services: Services) -> Any:
    return gr.update(choices=model_choices(services))
