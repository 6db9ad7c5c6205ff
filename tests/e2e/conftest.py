"""A real Chromium and the real app. Where no browser is found one is fetched; where that fails, the tests fail."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from app_process import AppProcess
from PIL import Image
from playwright.sync_api import sync_playwright
from visitor import Visitor

SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """A Chrome or Chromium of this machine, fetched if need be."""
    found = _find_chromium() or _fetch_chromium()
    if found is None:
        pytest.fail(
            "There is no Chrome or Chromium and none could be fetched; install one, or name it in CHROME_PATH.",
            pytrace=False,
        )
    return found


def _find_chromium() -> str | None:
    named = os.environ.get("CHROME_PATH")
    if named and Path(named).is_file():
        return named
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).is_file() else next(filter(None, map(shutil.which, NAMES)), None)


def _fetch_chromium() -> str | None:
    ways = [[[sys.executable, "-m", "playwright", "install", "chromium"]]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        ways.append([["apt-get", "update"], ["apt-get", "install", "-y", "chromium"]])
    for way in ways:
        for command in way:
            try:
                subprocess.run(command, check=False, timeout=900, capture_output=True)
            except (OSError, subprocess.TimeoutExpired):
                break
        if found := _find_chromium():
            return found
    return None


@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Any]:
    """A browser for a module: while it is open, the main thread counts as inside an event loop."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Iterator[AppProcess]:
    """One app for all browser tests."""
    started = AppProcess(tmp_path_factory.mktemp("app"), cache=session_cache)
    try:
        yield started.wait_until_served()
    finally:
        started.kill()


@pytest.fixture(scope="session")
def app_url(app: AppProcess) -> str:
    return app.url


@pytest.fixture
def visit(chromium: Any, app_url: str) -> Iterator[Callable[..., Visitor]]:
    """Opens the page in a window of its own; nobody's browser may have complained by the end."""
    visitors: list[Visitor] = []

    def come(query: str = "", **options: Any) -> Visitor:
        visitors.append(Visitor(chromium, app_url, **options))
        return visitors[-1].open(query)

    yield come
    for visitor in visitors:
        visitor.leave()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []


@pytest.fixture
def visitor(visit: Callable[..., Visitor]) -> Visitor:
    return visit()


@pytest.fixture(scope="session")
def examples() -> list[Path]:
    """The five pictures the page offers."""
    return sorted(EXAMPLES.glob("*.png"))


@pytest.fixture(scope="module")
def meadow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two colours, twelve each, to learn from in no time."""
    folder = tmp_path_factory.mktemp("pictures") / "meadow"
    for color in ("red", "yellow"):
        (folder / color).mkdir(parents=True)
        for shade in range(12):
            picture = Image.new("RGB", (24, 24), color).point(lambda value, darker=shade: max(0, value - 9 * darker))
            picture.save(folder / color / f"{shade}.png")
    return folder


@pytest.fixture(scope="module")
def start_app(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Iterator[Callable[..., AppProcess]]:
    """Apps, each with a log of its own, all on one runs folder."""
    runs = tmp_path_factory.mktemp("shared") / "runs"
    apps: list[AppProcess] = []

    def start() -> AppProcess:
        home = tmp_path_factory.mktemp("home")
        apps.append(AppProcess(home, "--runs-dir", str(runs), cache=session_cache))
        return apps[-1].wait_until_served()

    yield start
    for app in apps:
        app.kill()
    shutil.rmtree(runs.parent, ignore_errors=True)


@pytest.fixture
def watch(chromium: Any) -> Iterator[Callable[..., Visitor]]:
    """Windows on the Train tab of any app."""
    visitors: list[Visitor] = []

    def open_train(app: AppProcess, **options: Any) -> Visitor:
        visitors.append(Visitor(chromium, app.url, **options).open())
        visitors[-1].go("Train")
        return visitors[-1]

    yield open_train
    for visitor in visitors:
        visitor.leave()
