"""One batch of pictures, however many, for one model.

    job.add(files); job.finish()      files may come in any number of parts
    job.news(cursor)                  rows since the cursor, counts, pace; any number of readers
    job.cancel()                      within one batch of eight

A job has a thread of its own, which ends with the last picture. Pictures wait as files, at most a few of them opened.
"""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from demo.classify.many.many_answers import OpenedPicture, answer_together, open_picture, small_jpeg
from demo.classify.many.many_rows import about_json, row_json
from demo.classify.many.pace import Pace
from demo.classify.sureness import at_threshold
from demo.desk import BATCH, CLOSED, Desk
from resnet_core.data.archive import Archive
from resnet_core.data.picture_files import PictureFile, pictures_of_zip, shown_name
from resnet_core.errors import DeviceError, ImageError, ResNetLabError
from resnet_core.inference.batch_report import NAME_LIMIT, BatchRow, Tally, answered_row, csv_text, truth_of

if TYPE_CHECKING:
    from resnet_core.inference.classifier import Classification, Classifier

log = logging.getLogger(__name__)

MOST_PICTURES = 5000  # a job; about 25 MB of thumbnails
GIVEN_UP_SECONDS = 180.0  # without a byte from the page that is still to send pictures; its questions do not count
MOST_WAITING = 4 * BATCH  # pictures received and not opened, before the sender has to wait
MOST_WAITING_BYTES = 128 * 2**20  # the same, of pictures received and not answered
OPEN_AHEAD = 2 * BATCH
ROWS_AT_ONCE = 100  # a reply; about 0.7 MB
LARGE_SIDE = 640  # px of a picture shown by itself
BUSY_SECONDS = 0.5  # until a full desk is asked again

Opening = Future[OpenedPicture | ImageError]


class ManyJob:
    """One batch of pictures for one model; every method may be called from any thread."""

    def __init__(
        self, desk: Desk, classifier: "Classifier", *, model: str, expected: int, threshold: float | None = None
    ) -> None:
        self.id = secrets.token_urlsafe(16)
        self.touched = self.last_sent = time.monotonic()
        self._desk = desk
        self._model = model
        self._classifier = classifier
        self._threshold = threshold if classifier.checkpoint.unknown_threshold is not None else None
        self._tally = Tally(classes=len(classifier.class_names))
        self._rows: list[BatchRow] = []
        self._thumbnails: list[bytes] = []
        self._kept: list[PictureFile | None] = []  # of each row, where the picture can be read again: in a zip
        self._files: deque[PictureFile] = deque()
        self._archives: list[Archive] = []
        self._held_bytes = 0  # of the pictures not answered yet
        self._next = 0  # place in the page's list of the first file that has not come
        self._accepted = self._refused = self._ignored = 0
        self._expected = max(0, expected)
        self._pace = Pace()
        self._verdict: tuple[str, str] | None = None  # how it is to end and why; the batch under way is still kept
        self._over = False
        self._complete = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="many", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """True until the last picture is answered or the job is cancelled."""
        return self._verdict is None

    @property
    def crowded(self) -> bool:
        """True while whoever sends pictures should wait before sending more."""
        full = len(self._files) >= MOST_WAITING or self._held_bytes >= MOST_WAITING_BYTES
        return self.running and full

    def still_sending(self) -> None:
        """Notes that the sender is there: something arrives, or waits for room."""
        self.last_sent = time.monotonic()

    def add(self, files: Sequence[PictureFile], *, ignored: int = 0, at: int | None = None) -> int:
        """Takes the pictures up to the limit; how many were taken. The rest are counted as refused.

        `at` is the place of the first one in the sender's list: those that came before are not taken twice, but told.
        """
        with self._news:
            self._touch()
            self.still_sending()
            here = 0 if at is None else min(len(files), max(0, self._next - at))
            files = files[here:]
            self._next = self._next if at is None else max(self._next, at + here + len(files))
            taken = files[: max(0, MOST_PICTURES - self._accepted)] if self.running and not self._complete else ()
            self._files.extend(taken)
            self._held_bytes += sum(map(_bytes_of, taken))
            self._accepted += len(taken)
            self._refused += len(files) - len(taken)
            self._ignored += ignored
            self._news.notify_all()
        return here + len(taken)

    def add_zip(self, archive: Archive, *, at: int | None = None) -> int:
        """Takes the pictures of a zip, and the duty to close it; how many were taken. None of one that is here."""
        with self._news:
            self.still_sending()
            if at is not None and at < self._next:
                archive.close()
                return 0
            self._next = self._next if at is None else at + 1
            self._archives.append(archive)
        found = pictures_of_zip(archive)
        with self._news:
            self._expected += min(len(found.pictures), max(0, MOST_PICTURES - self._accepted))
        taken = self.add(found.pictures, ignored=found.ignored)
        if not taken:
            with self._news:
                self._archives.remove(archive)
                archive.close()
        return taken

    def refuse(self, count: int, *, ignored: int = 0) -> None:
        """Counts pictures that were not even sent."""
        with self._news:
            self._refused += max(0, count)
            self._ignored += max(0, ignored)

    def finish(self) -> None:
        """Says that no more pictures will come."""
        with self._news:
            self._touch()
            self._complete = True
            self._news.notify_all()

    def cancel(self) -> None:
        """Ends the job after the batch under way; the rows so far stay."""
        self._end("cancelled")

    def news(self, cursor: int) -> dict[str, Any]:
        """Rows after the first `cursor` ones, at most ROWS_AT_ONCE, and how the job is doing."""
        with self._news:
            self._touch()
            rows = self._rows[cursor : cursor + ROWS_AT_ONCE]
            thumbnails = self._thumbnails[cursor : cursor + ROWS_AT_ONCE]
            told = self._standing() | {"cursor": cursor + len(rows)}
        if cursor == 0:
            told["about"] = about_json(self._model, self._classifier.class_names, self._threshold)
        numbered = enumerate(zip(rows, thumbnails, strict=True), cursor)
        return told | {"rows": [row_json(number, row, small) for number, (row, small) in numbered]}

    def csv(self) -> str:
        """The table so far, as a CSV for spreadsheets."""
        with self._news:
            self._touch()
            rows = list(self._rows)
        return csv_text(rows, self._classifier.class_names)

    def picture(self, row: int) -> bytes | None:
        """A larger JPEG of a row's picture where it lies in a zip; None where only the page still has it."""
        with self._news:
            self._touch()
            file = self._kept[row] if 0 <= row < len(self._kept) else None
        try:
            return small_jpeg(file.read(draft_size=LARGE_SIDE).image, LARGE_SIDE) if file else None
        except ImageError:
            return None

    def close(self) -> None:
        """Ends the job and gives its zips back."""
        self.cancel()
        with self._news:
            for archive in self._archives:
                archive.close()

    def join(self, timeout: float) -> None:
        """Waits for the job's thread."""
        self._thread.join(timeout)

    def _touch(self) -> None:
        self.touched = time.monotonic()

    def _standing(self) -> dict[str, Any]:
        done, expected = len(self._rows), max(self._expected, self._accepted)
        state, reason = self._verdict if self._verdict and self._over else ("running", "")
        rate = self._pace.per_second
        return {
            "job": self.id,
            "state": state,
            "reason": reason,
            "done": done,
            "total": done if self._over else expected,
            "rate": round(rate, 1),
            "left": round((expected - done) / rate, 1) if rate else None,
            "refused": self._refused,
            "ignored": self._ignored,
            "tally": self._tally.to_json(),
        }

    def _work(self) -> None:
        from resnet_core.inference.reading import reading_pool

        pool = reading_pool()
        opening: deque[tuple[PictureFile, Opening]] = deque()
        try:
            while self.running:
                self._open_more(pool, opening)
                if opening:
                    self._answer(_next_batch(opening))
                elif self._done_or_given_up():
                    break
        except Exception as error:  # the page learns of it; the thread must not die silently
            if not isinstance(error, ResNetLabError):
                log.exception("a batch of pictures broke off")
            sentence = str(error) if isinstance(error, ResNetLabError) else "The batch broke off; the log says more."
            self._end("failed", sentence)
        finally:
            self._over = True  # only now: a reader that is told the end has all rows to come
            pool.shutdown(wait=False, cancel_futures=True)

    def _open_more(self, pool: Any, opening: deque[tuple[PictureFile, Opening]]) -> None:
        """Keeps some pictures being opened; waits a moment where there are none at all."""
        from resnet_core.inference.reading import done_or_error

        with self._news:
            while self._files and len(opening) < OPEN_AHEAD:
                file = self._files.popleft()
                task = partial(open_picture, file, self._classifier, thumbnail=True)
                opening.append((file, pool.submit(done_or_error, task)))
            if not opening and not self._complete and self.running:
                self._news.wait(1.0)

    def _done_or_given_up(self) -> bool:
        """Ends the job where nothing is left to do, or nobody sends any more."""
        with self._news:
            if self._files:
                return False
            if self._complete:
                self._end("done")
            elif time.monotonic() - self.last_sent > GIVEN_UP_SECONDS:
                self._end("abandoned")
            return not self.running

    def _answer(self, batch: list[tuple[PictureFile, Opening]]) -> None:
        opened = [future.result() for _, future in batch]
        while self.running:
            try:
                answers = answer_together(self._desk, self._classifier, opened)
            except DeviceError as error:
                if str(error) == CLOSED:
                    raise
                time.sleep(BUSY_SECONDS)  # many visitors wait: they go first
                continue
            found = zip(batch, answers, opened, strict=True)
            rows = [self._row(file, answer, item) for (file, _), answer, item in found]
            self._keep([file for file, _ in batch], rows, [getattr(item, "thumbnail", b"") for item in opened])
            return

    def _row(
        self, file: PictureFile, answer: "Classification | ResNetLabError", opened: OpenedPicture | ImageError
    ) -> BatchRow:
        names = self._classifier.class_names
        shown, truth = shown_name(file.name, NAME_LIMIT), truth_of(file.name, names)
        if isinstance(answer, ResNetLabError):
            return BatchRow(name=shown, reason=str(answer), truth=truth)
        answer = at_threshold(answer, self._classifier.checkpoint, self._threshold)
        return answered_row(shown, answer, names, notes=getattr(opened, "notes", ()), truth=truth)

    def _keep(self, files: list[PictureFile], rows: list[BatchRow], thumbnails: list[bytes]) -> None:
        with self._news:
            self._kept += [file if callable(file.content) else None for file in files]
            self._held_bytes -= sum(map(_bytes_of, files))
            self._rows += rows
            self._thumbnails += thumbnails
            for row in rows:
                self._tally.add(row)
            self._pace.add(len(rows))

    def _end(self, state: str, reason: str = "") -> None:
        with self._news:
            if self.running:
                self._verdict = state, reason
                self._files.clear()
            self._news.notify_all()


def _bytes_of(file: PictureFile) -> int:
    return len(file.content) if isinstance(file.content, bytes) else 0


def _next_batch(opening: deque[tuple[PictureFile, Opening]]) -> list[tuple[PictureFile, Opening]]:
    """The first picture, waited for, and those right behind it that are open already, up to a batch."""
    opening[0][1].result()
    batch = [opening.popleft()]
    while opening and len(batch) < BATCH and opening[0][1].done():
        batch.append(opening.popleft())
    return batch
