"""`python app.py` until the page answers, against importing torch and gradio and opening an empty Blocks.

Folders and caches are fresh each time. Each sample is one start: its seconds run from the start of the process to the
last byte of the first answered request.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import Benchmark, Comparison, Measured, Options
from benchmarks.pages import Page

ROOT = Path(__file__).resolve().parents[1]
EMPTY_PAGE = """
import sys, torch, gradio
with gradio.Blocks() as page: pass
page.launch(server_port=int(sys.argv[1]), quiet=True, ssr_mode=False)
"""


def our_app(_: Options) -> Measured:
    """Seconds until the app's page answers."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        folders = ["--runs-dir", f"{home}/runs", "--data-dir", f"{home}/data"]
        return _seconds_until_answered(["app.py", *folders, "--port"], home)


def empty_page(_: Options) -> Measured:
    """Seconds until a page without anything on it answers."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        return _seconds_until_answered(["-c", EMPTY_PAGE], home)


def command_line(_: Options) -> Measured:
    """Seconds of `python -m resnet_core --help`."""
    command = [sys.executable, "-m", "resnet_core", "--help"]
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True, env={**os.environ})
    return Measured(values={"help": time.perf_counter() - started})


def _seconds_until_answered(arguments: Sequence[str], home: str) -> Measured:
    with Page(arguments, home=Path(home)) as page:
        return Measured(values={"first page": page.wait_until_answered()})


BENCHMARK = Benchmark(
    name="startup",
    claim="The app's page answers about as soon as an empty page could that imports the same libraries.",
    sides={"ours": our_app, "empty page": empty_page, "command line": command_line},
    comparisons=(
        Comparison(
            metric="first page", unit="s", peer="empty page", larger_is_better=False, at_most=1.3, moonshot=1.05
        ),
        Comparison(metric="help", unit="s", ours="command line", peer=None, larger_is_better=False, at_most=0.3),
    ),
    blocks=5,
    timeout=150.0,
)
