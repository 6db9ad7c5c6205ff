"""The desk: many ask at once, one thread answers, together where it can, and each fails only by itself."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from PIL import Image

from demo.desk import BATCH, Desk
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.rendered import CLASS_NAMES, render_flower
from resnet_core.errors import CheckpointError, DeviceError
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint

LIMIT = 60.0  # seconds; nothing here takes one


@dataclass
class Marked:
    """Stands for a picture: a number, and whether it breaks the network."""

    number: int
    broken: bool = False


class Recorder:
    """A classifier that answers a picture's own number and keeps what it was asked, by whom and how many at once."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.gate.set()

    def classify_batch(self, images: list[Marked], *, top_k: int | None = None) -> list[Any]:
        self.entered.set()
        assert self.gate.wait(LIMIT)
        self.threads.add(threading.get_ident())
        self.batches.append([image.number for image in images])
        if any(image.broken for image in images):
            raise CheckpointError("The model returned invalid numbers for this picture; use another checkpoint.")
        return [(image.number, top_k) for image in images]

    def hold(self) -> None:
        self.entered.clear()
        self.gate.clear()


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**options: Any) -> Desk:
        desks.append(Desk(**options))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()


def ask_behind(desk: Desk, slow: Recorder, questions: Callable[[], list[Future[Any]]]) -> list[Future[Any]]:
    """Asks while the desk is busy with a picture of `slow`, so that all of them wait together."""
    slow.hold()
    first = desk.classify(slow, Marked(-1))
    assert slow.entered.wait(LIMIT)
    asked = questions()
    slow.gate.set()
    wait([first, *asked], LIMIT)
    return asked


def test_everyone_gets_the_answer_to_his_own_photo(desk: Desk):
    """32 threads, 32 pictures, a real network: what one by one gives, and gives it to the right one."""
    torch.manual_seed(0)
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 5},
        class_names=CLASS_NAMES,
        preprocessing=Preprocessing(resize=32, crop=32),
    )
    classifier = Classifier(checkpoint, build_model("resnet20", num_classes=5))
    photos = [render_flower(CLASS_NAMES[n % 5], n, size=48) for n in range(32)]
    alone = [{p.label: p.probability for p in classifier.classify(photo).predictions} for photo in photos]
    assert len({round(one["daisy"], 5) for one in alone}) > 25  # the pictures can be told apart by their answers
    together: dict[int, dict[str, float]] = {}
    barrier = threading.Barrier(len(photos))

    def visit(number: int) -> None:
        barrier.wait(LIMIT)
        for _ in range(3):
            answer = desk.classify(classifier, photos[number]).result(LIMIT)
            together[number] = {p.label: p.probability for p in answer.predictions}

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(together) == list(range(32))
    for number, expected in enumerate(alone):
        assert together[number] == pytest.approx(expected, abs=1e-5)


def test_photos_that_wait_go_through_together_in_their_order_and_never_more_than_agreed(desk: Desk):
    model = Recorder()
    asked = ask_behind(desk, model, lambda: [desk.classify(model, Marked(n)) for n in range(BATCH + 3)])
    assert [question.result(0)[0] for question in asked] == list(range(BATCH + 3))
    assert model.batches == [[-1], list(range(BATCH)), [BATCH, BATCH + 1, BATCH + 2]]


def test_photos_for_another_model_or_another_number_of_answers_are_not_mixed(desk: Desk):
    one, other = Recorder(), Recorder()
    asked = ask_behind(
        desk,
        one,
        lambda: (
            [desk.classify(model, Marked(n), top_k=k) for n, (model, k) in enumerate([(one, 5), (other, 5)] * 3)]
            + [desk.classify(one, Marked(6), top_k=1)]
        ),
    )
    assert [question.result(0) for question in asked] == [(n, 5) for n in range(6)] + [(6, 1)]
    assert one.batches == [[-1], [0, 2, 4], [6]]
    assert other.batches == [[1, 3, 5]]


def test_all_work_is_done_by_one_thread(desk: Desk):
    model = Recorder()
    wait([desk.classify(model, Marked(n)) for n in range(20)], LIMIT)
    model.threads.add(desk.run(threading.get_ident))
    assert len(model.threads) == 1
    assert threading.get_ident() not in model.threads


def test_a_photo_that_breaks_the_network_fails_alone(desk: Desk):
    model = Recorder()
    asked = ask_behind(desk, model, lambda: [desk.classify(model, Marked(n, broken=n == 3)) for n in range(6)])
    for number, question in enumerate(asked):
        if number == 3:
            with pytest.raises(CheckpointError, match="invalid numbers"):
                question.result(0)
        else:
            assert question.result(0) == (number, None)


def test_whoever_comes_when_too_many_wait_is_told_at_once_and_the_others_are_answered(
    open_desk: Callable[..., Desk],
):
    desk, model = open_desk(waiting_limit=4), Recorder()

    def fill() -> list[Future[Any]]:
        asked = [desk.classify(model, Marked(n)) for n in range(4)]
        for ask in (lambda: desk.classify(model, Marked(9)), lambda: desk.run(int)):
            with pytest.raises(DeviceError, match=r"^4 people are waiting already; try again in about \d+ s\.$"):
                ask()
        return asked

    asked = ask_behind(desk, model, fill)
    assert [question.result(0)[0] for question in asked] == [0, 1, 2, 3]
    assert desk.classify(model, Marked(10)).result(LIMIT)[0] == 10


def test_other_work_takes_its_turn_and_hands_back_what_it_gives_or_raises(desk: Desk):
    assert desk.run(lambda: 6 * 7) == 42
    assert desk.run(lambda: desk.run(lambda: "asked from within")) == "asked from within"
    with pytest.raises(ZeroDivisionError):
        desk.run(lambda: 1 // 0)
    assert desk.classify(Recorder(), Marked(1)).result(LIMIT)[0] == 1


def test_nobody_waits_for_an_answer_that_was_given_up(desk: Desk):
    model = Recorder()
    given_up: list[Future[Any]] = []

    def ask() -> list[Future[Any]]:
        asked = [desk.classify(model, Marked(n)) for n in range(4)]
        given_up.append(asked.pop(1))
        assert given_up[0].cancel()
        return asked

    ask_behind(desk, model, ask)
    assert model.batches == [[-1], [0, 2, 3]]


def test_a_batch_that_everyone_gave_up_does_not_end_the_thread(desk: Desk):
    model = Recorder()

    def ask() -> list[Future[Any]]:
        assert desk.classify(model, Marked(0)).cancel()
        return []

    ask_behind(desk, model, ask)
    assert desk.classify(model, Marked(1)).result(LIMIT)[0] == 1


def test_closing_tells_everyone_who_waits_or_comes_later(desk: Desk):
    model = Recorder()
    model.hold()
    first = desk.classify(model, Marked(0))
    assert model.entered.wait(LIMIT)
    waiting = desk.classify(model, Marked(1))
    desk.close(timeout=0)
    with pytest.raises(DeviceError, match="shutting down"):
        waiting.result(LIMIT)
    with pytest.raises(DeviceError, match="shutting down"):
        desk.classify(model, Marked(2))
    model.gate.set()
    assert first.result(LIMIT)[0] == 0
    desk.close()
    assert "desk" not in {thread.name for thread in threading.enumerate()}


def test_the_desk_keeps_no_picture_once_it_is_answered(desk: Desk):
    import gc
    import weakref

    model, picture = Recorder(), Image.new("RGB", (8, 8))
    picture.number, picture.broken = 1, False  # type: ignore[attr-defined]
    kept = weakref.ref(picture)
    desk.classify(model, picture).result(LIMIT)
    desk.run(int)
    del picture
    gc.collect()
    assert kept() is None
