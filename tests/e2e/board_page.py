"""The live board alone in a page, fed by runs in memory that a test lets grow; and the page as a test sees it."""

import asyncio
import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from playwright.sync_api import expect

from demo.live_board.board_feed import BoardLine, BoardRead, make_poll
from demo.live_board.live_board import LiveBoard
from resnet_core.errors import RunError

HOSTILE = '<img src=x onerror="window.hacked=1"> ${window.hacked=2} {{value}} `'
Event = dict[str, Any]


class MemoryRuns:
    """Runs in memory that a test lets grow."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.runs: dict[str, list[Event]] = {}
        self.measured: dict[str, list[Event]] = {}
        self.status = "running"
        self.detail = ""
        self.name: str | None = None
        self.lost = 0
        self.asked: list[str] = []  # run ids, each time their settings were compared

    def current_run_id(self) -> str | None:
        return list(self.runs)[-1] if self.runs else None

    def read(self, run_id: str, after: int) -> BoardRead:
        if run_id not in self.runs:
            raise RunError("There is no run of that name. Pick another one.")
        events = self.runs[run_id]
        told = {"detail": self.detail, "name": self.name, "lost": self.lost}
        return BoardRead(tuple(events[after:]), len(events), self.status, **told)

    def read_usage(self, run_id: str, after: int) -> Sequence[Event]:
        return self.measured.get(run_id, [])[after:]

    def board_lines(self) -> list[BoardLine]:
        return [BoardLine(run, f"run {run}", self.status, "resnet18", HOSTILE, 0.5) for run in reversed(self.runs)]

    def differences(self, run_ids: Sequence[str]) -> list[tuple[str, str, list[str | None]]]:
        self.asked.append(",".join(run_ids))
        settings = [self.runs[run_id][0]["settings"] for run_id in run_ids]
        names = [name for name in settings[0] if len({str(each.get(name)) for each in settings}) > 1]
        return [(name, name.capitalize(), [str(each.get(name, "")) for each in settings]) for name in names]

    def begin(self, run_id: str, *, epochs: int = 10, steps_per_epoch: int = 10, **settings: object) -> None:
        facts = {"name": f"run {run_id}", "model": "resnet18", "dataset": HOSTILE, "device": "cpu"}
        counts = {"epochs": epochs, "steps_per_epoch": steps_per_epoch, "n_train": 320, "n_val": 80}
        start = {"event": "RunStarted", "time": 1.7e9, "precision": "float32", "notes": [HOSTILE], "settings": settings}
        self.runs[run_id] = [start | facts | counts]

    def train(self, run_id: str, epoch: int, *, steps_per_epoch: int = 10, best: bool = False) -> None:
        for step in range((epoch - 1) * steps_per_epoch + 1, epoch * steps_per_epoch + 1):
            loss = 2.0 / step**0.5
            self.runs[run_id].append(
                {"event": "StepEnded", "time": 1.7e9 + step, "step": step, "loss": loss, "learning_rate": 0.1}
            )
        values = {
            "train_loss": 1 / epoch,
            "val_loss": 1.2 / epoch,
            "train_top1": 0.9,
            "val_top1": 0.5 + epoch / 40,
        }
        pace = {"images_per_second": 32.0, "seconds": 10.0, "best": best}
        at = {"event": "EpochEnded", "time": 1.7e9, "epoch": epoch, "step": epoch * steps_per_epoch}
        self.runs[run_id].append(at | values | pace)

    def tell(self, run_id: str, event: str, **fields: object) -> None:
        """One more event of a run."""
        self.runs[run_id].append({"event": event, "time": 1.7e9, **fields})

    def three_epochs(self, run_id: str = "a", **settings: object) -> None:
        """A run of which three of ten epochs are done; the second was the best."""
        self.begin(run_id, **settings)
        for epoch in (1, 2, 3):
            self.train(run_id, epoch, best=epoch == 2)


async def tiny_app(runs: MemoryRuns) -> gr.Blocks:
    """Async because outside a running loop Gradio opens two event loops and never closes them."""

    def said(event: gr.EventData) -> str:
        return f"{event.run_id} {event.status}"

    def lay(names: str) -> Any:
        return gr.update(overlays=names.split())

    with gr.Blocks(analytics_enabled=False) as page:
        with gr.Tab("Board"):
            board = LiveBoard(poll=make_poll(runs))
        with gr.Tab("Elsewhere"):
            gr.Markdown("nothing here")
        status = gr.Textbox(elem_id="heard")
        wish = gr.Textbox(elem_id="wish")
        laid = gr.Textbox(elem_id="laid")
        chinese = gr.Button("chinese", elem_id="chinese")
        board.statechange(said, outputs=status, queue=False, show_progress="hidden")
        wish.submit(lambda run: run, wish, board, queue=False, show_progress="hidden")
        laid.submit(lay, laid, board, queue=False, show_progress="hidden")
        chinese.click(lambda: gr.update(language="zh"), outputs=board, queue=False, show_progress="hidden")
    return page


@contextmanager
def served(runs: MemoryRuns) -> Iterator[str]:
    """The address of a page with the board of these runs."""
    page = asyncio.run(tiny_app(runs))
    _, url, _ = page.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False, run_history=False
    )
    yield url
    page.close()
    asyncio.set_event_loop(None)  # what Gradio leaves open is then reported here, where it is expected,
    gc.collect()  # and not in a later test


class Board:
    """The page as a test sees it, and what the browser said meanwhile."""

    def __init__(self, context: Any, url: str) -> None:
        self.complaints: list[str] = []
        self.addresses: list[str] = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda problem: self.complaints.append(str(problem)))
        self.page.on("request", lambda request: self.addresses.append(request.url))
        self.page.goto(url)
        self.root = self.page.locator(".lb")
        expect(self.root).to_have_attribute("data-polls", re.compile("[1-9]"), timeout=20_000)

    def part(self, name: str) -> Any:
        return self.page.locator(f".lb-{name}")

    def number(self, name: str) -> int:
        return int(self.root.get_attribute(f"data-{name}"))

    def wait_for_polls(self, more: int) -> None:
        enough = f"Number(document.querySelector('.lb').dataset.polls) >= {self.number('polls') + more}"
        self.page.wait_for_function(f"() => {enough}")

    def events_sent(self) -> int:
        return len([address for address in self.addresses if address.endswith(("/run/predict", "/queue/join"))])

    def chart(self, name: str) -> Any:
        return self.page.locator(f"[data-chart={name}] .lb-svg")

    def ticks(self, name: str) -> list[str]:
        """What stands at both axes of a chart."""
        return self.chart(name).locator(".lb-grid text").all_text_contents()
