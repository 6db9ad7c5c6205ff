"""Photos over HTTP, idle and while a training runs: 1, 8 and 32 clients against the same photos in a plain loop.

over HTTP    the real app in a process of its own; each client asks `POST /api/classify` again once it is answered
in process   one loop over the same JPEG bytes: read, classify, next

While the training runs, windows with one visitor (a photo a second) take turns with windows without, so that what
the machine does meanwhile hits both alike. Client threads live on the same cores as the app.
"""

import statistics
import time
from typing import Any

from benchmarks.harness import Benchmark, CannotMeasure, Comparison, Measured, Options
from benchmarks.visited_app import Crowd, VisitedApp, in_parallel, rendered_photos, visited_app

CLIENTS = (1, 8, 32)
SECONDS = 3.0  # of each crowd
WINDOW, PAIRS = 4.0, 3  # seconds with and without a visitor, while training
MODEL = "flowers"


def over_http(_: Options) -> Measured:
    """Everything about the app."""
    photos = rendered_photos()
    with visited_app() as app:
        run_id = app.start_training()
        training, notes = _while_training(app, run_id, photos)
        app.stop_training(run_id)
        alone = app.crowd(1, WINDOW, photos, pause=0.3)
        crowds = {clients: app.crowd(clients, SECONDS, photos) for clients in CLIENTS}
        queue = {clients: app.crowd(clients, SECONDS, photos, ask="classify_by_queue") for clients in CLIENTS}
        answers = [_shares(app.visitor.classify(photo)["predictions"]) for photo in photos]
    seen = [*crowds.values(), *queue.values(), alone, *training["crowds"].values(), training["visited"]]
    allowed = 2 * alone.percentile(0.95) + training["step"]
    values = {_of(clients): crowds[clients].rate for clients in CLIENTS}
    values |= {f"{_of(clients)}, training": training["crowds"][clients].rate for clients in CLIENTS}
    values |= {f"{_of(clients)}, p95": 1000 * crowds[clients].percentile(0.95) for clients in CLIENTS}
    values |= {
        "errors": float(sum(sum(crowd.errors.values()) for crowd in seen)),
        "wait while training": training["visited"].percentile(0.95) / allowed,
        "training with a visitor": training["slower"],
        "page update": 1000 * training["updates"].percentile(0.95),
    }
    notes |= {"alone": alone.to_json(), "step_ms": round(1000 * training["step"], 1)}
    notes |= {f"idle, {_of(clients)}": crowd.to_json() for clients, crowd in crowds.items()}
    notes |= {f"through Gradio's queue, {_of(clients)}": crowd.to_json() for clients, crowd in queue.items()}
    return Measured(values=values, answers=[share for shares in answers for share in shares], notes=notes)


def in_process(_: Options) -> Measured:
    """The same photos, one after the other, without a server."""
    from resnet_core.data.images import read_image
    from resnet_core.inference.catalog import SHIPPED
    from resnet_core.inference.classifier import Classifier

    classifier, photos = Classifier.load(SHIPPED), rendered_photos()

    def answer(photo: bytes) -> Any:
        return classifier.classify(read_image(photo, name="photo.jpg", draft_size=512), top_k=5)

    answers = [[p.probability for p in sorted(answer(photo).predictions, key=_label)] for photo in photos]
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 2 * SECONDS:
        answer(photos[count % len(photos)])
        count += 1
    rate = count / (time.perf_counter() - started)
    return Measured(values={_of(clients): rate for clients in CLIENTS}, answers=[s for row in answers for s in row])


def _while_training(app: VisitedApp, run_id: str, photos: list[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What visitors see of the app and the training of them; and the raw numbers."""
    quiet, loaded, visited = [], [], Crowd()
    for _ in range(PAIRS):
        quiet.append(_speed(app, run_id, lambda: time.sleep(WINDOW))[0])
        speed, crowd = _speed(app, run_id, lambda: app.crowd(1, WINDOW, photos, pause=1.0))
        loaded.append(speed)
        visited.seconds += crowd.seconds
        visited.errors += crowd.errors
    visited.lasted = PAIRS * WINDOW
    crowds, updates, speeds = {}, Crowd(), {}
    for clients in CLIENTS:
        speeds[clients], crowds[clients] = _speed(app, run_id, lambda n=clients: _with_page(app, n, photos, updates))
    if min(*quiet, *loaded) <= 0:
        raise CannotMeasure("the training took no steps in a window")
    ratios = [before / after for before, after in zip(quiet, loaded, strict=True)]
    result = {
        "crowds": crowds,
        "visited": visited,
        "updates": updates,
        "step": 1 / statistics.median(quiet),
        "slower": statistics.median(ratios),
    }
    notes: dict[str, Any] = {"steps_per_s": {"quiet": quiet, "with a visitor": loaded, **speeds}}
    notes |= {"a visitor while training": visited.to_json(), "page update": updates.to_json()}
    notes |= {f"training, {_of(clients)}": crowd.to_json() for clients, crowd in crowds.items()}
    return result, notes


def _speed(app: VisitedApp, run_id: str, work: Any) -> tuple[float, Any]:
    """Steps a second of the training during the work, and the work's result."""
    since = time.time()
    result = work()
    return app.steps_a_second(run_id, since, time.time()), result


def _with_page(app: VisitedApp, clients: int, photos: list[bytes], updates: Crowd) -> Crowd:
    """A crowd, while a page looks at the training four times a second."""
    watcher = app.watchers(1)[0]
    until, crowds = time.perf_counter() + SECONDS, []

    def look() -> None:
        while time.perf_counter() < until:
            started = time.perf_counter()
            watcher.poll()
            updates.seconds.append(time.perf_counter() - started)
            time.sleep(0.25)

    in_parallel([look, lambda: crowds.append(app.crowd(clients, SECONDS, photos))])
    updates.lasted += SECONDS
    return crowds[0]


def _of(clients: int) -> str:
    return f"{clients} client" if clients == 1 else f"{clients} clients"


def _shares(predictions: list[dict[str, Any]]) -> list[float]:
    return [one["probability"] for one in sorted(predictions, key=lambda one: one["label"])]


def _label(prediction: Any) -> str:
    return str(prediction.label)


def _absolute(
    metric: str, unit: str, at_most: float | None = None, *, rate: bool = False, note: str = ""
) -> Comparison:
    return Comparison(
        metric=metric, unit=unit, ours="over HTTP", peer=None, larger_is_better=rate, at_most=at_most, note=note
    )


BENCHMARK = Benchmark(
    name="serving",
    claim="Over HTTP as many photos a second as in a plain loop, no errors, and a training that hardly notices.",
    sides={"over HTTP": over_http, "in process": in_process},
    comparisons=(
        *(
            Comparison(
                metric=_of(clients),
                unit="photos/s",
                ours="over HTTP",
                peer="in process",
                larger_is_better=True,
                at_least=0.8 if clients == 8 else None,
                moonshot=0.95 if clients == 8 else None,
            )
            for clients in CLIENTS
        ),
        *(_absolute(f"{_of(clients)}, p95", "ms") for clients in CLIENTS),
        *(_absolute(f"{_of(clients)}, training", "photos/s", rate=True) for clients in CLIENTS),
        _absolute("errors", "requests", 0.0),
        _absolute("wait while training", "of what is allowed", 1.0, note="p95 / (2 × idle p95 + one step)"),
        _absolute("training with a visitor", "× the time", 1.1, note="a photo a second"),
        _absolute("page update", "ms", 300.0, note="p95 while training, with 1, 8 and 32 clients"),
    ),
    tolerance=0.02,
    blocks=2,
)
