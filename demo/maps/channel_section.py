"""The Channel part: one channel of the layer in full, and the detective work on what it stands for."""

from typing import Any, NamedTuple

import gradio as gr

from demo.maps.arithmetic_section import arithmetic_section
from demo.maps.channel_map.channel_map import ChannelMap, channel_map_value
from demo.maps.channel_view import case_html, epochs_html, look_at_channel
from demo.maps.epoch_looks import EpochLooks, run_of
from demo.maps.looking import Looking
from demo.maps.refreshing import QUIET, refreshed_with
from demo.maps.scans import LOOKING, Scans
from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage
from resnet_core.errors import ResNetLabError

ACCURACY_PICTURES = 200
NO_PROGRESS = gr.Progress()  # gradio puts another in its place in each call
PICTURES = (("detective_own_val", "own_val"), ("detective_own_train", "own_train"), ("detective_rendered", "rendered"))


class Parts(NamedTuple):
    """The components of the section."""

    facts: Any
    channel_map: Any
    without: Any
    accuracy: Any
    accuracy_button: Any
    which: Any
    start: Any
    stop: Any
    case: Any
    epochs_button: Any
    epochs: Any


def channel_section(services: Services, looking: Looking) -> None:
    """Builds the part into the current context; nothing is computed while another part is on view."""
    scans, epoch_looks = Scans(services), EpochLooks(services)
    parts = _build()
    refresh = refreshed_with(looking, "channel-body", channel=True)
    _wire_looks(services, scans, epoch_looks, looking, parts, refresh)
    _wire_scan(services, scans, looking, parts)
    _wire_accuracy(services, scans, looking, parts)
    _wire_epochs(epoch_looks, looking, parts)
    arithmetic_section(services, looking)


def _build() -> Parts:
    with gr.Column(elem_id="channel-body"):
        facts = gr.HTML("", elem_id="channel-facts")
        channel_map = ChannelMap(channel_map_value(None, empty=say("detective_no_photo")), elem_id="channel-map")
        without = gr.HTML("", elem_id="channel-without")
        with gr.Row():
            choices = [(label(key), value) for key, value in PICTURES]
            which = gr.Radio(
                choices, value="own_val", label=label("detective_pictures"), elem_id="channel-pictures", scale=3
            )
            start = gr.Button(label("detective_start"), variant="primary", elem_id="channel-start", min_width=160)
            stop = gr.Button(label("detective_stop"), visible=False, elem_id="channel-stop", min_width=80)
        case = gr.HTML("", elem_id="channel-case")
        with gr.Row():
            accuracy_button = gr.Button(label("detective_accuracy"), size="sm", elem_id="channel-accuracy-button")
            epochs_button = gr.Button(label("detective_epochs"), size="sm", elem_id="channel-epochs-button")
        accuracy = gr.HTML("", elem_id="channel-accuracy")
        epochs = gr.HTML("", elem_id="channel-epochs")
    return Parts(
        facts, channel_map, without, accuracy, accuracy_button, which, start, stop, case, epochs_button, epochs
    )


def _wire_looks(
    services: Services, scans: Scans, epoch_looks: EpochLooks, looking: Looking, parts: Parts, refresh: Any
) -> None:
    @failing_in_a_sentence
    def show(
        picture: ReadImage | None, name: str, layer: str, channel: float, which: str, request: gr.Request
    ) -> tuple[Any, ...]:
        language = language_of(request)
        runs = gr.update(visible=run_of(name) is not None)
        if picture is None:
            empty = channel_map_value(None, empty=say("detective_no_photo", language), language=language)
            return "", empty, "", "", hint(language), runs, ""
        view = _view(services, scans, epoch_looks, picture, name, layer, int(channel or 0), which, language)
        facts, value, without, case, epochs = view
        return facts, value, without, "", case or hint(language), runs, epochs

    asked = [looking.photo, looking.model, looking.layer, looking.channel, parts.which]
    shown = [
        parts.facts, parts.channel_map, parts.without, parts.accuracy, parts.case, parts.epochs_button, parts.epochs
    ]  # fmt: skip
    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2, **QUIET}
    gr.on([refresh.click, parts.which.input], show, asked, shown, trigger_mode="always_last", **heavy)


def _view(
    services: Services, scans: Scans, epoch_looks: EpochLooks, picture: ReadImage, name: str, layer: str, channel: int,
    which: str, language: str,
) -> tuple[str, dict[str, Any], str, str, str]:  # fmt: skip
    """Facts, map, answer without the channel, and what has been found out before: patches and epochs."""
    scanned = scans.at_hand(name, layer, which)
    mean = scanned.scan.mean(min(channel, scanned.scan.channels - 1)) if scanned else None
    look = look_at_channel(services, picture, name, layer, channel, language, mean)
    case = case_html(services, scans, services.classifier(name), scanned, look.channel, language) if scanned else ""
    known = epoch_looks.at_hand(picture, name, layer)
    epochs = epochs_html(known, layer, look.channel, language) if known else ""
    return look.facts, look.map_value, look.without, case, epochs


def hint(language: str) -> str:
    """What stands where the patches will come."""
    return f'<p class="note">{escape(say("detective_hint", language))}</p>'


def telling(progress: Any, language: str) -> Any:
    """Shows how far a scan is: `told(stage, done, total)`."""

    def told(stage: str, done: int, total: int) -> None:
        if total:
            words = say("detective_looking" if stage == LOOKING else "detective_reading", language)
            progress((done, total), desc=words, unit=say("detective_unit", language))

    return told


def _wire_scan(services: Services, scans: Scans, looking: Looking, parts: Parts) -> None:
    @failing_in_a_sentence
    def scan(
        picture: ReadImage | None, name: str, layer: str, channel: float, which: str, request: gr.Request,
        progress: gr.Progress = NO_PROGRESS,
    ) -> tuple[Any, Any]:  # fmt: skip
        language, session = language_of(request), str(request.session_hash)
        scanned = scans.find(name, layer, which, session=session, told=telling(progress, language))
        classifier = services.classifier(name)
        number = min(int(channel or 0), scanned.scan.channels - 1)
        case = case_html(services, scans, classifier, scanned, number, language)
        if picture is None:
            return case, gr.skip()
        mean = scanned.scan.mean(number)
        look = look_at_channel(services, picture, name, layer, number, language, mean=mean)
        return case, look.without

    def stop(request: gr.Request) -> None:
        scans.stop(str(request.session_hash))

    running = parts.start.click(
        lambda: (gr.update(interactive=False), gr.update(visible=True)), None, [parts.start, parts.stop],
        queue=False, **QUIET,
    )  # fmt: skip
    found = running.then(
        scan,
        [looking.photo, looking.model, looking.layer, looking.channel, parts.which],
        [parts.case, parts.without],
        concurrency_id="detective",
        concurrency_limit=4,
        api_visibility="private",
        show_progress_on=parts.case,
    )
    found.then(
        lambda: (gr.update(interactive=True), gr.update(visible=False)), None, [parts.start, parts.stop],
        queue=False, **QUIET,
    )  # fmt: skip
    parts.stop.click(stop, None, None, queue=False, **QUIET)


def _wire_accuracy(services: Services, scans: Scans, looking: Looking, parts: Parts) -> None:
    @failing_in_a_sentence
    def count(
        name: str, layer: str, channel: float, which: str, request: gr.Request, progress: gr.Progress = NO_PROGRESS
    ) -> str:
        return accuracy_html(services, scans, name, layer, int(channel or 0), which, language_of(request), progress)

    parts.accuracy_button.click(
        count,
        [looking.model, looking.layer, looking.channel, parts.which],
        parts.accuracy,
        concurrency_id="detective",
        concurrency_limit=4,
        api_visibility="private",
    )


def accuracy_html(
    services: Services, scans: Scans, name: str, layer: str, channel: int, which: str, language: str, progress: Any
) -> str:
    """How many of 200 val pictures are answered right with the channel and with it at zero. Raises ResNetLabError."""
    from resnet_core.activations.ablation import ablated_accuracy

    classifier = services.classifier(name)
    dataset = scans.dataset(classifier, which)
    told = telling(progress, language)
    sample = scans.pictures(classifier, dataset, "val", most=ACCURACY_PICTURES, told=told)
    found = ablated_accuracy(
        classifier,
        sample,
        layer,
        channel,
        progress=lambda done, total: told(LOOKING, done, total),
        in_turn=services.desk.run,
    )
    line = say(
        "detective_accuracy_line",
        language,
        count=found.count,
        dataset=dataset.name,
        before=f"{found.before:.1%}",
        after=f"{found.after:.1%}",
        change=f"{100 * (found.after - found.before):+.1f}",
    )
    return f'<p class="detective-line">{escape(line)}</p>'


def _wire_epochs(epoch_looks: EpochLooks, looking: Looking, parts: Parts) -> None:
    @failing_in_a_sentence
    def show(picture: ReadImage | None, name: str, layer: str, channel: float, request: gr.Request) -> str:
        language = language_of(request)
        if picture is None:
            raise ResNetLabError(say("detective_no_photo", language))
        looks = epoch_looks.find(picture, name, layer, language)
        return epochs_html(looks, layer, int(channel or 0), language)

    parts.epochs_button.click(
        show,
        [looking.photo, looking.model, looking.layer, looking.channel],
        parts.epochs,
        concurrency_id="detective",
        concurrency_limit=4,
        api_visibility="private",
    )
