"""Starts the page and ends it: arguments, safe settings, signals. The page is up before torch is imported."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_core.errors import ResNetLabError
from resnet_core.files import cache_dir
from resnet_core.installation import installation_problem

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
STOP_LIMIT = 30.0  # seconds a training gets to save itself
LAST_RESORT = 5.0  # seconds after that until the process ends anyway


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until Ctrl-C or SIGTERM; the exit code."""
    options = parse(arguments)
    problem = _refusal(options)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    unfit = installation_problem()
    if unfit:
        print(f"Warning: {unfit}", file=sys.stderr)
    _set_environment()
    try:
        return serve(options)
    except ResNetLabError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(_port_sentence(options, error), file=sys.stderr)
    except Exception as error:
        log.exception("the app could not be started")
        print(f"The app could not be started ({type(error).__name__}); the log above says more.", file=sys.stderr)
    return 1


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of `app.py`."""
    parser = argparse.ArgumentParser(prog="python app.py", description="ResNet Lab in the browser.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: only this machine)")
    parser.add_argument("--port", type=int, default=None, help="default: 7860, or the next free one")
    parser.add_argument("--share", action="store_true", help="a public link through gradio's servers")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", default=None, help="ask visitors for this name and password")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("RESNET_LAB_DATA", "data")))
    parser.add_argument("--runs-dir", type=Path, default=Path(os.environ.get("RESNET_LAB_RUNS", "runs")))
    return parser.parse_args(arguments)


def serve(options: argparse.Namespace) -> int:
    """Builds, launches, waits, and ends with every training saved."""
    from demo.services import Services
    from demo.text import LABELS
    from demo.theme import STYLES, make_theme
    from demo.ui import build, launch_settings
    from demo.uploads import start_janitor

    _check_writable(options.runs_dir)
    services = Services(
        data_dir=options.data_dir, runs_dir=options.runs_dir, local=options.host in LOOPBACK and not options.share
    )
    if not services.store.claim():
        print("Another ResNet Lab app works on this runs folder; this one only reads.", file=sys.stderr, flush=True)
    page = build(services).queue(max_size=64, default_concurrency_limit=1)
    _calm(page)
    ending = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ending.set())
    page.launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        auth=_credentials(options.auth),
        prevent_thread_lock=True,
        blocked_paths=[str(options.runs_dir.resolve()), str(options.data_dir.resolve())],
        i18n=LABELS,
        theme=make_theme(),
        css_paths=STYLES,
        app_kwargs={"middleware": _middleware(services)},
        **launch_settings(),
    )
    print(f"ResNet Lab is at {page.local_url} (Ctrl-C ends it).", flush=True)
    services.warm_up()
    rounds = (services.batches.sweep, services.store.empty_bin, services.staged.sweep)
    start_janitor(Path(os.environ["GRADIO_TEMP_DIR"]), *rounds)
    ending.wait()
    return _end(page, services)


def _calm(page: Any) -> None:
    """Gradio's idle queue looks for work every 1 ms and for progress every 10 ms: measured 9 % of a core, all the time.

    Ten times rarer should cost a tenth of that; an event then waits 5 ms longer on average. The names are Gradio's own
    (6.31).
    """
    for name, seconds in (("sleep_when_free", 0.01), ("progress_update_sleep_when_free", 0.1)):
        if hasattr(page._queue, name):
            setattr(page._queue, name, max(seconds, getattr(page._queue, name)))


def _end(page: Any, services: Any) -> int:
    began = time.monotonic()
    saved = services.shutdown(STOP_LIMIT)
    left = max(1.0, LAST_RESORT - (time.monotonic() - began))  # once all is saved, open pages hold nothing up
    watchdog = threading.Timer(left, os._exit, args=(0 if saved else 1,))
    watchdog.daemon = True
    watchdog.start()
    page.close(verbose=False)
    return 0 if saved else 1


def _refusal(options: argparse.Namespace) -> str | None:
    if options.auth is not None and _credentials(options.auth) is None:
        return "--auth needs a name and a password with a colon between them, like --auth ada:secret."
    if (options.host not in LOOPBACK or options.share) and not options.auth:
        return "An address that others can reach needs --auth NAME:PASSWORD."
    if options.port is not None and not 1 <= options.port <= 65535:
        return f"--port must be from 1 to 65535, not {options.port}."
    return None


def _credentials(text: str | None) -> tuple[str, str] | None:
    name, colon, password = (text or "").partition(":")
    return (name, password) if colon and name and password else None


def _check_writable(runs_dir: Path) -> None:
    from resnet_core.errors import RunError

    probe = runs_dir / f".write-test-{os.getpid()}"
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RunError(
            f"The runs folder cannot be written ({error.strerror}); choose another with --runs-dir."
        ) from error


def _set_environment() -> None:
    """Read by gradio when it is imported: no telemetry, no growing statistics, a temporary folder we may sweep."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000"
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "100"
    os.environ.setdefault("GRADIO_TEMP_DIR", str(cache_dir() / "gradio"))
    Path(os.environ["GRADIO_TEMP_DIR"]).mkdir(parents=True, exist_ok=True)


def _middleware(services: Any) -> list[Any]:
    from starlette.middleware import Middleware

    from demo.classify.many.many_upload import ManyUpload
    from demo.direct import DirectClassify
    from demo.guard import Guard

    direct = [Middleware(kind, services=services) for kind in (DirectClassify, ManyUpload)]
    return [Middleware(Guard), *direct]


def _port_sentence(options: argparse.Namespace, error: OSError) -> str:
    if options.port is not None:
        return f"Port {options.port} on {options.host} is in use or not allowed; choose another with --port."
    return f"The page could not be opened on {options.host} ({error})."
