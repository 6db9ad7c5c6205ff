"""Starting, serving and ending, with the real app in a process of its own."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from app_process import ROOT, AppProcess
from gradio_client import Client
from PIL import Image

from demo import server
from demo.server import _refusal, parse
from resnet_core.training.runs import RunStore

# Arguments


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--host", "0.0.0.0"], "An address that others can reach needs --auth NAME:PASSWORD."),
        (["--host", "192.168.1.5"], "An address that others can reach needs --auth NAME:PASSWORD."),
        (["--share"], "An address that others can reach needs --auth NAME:PASSWORD."),
        (["--auth", "ada"], "--auth needs a name and a password with a colon"),
        (["--auth", ":secret"], "--auth needs a name and a password with a colon"),
        (["--auth", "ada:"], "--auth needs a name and a password with a colon"),
        (["--auth", ""], "--auth needs a name and a password with a colon"),
        (["--port", "0"], "--port must be from 1 to 65535, not 0."),
        (["--port", "65536"], "--port must be from 1 to 65535, not 65536."),
    ],
)
def test_unsafe_or_impossible_arguments_are_refused_with_a_sentence(arguments: list[str], sentence: str):
    assert (_refusal(parse(arguments)) or "").startswith(sentence)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--host", "localhost"], ["--host", "0.0.0.0", "--auth", "ada:pass:word"], ["--port", "65535"]],
)
def test_sound_arguments_are_accepted(arguments: list[str]):
    assert _refusal(parse(arguments)) is None


def test_folders_come_from_the_environment_unless_they_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RESNET_LAB_DATA", "/pictures")
    monkeypatch.setenv("RESNET_LAB_RUNS", "/runs")
    assert parse([]).data_dir == Path("/pictures")
    assert parse(["--runs-dir", "elsewhere"]).runs_dir == Path("elsewhere")


def start_and_fail(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of an app that must not start."""
    ended = subprocess.run(
        [sys.executable, "app.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_an_open_address_without_a_password_ends_with_2_before_anything_is_loaded():
    code, _, words = start_and_fail("--host", "0.0.0.0")
    assert (code, words) == (2, "An address that others can reach needs --auth NAME:PASSWORD.\n")


def test_a_runs_folder_that_cannot_be_written_ends_with_one_sentence(tmp_path: Path):
    (tmp_path / "occupied").write_text("a file, not a folder")
    code, _, words = start_and_fail("--runs-dir", str(tmp_path / "occupied" / "runs"))
    assert code == 1
    assert words.startswith("The runs folder cannot be written (")
    assert words.endswith("choose another with --runs-dir.\n")
    assert words.count("\n") == 1


def test_a_port_in_use_ends_with_one_sentence(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, words = start_and_fail("--port", str(port), "--runs-dir", str(tmp_path / "runs"))
    assert (code, words) == (1, f"Port {port} on 127.0.0.1 is in use or not allowed; choose another with --port.\n")


def test_what_nobody_foresaw_ends_with_one_sentence_and_a_line_in_the_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr(server, "_set_environment", lambda: None)
    monkeypatch.setattr(server, "serve", lambda options: {}["epoch"])
    assert server.main(["--runs-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("The app could not be started (KeyError)")
    assert "Traceback" in caplog.text


# A running app

AppStarter = Callable[..., AppProcess]


@pytest.fixture
def start(tmp_path: Path, session_cache: Path) -> Iterator[AppStarter]:
    """Starts an app of the test's own; it is gone afterwards."""
    started: list[AppProcess] = []

    def begin(*options: str, **settings: Any) -> AppProcess:
        started.append(AppProcess(tmp_path, *options, cache=session_cache, **settings))
        return started[-1].wait_until_served()

    yield begin
    for app in started:
        app.kill()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Iterator[AppProcess]:
    """One app without a password for the tests that only ask it."""
    started = AppProcess(tmp_path_factory.mktemp("server"), cache=session_cache)
    try:
        yield started.wait_until_served()
    finally:
        started.kill()


def post(app: AppProcess, path: str, content: Any, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    body = json.dumps(content).encode()
    given = {"content-type": "application/json", **headers}
    return app.ask(urllib.request.Request(app.url + path, body, given, method="POST"))


def test_it_says_where_it_is_in_one_line(app: AppProcess):
    limit = time.monotonic() + 30
    while not app.words() and time.monotonic() < limit:
        time.sleep(0.1)
    assert app.words() == f"ResNet Lab is at {app.url}/ (Ctrl-C ends it).\n"


def test_only_this_machine_can_reach_it_by_default(app: AppProcess):
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError), socket.create_connection((address, app.port), timeout=3):
            pass


def test_the_page_asks_nothing_of_other_machines(app: AppProcess):
    status, page, headers = app.get("/")
    assert status == 200
    assert headers["x-content-type-options"] == "nosniff"
    for attribute in (b'src="http', b'href="http', b"@import", b'src="//', b'href="//'):
        assert attribute not in page


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "null"])
def test_a_post_from_a_foreign_page_is_refused(app: AppProcess, origin: str):
    status, body, headers = post(app, "/gradio_api/call/list_models", {"data": []}, origin=origin)
    assert (status, body) == (403, b"This page only answers to itself.")
    assert headers["x-content-type-options"] == "nosniff"


def test_a_post_from_the_page_itself_is_answered(app: AppProcess):
    status, body, _ = post(app, "/gradio_api/call/list_models", {"data": []}, origin=app.url)
    assert status == 200
    assert "event_id" in json.loads(body)


@pytest.mark.parametrize("path", ["/etc/passwd", "{runs}/private.txt", "{data}/private.txt", "app.py", "{root}/app.py"])
def test_no_file_of_the_machine_is_served(app: AppProcess, path: str):
    for folder in (app.runs, app.data):
        folder.mkdir(exist_ok=True)
        (folder / "private.txt").write_text("private words")
    asked = path.format(runs=app.runs, data=app.data, root=ROOT)
    status, body, _ = app.get("/gradio_api/file=" + urllib.parse.quote(asked))
    assert status in (403, 404)
    assert b"private words" not in body
    assert b"import" not in body
    assert b"root:" not in body


def test_internal_handlers_are_not_offered_to_programs(app: AppProcess):
    """What programs are offered is what the README lists, no more and no less."""
    end_points = json.loads(app.get("/gradio_api/info")[1])["named_endpoints"]
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    listed = readme.split("The app answers to `gradio_client` under ")[1].split("\n\n")[0]
    assert set(end_points) == set(re.findall(r"`(/[a-z_]+)`", listed))


def test_nothing_of_gradios_telemetry_or_monitoring_is_on(app: AppProcess):
    config = json.loads(app.get("/config")[1])
    assert config["analytics_enabled"] is False
    assert app.get("/monitoring/summary")[0] in (403, 404)


# Before torch is there

GATE = """
import importlib.abc, os, runpy, sys, time
class Gate(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.startswith("torch."):  # the package itself may be looked for, not loaded
            while not os.path.exists({gate!r}):
                time.sleep(0.05)
            if open({gate!r}).read() == "broken":
                raise ImportError("libcudart.so.99 is missing")
        return None
sys.meta_path.insert(0, Gate())
sys.argv[0] = "app.py"
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.fixture
def gated(start: AppStarter, tmp_path: Path) -> Callable[[], tuple[AppProcess, Path]]:
    """An app whose import of torch waits until the file `gate` is there, and fails if it says "broken"."""

    def begin() -> tuple[AppProcess, Path]:
        gate = tmp_path / "gate"
        return start(program=("-c", GATE.format(gate=str(gate)))), gate

    return begin


def test_the_page_is_there_before_torch_and_says_that_the_network_loads(
    gated: Callable[[], tuple[AppProcess, Path]],
):
    app, gate = gated()
    config = json.loads(app.get("/config")[1])
    first = next(c for c in config["components"] if c["props"].get("elem_id") == "classify-answer")
    assert "Loading the network" in first["props"]["value"]
    assert not gate.exists()
    gate.write_text("sound")
    client = Client(app.url, verbose=False, analytics_enabled=False)
    try:
        assert client.predict("resnet18", api_name="/describe_model")["parameters"] == 11_689_512
    finally:
        client.close()


def test_a_torch_that_does_not_load_is_a_sentence_with_the_cure(gated: Callable[[], tuple[AppProcess, Path]]):
    app, gate = gated()
    gate.write_text("broken")
    client = Client(app.url, verbose=False, analytics_enabled=False)
    try:
        with pytest.raises(Exception, match=r"does not load .*pip install -r requirements\.txt"):
            client.predict("resnet18", api_name="/describe_model")
    finally:
        client.close()
    assert app.get("/")[0] == 200


# Passwords


@pytest.fixture
def guarded(start: AppStarter) -> AppProcess:
    return start("--auth", "ada:secret:word")


def login(app: AppProcess, password: str) -> tuple[int, dict[str, str]]:
    body = urllib.parse.urlencode({"username": "ada", "password": password}).encode()
    status, _, headers = app.ask(urllib.request.Request(app.url + "/login", body, method="POST"))
    return status, headers


def test_with_a_password_nothing_answers_without_it_and_guessing_is_slowed_down(guarded: AppProcess):
    question = {"data": [{"run": None}], "component_id": 1, "fn_name": "board_news", "session_hash": "x"}
    assert post(guarded, "/gradio_api/component_server", question)[0] == 401
    assert post(guarded, "/gradio_api/call/list_runs", {"data": []})[0] == 401
    assert post(guarded, "/gradio_api/queue/join", {"data": [], "fn_index": 0, "session_hash": "x"})[0] == 401
    assert guarded.get("/config")[0] == 401
    assert guarded.get("/gradio_api/file=/etc/passwd")[0] in (401, 403)
    right, headers = login(guarded, "secret:word")
    assert right == 200
    assert "access-token" in headers["set-cookie"]
    tries = [login(guarded, "guess")[0] for _ in range(12)]
    assert tries[:9] == [400] * 9
    assert tries[9:] == [429] * 3


# The end


def training(app: AppProcess, folder: Path) -> str:
    """Starts a training on a few pictures, waits for its first step; the run id."""
    for color in ("red", "yellow"):
        (folder / color).mkdir(parents=True)
        for shade in range(8):
            Image.new("RGB", (40 + shade, 40), color).save(folder / color / f"{shade}.png")
    client = Client(app.url, verbose=False, analytics_enabled=False)
    try:
        run_id = str(client.predict(str(folder), {"epochs": 9000}, api_name="/start_training")["run_id"])
        limit = time.monotonic() + 120
        while time.monotonic() < limit:
            news = client.predict(run_id, api_name="/run_events")
            if any(event["event"] == "StepEnded" for event in news["events"]):
                return run_id
            time.sleep(0.2)
    finally:
        client.close()
    raise AssertionError("the training took no step")


@contextlib.contextmanager
def open_tabs(app: AppProcess) -> Iterator[None]:
    """Three pages as a browser holds them: each listens to the app and keeps a connection it has used; one of them is
    in the middle of sending a picture. None may hold the app up."""
    held: list[http.client.HTTPConnection] = []

    def connection() -> http.client.HTTPConnection:
        held.append(http.client.HTTPConnection("127.0.0.1", app.port, timeout=30))
        return held[-1]

    for tab in ("one", "two", "three"):
        used = connection()
        used.request("GET", "/config")
        assert json.loads(used.getresponse().read())["mode"] == "blocks"
        listener = connection()
        listener.request("GET", f"/gradio_api/heartbeat/{tab}")
        assert listener.getresponse().status == 200
    sending = connection()
    sending.putrequest("POST", "/gradio_api/upload")
    sending.putheader("content-type", "multipart/form-data; boundary=half")
    sending.putheader("content-length", "100000")
    sending.endheaders(b"--half\r\n")
    try:
        yield
    finally:
        for one in held:
            one.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_app_in_time_with_its_training_saved(start: AppStarter, tmp_path: Path, number: int):
    app = start()
    run_id = training(app, tmp_path / "meadow")
    with open_tabs(app):
        code, seconds = app.end(number)
    assert code == 0
    assert seconds < 10
    run = RunStore(app.runs).get(run_id)
    assert run.status() == "stopped"
    assert [event["event"] for event in run.events()].count("RunEnded") == 1
    assert (run.folder / "resume.pt").is_file()
    assert "Traceback" not in app.words()


def test_a_signal_while_pictures_are_still_being_prepared_ends_the_app_in_order(tmp_path: Path):
    app = AppProcess(tmp_path)  # with an empty cache: torch draws and resizes in a daemon thread for many seconds
    try:
        app.wait_until_served()
        limit = time.monotonic() + 120
        while not any(path.is_file() for path in (tmp_path / "cache").rglob("*")) and time.monotonic() < limit:
            time.sleep(0.05)
        code, seconds = app.end()
    finally:
        app.kill()
    assert code == 0, app.words()
    assert seconds < 10
    assert "terminate" not in app.words()


def test_a_second_signal_does_no_harm(start: AppStarter):
    app = start()
    app.process.send_signal(signal.SIGINT)
    with contextlib.suppress(ProcessLookupError):
        os.kill(app.process.pid, signal.SIGINT)
    assert app.process.wait(60) == 0
    assert "Traceback" not in app.words()
