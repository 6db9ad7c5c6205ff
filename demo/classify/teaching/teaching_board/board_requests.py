"""What the board's script may ask, and the reply: plain JSON both ways.

{"session", "action": "state"}                                        the classes as they are
{… "action": "add" | "rename" | "remove" | "clear", "name", "class"}  changes them
{… "action": "forget", "class", "picture"}                            removes one picture
{… "action": "pictures", "class" or "name", "burst", "files": [{"name", "content" in base64}]}
{… "action": "zip", "path", "name"}                                   fills all classes of an uploaded zip
{… "action": "thumbs", "pictures": [number]}                          {"thumbs": {number: JPEG in base64}}

reply {"classes": [{"id", "name", "color", "count", "bursts", "shown": [number]}],
           "said": [sentence]}                                            the colour is that of the class when taught
      {"error": sentence}                                             nothing raised, ever
"""

import base64
import binascii
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from demo.classify.teaching.teaching_board.classroom import MAX_PICTURES, Classroom
from demo.classify.teaching.teaching_board.classrooms import Classrooms
from resnet_core.data.image_gate import visible_text
from resnet_core.errors import DatasetError, ResNetLabError
from resnet_core.training.examples import folder_names

log = logging.getLogger(__name__)

MAX_FILES = 32  # in one request
MAX_CONTENT = 36_000_000  # letters of base64: 25 MB, the script sends no larger picture
MAX_SHOWN = 120  # thumbnails of a class, the newest
MAX_THUMBS = 60  # in one reply
MAX_BURST = 40  # letters of a burst's name; the last ones of a folder
MAX_SAID = 20  # sentences in one reply
Request = dict[str, Any]


def make_answering(rooms: Classrooms) -> Callable[[object], dict[str, Any]]:
    """The function the board's script calls: any JSON in, one reply out; it never raises."""

    def answer(request: object) -> dict[str, Any]:
        try:
            asked = read_request(request)
            room = rooms.open(asked.get("session"))
            return _ACTIONS[_text(asked, "action")](room, asked)
        except ResNetLabError as error:
            return {"error": str(error)}
        except KeyError:
            return {"error": "The page asked for something this app does not know; reload it."}
        except Exception:
            log.exception("the teaching board could not answer")
            return {"error": "Something unexpected went wrong; the log of the app says more."}

    return answer


def read_request(request: object) -> Request:
    """The object a script sent; Gradio wraps it in a list. Raises DatasetError."""
    if isinstance(request, list) and len(request) == 1:
        request = request[0]
    if not isinstance(request, dict):
        raise DatasetError("The page asked in a form this app does not know; reload it.")
    return request


def decode_picture(content: object) -> bytes:
    """The bytes of a picture sent in base64. Raises DatasetError."""
    if not isinstance(content, str) or len(content) > MAX_CONTENT:
        raise DatasetError("A picture is larger than 25 MB, the limit here; make it smaller first.")
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DatasetError("A picture arrived damaged; try again.") from error


def view(room: Classroom, said: list[str] | None = None) -> dict[str, Any]:
    """The classes as the browser shows them, and sentences on what was not taken."""
    names = folder_names(each.name for each in room.classes())
    ranks = {name: rank for rank, name in enumerate(sorted(names, key=lambda name: names[name]))}
    classes = [
        {
            "id": each.class_id,
            "name": each.name,
            "color": ranks[each.name],
            "count": len(each.pictures),
            "bursts": len({picture.burst for picture in each.pictures if picture.burst}),
            "shown": [picture.number for picture in reversed(each.pictures[-MAX_SHOWN:])],
        }
        for each in room.classes()
    ]
    said = said or []
    more = [f"… and {len(said) - MAX_SAID:,} more."] if len(said) > MAX_SAID else []
    return {"classes": classes, "said": said[:MAX_SAID] + more}


def _add(room: Classroom, asked: Request) -> dict[str, Any]:
    room.add_class(_text(asked, "name"))
    return view(room)


def _rename(room: Classroom, asked: Request) -> dict[str, Any]:
    room.rename_class(_text(asked, "class"), _text(asked, "name"))
    return view(room)


def _remove(room: Classroom, asked: Request) -> dict[str, Any]:
    room.remove_class(_text(asked, "class"))
    return view(room)


def _clear(room: Classroom, asked: Request) -> dict[str, Any]:
    room.clear()
    return view(room)


def _forget(room: Classroom, asked: Request) -> dict[str, Any]:
    room.remove_picture(_text(asked, "class"), _number(asked.get("picture")))
    return view(room)


def _pictures(room: Classroom, asked: Request) -> dict[str, Any]:
    files = asked.get("files")
    if not isinstance(files, list) or len(files) > MAX_FILES or not all(isinstance(file, dict) for file in files):
        raise DatasetError(f"At most {MAX_FILES} pictures can be sent at once; reload the page and try again.")
    content = [(visible_text(str(file.get("name", ""))), decode_picture(file.get("content"))) for file in files]
    class_id = _text(asked, "class") or room.class_called(_text(asked, "name")).class_id
    return view(room, room.add_pictures(class_id, content, burst=_text(asked, "burst")[:MAX_BURST]))


def _zip(room: Classroom, asked: Request) -> dict[str, Any]:
    """Fills the classes of a zip that Gradio has stored, and deletes it; any other path is refused."""
    path = Path(_text(asked, "path")).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()) or not path.is_file():
        raise DatasetError("The zip did not arrive; choose it again.")
    try:
        return view(room, _fill(room, path, _text(asked, "name") or path.name))
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _fill(room: Classroom, path: Path, name: str) -> list[str]:
    """Takes the pictures of a zip; sentences on what was not taken. Raises DatasetError where there is no room for all
    its classes and pictures, or a name is none: then nothing is taken."""
    from resnet_core.data.datasets import archive_dataset
    from resnet_core.training.examples import burst_folder

    dataset = archive_dataset(path, name=name, set_aside=False)
    total = len(dataset.train) + len(dataset.val)
    if total > MAX_PICTURES - room.count():
        raise DatasetError(
            f"The zip holds {total:,} pictures, and there is room for {MAX_PICTURES - room.count():,} of "
            f"{MAX_PICTURES:,} here; choose fewer, or train a network with it in the Train tab."
        )
    owners = room.classes_called(dataset.class_names)
    said = list(dataset.notes)
    by_burst: dict[tuple[int, str], list[str]] = {}
    for picture in (*dataset.train, *dataset.val):
        folder = burst_folder(picture.path, dataset.class_names[picture.class_index])
        by_burst.setdefault((picture.class_index, folder), []).append(picture.path)
    for (index, folder), paths in sorted(by_burst.items()):
        burst = f"{name}/{folder}"[-MAX_BURST:] if folder else ""
        said += room.add_images(owners[index].class_id, paths, dataset.source.load, burst=burst)
    return said


def _thumbs(room: Classroom, asked: Request) -> dict[str, Any]:
    numbers = asked.get("pictures")
    wanted = [_number(number) for number in numbers[:MAX_THUMBS]] if isinstance(numbers, list) else []
    return {"thumbs": room.thumbnails(wanted)}


def _text(asked: Request, key: str) -> str:
    value = asked.get(key, "")
    if not isinstance(value, str) or len(value) > 4096:
        raise DatasetError("The page asked in a form this app does not know; reload it.")
    return value


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise DatasetError("The page asked in a form this app does not know; reload it.")
    return value


_ACTIONS: dict[str, Callable[[Classroom, Request], dict[str, Any]]] = {
    "state": lambda room, asked: view(room),
    "add": _add,
    "rename": _rename,
    "remove": _remove,
    "clear": _clear,
    "forget": _forget,
    "pictures": _pictures,
    "zip": _zip,
    "thumbs": _thumbs,
}
