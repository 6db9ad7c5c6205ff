"""A web page in a process of its own, from its start until it answers."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[1]
START_LIMIT = 120.0  # seconds


class Page:
    """`python <arguments> <port>` at a free port; it is killed when the block ends. Makes `home` for its caches."""

    def __init__(self, arguments: Sequence[str], *, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        places = {"RESNET_LAB_CACHE": str(home / "cache"), "GRADIO_TEMP_DIR": str(home / "gradio")}
        home.mkdir(parents=True, exist_ok=True)
        self._log = (home / "page.log").open("wb")
        self._started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *arguments, str(port)],
            cwd=ROOT,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **places, "GRADIO_ANALYTICS_ENABLED": "False"},
        )

    def wait_until_answered(self) -> float:
        """Seconds from the start to the first page answered with 200. Raises TimeoutError or ChildProcessError."""
        while time.perf_counter() - self._started < START_LIMIT:
            if self.process.poll() is not None:
                raise ChildProcessError(f"the page's process ended with code {self.process.returncode}")
            try:
                with urllib.request.urlopen(self.url, timeout=10) as answer:
                    answer.read()
                    return time.perf_counter() - self._started
            except urllib.error.HTTPError as refusal:
                refusal.close()
            except OSError:  # nobody listens yet
                pass
            time.sleep(0.01)
        raise TimeoutError(f"the page did not answer within {START_LIMIT:g} s")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()
