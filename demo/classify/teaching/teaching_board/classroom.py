"""What a visitor has collected: classes and their pictures, in a folder of the visitor's own below the cache.

    <cache>/teaching/<session>/classes.json     names and order, what is known of each picture, the model taught last
                               p17.jpg, t17.jpg  a picture as it is kept, and its thumbnail

Every method of a `Classroom` says in a sentence what it refuses.
"""

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from resnet_core.data.image_gate import visible_text
from resnet_core.data.images import display_name, read_image
from resnet_core.data.kept_pictures import KEPT_DRAFT, encode_kept, encode_thumbnail, suffix_of
from resnet_core.errors import DatasetError, ResNetLabError
from resnet_core.files import write_json
from resnet_core.training.examples import Example, tidy_label

MAX_CLASSES = 50
MAX_PICTURES = 2_000  # of all classes together
MAX_NAME = 60  # letters of a class name
THUMB_SIDE = 64  # px


@dataclass(kw_only=True)
class Kept:
    """One picture of a class: `number` names its files, `key` its content, `burst` what it was recorded with."""

    number: int
    name: str
    key: str
    suffix: str
    burst: str = ""


@dataclass(kw_only=True)
class TaughtClass:
    """One class of a visitor."""

    class_id: str
    name: str
    pictures: list[Kept] = field(default_factory=list)


class Classroom:
    """The classes of one session; every method may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._classes, self._next, self._taught = _load(folder / "classes.json")

    def classes(self) -> list[TaughtClass]:
        """The classes in the order they were added; treat them as read-only."""
        with self._lock:
            return list(self._classes)

    def add_class(self, name: str) -> TaughtClass:
        """A new, empty class. Raises DatasetError for a name that is empty, taken or one too many."""
        with self._changing():
            return self._added(name)

    def class_called(self, name: str) -> TaughtClass:
        """The class of that name, made if need be. Raises DatasetError as `add_class` does."""
        with self._lock:
            return self._called(name) or self.add_class(name)

    def classes_called(self, names: Sequence[str]) -> list[TaughtClass]:
        """The classes of those names, made if need be: all of them or, with a DatasetError, none."""
        with self._changing():
            total = len({_kin(each.name) for each in self._classes} | {_kin(tidy_label(name)) for name in names})
            if total > MAX_CLASSES:
                raise DatasetError(
                    f"With these there would be {total:,} classes, and {MAX_CLASSES} are the limit here; choose fewer, "
                    "or train a network with them in the Train tab."
                )
            return [self._called(name) or self._added(name) for name in names]

    def rename_class(self, class_id: str, name: str) -> None:
        """Another name for a class. Raises DatasetError."""
        with self._changing():
            changed = self._get(class_id)
            changed.name = self._free_name(name, but=changed)

    def remove_class(self, class_id: str) -> None:
        """Forgets a class and deletes its pictures."""
        with self._changing():
            gone = self._get(class_id)
            self._classes.remove(gone)
        for picture in gone.pictures:
            self._delete(picture)

    def remove_picture(self, class_id: str, number: int) -> None:
        """Forgets one picture and deletes it; asking twice does no harm."""
        with self._changing():
            owner = self._get(class_id)
            gone = [picture for picture in owner.pictures if picture.number == number]
            owner.pictures = [picture for picture in owner.pictures if picture.number != number]
        for picture in gone:
            self._delete(picture)

    def add_pictures(self, class_id: str, files: Sequence[tuple[str, bytes]], *, burst: str = "") -> list[str]:
        """Keeps copies of those pictures (name, content); returns a sentence for each that was not taken."""
        loads = [(name, partial(read_image, raw, name=name, draft_size=KEPT_DRAFT)) for name, raw in files]
        return self._take(class_id, loads, burst)

    def add_images(
        self, class_id: str, paths: Sequence[str], load: Callable[..., Image.Image], *, burst: str = ""
    ) -> list[str]:
        """The same for pictures of a data set, opened by `load(path, draft_size=…)`."""
        return self._take(class_id, [(path, partial(load, path, draft_size=KEPT_DRAFT)) for path in paths], burst)

    def _take(self, class_id: str, pictures: Sequence[tuple[str, Callable[[], Image.Image]]], burst: str) -> list[str]:
        self._get(class_id)
        room = max(0, MAX_PICTURES - self.count())
        refused = [] if len(pictures) <= room else [_full(len(pictures) - room)]
        taken = []
        for name, load in pictures[:room]:
            try:
                taken.append(self._store(load(), name, burst))
            except ResNetLabError as error:
                refused.append(str(error))
            except OSError as error:
                refused.append(f"The pictures cannot be kept ({error.strerror}); free some space on the disk.")
                break
        self._file(class_id, taken)
        return refused

    def count(self) -> int:
        """Pictures in all classes."""
        with self._lock:
            return sum(len(each.pictures) for each in self._classes)

    def clear(self) -> None:
        """Forgets everything, also which model was taught: the next one is another."""
        for each in self.classes():
            self.remove_class(each.class_id)
        with self._changing():
            self._taught = ""

    def taught(self) -> str:
        """What was last given to `note_taught`, "" for nothing."""
        with self._lock:
            return self._taught

    def note_taught(self, mark: str) -> str:
        """Remembers which model was made of these classes, and returns the mark before. Raises DatasetError."""
        with self._changing():
            before, self._taught = self._taught, mark
            return before

    def thumbnails(self, numbers: Iterable[int]) -> dict[str, str]:
        """JPEGs in base64, of the pictures that are there."""
        found = {}
        for number in numbers:
            with contextlib.suppress(OSError):
                found[str(number)] = base64.b64encode((self.folder / f"t{number}.jpg").read_bytes()).decode("ascii")
        return found

    def examples(self) -> tuple[Example, ...]:
        """The pictures as the core wants them."""
        return tuple(
            Example(
                label=each.name,
                name=picture.name,
                key=picture.key,
                read=partial(_read, self._path(picture), picture.name),
                group=f"{each.class_id}/{picture.burst}" if picture.burst else "",
            )
            for each in self.classes()
            for picture in list(each.pictures)
        )

    def _store(self, image: Image.Image, name: str, burst: str) -> Kept:
        content = encode_kept(image)
        with self._lock:
            number = self._number()
        digest = hashlib.sha256(content).hexdigest()[:32]
        kept = Kept(number=number, name=display_name(name), key=digest, suffix=suffix_of(content), burst=burst)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path(kept).write_bytes(content)
        (self.folder / f"t{number}.jpg").write_bytes(encode_thumbnail(image, THUMB_SIDE))
        return kept

    def _file(self, class_id: str, taken: list[Kept]) -> None:
        try:
            with self._changing():
                self._get(class_id).pictures += taken
        except DatasetError:  # the class was removed meanwhile, or the disk is full
            for picture in taken:
                self._delete(picture)
            raise

    def _path(self, picture: Kept) -> Path:
        return self.folder / f"p{picture.number}{picture.suffix}"

    def _delete(self, picture: Kept) -> None:
        for path in (self._path(picture), self.folder / f"t{picture.number}.jpg"):
            with contextlib.suppress(OSError):
                path.unlink()

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _get(self, class_id: str) -> TaughtClass:
        with self._lock:
            found = next((each for each in self._classes if each.class_id == class_id), None)
        if found is None:
            raise DatasetError("This class is not there any more; reload the page.")
        return found

    def _called(self, name: str) -> TaughtClass | None:
        wanted = _kin(tidy_label(name))
        return next((each for each in self._classes if _kin(each.name) == wanted), None)

    def _added(self, name: str) -> TaughtClass:
        label = self._free_name(name)
        if len(self._classes) >= MAX_CLASSES:
            raise DatasetError(f"{MAX_CLASSES} classes are the limit here; remove one first.")
        added = TaughtClass(class_id=f"c{self._number()}", name=label)
        self._classes.append(added)
        return added

    def _free_name(self, name: str, *, but: TaughtClass | None = None) -> str:
        label = tidy_label(visible_text(name))
        if not label.strip(". \u200c\u200d"):
            raise DatasetError("A class needs a name; type what its pictures show.")
        if len(label) > MAX_NAME:
            raise DatasetError(f"A class name may have {MAX_NAME} letters; “{label}” has more.")
        twin = next((each for each in self._classes if each is not but and _kin(each.name) == _kin(label)), None)
        if twin:
            raise DatasetError(
                f"There is a class “{twin.name}” already; add the pictures there or choose another name."
            )
        return label

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Alone with the classes; they are saved at the end, and what cannot be saved is undone."""
        with self._lock:
            classes, taught = [(each, each.name, list(each.pictures)) for each in self._classes], self._taught
            try:
                yield
                self._save()
            except BaseException:
                for each, name, pictures in classes:
                    each.name, each.pictures = name, pictures
                self._classes, self._taught = [each for each, _, _ in classes], taught
                raise

    def _save(self) -> None:
        content = {
            "next": self._next,
            "taught": self._taught,
            "classes": [
                {"id": each.class_id, "name": each.name, "pictures": [vars(picture) for picture in each.pictures]}
                for each in self._classes
            ],
        }
        try:
            write_json(self.folder / "classes.json", content)
        except OSError as error:
            raise DatasetError(
                f"The classes cannot be kept ({error.strerror}); free some space on the disk."
            ) from error


def _load(path: Path) -> tuple[list[TaughtClass], int, str]:
    """Classes, the last number given, the mark of the taught model; nothing for no such file, or a damaged one."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        classes = [
            TaughtClass(class_id=each["id"], name=each["name"], pictures=[Kept(**one) for one in each["pictures"]])
            for each in content["classes"]
        ]
        return classes, int(content["next"]), str(content.get("taught", ""))
    except (OSError, ValueError, TypeError, KeyError):
        return [], 0, ""


def _read(path: Path, name: str, draft: int) -> Image.Image:
    return read_image(path, name=name, draft_size=draft)


def _kin(name: str) -> str:
    return name.casefold()


def _full(left: int) -> str:
    return f"{MAX_PICTURES:,} pictures are the limit here; {left:,} were not taken. Remove some, or train a network."
