"""The same training with nobody watching and with eight open pages.

A page asks `board_news` once a second with its cursor, as the live board's script does. Here the askers are threads of
a process of its own: eight real browsers would take the processor themselves, which on two cores measures them and not
the app. What they do on their own machines (about 0.1 s of a core a minute each) is not in the number.

Windows with and without watchers take turns within one training, so that what the machine does hits both alike.
"""

import statistics
import threading
import time

from benchmarks.harness import Benchmark, CannotMeasure, Comparison, Measured, Options
from benchmarks.visited_app import Watcher, visited_app

PAGES = 8
PERIOD = 1.0  # seconds between two questions of a page
WINDOW, PAIRS = 5.0, 5


def watched_training(_: Options) -> Measured:
    """How many times longer a step takes with eight pages watching: the median over pairs of windows."""
    quiet, watched = [], []
    with visited_app() as app:
        run_id = app.start_training()
        pages = app.watchers(PAGES)
        for page in pages:  # opening a page reads the whole run once
            page.poll()
        polls, seconds = 0, []
        for pair in range(PAIRS):
            for watching in (False, True) if pair % 2 else (True, False):
                since = time.time()
                if watching:
                    seconds += _watch(pages, since + WINDOW)
                else:
                    time.sleep(WINDOW)
                (watched if watching else quiet).append(app.steps_a_second(run_id, since, time.time()))
        polls = len(seconds)
    if min(*quiet, *watched) <= 0:
        raise CannotMeasure("the training took no steps in a window")
    slower = statistics.median(alone / seen for alone, seen in zip(quiet, watched, strict=True))
    notes = {"quiet": quiet, "watched": watched, "polls": polls, "median_ms": 1000 * statistics.median(seconds)}
    return Measured(values={"8 pages": slower}, notes=notes)


def _watch(pages: list[Watcher], until: float) -> list[float]:
    """Seconds of every answer while all pages watch."""
    seconds: list[float] = []

    def look(page: Watcher, offset: float) -> None:
        time.sleep(offset)  # people do not open pages in step
        while time.time() < until:
            started = time.perf_counter()
            page.poll()
            seconds.append(time.perf_counter() - started)
            time.sleep(PERIOD)

    threads = [threading.Thread(target=look, args=(page, PERIOD * k / len(pages))) for k, page in enumerate(pages)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


BENCHMARK = Benchmark(
    name="watchers",
    claim="Eight pages that watch a training hardly slow it.",
    sides={"ours": watched_training},
    comparisons=(
        Comparison(
            metric="8 pages",
            unit="× the time",
            peer=None,
            larger_is_better=False,
            at_most=1.05,
            moonshot=1.01,
            note="a step with 8 pages watching / with none",
        ),
    ),
    blocks=2,
)
