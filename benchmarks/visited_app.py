"""The real app, a training in it, and the people who visit it: photos over HTTP and pages that watch.

The app keeps its cache in the user's own cache folder, so that only the very first run draws the built-in pictures.
"""

import http.client
import itertools
import json
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.pages import Page

BOUNDARY = "a-photo-ends-here"
PATIENCE = 240.0  # seconds until the first step of a training: the very first run draws 1,800 pictures
RESTED = 2.0  # seconds; uvicorn closes after 5
JSON = {"Content_Type": "application/json"}


class Visitor:
    """One connection to the app, opened anew where it rested so long that the server closed it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._used = 0.0

    def ask(self, method: str, path: str, body: bytes | str | None = None, **headers: str) -> Any:
        """The JSON of a request answered with 200, or the raw text where it is none. Raises RuntimeError otherwise."""
        if time.monotonic() - self._used > RESTED:
            self._connection.close()  # the next request opens it again
        self._connection.request(method, path, body, {key.replace("_", "-"): value for key, value in headers.items()})
        answer = self._connection.getresponse()
        content = answer.read()
        self._used = time.monotonic()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {content[:200].decode(errors='replace')}")
        try:
            return json.loads(content)
        except ValueError:
            return content.decode()

    def call(self, end_point: str, *arguments: Any) -> Any:
        """The result of a named end point, over Gradio's queue in two requests."""
        asked = json.dumps({"data": arguments, "session_hash": f"visitor-{id(self)}"})
        event = self.ask("POST", f"/gradio_api/call/{end_point}", asked, **JSON)["event_id"]
        told = self.ask("GET", f"/gradio_api/call/{end_point}/{event}")
        if "event: complete" not in told:
            raise RuntimeError(str(told)[:300])
        return json.loads(told.rsplit("data: ", 1)[1])[0]

    def classify(self, photo: bytes) -> dict[str, Any]:
        """The answer to a photo in one request."""
        return dict(self.ask("POST", "/api/classify", photo, Content_Type="image/jpeg"))

    def classify_by_queue(self, photo: bytes) -> dict[str, Any]:
        """The same by Gradio's three requests: upload, ask, fetch."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="photo.jpg"\r\n\r\n'
        body = head.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        stored = self.ask("POST", "/gradio_api/upload", body, Content_Type=kind)[0]
        file = {"path": stored, "orig_name": "photo.jpg", "meta": {"_type": "gradio.FileData"}}
        return dict(self.call("classify", file, "flowers", 5))


class Watcher:
    """What the live board of an open page asks: what is new since my cursor?"""

    def __init__(self, port: int, component: int, name: str) -> None:
        self._visitor, self._component, self._name = Visitor(port), component, name
        self._have: str | None = None
        self._cursor = 0

    def poll(self) -> None:
        """One question and its answer. Raises RuntimeError for an error."""
        question = {"run": None, "have": self._have, "cursor": self._cursor}
        asked = {"data": question, "component_id": self._component, "fn_name": "board_news", "session_hash": self._name}
        reply = self._visitor.ask("POST", "/gradio_api/component_server", json.dumps(asked), **JSON)
        if "error" in reply:
            raise RuntimeError(reply["error"])
        self._have, self._cursor = reply.get("run", self._have), reply["cursor"]


@dataclass
class Crowd:
    """What some clients saw: seconds of each answer, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    lasted: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.seconds) / self.lasted

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the answers came; infinite where none did."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("inf")

    def to_json(self) -> dict[str, Any]:
        """For the raw samples; milliseconds."""
        half, most = (round(1000 * self.percentile(share), 1) for share in (0.5, 0.95))
        return {"rate": round(self.rate, 2), "p50_ms": half, "p95_ms": most, "errors": dict(self.errors)}


class VisitedApp:
    """The app at `port`, with the runs it records in `runs`."""

    def __init__(self, url: str, runs: Path) -> None:
        self.port = int(url.rstrip("/").rsplit(":", 1)[1])
        self.runs = runs
        self.visitor = Visitor(self.port)

    def start_training(self) -> str:
        """Starts the default training on rendered flowers, with epochs for hours; the run id once it takes steps."""
        until = time.monotonic() + PATIENCE
        run_id = str(self.visitor.call("start_training", "rendered-flowers", {"epochs": 5000})["run_id"])
        while len(self.steps(run_id)) < 3:
            if time.monotonic() > until:
                raise TimeoutError("the training took no step")
            time.sleep(0.2)
        return run_id

    def stop_training(self, run_id: str) -> None:
        """Stops it; returns once it has ended."""
        self.visitor.call("stop_training", run_id, False)
        while self.visitor.call("run_events", run_id, 10**9)["status"] not in ("stopped", "failed", "finished"):
            time.sleep(0.1)

    def steps(self, run_id: str) -> list[tuple[float, int, int]]:
        """(time, step, epoch) of every recorded step so far."""
        lines = (self.runs / run_id / "events.jsonl").read_text(encoding="utf-8").splitlines()
        events = [json.loads(line) for line in lines if '"StepEnded"' in line and line.endswith("}")]
        return [(event["time"], event["step"], event["epoch"]) for event in events]

    def steps_a_second(self, run_id: str, since: float, until: float) -> float:
        """Steps a second between two moments; validation and saving between two epochs are left out."""
        seconds, steps = 0.0, 0
        told = [row for row in self.steps(run_id) if since <= row[0] <= until]
        for (start, first, epoch), (end, last, same) in itertools.pairwise(told):
            if epoch == same:
                seconds, steps = seconds + end - start, steps + last - first
        return steps / seconds if seconds else 0.0

    def watchers(self, count: int) -> list[Watcher]:
        """Pages that show the live board."""
        components = self.visitor.ask("GET", "/config")["components"]
        board = next(part["id"] for part in components if part["props"].get("elem_id") == "live-board")
        return [Watcher(self.port, board, f"watcher-{number}") for number in range(count)]

    def crowd(
        self, clients: int, seconds: float, photos: Sequence[bytes], *, ask: str = "classify", pause: float = 0.0
    ) -> Crowd:
        """So many clients that each ask again as soon as they are answered, or `pause` seconds later."""
        seen, until = Crowd(), time.perf_counter() + seconds

        def visit(number: int) -> None:
            visitor = Visitor(self.port)
            while time.perf_counter() < until:
                started = time.perf_counter()
                try:
                    getattr(visitor, ask)(photos[number % len(photos)])
                    seen.seconds.append(time.perf_counter() - started)
                except (RuntimeError, OSError, http.client.HTTPException) as error:
                    seen.errors[str(error)[:150]] += 1
                    visitor = Visitor(self.port)
                number += 1
                time.sleep(pause)

        started = time.perf_counter()
        in_parallel([lambda number=number: visit(number) for number in range(clients)])
        seen.lasted = time.perf_counter() - started
        return seen


def in_parallel(works: Sequence[Callable[[], None]]) -> None:
    """Does all of it, each in a thread of its own; returns once all are done."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def visited_app() -> Iterator[VisitedApp]:
    """The app, started and answering; ended with the block."""
    from resnet_core.files import cache_dir

    lasting = cache_dir() / "benchmarks"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        arguments = ["app.py", "--runs-dir", str(home / "runs"), "--data-dir", str(home / "data"), "--port"]
        with Page(arguments, home=lasting) as page:
            page.wait_until_answered()
            yield VisitedApp(page.url, home / "runs")
    shutil.rmtree(lasting / "gradio", ignore_errors=True)


def rendered_photos(count: int = 8) -> list[bytes]:
    """JPEG photos of 500×375 px, all different."""
    import io

    from resnet_core.data.rendered import CLASS_NAMES, render_flower

    photos = []
    for number in range(count):
        content = io.BytesIO()
        picture = render_flower(CLASS_NAMES[number % len(CLASS_NAMES)], number, size=512)
        picture.resize((500, 375)).save(content, "JPEG", quality=90)
        photos.append(content.getvalue())
    return photos
