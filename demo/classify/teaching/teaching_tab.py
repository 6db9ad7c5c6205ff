"""“Teach”: classes from files or the camera, a model of them in seconds, judged honestly and tried at once."""

from typing import Any

import gradio as gr

from demo.classify.teaching.teaching_board.board_requests import make_answering
from demo.classify.teaching.teaching_board.classrooms import Classrooms
from demo.classify.teaching.teaching_board.teaching_board import CameraAnswer, TeachingBoard
from demo.classify.teaching.teaching_report import report_card
from demo.classify.teaching.teaching_work import MAX_TITLE, TeachingWork
from demo.markup import empty_card
from demo.photo import photo_input
from demo.sentences import failing_in_a_sentence
from demo.services import Services, model_choices, refreshed_models
from demo.text import label, language_of, say
from demo.turns import HEAVY, TOGETHER
from resnet_core.data.images import ReadImage

# presses the second of the page's own tabs, “Train”
SHOW_TRAINING = """() => {
  const tabs = document.querySelector("#tabs [role=tablist]");
  tabs?.querySelectorAll("[role=tab]")[1]?.click();
  return [];
}"""


def teaching_tab(services: Services, page: gr.Blocks) -> gr.Tab:
    """Builds this part of the first tab."""
    rooms = Classrooms()
    work = TeachingWork(services, rooms)
    with gr.Tab(label("teaching_tab"), id="teaching") as tab:
        gr.Markdown(label("teaching_how"))
        board = TeachingBoard(make_answering(rooms))
        session = gr.Textbox("", visible=False)  # filled by the board: which classes are this visitor's
        model = gr.Textbox("", visible=False)  # the shelf's name of what was taught last
        with gr.Row(equal_height=False):
            with gr.Column(scale=4, min_width=260):
                backbone = gr.Dropdown(
                    model_choices(services), value="flowers", label=label("teaching_backbone"), elem_id="teach-backbone"
                )
                title = gr.Textbox(
                    say("teaching_default_name"),
                    label=label("teaching_name"),
                    max_length=MAX_TITLE,
                    elem_id="teach-name",
                )
                start = gr.Button(label("teaching_start"), variant="primary", elem_id="teach-start")
            with gr.Column(scale=8, min_width=300):
                report = gr.HTML(empty_card(say("teaching_first")), elem_id="teach-report")
        with gr.Column(visible=False, elem_id="teach-after") as after:
            photo, card, camera = _trying(work)
            _promoting(work, session, model)
    taught = _wire_teaching(work, (session, backbone, title), start, (report, model, camera, after, card))
    _wire_trying(work, photo, model, card, taught)
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}

    @failing_in_a_sentence
    def settle_in(event: gr.EventData) -> tuple[Any, ...]:
        who = str(event.session)
        name = work.taught(who)  # a reload finds it again, as the board finds the classes
        return who, name, name, gr.update(visible=bool(name))

    board.arrive(settle_in, None, [session, model, camera, after], **quiet)
    tab.select(failing_in_a_sentence(lambda chosen: refreshed_models(services, chosen)), backbone, backbone, **quiet)

    def greet(request: gr.Request) -> tuple[str, str]:
        rooms.sweep_in_time()
        language = language_of(request)
        return empty_card(say("teaching_first", language)), say("teaching_default_name", language)

    page.load(greet, None, [report, title], **quiet)
    return tab


def _trying(work: TeachingWork) -> tuple[Any, Any, Any]:
    """A photo box, the answer's card, and the camera that asks by itself."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            photo = photo_input(label=label("teaching_try"), height=300, elem_id="teach-photo")
        with gr.Column(scale=6, min_width=300):
            card = gr.HTML(empty_card(say("teaching_drop")), elem_id="teach-answer")
    camera = CameraAnswer(work.answer_camera)
    return photo, card, camera


def _promoting(work: TeachingWork, session: Any, model: Any) -> None:
    with gr.Accordion(label("teaching_tune"), open=False, elem_id="teach-tune"):
        gr.Markdown(label("teaching_tune_how"))
        way = gr.Radio(
            [
                (label("teaching_frozen"), "frozen"),
                (label("teaching_staged"), "staged"),
                (label("teaching_full"), "full"),
            ],
            value="staged",
            label=label("teaching_way"),
            elem_id="teach-way",
        )
        promote = gr.Button(label("teaching_promote"), elem_id="teach-promote")
        said = gr.Markdown("", elem_id="teach-promoted")

    @failing_in_a_sentence
    def promote_classes(who: str, name: str, how: str, request: gr.Request) -> str:
        run, train, val = work.promote(who, name, how)
        sentence = say("teaching_promoted", language_of(request), train=train, val=val, name=run.run_id)
        gr.Info(sentence, duration=8)
        return sentence

    started = promote.click(
        promote_classes,
        [session, model, way],
        said,
        api_visibility="private",
        concurrency_id=HEAVY,
        concurrency_limit=2,
    )
    started.success(None, None, None, js=SHOW_TRAINING, api_visibility="private")


def _wire_teaching(work: TeachingWork, inputs: tuple[Any, ...], start: Any, outputs: tuple[Any, ...]) -> Any:
    """The event of pressing “Teach”."""

    @failing_in_a_sentence
    def teach_classes(
        who: str,
        backbone: str,
        name: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio finds it)
    ) -> tuple[Any, ...]:
        language = language_of(request)

        def tell(done: int, total: int) -> None:
            learning = done >= total
            progress(0.9 * done / total, desc=say("teaching_learning" if learning else "teaching_looking", language))

        lesson = work.teach(who, backbone, name, progress=tell)
        card = report_card(lesson.report, lesson.entry.title, language, refuses_unknown=lesson.refuses_unknown)
        taught = lesson.entry.name
        return card, taught, taught, gr.update(visible=True), empty_card(say("teaching_drop", language))

    return start.click(
        teach_classes,
        list(inputs),
        list(outputs),
        api_visibility="private",
        concurrency_id=HEAVY,
        concurrency_limit=2,
        show_progress_on=[outputs[0]],
    )


def _wire_trying(work: TeachingWork, photo: Any, model: Any, card: Any, taught: Any) -> None:
    """The photo is answered when it is dropped, and anew by what was `taught`, which may bear the name of the last."""

    @failing_in_a_sentence
    def try_photo(picture: ReadImage | None, name: str, request: gr.Request) -> str:
        language = language_of(request)
        if picture is None:
            return empty_card(say("teaching_drop", language))
        return work.answer(picture, name, language)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    photo.change(try_photo, [photo, model], card, **TOGETHER, **quiet)
    taught.success(try_photo, [photo, model], card, **TOGETHER, **quiet)
