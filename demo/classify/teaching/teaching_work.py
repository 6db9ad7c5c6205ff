"""What the buttons of “Teach” do, without a page: teach, put on the shelf, ask, promote to a fine-tuning."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from demo.classify.one_photo import answer_html
from demo.classify.sureness import per_cent
from demo.classify.teaching.teaching_board.board_requests import decode_picture, read_request
from demo.classify.teaching.teaching_board.classroom import Classroom
from demo.classify.teaching.teaching_board.classrooms import Classrooms
from demo.services import Services
from demo.text import say
from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import ReadImage, read_image
from resnet_core.errors import CheckpointError, DatasetError, ResNetLabError
from resnet_core.inference.shelf import PREFIX, ModelEntry, ModelShelf, shelf_of

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_core.training.checkpoint import Checkpoint
    from resnet_core.training.looking import Backbone, LookMemory
    from resnet_core.training.runs import Run
    from resnet_core.training.teaching import TeachingReport

log = logging.getLogger(__name__)

ANSWERS = 5  # bars
MAX_TITLE = 60

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A finished teaching: the model's place on the shelf and what there is to say about it."""

    entry: ModelEntry
    report: TeachingReport
    refuses_unknown: bool


class TeachingWork:
    """One for the app. What was computed of pictures is kept here, so teaching again costs only the new ones."""

    def __init__(self, services: Services, rooms: Classrooms) -> None:
        self.services = services
        self.rooms = rooms
        self._memory: LookMemory | None = None

    def teach(self, session: object, model: str, title: str, *, progress: Progress | None = None) -> Lesson:
        """Teaches the session's classes to a copy of `model` and puts it on the shelf. Raises ResNetLabError."""
        from resnet_core.inference.taught import refusing_unknown, remember_pictures
        from resnet_core.training.teaching import teach

        self.services.store.check_writable()
        room = self.rooms.open(session)
        classes = [each.name for each in room.classes()]
        taught = teach(
            room.examples(),
            self._backbone(model),
            classes=classes,
            memory=self._looks(),
            progress=progress,
            in_turn=self.services.desk.run,
        )
        checkpoint = refusing_unknown(taught, in_turn=self.services.desk.run)
        entry = self._store(room, checkpoint, taught.state_dict, visible_text(title)[:MAX_TITLE])
        if self.services.local:  # on a server others would see them
            with contextlib.suppress(CheckpointError):  # removed from another window in this moment
                remember_pictures(taught, shelf_of(self.services.store).pictures(entry.name))
        return Lesson(entry=entry, report=taught.report, refuses_unknown=checkpoint.unknown is not None)

    def _store(self, room: Classroom, checkpoint: Checkpoint, weights: dict[str, Tensor], title: str) -> ModelEntry:
        """Puts the model on the shelf, in place of the one that was taught here before under the same title."""
        shelf = shelf_of(self.services.store)
        own, own_title = _own(room, shelf)
        old = own if own_title == title.casefold() else ""
        free = _free_title(title, [entry.title for entry in shelf.list() if entry.name != old])
        if old:  # under the same file name: whoever has chosen it gets what was taught now
            entry = shelf.replace(old, checkpoint, weights, title=free)
        else:
            entry = shelf.add(checkpoint, weights, name=free)
        try:
            room.note_taught(f"{_mark(shelf, entry.name)}|{title.casefold()}")
        except DatasetError:  # the disk is full: the model is there, only not replaced next time
            log.warning("could not note which model was taught", exc_info=True)
        return entry

    def taught(self, session: object) -> str:
        """The shelf's name of what the session taught last; "" where it has gone. Raises DatasetError."""
        return _own(self.rooms.open(session), shelf_of(self.services.store))[0]

    def promote(self, session: object, model: str, way: str) -> tuple[Run, int, int]:
        """Writes the pictures as a data set and starts a training from the taught model; (run, train, val pictures)."""
        from resnet_core.training.presets import make_config
        from resnet_core.training.promotion import fine_tuning_settings, val_pictures, write_dataset
        from resnet_core.training.teaching import gather, save_start

        room = self.rooms.open(session)
        runner, backbone = self.services.runner, self._backbone(_taught(model))
        classes = [each.name for each in room.classes()]
        material = gather(room.examples(), backbone, self._looks(), classes=classes, in_turn=self.services.desk.run)
        title = next((e.title for e in shelf_of(self.services.store).list() if e.name == model), model)
        place = self.services.data_dir / "taught" / f"{model.removeprefix(PREFIX)}-{time.strftime('%Y%m%d-%H%M%S')}"
        folder, start = place.resolve(), place.resolve().with_name(f"{place.name}.safetensors")
        settings = fine_tuning_settings(backbone.checkpoint, way=way)
        config = make_config(dataset=str(folder), init_from=str(start), name=title, **settings)
        val = val_pictures(material)
        write_dataset(material, folder, val)
        try:
            # not the taught model itself: its head has learned from what now judges the training
            self.services.desk.run(partial(save_start, material, backbone, val, start))
            return runner.start(config), int((~val).sum()), int(val.sum())
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            start.unlink(missing_ok=True)
            raise

    def answer(self, picture: ReadImage, model: str, language: str) -> str:
        """The card of what the taught model says to a photo. Raises ResNetLabError."""
        return answer_html(self.services, picture, _taught(model), ANSWERS, language)[0]

    def answer_camera(self, request: object) -> dict[str, Any]:
        """What it says to a frame that a script has sent: {"headline", "sure", "bars": [{"label", "share", "said",
        "color"}]}, or {"error": sentence}; never raises."""
        try:
            asked = read_request(request)
            language = "zh" if str(asked.get("language", "")).startswith("zh") else "en"
            return self._answer_frame(decode_picture(asked.get("content")), str(asked.get("model") or ""), language)
        except ResNetLabError as error:
            return {"error": str(error)}
        except Exception:
            log.exception("the camera's picture could not be answered")
            return {"error": "Something unexpected went wrong; the log of the app says more."}

    def _answer_frame(self, content: bytes, model: str, language: str) -> dict[str, Any]:
        classifier = self.services.classifier(_taught(model))
        image = read_image(io.BytesIO(content), name="camera picture", draft_size=classifier.draft_size)
        result = self.services.desk.classify(classifier, image, top_k=ANSWERS).result()  # it may be replaced meanwhile
        best = result.predictions[0]
        place = {name: index for index, name in enumerate(classifier.class_names)}
        bars = [
            {
                "label": visible_text(each.label),
                "share": each.probability,
                "said": per_cent(each.probability),
                "color": place[each.label],
            }
            for each in result.predictions
        ]
        nearest = say("nearest", language, label=visible_text(best.label))
        headline = say("unknown", language) if result.unknown else visible_text(best.label)
        return {"headline": headline, "sure": nearest if result.unknown else per_cent(best.probability), "bars": bars}

    def room(self, session: object) -> Classroom:
        """The visitor's classes."""
        return self.rooms.open(session)

    def _looks(self) -> LookMemory:
        if self._memory is None:
            from resnet_core.training.looking import LookMemory

            self._memory = LookMemory()
        return self._memory

    def _backbone(self, model: str) -> Backbone:
        from resnet_core.training.looking import make_backbone

        classifier = self.services.classifier(model)
        title = next((entry.title for entry in self.services.models() if entry.name == model), model)
        return self.services.desk.run(partial(make_backbone, title, classifier.checkpoint, classifier.model))


def _mark(shelf: ModelShelf, name: str) -> str:
    """Tells a model from a later one of the same file name; "" where there is none."""
    try:
        return f"{name}@{shelf.path(name).stat().st_mtime_ns}"
    except (CheckpointError, OSError):
        return ""


def _own(room: Classroom, shelf: ModelShelf) -> tuple[str, str]:
    """Name and folded title of the model taught last in this room; "" where it has gone, or another is in its place."""
    mark, _, title = room.taught().partition("|")
    name = mark.rpartition("@")[0]
    return (name, title) if name and _mark(shelf, name) == mark else ("", "")


def _free_title(title: str, others: Iterable[str]) -> str:
    """The title, with a number where another model has it already."""
    taken = {other.casefold() for other in others}
    numbered = (f"{title[: MAX_TITLE - len(end)].rstrip()}{end}" for end in map(" {}".format, itertools.count(2)))
    return next(each for each in itertools.chain([title], numbered) if each.casefold() not in taken)


def _taught(model: str) -> str:
    """The name, if it is one of the shelf. Raises DatasetError."""
    if not model.startswith(PREFIX):
        raise DatasetError(say("teaching_not_yet"))
    return model
