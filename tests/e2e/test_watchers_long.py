"""Two browsers and a program watch one training for ten minutes: the same curve everywhere, and nothing grows."""

import csv
import io
import os
import sys
import time
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from app_process import AppProcess
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.data.rendered import CLASS_NAMES, render_flower

MINUTES = float(os.environ.get("RESNET_LAB_WATCH_MINUTES", "10"))
WARMING_UP = 0.2  # share of that time before memory counts, and so many epochs: buffers and caches are there by then
WARM_EPOCHS = 3
MOST_GROWTH = 50_000_000  # bytes, with what is loaded late and the heaps that threads get: steps, not a slope
LEAK = 500_000  # bytes from one sample to the next …
MOST_GROWING = 1 / 3  # … that more samples than these would gain if anything leaked
MOST_HEAP_GROWTH = 8_000_000  # bytes of a page's JavaScript, after its garbage is collected
PICTURES = 60  # of each class
SAMPLES = 20  # of the memory

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the memory of another process is read from /proc"),
]


@pytest.fixture
def meadow(tmp_path: Path) -> Path:
    """Rendered flowers in a folder; their training takes about a tenth of a second a step."""
    for name in CLASS_NAMES:
        for number in range(PICTURES):
            target = tmp_path / "meadow" / name / f"{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            render_flower(name, number, size=64).save(target)
    return tmp_path / "meadow"


def held(app: AppProcess) -> int:
    """Bytes of memory of the app."""
    pages = int(Path(f"/proc/{app.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def heap(visitor: Visitor) -> float:
    """Bytes that a page's scripts hold once their garbage is gone."""
    session = visitor.context.new_cdp_session(visitor.page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return float(found["JSHeapUsedSize"])


def leaks(samples: list[int]) -> bool:
    """Whether memory grew too much in all, or again and again: caches fill and heaps are opened in a few steps."""
    growing = sum(later - sooner > LEAK for sooner, later in pairwise(samples))
    return samples[-1] - samples[0] > MOST_GROWTH or growing > MOST_GROWING * (len(samples) - 1)


def lines(visitor: Visitor) -> list[str]:
    """The lines of both large charts as they are drawn."""
    drawn = visitor.page.locator(".lb-charts .lb-lines path.lb-line")
    return [str(line.get_attribute("d")) for line in drawn.all()]


def saved(visitor: Visitor, chart: str) -> list[tuple[str, int, float]]:
    """(curve, step, value) of a chart, as its CSV has them."""
    with visitor.page.expect_download() as saving:
        visitor.page.locator(f"[data-chart={chart}] .lb-csv").click()
    rows = csv.DictReader(io.StringIO(Path(saving.value.path()).read_text(encoding="utf-8")))
    return [(row["curve"], int(row["step"]), float(row["value"])) for row in rows]


class Program:
    """A program that follows the run's events from cursor to cursor."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.events: list[dict[str, Any]] = []
        self.status = ""

    def look(self) -> None:
        told = self.client.predict(self.run_id, len(self.events), api_name="/run_events")
        self.events += told["events"]
        self.status = told["status"]
        assert told["cursor"] == len(self.events)

    def watch(self, beside: Visitor, seconds: float, *, epochs: int = 0) -> None:
        """Looks twice a second for so long, and until so many epochs have ended."""
        began = time.monotonic()
        while time.monotonic() - began < seconds or len(self.curve("EpochEnded", "epoch", "")) < epochs:
            self.look()
            assert self.status in ("preparing", "running"), self.events[-1:]
            beside.page.wait_for_timeout(500)  # the browsers go on meanwhile

    def curve(self, event: str, field: str, name: str) -> list[tuple[str, int, float]]:
        return [(name, each["step"], each[field]) for each in self.events if each["event"] == event]


@pytest.mark.parametrize(
    ("gains", "found"),
    [
        ([0] * 20, False),
        ([0] * 7 + [9_000_000, 300_000, 2_000_000] + [0] * 6 + [18_000_000] + [0] * 3, False),  # seen beside other work
        ([600_000] * 20, True),
        ([0, 0, 1_500_000] * 6 + [0, 0], False),
        ([0, 1_500_000] * 10, True),
        ([0] * 19 + [51_000_000], True),
    ],
)
def test_a_leak_is_told_from_what_comes_once(gains: list[int], found: bool) -> None:
    assert leaks(list(accumulate(gains, initial=1_369_000_000))) is found


def test_three_watchers_see_the_same_and_nothing_grows(app: AppProcess, visit: Any, meadow: Path) -> None:
    from gradio_client import Client

    client = Client(app.url, verbose=False, analytics_enabled=False)
    settings = {"model": "resnet20", "image_size": 48, "batch_size": 16, "epochs": 9000, "name": "watched"}
    run_id = client.predict(str(meadow), settings, api_name="/start_training")["run_id"]
    try:
        watchers = [visit(), visit()]
        for watcher in watchers:
            watcher.go("Train")
            expect(watcher.part(".lb-title")).to_have_text("watched")
            watcher.part(".lb-more-label").click()
        program = Program(client, run_id)
        program.watch(watchers[0], 60 * MINUTES * WARMING_UP, epochs=WARM_EPOCHS)
        before = held(app), [heap(watcher) for watcher in watchers]
        after = [before[0]]
        for _ in range(SAMPLES):
            program.watch(watchers[0], 60 * MINUTES / SAMPLES)
            after.append(held(app))
        heaps = [heap(watcher) - then for watcher, then in zip(watchers, before[1], strict=True)]
    finally:
        client.predict(run_id, api_name="/stop_training")
    for watcher in watchers:
        expect(watcher.part(".lb-status")).to_have_text("stopped")
    while program.status != "stopped":
        program.look()
        time.sleep(0.2)
    client.close()
    assert len(program.curve("EpochEnded", "val_loss", "")) > 2
    assert lines(watchers[0]) == lines(watchers[1])
    steps = program.curve("StepEnded", "loss", "train/step_loss")
    losses = [program.curve("EpochEnded", f"{part}_loss", f"{part}/loss") for part in ("train", "val")]
    for watcher in watchers:
        assert saved(watcher, "loss") == [*steps, *losses[0], *losses[1]]
    late = visit()
    late.go("Train")
    late.choose("#train-run", f"watched · stopped · {best(program):.1%}")
    expect(late.part(".lb-title")).to_have_text("watched")
    assert lines(late)[-2:] == lines(watchers[0])[-2:], "and who comes late sees the same epochs"
    assert not leaks(after), f"the app held {', '.join(f'{sample / 1e6:.1f}' for sample in after)} MB"
    assert max(heaps) < MOST_HEAP_GROWTH, f"a page grew by {max(heaps) / 1e6:.1f} MB"


def best(program: Program) -> float:
    """The best accuracy among the program's events."""
    return [each["val_top1"] for each in program.events if each["event"] == "EpochEnded" and each["best"]][-1]
