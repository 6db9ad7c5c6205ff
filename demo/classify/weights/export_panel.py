"""“Take a model away”: one file of another format, checked to answer as the app does, with its card.

Tracing a network changes torch's state for the whole process, and a training may run in this one: the work is done by
the command `export` in a process of its own. What is offered for download is a copy in Gradio's own folder.
"""

import contextlib
import json
import logging
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import hash_file

from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services, model_choices, refreshed_models
from demo.text import label, language_of, say
from resnet_core.errors import CheckpointError, ConfigError, DeviceError

log = logging.getLogger(__name__)

FORMATS = ("onnx", "pt2", "safetensors")
EXPORT_LIMIT = 300.0  # seconds until an export is given up; ResNet-152 on two busy cores takes less than half
SMALLEST = 1e-6  # a difference below is told as "below 0.0001 %": the last bit of float32
ALONE: dict[str, Any] = {"concurrency_id": "export", "concurrency_limit": 1}


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What came of an export: without `path` the answers differed, and `facts` say how."""

    path: Path | None  # the zip, in the folder that Gradio serves
    card_path: Path | None
    card: str
    facts: dict[str, Any]  # what `export --json` printed


def export_apart(services: Services, model: str, form: str, cache: Path, *, api_url: str | None) -> Parcel:
    """The zip of a model, made in another process. Raises ResNetLabError with the sentence that process gave."""
    services.ready()
    if model not in {entry.name for entry in services.models()}:
        raise CheckpointError("There is no such model any more; choose another.")
    if form not in FORMATS:
        raise ConfigError(f"Choose one of the formats {', '.join(FORMATS)}.")
    from resnet_core.inference.take_away import CARD, file_stem

    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tmp-export-", dir=cache) as folder:  # here a move costs nothing
        packed, card = Path(folder) / f"{file_stem(model)}-{form}.zip", Path(folder) / CARD
        facts = _run_export(services, model, form, packed, card, api_url)
        if not packed.is_file():
            return Parcel(path=None, card_path=None, card="", facts=facts)
        text = card.read_text(encoding="utf-8")
        return Parcel(path=_serve(packed, cache), card_path=_serve(card, cache), card=text, facts=facts)


def report_html(facts: dict[str, Any], language: str) -> str:
    """What was written and how every way answered, in words."""
    checked = facts["verification"]
    rows = "".join(_row(way, language) for way in checked["ways"])
    asked = [way for way in checked["ways"] if way["difference"] is not None]
    if facts["files"]:
        largest = max((way["difference"] for way in asked), default=0.0)
        headline = say("export_same", language, count=checked["pictures"], largest=_share(max(largest, SMALLEST)))
        held = ", ".join(facts["files"][1:-1])  # the first is the zip itself, the last the card beside it
        told = say(
            "export_written",
            language,
            megabytes=_megabytes(facts["bytes"]),
            seconds=f"{facts['seconds']:.1f}",
            files=held,
        )
    else:
        headline, told = say("export_differs", language), ""
    heads = "".join(f'<th scope="col">{escape(say(key, language))}</th>' for key in ("export_asked", "export_largest"))
    return (
        f'<div class="facts" role="status"><h3>{escape(headline)}</h3><p class="note">{escape(told)}</p>'
        f'<table class="compared"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def export_panel(services: Services, page: gr.Blocks, tab: gr.Tab) -> None:
    """Builds the panel below what is there already."""
    with gr.Column(elem_id="export-panel"):
        gr.Markdown(label("export_title"))
        with gr.Row(equal_height=False):
            model = gr.Dropdown(
                model_choices(services),
                value="flowers",
                label=label("model"),
                elem_id="export-model",
                min_width=260,
            )
            form = gr.Dropdown(
                [(label(f"export_{name}"), name) for name in FORMATS],
                value="pt2",
                label=label("export_format"),
                elem_id="export-format",
                min_width=260,
            )
        go = gr.Button(label("export_go"), variant="primary", elem_id="export-go")
        gr.Markdown(label("export_hint"), elem_id="export-hint")
        report = gr.HTML(elem_id="export-report")
        with gr.Row():
            download = gr.DownloadButton(visible=False, variant="primary", elem_id="export-download")
            card_file = gr.DownloadButton(label("export_card_file"), visible=False, elem_id="export-card-file")
        with gr.Accordion(label("export_card"), open=False, visible=False) as shelf:
            card = gr.Markdown(elem_id="export-card")

    @failing_in_a_sentence
    def export(name: str, chosen: str, request: gr.Request) -> tuple[Any, ...]:
        language = language_of(request)
        parcel = export_apart(
            services, name, chosen, Path(download.GRADIO_CACHE), api_url=getattr(page, "local_url", None)
        )
        told = report_html(parcel.facts, language)
        if parcel.path is None:
            return told, gr.update(visible=False), gr.update(visible=False), "", gr.update(visible=False)
        size = _megabytes(parcel.path.stat().st_size)
        words = say("export_download", language, name=parcel.path.name, megabytes=size)
        offered = gr.update(value=str(parcel.path), label=words, visible=True)
        beside = gr.update(value=str(parcel.card_path), visible=True)
        return told, offered, beside, parcel.card, gr.update(visible=True)

    outputs = [report, download, card_file, card, shelf]
    go.click(export, [model, form], outputs, api_visibility="private", show_progress_on=report, **ALONE)
    for moment in (tab.select, model.focus):  # models may be adopted above, or taught elsewhere
        moment(
            failing_in_a_sentence(lambda chosen: refreshed_models(services, chosen)),
            model,
            model,
            queue=False,
            api_visibility="private",
            show_progress="hidden",
        )


def _run_export(
    services: Services, model: str, form: str, packed: Path, card: Path, api_url: str | None
) -> dict[str, Any]:
    from resnet_core.inference.ways import start_command

    process = start_command(
        "export",
        "--json",
        f"--checkpoint={model}",
        f"--format={form}",
        f"--output={packed.resolve()}",
        f"--card={card.resolve()}",
        f"--runs-dir={services.store.runs_dir.resolve()}",
        f"--data-dir={services.data_dir.resolve()}",
        *([f"--api-url={api_url}"] if api_url else []),
        own_group=True,
    )
    try:
        output, problem = process.communicate(timeout=EXPORT_LIMIT)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"The export took longer than {EXPORT_LIMIT:.0f} s and was ended; try again when less is under way."
        ) from error
    finally:
        if process.returncode is None:  # not waited for yet, so the number is still its own
            _end_group(process)
    if problem.strip():
        log.warning("export said: %s", problem.strip())
    return _facts(output, problem)


def _end_group(process: "subprocess.Popen[str]") -> None:
    """Ends the export with what it has started: the command `predict` would go on, and keep the pipes open."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()


def _facts(output: str, problem: str) -> dict[str, Any]:
    """What the command printed. Raises CheckpointError with its complaint where it printed nothing."""
    try:
        facts: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
        return facts
    except (IndexError, ValueError) as error:
        lines = problem.strip().splitlines()
        sentence = lines[-1][:400] if len(lines) == 1 else ""  # more than one is no complaint of ours
        raise CheckpointError(sentence or "The export broke off unexpectedly; try again.") from error


def _serve(path: Path, cache: Path) -> Path:
    """Moves a file to where Gradio would copy it before serving it."""
    target = cache / hash_file(path) / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)
    return target


def _row(way: dict[str, Any], language: str) -> str:
    name = say(f"export_{way['way']}", language)
    if way["engine"]:
        name = say("export_by", language, way=name, engine=way["engine"])
    told = _share(way["difference"], language) if way["difference"] is not None else ""
    answer = " · ".join(part for part in (told, way["cause"]) if part)
    kind = "" if way["agrees"] else ' class="differs"'
    return f'<tr{kind}><th scope="row">{escape(name)}</th><td>{escape(answer)}</td></tr>'


def _share(difference: float, language: str = "en") -> str:
    """ "0.0012 %" and the like."""
    if difference < SMALLEST:
        return say("export_below", language, share=f"{SMALLEST:.4%}")
    return f"{difference:.4%}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"
