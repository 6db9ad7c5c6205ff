"""The real app in a process of its own, the way a person starts it, with folders and a port of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
START_LIMIT = 120.0  # seconds; two busy cores need 20


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class AppProcess:
    """`python app.py` with temporary folders below `home`; `cache` may be shared, so that pictures are drawn once."""

    def __init__(
        self, home: Path, *options: str, cache: Path | None = None, program: Sequence[str] = ("app.py",)
    ) -> None:
        self.runs, self.data, self.uploads = home / "runs", home / "data", home / "gradio"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home / "app.log"
        places = {"RESNET_LAB_CACHE": str(cache or home / "cache"), "GRADIO_TEMP_DIR": str(self.uploads)}
        folders = ["--runs-dir", str(self.runs), "--data-dir", str(self.data)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--port", str(self.port), *folders, *options],
                cwd=ROOT,
                env={**os.environ, **places},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_until_served(self) -> "AppProcess":
        """Returns once the page answers; fails with the app's own words where it does not."""
        limit = time.monotonic() + START_LIMIT
        while time.monotonic() < limit and self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.get("/")
                return self
            time.sleep(0.1)
        self.kill()
        raise AssertionError(f"The app did not start:\n{self.words()}")

    def get(self, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers (lower case) of a GET."""
        return self.ask(urllib.request.Request(self.url + path, headers=headers))

    def ask(self, request: urllib.request.Request) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers (lower case) of any request."""
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read(), {key.lower(): value for key, value in answer.headers.items()}
        except urllib.error.HTTPError as refusal:
            with refusal:
                headers = {key.lower(): value for key, value in refusal.headers.items()}
                return refusal.code, refusal.read(), headers

    def words(self) -> str:
        """What the app has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self, number: int = signal.SIGTERM, *, timeout: float = 60.0) -> tuple[int, float]:
        """Sends the signal; the exit code and the seconds it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout), time.monotonic() - started
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Makes sure that nothing is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
