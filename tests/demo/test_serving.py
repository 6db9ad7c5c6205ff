"""Many visitors at once, with and without a training: each gets the answer to his own photo, the training its own."""

import http.client
import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from app_process import AppProcess
from gradio_client import Client, handle_file

from demo.desk import Desk
from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.rendered import CLASS_NAMES, render_flower
from resnet_core.errors import RunError
from resnet_core.inference.catalog import SHIPPED
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.runner import Runner
from resnet_core.training.runs import RunStore
from resnet_core.training.training_thread import NICENESS

VISITORS = 32
LIMIT = 120.0  # seconds
MEASURED = ("images_per_second", "seconds", "waited", "time")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of single threads")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Iterator[AppProcess]:
    started = AppProcess(tmp_path_factory.mktemp("serving"), cache=session_cache)
    try:
        yield started.wait_until_served()
    finally:
        started.kill()


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """As many pictures as visitors, each half one flower and half another: a good model is sure of a whole flower, and
    answers that are all alike could be swapped unnoticed."""
    made = []
    for number in range(VISITORS):
        picture = render_flower(CLASS_NAMES[number % 5], number, size=128)
        other = render_flower(CLASS_NAMES[(number + 1 + number // 5 % 4) % 5], VISITORS + number, size=128)
        picture.paste(other.crop((64, 0, 128, 128)), (64, 0))
        content = io.BytesIO()
        picture.save(content, "PNG")
        made.append(content.getvalue())
    return made


@pytest.fixture(scope="module")
def expected(photos: list[bytes]) -> list[dict[str, float]]:
    """What the shipped model answers in this process, one by one."""
    classifier = Classifier.load(SHIPPED)
    answers = [classifier.classify(read_image(photo, name="photo.png")).predictions for photo in photos]
    told = [{p.label: p.probability for p in answer} for answer in answers]
    alike = [(one, other) for number, one in enumerate(told) for other in told[:number] if same(one, other)]
    assert len(alike) < VISITORS // 8, "too few answers could be told from another visitor's"
    return told


def all_at_once(visit: Callable[[int], Any], visitors: int = VISITORS) -> list[Any]:
    """What each visitor brought back, all of them having left at the same moment."""
    results: list[Any] = [None] * visitors
    barrier = threading.Barrier(visitors)

    def go(number: int) -> None:
        barrier.wait(LIMIT)
        results[number] = visit(number)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(visitors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    return results


def post(app: AppProcess, photo: bytes, query: str = "") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=LIMIT)
    try:
        connection.request("POST", "/api/classify" + query, photo)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def agree(answer: dict[str, Any], expected: dict[str, float]) -> bool:
    """Whether that answer is the expected one."""
    return same({p["label"]: p["probability"] for p in answer["predictions"]}, expected)


def same(told: dict[str, float], expected: dict[str, float]) -> bool:
    """Within what any two engines may differ by."""
    return told == pytest.approx(expected, abs=0.02)


def check_everyone(app: AppProcess, photos: list[bytes], expected: list[dict[str, float]]) -> None:
    """One of the photos is broken: its sender is told so, the others are answered."""
    broken = 5
    sent = [photo[: len(photo) // 2] if number == broken else photo for number, photo in enumerate(photos)]
    for number, (status, answer) in enumerate(all_at_once(lambda number: post(app, sent[number]))):
        if number == broken:
            assert status == 422
            assert "incomplete" in answer["error"]
        else:
            assert status == 200, answer
            assert agree(answer, expected[number]), number


def test_32_programs_at_once_each_get_the_answer_to_their_own_photo(
    app: AppProcess, photos: list[bytes], expected: list[dict[str, float]]
):
    check_everyone(app, photos, expected)


def test_the_same_holds_through_gradios_queue_also_for_many_in_one_call(
    app: AppProcess, photos: list[bytes], expected: list[dict[str, float]], tmp_path: Path
):
    paths = []
    for number, photo in enumerate(photos):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(photo)
    client = Client(app.url, verbose=False, analytics_enabled=False)
    try:
        jobs = [client.submit(handle_file(path), api_name="/classify") for path in paths]
        many = client.submit([handle_file(path) for path in paths], api_name="/classify_many")
        for job, told in zip(jobs, expected, strict=True):
            assert agree(job.result(LIMIT), told)
        answers = many.result(LIMIT)
        assert [answer["image"] for answer in answers] == [path.name for path in paths]
        assert all(agree(answer, told) for answer, told in zip(answers, expected, strict=True))
    finally:
        client.close()


def test_the_direct_way_takes_model_and_top_k_and_names_what_is_wrong(app: AppProcess, photos: list[bytes]):
    assert len(post(app, photos[0], "?top_k=2&model=flowers")[1]["predictions"]) == 2
    assert post(app, photos[0], "?model=roses")[0] == 422
    assert "There is no model" in post(app, photos[0], "?model=../../etc/passwd")[1]["error"]
    assert post(app, b"")[1]["error"] == "image is empty (0 bytes)."


def niceness(app: AppProcess) -> list[int]:
    """Of every thread of the app, the main thread first."""
    tasks = sorted(Path(f"/proc/{app.process.pid}/task").iterdir(), key=lambda task: int(task.name))
    values = []
    for task in tasks:
        try:
            values.append(int((task / "stat").read_text().rpartition(")")[2].split()[16]))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return values


def wait_for(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_during_a_training_everyone_is_answered_too_and_the_training_goes_on(
    app: AppProcess, photos: list[bytes], expected: list[dict[str, float]], meadow: Path
):
    client = Client(app.url, verbose=False, analytics_enabled=False)

    def steps() -> int:
        events = client.predict(run_id, api_name="/run_events")["events"]
        return max((event["step"] for event in events if event["event"] == "StepEnded"), default=0)

    try:
        run_id = client.predict(str(meadow), {"epochs": 9000}, api_name="/start_training")["run_id"]
        assert wait_for(lambda: steps() > 0)
        if sys.platform == "linux":
            values = niceness(app)
            assert values[0] == 0
            assert NICENESS in values
            assert values.count(0) > values.count(NICENESS)
        before = steps()
        check_everyone(app, photos, expected)
        assert wait_for(lambda: steps() > before)
        client.predict(run_id, api_name="/stop_training")
        assert wait_for(lambda: client.predict(run_id, api_name="/run_events")["status"] == "stopped")
    finally:
        client.close()
    assert "Traceback" not in app.words()


# In this process


def small_classifier() -> Classifier:
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 5},
        class_names=CLASS_NAMES,
        preprocessing=Preprocessing(resize=32, crop=32),
    )
    return Classifier(checkpoint, build_model("resnet20", num_classes=5))


def train(home: Path, meadow: Path) -> list[dict[str, Any]]:
    """The events of a small training, without what a clock has measured."""
    runner = Runner(RunStore(home), data_dir=home)
    settings = dict.fromkeys(("image_size", "resize"), 32)
    config = TrainConfig(
        dataset=str(meadow), model="resnet20", epochs=2, batch_size=4, num_threads=1, precision="fp32", **settings
    )
    run = runner.start(config)
    assert runner.wait(LIMIT)
    return [{key: value for key, value in event.items() if key not in MEASURED} for event in run.events()]


def own_priority() -> int:
    """The niceness of the thread that asks; 0 where there is no such thing."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) if sys.platform == "linux" else 0


def test_visitors_do_not_change_what_a_training_learns(tmp_path: Path, meadow: Path):
    quiet = train(tmp_path / "quiet", meadow)
    desk, classifier, over = Desk(), small_classifier(), threading.Event()
    counted: list[int] = []
    priorities: set[int] = set()  # of the thread that answers

    def visit(number: int) -> None:
        picture = render_flower(CLASS_NAMES[number], number, size=48)
        while not over.is_set():
            desk.classify(classifier, picture).result(LIMIT)
            counted.append(number)

    def watch() -> None:
        while not over.wait(0.05):
            priorities.add(desk.run(own_priority))

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(4)]
    threads.append(threading.Thread(target=watch))
    for thread in threads:
        thread.start()
    try:
        visited = train(tmp_path / "visited", meadow)
    finally:
        over.set()
        for thread in threads:
            thread.join(LIMIT)
        desk.close()
    assert len(set(counted)) == 4
    assert [event["event"] for event in quiet][-1] == "RunEnded"
    assert quiet[-1]["status"] == "finished"
    assert visited == quiet
    assert priorities == {own_priority()}


@linux
def test_only_the_training_steps_back_and_only_while_it_lasts(
    tmp_path: Path, meadow: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[str, int] = {}

    def look(*_: Any, **__: Any) -> Any:
        seen["training"] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        seen["main"] = os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id)
        raise RunError("seen enough")

    monkeypatch.setattr("resnet_core.training.training_thread.fit", look)
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    runner = Runner(RunStore(tmp_path / "runs"), data_dir=tmp_path)
    runner.start(TrainConfig(dataset=str(meadow)))
    assert runner.wait(LIMIT)
    assert seen == {"training": NICENESS, "main": before}
    found: list[int] = []
    later = threading.Thread(target=lambda: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
    later.start()
    later.join()
    assert found == [before]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_elsewhere_no_priority_is_touched(platform: str, monkeypatch: pytest.MonkeyPatch):
    """A thread's number is no process there; asking could slow down a stranger."""
    from resnet_core.training import training_thread as runner

    def never(*_: Any) -> None:
        raise AssertionError("a priority was set")

    monkeypatch.setattr(runner.sys, "platform", platform)
    monkeypatch.setattr(runner.os, "setpriority", never, raising=False)
    runner._be_nice()
