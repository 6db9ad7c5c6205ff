"""“One”: a photo in, an answer out, with how sure the network is and what it saw."""

from typing import TYPE_CHECKING, Any

import gradio as gr

from demo.classify.history.history import entry_of
from demo.classify.history_section import history_section
from demo.classify.opened import refresh_open
from demo.classify.sureness import (
    at_threshold,
    connect_sureness,
    page_threshold,
    per_cent,
    reliable_words,
    score_words,
    sureness_panel,
)
from demo.classify.what_if_section import what_if_section
from demo.classify.why_section import why_section
from demo.examples import example_pictures
from demo.follow_banner.follow_choice import (
    ModelChoice,
    follow_banner,
    followed_choices,
    has_kept,
    keep_choices_fresh,
    model_choice,
    told,
)
from demo.markup import answer_card, class_color, empty_card
from demo.photo import Picture, photo_input
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import TOGETHER
from resnet_core.data.images import ReadImage

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classification, Classifier

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
SURE, LIKELY = 0.9, 0.6  # from here on the words are "quite sure" and "probably"


def answer_html(services: Services, photo: ReadImage, model: str, top_k: int, language: str) -> tuple[str, Any]:
    """The answer card, and the square the network saw. Raises ResNetLabError."""
    result = services.classify(model, photo.image, top_k=max(1, int(top_k or 5)))
    return card_html(services.classifier(model), photo, result, language), result.seen


def card_html(
    classifier: "Classifier",
    photo: ReadImage,
    result: "Classification",
    language: str,
    threshold: float | None = None,
) -> str:
    """The answer card of a result; `threshold` is the page's own, where the visitor has moved it."""
    best, checkpoint = result.predictions[0], classifier.checkpoint
    if result.unknown:
        headline, sureness = say("unknown", language), say("nearest", language, label=best.label)
    else:
        reliable = reliable_words(checkpoint, result, language)
        headline = best.label
        sureness = " · ".join(filter(None, (sureness_words(best.probability, language), reliable)))
    index = {name: position for position, name in enumerate(classifier.class_names)}
    bars = [(p.label, p.probability, class_color(index[p.label])) for p in result.predictions]
    how = checkpoint.preprocessing.describe()
    notes = [
        *filter(None, [score_words(result, checkpoint, language, threshold)]),
        say("took", language, milliseconds=f"{result.seconds * 1000:.0f}", engine=engine_title(classifier.engine_name)),
        *photo.notes,
        say("preprocessing", language, how=how),
    ]
    return answer_card(headline, sureness, bars, notes, unknown=result.unknown)


def sureness_words(probability: float, language: str) -> str:
    """ "Quite sure · 97%" and the like."""
    word = "certain" if probability >= SURE else "likely" if probability >= LIKELY else "unsure"
    return f"{say(word, language)} · {per_cent(probability)}"


def engine_title(name: str) -> str:
    """What people call the engine that computed an answer."""
    family, _, precision = name.partition("-")
    title = {"openvino": "OpenVINO", "folded": "PyTorch, BatchNorm folded"}.get(family, "PyTorch")
    return f"{title}, {precision}" if precision else title


def one_photo_tab(services: Services, page: gr.Blocks) -> Any:
    """Builds the tab; when the page opens, it waits for the network and says so.

    Returns the unseen text that holds the page's threshold."""
    with gr.Tab(label("one_tab"), id="one") as tab:
        with gr.Row():  # on a phone the answer follows the photo at once
            with gr.Column(scale=5, min_width=300):
                photo = photo_input(label=label("photo"), height=340, elem_id="classify-photo")
            with gr.Column(scale=6, min_width=300):
                banner = follow_banner(services, "classify-follow")
                card = gr.HTML(empty_card(say("loading")), elem_id="classify-answer")
        with gr.Row():
            with gr.Column(scale=5, min_width=300):
                gr.Examples(
                    example_pictures(services.data_dir), photo, label=label("examples"), elem_id="classify-examples"
                )
            with gr.Column(scale=6, min_width=300):
                choice = model_choice(services, "classify-model")
                model = choice.model
                seen, top_k = _more()
                sure = sureness_panel()
        why_section(services, photo, model)
        what_if_section(services, photo, model, sure.moved)
        history = history_section(services, photo, choice)

    @failing_in_a_sentence
    def classify_photo(
        picture: ReadImage | None, name: str, count: float, moved: Any, request: gr.Request
    ) -> tuple[Any, ...]:
        language = language_of(request)
        if picture is None:
            return empty_card(say("drop_photo", language)), None, gr.skip(), told(services, name)
        classifier = services.classifier(name)
        card, result = _judged(services, classifier, picture, name, count, moved, language)
        return card, result.seen, entry_of(picture, result, name), told(services, name, classifier)

    @failing_in_a_sentence
    def judge_again(picture: ReadImage | None, name: str, count: float, moved: Any, request: gr.Request) -> Any:
        if picture is None:
            return gr.skip()
        return _judged(services, services.classifier(name), picture, name, count, moved, language_of(request))[0]

    inputs, outputs = [photo, model, top_k, sure.moved], [card, seen, history, banner]
    events = [photo.change, model.change, banner.tick]  # a dropdown's `input` comes twice (gradio 6.31)
    # one listener, so that answers arrive in the order they were asked for and the newest one stays
    answered = gr.on(events, classify_photo, inputs, outputs, trigger_mode="always_last", **TOGETHER, **QUIET)
    refresh_open(answered, "why-maps", "what-if")
    top_k.release(classify_photo, inputs, outputs, **TOGETHER, **QUIET)
    for moved in connect_sureness(sure, services, page, model, banner.tick):
        moved.then(judge_again, inputs, card, **TOGETHER, **QUIET)
    _greeting(services, page, choice, photo, card)
    keep_choices_fresh(services, tab, choice)
    return sure.moved


def _greeting(services: Services, page: gr.Blocks, choice: ModelChoice, photo: Picture, card: gr.HTML) -> None:
    """When the page opens: waits until everything is loaded, fills the choices, then invites a photo."""

    @failing_in_a_sentence
    def greet(request: gr.Request) -> tuple[Any, Any]:
        services.ready()
        choices = gr.update(choices=followed_choices(services, language=language_of(request)))
        return choices, gr.update(visible=has_kept(services))

    @failing_in_a_sentence
    def invite(picture: ReadImage | None, request: gr.Request) -> Any:
        return empty_card(say("drop_photo", language_of(request))) if picture is None else gr.skip()

    greeted = page.load(greet, None, [*choice], concurrency_limit=None, **QUIET)
    # only now is it known whether a photo was dropped while everything loaded: its answer must not be wiped
    greeted.then(invite, photo, card, concurrency_limit=None, **QUIET)


def _more() -> tuple[Picture, gr.Slider]:
    """What is folded away: the square the network saw, and how many answers are shown."""
    with gr.Accordion(label("more"), open=False):
        seen = Picture(
            label=label("seen"),
            interactive=False,
            height=200,
            format="png",
            buttons=["download"],
            elem_id="classify-seen",
        )
        return seen, gr.Slider(1, 10, 5, step=1, label=label("top_k"), elem_id="classify-top-k")


def _judged(
    services: Services,
    classifier: "Classifier",
    photo: ReadImage,
    model: str,
    top_k: float,
    moved: Any,
    language: str,
) -> tuple[str, "Classification"]:
    """The card and the answer at the page's threshold, where the visitor has moved it for this model."""
    threshold = page_threshold(moved, model)
    result = services.desk.classify(classifier, photo.image, top_k=max(1, int(top_k or 5))).result()
    result = at_threshold(result, classifier.checkpoint, threshold)
    return card_html(classifier, photo, result, language, threshold), result
