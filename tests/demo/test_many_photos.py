"""Batches of pictures without a browser: every row, in order, whatever breaks, with other visitors in between."""

import base64
import io
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from demo.classify.many import many_job, many_jobs
from demo.classify.many.many_answers import THUMBNAIL_SIDE, answer_all, open_picture
from demo.classify.many.many_job import ManyJob
from demo.classify.many.many_jobs import KEEP_SECONDS, MOST_JOBS, ManyJobs
from demo.classify.many.many_table.many_feed import make_ask
from demo.classify.many.many_table.many_table import table_script
from demo.classify.many.pace import WINDOW, Pace
from demo.desk import BATCH, Desk
from demo.uploads import SWEEP_EVERY
from demo.words.many import TABLE_WORDS
from resnet_core.data.archive import open_archive
from resnet_core.data.picture_files import PictureFile
from resnet_core.errors import CheckpointError, DeviceError, ResNetLabError, RunError
from resnet_core.inference.classifier import Classification, Prediction

LIMIT = 60.0  # seconds; nothing here takes one
ENDINGS = ("done", "cancelled", "abandoned", "failed")  # states of a job: the script says them by their name
HOSTILE = "a/<img src=x onerror=alert(1)>\n\u202e${x}.png"


class Shades:
    """A classifier of the brightness of a picture: dark, or light; bright red breaks it. Keeps what it was asked."""

    class_names = ("dark", "light")

    def __init__(self) -> None:
        square = SimpleNamespace(square=lambda image: image)
        self.checkpoint = SimpleNamespace(preprocessing=square, unknown_threshold=0.0)
        self.draft_size = 100  # px
        self.batches: list[int] = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def classify_squares(self, squares: Sequence[Image.Image], *, top_k: int | None = None) -> list[Classification]:
        self.entered.set()
        assert self.gate.wait(LIMIT)
        self.batches.append(len(squares))
        if any(square.getpixel((0, 0)) == (255, 0, 0) for square in squares):
            raise CheckpointError("The model returned invalid numbers for this picture; use another checkpoint.")
        return [self._answer(square, top_k) for square in squares]

    def _answer(self, square: Image.Image, top_k: int | None) -> Classification:
        light = square.convert("L").getpixel((0, 0)) / 255
        ranked = sorted([Prediction("dark", 1 - light), Prediction("light", light)], key=lambda p: -p.probability)
        return Classification(
            predictions=tuple(ranked[:top_k]), unknown=light == 1.0, score=light, seen=square, seconds=0.0
        )


def png(shade: int | tuple[int, int, int], size: tuple[int, int] = (40, 40)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade) if isinstance(shade, int) else shade).save(stream, "PNG")
    return stream.getvalue()


def picture(number: int, **changes: Any) -> PictureFile:
    return PictureFile(**{"name": f"{number}.png", "content": png(number % 250)} | changes)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.close()


@pytest.fixture
def model() -> Shades:
    return Shades()


@pytest.fixture
def begin(desk: Desk, model: Shades) -> Iterator[Callable[..., ManyJob]]:
    jobs: list[ManyJob] = []

    def make(
        files: Sequence[PictureFile] = (), *, finish: bool = True, expected: int = 0, threshold: float | None = None
    ) -> ManyJob:
        asked: Any = {"model": "shades", "expected": expected or len(files), "threshold": threshold}
        jobs.append(ManyJob(desk, model, **asked))  # type: ignore[arg-type]
        jobs[-1].add(files)
        if finish:
            jobs[-1].finish()
        return jobs[-1]

    yield make
    model.gate.set()
    for job in jobs:
        job.close()
        job.join(LIMIT)


def wait_until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.005)


def ended(job: ManyJob) -> dict[str, Any]:
    """All news of a job, once it has ended."""
    job.join(LIMIT)
    told, rows = job.news(0), []
    while len(rows) < told["done"]:
        rows += job.news(len(rows))["rows"]
    return told | {"rows": rows}


# Rows


@pytest.mark.parametrize(("needed", "decoded"), [(1100, 1200), (500, 600), (100, 300)])
def test_a_large_jpeg_is_decoded_with_the_pixels_the_model_needs(model: Shades, needed: int, decoded: int):
    stream = io.BytesIO()
    Image.new("RGB", (1600, 1200), "gray").save(stream, "JPEG")
    model.draft_size = needed
    opened = open_picture(PictureFile(name="large.jpg", content=stream.getvalue()), model)  # type: ignore[arg-type]
    assert min(opened.square.size) == decoded, "half and quarter sizes cost less, and nothing smaller than it needs"


@pytest.mark.parametrize("count", [1, BATCH, 2 * BATCH + 3])
def test_every_picture_becomes_a_row_in_its_order_and_the_last_few_are_not_lost(
    begin: Callable[..., ManyJob], model: Shades, count: int
):
    told = ended(begin([picture(number) for number in range(count)]))
    assert told["state"] == "done"
    assert [row["name"] for row in told["rows"]] == [f"{number}.png" for number in range(count)]
    assert [row["n"] for row in told["rows"]] == list(range(count))
    for number, row in enumerate(told["rows"]):
        assert dict(map(tuple, row["ranked"]))[1] == pytest.approx(number / 255, abs=0.01)
    assert sum(model.batches) == count
    assert max(model.batches) <= BATCH


def test_the_threshold_of_the_page_decides_what_is_refused_and_counted(begin: Callable[..., ManyJob], model: Shades):
    files = [picture(number) for number in (10, 100, 200)]
    told = ended(begin(files, threshold=0.5))
    assert [row["unknown"] for row in told["rows"]] == [True, True, False]
    assert told["tally"]["unknown"] == 2
    assert told["about"]["threshold"] == 0.5
    assert not any(row["unknown"] for row in ended(begin(files))["rows"]), "without one the model decides"
    model.checkpoint.unknown_threshold = None
    told = ended(begin(files, threshold=0.5))
    assert not any(row["unknown"] for row in told["rows"]), "a model that never refuses has no threshold to move"
    assert told["about"]["threshold"] is None


def test_a_broken_file_is_a_row_with_its_reason_and_the_others_are_answered(begin: Callable[..., ManyJob]):
    files = [picture(number) for number in range(10)]
    files[3] = PictureFile(name="roses/empty.jpg", content=b"")
    files[9] = PictureFile(name="half.png", content=png(9)[:60])
    told = ended(begin(files))
    assert [bool(row.get("reason")) for row in told["rows"]] == [n in (3, 9) for n in range(10)]
    assert told["rows"][3]["reason"] == "empty.jpg is empty (0 bytes)."
    assert "half.png is" in told["rows"][9]["reason"]
    assert told["rows"][3]["ranked"] == []
    assert told["tally"]["broken"] == 2
    assert sum(told["tally"]["counts"]) == 8


def test_a_picture_that_breaks_the_network_fails_alone(begin: Callable[..., ManyJob]):
    files = [picture(number) for number in range(BATCH)]
    files[5] = PictureFile(name="red.png", content=png((255, 0, 0)))
    told = ended(begin(files))
    assert [bool(row.get("reason")) for row in told["rows"]] == [n == 5 for n in range(BATCH)]
    assert "invalid numbers" in told["rows"][5]["reason"]


def test_names_reach_the_page_as_one_line_of_text_and_thumbnails_are_small(begin: Callable[..., ManyJob]):
    files = [
        PictureFile(name=HOSTILE, content=png(9, (900, 300))),
        PictureFile(name="../../x.png", content=png(9)),
        PictureFile(name="x" * 300 + ".png", content=png(9)),
    ]
    first, second, third = ended(begin(files))["rows"]
    assert first["name"] == "a/<img src=x onerror=alert(1)> ${x}.png"
    assert second["name"] == "../../x.png"
    assert len(third["name"]) == 200
    with Image.open(io.BytesIO(base64.b64decode(first["thumb"]))) as small:
        assert (small.format, max(small.size)) == ("JPEG", THUMBNAIL_SIDE)


def test_folders_named_after_classes_are_compared_with_the_answers(begin: Callable[..., ManyJob]):
    names = [("dark/a.png", 10), ("dark/b.png", 240), ("light/c.png", 240), ("other/d.png", 240), ("light/e.png", 255)]
    told = ended(begin([PictureFile(name=name, content=png(shade)) for name, shade in names]))
    assert [row["truth"] for row in told["rows"]] == [0, 0, 1, None, 1]
    assert (told["tally"]["judged"], told["tally"]["right"]) == (4, 2)  # the last counts as not known
    assert told["tally"]["confusion"] == [[1, 1, 0], [0, 1, 1]]
    lines = begin([]).csv().splitlines()
    assert lines[0].startswith("\ufefffile,")


def test_a_reader_gets_every_row_once_whenever_it_asks(begin: Callable[..., ManyJob], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(many_job, "ROWS_AT_ONCE", 7)
    job = begin(finish=False, expected=30)
    job.add([picture(number) for number in range(12)])
    wait_until(lambda: job.news(10**6)["done"] == 12)
    early = job.news(0)
    assert (early["state"], early["total"], early["cursor"], len(early["rows"])) == ("running", 30, 7, 7)
    assert early["about"]["classes"] == ["dark", "light"]
    job.add([picture(number) for number in range(12, 20)])
    job.finish()
    job.join(LIMIT)
    seen, cursor = [], 0
    while (told := job.news(cursor))["rows"]:
        seen += [row["name"] for row in told["rows"]]
        cursor = told["cursor"]
    assert seen == [f"{number}.png" for number in range(20)]
    assert (told["state"], told["total"], told["done"]) == ("done", 20, 20)
    assert "about" not in told


# Ending


def test_cancel_ends_within_a_batch_and_keeps_what_is_there(begin: Callable[..., ManyJob], model: Shades):
    model.gate.clear()
    job = begin([picture(number) for number in range(50)])
    assert model.entered.wait(LIMIT)
    job.cancel()
    assert job.news(0)["state"] == "running"  # the batch under way is still to come
    model.gate.set()
    told = ended(job)
    assert told["state"] == "cancelled"
    assert len(model.batches) == 1
    assert len(told["rows"]) == model.batches[0]
    assert job.add([picture(1)]) == 0
    assert job.csv().count("\r\n") == 1 + len(told["rows"])


def test_pictures_over_the_limit_are_refused_and_counted(
    begin: Callable[..., ManyJob], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(many_job, "MOST_PICTURES", 10)
    job = begin(finish=False)
    assert job.add([picture(number) for number in range(7)], ignored=2) == 7
    assert job.add([picture(number) for number in range(7, 15)]) == 3
    job.finish()
    told = ended(job)
    assert (told["done"], told["refused"], told["ignored"]) == (10, 5, 2)


def test_a_page_that_goes_away_while_sending_leaves_what_it_sent(
    begin: Callable[..., ManyJob], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(many_job, "GIVEN_UP_SECONDS", -1.0)
    told = ended(begin([picture(number) for number in range(3)], finish=False, expected=9))
    assert (told["state"], told["done"], told["total"]) == ("abandoned", 3, 3)


def test_a_page_that_only_looks_on_does_not_keep_a_batch_waiting_for_pictures(
    begin: Callable[..., ManyJob], monkeypatch: pytest.MonkeyPatch
):
    job = begin([picture(1)], finish=False)
    monkeypatch.setattr(many_job, "GIVEN_UP_SECONDS", 1000.0)
    wait_until(lambda: job.news(0)["done"] == 1)
    job.last_sent -= 900
    job.still_sending()
    assert job.running
    job.last_sent -= 1001
    wait_until(lambda: job.news(0)["state"] == "abandoned")  # asked all the time


def test_what_is_sent_again_after_a_lost_reply_is_taken_once(begin: Callable[..., ManyJob], packed: Path):
    job = begin(finish=False)
    files = [picture(number) for number in range(7)]
    assert job.add(files[:3], at=0) == 3
    assert job.add(files[:3], at=0) == 3  # told as taken, since their rows are there
    assert job.add(files[2:5], at=2) == 3
    assert job.add(files[6:], at=6) == 1  # one before was refused by itself
    assert job.add_zip(open_archive(packed), at=7) == 3
    assert job.add_zip(open_archive(packed), at=7) == 0
    job.finish()
    told = ended(job)
    names = [f"{number}.png" for number in (0, 1, 2, 3, 4, 6)] + ["dark/1.png", "dark/2.png", "light/3.png"]
    assert [row["name"] for row in told["rows"]] == names
    assert (told["refused"], told["total"]) == (0, 9)


def test_the_sender_waits_for_room_counted_in_files_and_in_bytes(
    begin: Callable[..., ManyJob], model: Shades, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(many_job, "MOST_WAITING_BYTES", 2 * len(png(1)))
    model.gate.clear()
    job = begin([picture(1)], finish=False)
    assert not job.crowded
    job.add([picture(1)])
    assert model.entered.wait(LIMIT)
    assert job.crowded  # also those that are being opened and answered
    model.gate.set()
    wait_until(lambda: job._held_bytes == 0)
    assert not job.crowded


def test_an_app_that_ends_says_so(begin: Callable[..., ManyJob], desk: Desk):
    desk.close()
    told = ended(begin([picture(1)]))
    assert told["state"] == "failed"
    assert "shutting down" in told["reason"]


# Others


def test_other_visitors_come_in_between_two_batches(begin: Callable[..., ManyJob], model: Shades, desk: Desk):
    model.gate.clear()
    job = begin([picture(number) for number in range(5 * BATCH)])
    assert model.entered.wait(LIMIT)
    seen: list[int] = []
    visitor = threading.Thread(target=lambda: seen.append(desk.run(lambda: len(model.batches))))
    visitor.start()
    wait_until(lambda: len(desk._waiting) == 1)
    model.gate.set()
    visitor.join(LIMIT)
    assert seen == [1]
    assert ended(job)["done"] == 5 * BATCH


def test_a_full_desk_is_asked_again_later(begin: Callable[..., ManyJob], desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(many_job, "BUSY_SECONDS", 0.0)
    refusals, run = iter([True, True]), desk.run

    def busy(work: Callable[[], Any]) -> Any:
        if next(refusals, False):
            raise DeviceError("64 people are waiting already; try again in about 3 s.")
        return run(work)

    monkeypatch.setattr(desk, "run", busy)
    told = ended(begin([picture(1), picture(2)]))
    assert (told["state"], told["done"], told["tally"]["broken"]) == ("done", 2, 0)


def test_programs_get_an_error_in_the_place_of_what_was_not_answered(desk: Desk, model: Shades):
    files = [picture(1), PictureFile(name="no.png", content=b""), picture(3)]
    answers = list(answer_all(desk, model, files, top_k=1))  # type: ignore[arg-type]
    assert [isinstance(answer, ResNetLabError) for answer in answers] == [False, True, False]
    desk.close()
    refused = list(answer_all(desk, model, files))  # type: ignore[arg-type]
    assert [type(answer).__name__ for answer in refused] == ["DeviceError", "ImageError", "DeviceError"]


# Zips


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, shade in (("dark/2.png", 9), ("dark/1.png", 8), ("light/3.png", 230)):
            archive.writestr(name, png(shade, (900, 600)))
        archive.writestr("notes.txt", "x")
    return path


def test_a_zip_is_all_its_pictures_and_each_can_be_looked_at_again(begin: Callable[..., ManyJob], packed: Path):
    job = begin([picture(7)], finish=False)
    assert job.add_zip(open_archive(packed)) == 3
    job.finish()
    told = ended(job)
    assert [row["name"] for row in told["rows"]] == ["7.png", "dark/1.png", "dark/2.png", "light/3.png"]
    assert (told["ignored"], told["tally"]["right"], told["total"]) == (1, 3, 4)
    again = job.picture(1)
    assert again
    with Image.open(io.BytesIO(again)) as larger:
        assert max(larger.size) == many_job.LARGE_SIDE
    assert [job.picture(row) for row in (0, 4, -1)] == [None, None, None]
    job.close()
    assert job.picture(1) is None
    packed.unlink()  # on Windows only possible once it is closed


def test_a_zip_of_which_nothing_is_taken_is_closed_at_once(
    begin: Callable[..., ManyJob], packed: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(many_job, "MOST_PICTURES", 1)
    job = begin([picture(1)], finish=False)
    archive = open_archive(packed)
    assert job.add_zip(archive) == 0
    with pytest.raises(ResNetLabError, match="already closed"):
        archive.read(archive.members[0])
    assert job.news(0)["refused"] == 3


def test_a_zip_that_comes_after_the_end_is_closed(begin: Callable[..., ManyJob], packed: Path):
    job = begin([])
    job.join(LIMIT)
    archive = open_archive(packed)
    assert job.add_zip(archive) == 0
    with pytest.raises(ResNetLabError, match="already closed"):
        archive.read(archive.members[0])


# All jobs


@pytest.fixture
def jobs(desk: Desk, model: Shades) -> Iterator[ManyJobs]:
    def classifier(name: str) -> Shades:
        if name != "shades":
            raise CheckpointError(f"There is no model “{name}”; use flowers.")
        return model

    made = ManyJobs(SimpleNamespace(desk=desk, classifier=classifier))  # type: ignore[arg-type]
    yield made
    made.close()


def test_only_so_many_batches_at_once_and_those_done_make_room(jobs: ManyJobs):
    started = [jobs.start("shades", expected=1) for _ in range(MOST_JOBS)]
    with pytest.raises(RunError, match=r"4 batches are being worked on already; try again when one is done\."):
        jobs.start("shades", expected=1)
    started[2].finish()
    started[2].join(LIMIT)
    assert jobs.find(started[2].id) is started[2]  # asking after one drops nothing
    newest = jobs.start("shades", expected=1)
    with pytest.raises(RunError, match="no longer kept"):
        jobs.find(started[2].id)
    assert [jobs.find(job.id) for job in (started[0], started[1], started[3], newest)]


def test_the_answers_before_stay_until_the_next_batch_has_started(jobs: ManyJobs):
    ask = make_ask(jobs)
    others = [jobs.start("shades", expected=1) for _ in range(MOST_JOBS - 1)]
    mine = ask({"what": "start", "model": "shades", "count": 1})["job"]
    assert "There is no model" in ask({"what": "start", "model": "rust", "count": 1, "previous": mine})["error"]
    assert jobs.find(mine)
    again = ask({"what": "start", "model": "shades", "count": 1, "previous": mine})["job"]  # takes the place of the one
    assert ask({"what": "news", "job": mine, "cursor": 0})["gone"] is True
    assert [jobs.find(job.id).running for job in others] == [True] * len(others)
    assert "being worked on" in ask({"what": "start", "model": "shades", "count": 1, "previous": "x"})["error"]
    assert jobs.find(again)


def test_a_job_is_dropped_an_hour_after_the_last_look_and_when_its_page_says_so(jobs: ManyJobs):
    old, other = jobs.start("shades", expected=1), jobs.start("shades", expected=1)
    old.touched -= KEEP_SECONDS + 1
    with pytest.raises(RunError, match="no longer kept"):
        jobs.find(old.id)
    assert not old.running
    jobs.forget(other.id)
    jobs.forget(other.id)
    assert not other.running
    assert many_jobs.MOST_JOBS * many_job.MOST_PICTURES <= 20_000  # thumbnails of 5 kB: 100 MB


def test_a_job_is_dropped_although_nobody_asks_after_anything(jobs: ManyJobs):
    old, young = jobs.start("shades", expected=1), jobs.start("shades", expected=1)
    old.touched -= KEEP_SECONDS + 1
    jobs.sweep()
    assert [old.running, young.running] == [False, True]
    assert KEEP_SECONDS + SWEEP_EVERY <= 3600  # what the page promises


def test_ids_cannot_be_guessed(jobs: ManyJobs):
    ids = {jobs.start("shades", expected=0).id for _ in range(3)}
    assert len(ids) == 3
    assert min(map(len, ids)) >= 22  # 128 bits


def test_what_the_page_asks_is_answered(jobs: ManyJobs):
    ask = make_ask(jobs)
    started = ask([{"what": "start", "model": "shades", "count": 6000, "ignored": 2}])
    assert started["most"] == many_job.MOST_PICTURES
    job = started["job"]
    assert jobs.find(job).add([picture(3)]) == 1
    assert ask({"what": "finish", "job": job}) == {}
    jobs.find(job).join(LIMIT)
    news = ask({"what": "news", "job": job, "cursor": 0})
    assert (news["state"], news["done"], news["refused"], news["ignored"]) == ("done", 1, 1000, 2)
    assert ask({"what": "csv", "job": job})["csv"].startswith("\ufefffile,")
    assert ask({"what": "picture", "job": job, "row": 0}) == {"picture": ""}
    again = ask({"what": "start", "model": "shades", "count": 1, "previous": job})
    assert ask({"what": "news", "job": job, "cursor": 0})["gone"] is True
    assert ask({"what": "cancel", "job": again["job"]}) == {}


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        (None, "in a form this app does not know"),
        ([1, 2], "in a form this app does not know"),
        ({"what": "format", "job": "x"}, "in a form this app does not know"),
        ({"what": ["news"]}, "in a form this app does not know"),
        ({"what": "news", "job": "x", "cursor": 0}, "no longer kept"),
        ({"what": "news", "job": 7, "cursor": 0}, "job must be a short text"),
        ({"what": "cancel", "job": "x" * 301}, "job must be a short text"),
        ({"what": "start", "model": "shades", "count": -1}, "count must be a whole number"),
        ({"what": "start", "model": "shades", "count": True}, "count must be a whole number"),
        ({"what": "start", "model": "shades", "count": 1, "threshold": 1.5}, "threshold must be a number from 0 to 1"),
        ({"what": "start", "model": "shades", "count": 1, "threshold": "1"}, "threshold must be a number from 0 to 1"),
        ({"what": "start", "model": "../../etc/passwd", "count": 1}, "There is no model"),
    ],
)
def test_any_question_gets_an_answer_and_never_a_traceback(jobs: ManyJobs, question: object, sentence: str):
    reply = make_ask(jobs)(question)
    assert sentence in reply["error"]
    assert reply.get("gone", False) == ("no longer kept" in sentence)


def test_the_pace_is_that_of_the_last_seconds():
    now = [100.0]
    pace = Pace(lambda: now[0])
    assert pace.per_second == 0
    for _ in range(20):
        now[0] += 1
        pace.add(5)
    assert pace.per_second == pytest.approx(5)
    for _ in range(int(WINDOW) + 2):
        now[0] += 1
        pace.add(40)
    assert pace.per_second == pytest.approx(40)


def test_every_word_of_the_table_is_there_in_both_languages_and_used():
    script = table_script().partition("const LIMITS")[2]
    for key, (english, chinese) in TABLE_WORDS.items():
        assert english
        assert chinese
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), key
        assert key in ENDINGS or re.search(rf"\b{key}\b", script), key
