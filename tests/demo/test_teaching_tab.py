"""“Teach” without a browser: what a visitor collects, what the board may ask, what the buttons do."""

import asyncio
import base64
import io
import json
import os
import random
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from PIL import Image

from demo.classify.nearest_section import Indexes, nearest_html
from demo.classify.teaching.teaching_board import classroom as classroom_module
from demo.classify.teaching.teaching_board import classrooms as classrooms_module
from demo.classify.teaching.teaching_board.board_requests import make_answering
from demo.classify.teaching.teaching_board.classroom import Classroom
from demo.classify.teaching.teaching_board.classrooms import KEEP_SECONDS, Classrooms
from demo.classify.teaching.teaching_board.teaching_board import (
    BOARD_SCRIPTS,
    CAMERA_SCRIPTS,
    CameraAnswer,
    TeachingBoard,
    script,
)
from demo.classify.teaching.teaching_report import report_card
from demo.classify.teaching.teaching_tab import teaching_tab
from demo.classify.teaching.teaching_work import TeachingWork
from demo.services import Services
from demo.words.teaching import BOARD
from resnet_core.data.images import read_image_with_notes
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.data.rendered import render_flower
from resnet_core.errors import DatasetError, RunError
from resnet_core.inference.classifier import Classification, Prediction
from resnet_core.inference.shelf import shelf_of
from resnet_core.inference.taught import recall_pictures
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

SESSION, OTHER = "0123456789abcdef" * 2, "f" * 32


def png(seed: int, size: int = 32) -> bytes:
    out = io.BytesIO()
    noise = random.Random(seed).randbytes(4 * 4 * 3)
    Image.frombytes("RGB", (4, 4), noise).resize((size, size)).save(out, format="PNG")
    return out.getvalue()


def flower(name: str, index: int) -> bytes:
    out = io.BytesIO()
    render_flower(name, index, seed=5, size=64).save(out, format="PNG")
    return out.getvalue()


@pytest.fixture
def rooms(tmp_path: Path) -> Classrooms:
    return Classrooms(tmp_path / "teaching")


@pytest.fixture
def room(rooms: Classrooms) -> Classroom:
    return rooms.open(SESSION)


@pytest.fixture
def ask(rooms: Classrooms) -> Any:
    answer = make_answering(rooms)

    def asking(action: str, session: str = SESSION, **fields: Any) -> dict[str, Any]:
        reply = answer([{"session": session, "action": action, **fields}])
        assert json.loads(json.dumps(reply)) == reply
        return reply

    return asking


def sent(*contents: bytes) -> list[dict[str, str]]:
    return [{"name": f"{i}.png", "content": base64.b64encode(c).decode()} for i, c in enumerate(contents)]


# what is collected


def test_classes_and_pictures_survive_a_restart_of_the_app(rooms: Classrooms, room: Classroom):
    cats = room.add_class("cats")
    assert room.add_pictures(cats.class_id, [("a.png", png(1)), ("b.png", png(2))], burst="x") == []
    again = Classrooms(rooms.folder).open(SESSION)
    assert [(each.name, len(each.pictures)) for each in again.classes()] == [("cats", 2)]
    again.add_class("dogs")
    assert len({each.class_id for each in again.classes()}) == 2
    groups = {example.group for example in again.examples()}
    assert groups == {f"{cats.class_id}/x"}


def test_visitors_do_not_see_each_other(rooms: Classrooms, room: Classroom):
    cats = room.add_class("cats")
    room.add_pictures(cats.class_id, [("a.png", png(1))])
    assert rooms.open(OTHER).classes() == []
    for nobody in ("", None, 3, "../" + SESSION, SESSION.upper(), SESSION + "\n", "." * 32):
        with pytest.raises(DatasetError, match="reload it"):
            rooms.open(nobody)


def test_a_broken_picture_is_named_and_the_rest_goes_on(room: Classroom):
    cats = room.add_class("cats")
    refused = room.add_pictures(
        cats.class_id, [("a.png", png(1)), ("bad.jpg", b""), ("t.html", b"<html>"), ("c", png(2))]
    )
    assert len(cats.pictures) == 2
    assert refused[0] == "bad.jpg is empty (0 bytes)."
    assert refused[1].startswith("t.html is not an image")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("", "needs a name"), ("  \u202e ", "needs a name"), ("x" * 61, "60 letters"), ("CATS", "class “cats” already"),
     ("cat\u0301s", None), ("<script>", None)],
)  # fmt: skip
def test_class_names_are_any_text_but_empty_long_or_taken(room: Classroom, name: str, sentence: str | None):
    room.add_class("cats")
    if sentence is None:
        assert room.add_class(name).name
        with pytest.raises(DatasetError, match="already"):
            room.add_class(f" {name} ")
    else:
        with pytest.raises(DatasetError, match=sentence):
            room.add_class(name)


def test_removed_pictures_and_classes_leave_no_file(room: Classroom):
    cats, dogs = room.add_class("cats"), room.add_class("dogs")
    room.add_pictures(cats.class_id, [("a", png(1)), ("b", png(2))])
    room.add_pictures(dogs.class_id, [("c", png(3))])
    room.remove_picture(cats.class_id, cats.pictures[0].number)
    room.remove_picture(cats.class_id, 999)
    room.remove_class(dogs.class_id)
    assert len(list(room.folder.glob("p*"))) == len(list(room.folder.glob("t*"))) == 1
    room.clear()
    assert [path.name for path in room.folder.iterdir()] == ["classes.json"]


def test_large_pictures_are_kept_small_and_small_ones_exactly(room: Classroom):
    cats = room.add_class("cats")
    room.add_pictures(cats.class_id, [("small", png(1, 32)), ("large", png(2, 1200))])
    small, large = (example.read(960) for example in room.examples())
    assert small.size == (32, 32)
    assert small.tobytes() == Image.open(io.BytesIO(png(1, 32))).tobytes()
    assert large.size == (384, 384)


def test_numbers_are_limited_and_said(room: Classroom, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(classroom_module, "MAX_PICTURES", 3)
    monkeypatch.setattr(classroom_module, "MAX_CLASSES", 1)
    cats = room.add_class("cats")
    refused = room.add_pictures(cats.class_id, [(str(seed), png(seed)) for seed in range(5)])
    assert len(cats.pictures) == 3
    assert refused == ["3 pictures are the limit here; 2 were not taken. Remove some, or train a network."]
    with pytest.raises(DatasetError, match="1 classes are the limit"):
        room.add_class("dogs")


def test_what_the_disk_refuses_has_not_happened(room: Classroom, monkeypatch: pytest.MonkeyPatch):
    cats = room.add_class("cats")
    room.add_pictures(cats.class_id, [("a", png(1))])
    room.note_taught("before")
    files = sorted(room.folder.iterdir())

    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    changes = (
        lambda: room.add_class("dogs"),
        lambda: room.rename_class(cats.class_id, "tigers"),
        lambda: room.remove_class(cats.class_id),
        lambda: room.remove_picture(cats.class_id, cats.pictures[0].number),
        lambda: room.add_pictures(cats.class_id, [("b", png(2))]),
        lambda: room.note_taught("after"),
    )
    with monkeypatch.context() as patch:
        patch.setattr(classroom_module, "write_json", full)
        for change in changes:
            with pytest.raises(DatasetError, match="No space left"):
                change()
    for seen in (room, Classroom(room.folder)):
        assert [(each.name, len(each.pictures)) for each in seen.classes()] == [("cats", 1)]
        assert seen.taught() == "before"
    assert sorted(room.folder.iterdir()) == files
    room.rename_class(cats.class_id, "tigers")
    assert [each.name for each in Classroom(room.folder).classes()] == ["tigers"]


def test_old_folders_are_swept_and_those_in_use_stay(rooms: Classrooms, monkeypatch: pytest.MonkeyPatch):
    for session in (SESSION, OTHER):
        rooms.open(session).add_class("cats")
    (rooms.folder / "something else").mkdir()
    now = (rooms.folder / SESSION).stat().st_mtime
    os.utime(rooms.folder / OTHER, (now - KEEP_SECONDS - 5, now - KEEP_SECONDS - 5))
    assert rooms.sweep(now=now) == 1
    assert rooms.open(OTHER).classes() == []
    assert len(rooms.open(SESSION).classes()) == 1
    monkeypatch.setattr(classrooms_module, "MAX_ROOMS", 0)
    assert rooms.sweep(now=now) == 1
    assert [path.name for path in rooms.folder.iterdir()] == ["something else"]


def test_a_damaged_list_of_classes_is_an_empty_one(rooms: Classrooms):
    rooms.open(SESSION).add_class("cats")
    (rooms.folder / SESSION / "classes.json").write_text('{"classes": [{"id": 3}]}')
    assert Classrooms(rooms.folder).open(SESSION).classes() == []


# what the board may ask


def test_the_board_adds_names_fills_and_empties_classes(ask: Any):
    [cats] = ask("add", name="cats")["classes"]
    filled = ask("pictures", **{"class": cats["id"]}, burst="one", files=sent(png(1), png(2), b"no"))
    assert filled["classes"][0] | {"shown": 0} == cats | {"count": 2, "bursts": 1, "shown": 0}
    assert len(filled["said"]) == 1
    numbers = filled["classes"][0]["shown"]
    thumbs = ask("thumbs", pictures=[*numbers, 999])["thumbs"]
    assert Image.open(io.BytesIO(base64.b64decode(thumbs[str(numbers[0])]))).size == (64, 64)
    assert len(thumbs) == 2
    renamed = ask("rename", **{"class": cats["id"]}, name="tigers")["classes"]
    assert [each["name"] for each in renamed] == ["tigers"]
    assert ask("forget", **{"class": cats["id"]}, picture=numbers[0])["classes"][0]["count"] == 1
    by_name = ask("pictures", name="dogs", files=sent(png(3)))["classes"]
    assert [(each["name"], each["count"]) for each in by_name] == [("tigers", 1), ("dogs", 1)]
    assert [each["color"] for each in by_name] == [1, 0]  # as the taught model will have them: by name
    assert ask("remove", **{"class": cats["id"]})["classes"][0]["name"] == "dogs"
    assert ask("clear")["classes"] == []
    assert "error" in ask("remove", **{"class": cats["id"]})


@pytest.mark.parametrize(
    "request_",
    [
        None, 3, [], [1, 2], {}, {"session": SESSION}, {"session": SESSION, "action": "nothing"},
        {"session": SESSION, "action": "add", "name": ["x"]}, {"session": SESSION, "action": "__class__"},
        {"session": SESSION, "action": "pictures", "name": "a", "files": "abc"},
        {"session": SESSION, "action": "pictures", "name": "a", "files": [{"name": "a", "content": "?"}]},
        {"session": SESSION, "action": "pictures", "name": "a", "files": [{}] * 33},
        {"session": SESSION, "action": "pictures", "name": "a", "files": [{"content": 7}]},
        {"session": SESSION, "action": "forget", "class": "c1", "picture": True},
        {"session": SESSION, "action": "zip", "path": "/etc/passwd"},
        {"session": SESSION, "action": "zip", "path": "\0"},
        {"session": "x" * 40, "action": "state"},
    ],
)  # fmt: skip
def test_whatever_a_browser_sends_gets_a_sentence_and_changes_nothing(rooms: Classrooms, request_: object):
    reply = make_answering(rooms)(request_)
    assert list(reply) == ["error"]
    assert reply["error"].endswith((".", "it."))
    assert "/" not in reply["error"]
    assert rooms.open(SESSION).classes() == []


def test_a_zip_fills_all_classes_and_only_an_uploaded_one(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    inside, outside = tmp_path / "uploads" / "ab" / "pets.zip", tmp_path / "pets.zip"
    inside.parent.mkdir(parents=True)
    for path in (inside, outside):
        with zipfile.ZipFile(path, "w") as opened:
            for name in ("cats", "dogs"):
                for index in range(3):
                    opened.writestr(f"pets/{name}/{index}.png", png(index + len(name) * (name == "dogs")))
            opened.writestr("pets/cats/broken.png", b"nothing")
    assert ask("zip", path=str(outside), name="pets.zip") == {"error": "The zip did not arrive; choose it again."}
    packed = inside.read_bytes()
    filled = ask("zip", path=str(inside), name="pets.zip")
    assert not inside.exists()
    assert [(each["name"], each["count"]) for each in filled["classes"]] == [("cats", 3), ("dogs", 3)]
    assert any("broken.png" in sentence for sentence in filled["said"])
    monkeypatch.setattr("demo.classify.teaching.teaching_board.board_requests.MAX_PICTURES", 8)
    inside.write_bytes(packed)
    assert "holds 7 pictures, and there is room for 2" in ask("zip", path=str(inside), name="pets.zip")["error"]
    assert not inside.exists()
    assert outside.exists()


def test_folders_below_a_class_of_a_zip_are_bursts(
    ask: Any, rooms: Classrooms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = tmp_path / "uploads" / "ab" / "pets.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as opened:
        for number, place in enumerate(("cats/monday", "cats/monday", "cats/tuesday", "dogs", "dogs")):
            opened.writestr(f"{place}/{number}.png", png(number))
    assert [each["bursts"] for each in ask("zip", path=str(path), name="pets.zip")["classes"]] == [2, 0]
    groups = [example.group.partition("/")[2] for example in rooms.open(SESSION).examples()]
    assert groups == ["pets.zip/cats/monday"] * 2 + ["pets.zip/cats/tuesday", "", ""]


def test_a_zip_of_one_class_is_a_class_and_nothing_is_set_aside(ask: Any, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = tmp_path / "uploads" / "ab" / "cats.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as opened:
        for number in range(6):
            opened.writestr(f"cats/{number}.png", png(number))
    filled = ask("zip", path=str(path), name="cats.zip")
    assert [(each["name"], each["count"]) for each in filled["classes"]] == [("cats", 6)]
    assert not any("set aside" in sentence for sentence in filled["said"]), "Teach splits by bursts, and later"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([f"kind {number}" for number in range(50)] + ["cats"], "there would be 51 classes, and 50 are the limit here"),
        (["cats", "x" * 61], f"may have 60 letters; “{'x' * 61}” has more."),
    ],
)
def test_a_zip_whose_classes_cannot_all_be_had_stores_nothing(
    ask: Any, room: Classroom, tmp_path: Path, monkeypatch: Any, names: list[str], sentence: str
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    path = tmp_path / "uploads" / "ab" / "kinds.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as opened:
        for number, name in enumerate(names):
            opened.writestr(f"kinds/{name}/{number}.png", png(number))
    room.add_class("Cats")
    before = ask("state")
    assert sentence in ask("zip", path=str(path), name="kinds.zip")["error"]
    assert ask("state") == before
    assert Classroom(room.folder).classes() == room.classes()
    assert [path.name for path in room.folder.iterdir()] == ["classes.json"]


def test_a_zip_may_fill_the_last_place_and_classes_that_are_there(
    ask: Any, room: Classroom, tmp_path: Path, monkeypatch: Any
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    monkeypatch.setattr(classroom_module, "MAX_CLASSES", 2)
    path = tmp_path / "uploads" / "ab" / "kinds.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as opened:
        for number, name in enumerate(("cats", "dogs")):
            opened.writestr(f"kinds/{name}/{number}.png", png(number))
    room.add_class("Cats")
    filled = ask("zip", path=str(path), name="kinds.zip")
    assert [(each["name"], each["count"]) for each in filled["classes"]] == [("Cats", 1), ("dogs", 1)]


def test_the_board_knows_the_limits_and_says_them_before_it_sends():
    whole = script(BOARD_SCRIPTS)
    assert "const MOST_ZIP_BYTES = 2000000000;" in whole
    assert "const MOST_CLASSES = 50;" in whole
    assert set(re.findall(r'\bsay\("(\w+)"', whole)) >= {"zip_too_large", "too_many_classes", "cut"}


def test_the_scripts_know_every_word_they_say():
    for names in (BOARD_SCRIPTS, CAMERA_SCRIPTS):
        whole = script(names)
        said = set(re.findall(r'\bsay\("(\w+)"', whole)) | set(re.findall(r'sayCount\("(\w+)"', whole))
        assert said <= BOARD.keys()
        assert "${value}" not in whole
    assert {
        "pictures_one",
        "bursts_one",
        "camera_none",
        "camera_refused",
        "camera_busy",
        "camera_insecure",
    } <= BOARD.keys()
    assert all(len(words) == 2 and all(words) for words in BOARD.values())


def test_the_components_can_be_built_without_a_page(rooms: Classrooms):
    board, camera = TeachingBoard(make_answering(rooms)), CameraAnswer(lambda _: {})
    assert board.get_config()["js_on_load"]
    assert board.teaching_board([{"session": SESSION, "action": "state"}]) == {"classes": [], "said": []}
    assert camera.camera_answer({}) == {}


# what the buttons do


@pytest.fixture(scope="module")
def small(services: Services) -> str:
    """A small untrained network of other classes."""
    torch.manual_seed(0)
    run = services.store.create(TrainConfig(name="small"))
    network = build_model("resnet20", num_classes=4)
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(network.architecture_arguments),
        class_names=tuple("abcd"),
        preprocessing=Preprocessing(resize=32, crop=32),
        flip_average=True,
    )
    save_checkpoint(run.folder / "best.safetensors", checkpoint, network.state_dict())
    return run.run_id


def fill(room: Classroom, *names: str, each: int = 6, burst: str = "") -> None:
    for name in names:
        kind = name if name in ("roses", "tulips") else "daisy"
        room.add_pictures(
            room.class_called(name).class_id, [(f"{i}.png", flower(kind, i)) for i in range(each)], burst=burst
        )


def test_teach_ask_and_promote(services: Services, small: str, rooms: Classrooms, room: Classroom):
    work, told = TeachingWork(services, rooms), []
    fill(room, "<b>roses</b>", "tulips")
    fill(room, "roses", each=4, burst="first")
    lesson = work.teach(SESSION, small, "my <b>model</b>", progress=lambda *place: told.append(place))
    assert told[-1] == (16, 16)
    assert lesson.entry.name in [entry.name for entry in services.models()]
    card = report_card(lesson.report, lesson.entry.title, "en", refuses_unknown=lesson.refuses_unknown)
    assert "right</h2>" in card
    assert "<b>" not in card
    assert "Most likely between" in card
    assert "Not judged" in card
    photo = read_image_with_notes(flower("tulips", 50), name="photo.png")
    assert work.answer(photo, lesson.entry.name, "en").count("<li>") == 3
    frame = work.answer_camera([{"model": lesson.entry.name, "content": sent(flower("roses", 9))[0]["content"]}])
    assert sum(bar["share"] for bar in frame["bars"]) == pytest.approx(1, abs=1e-4)
    classifier = services.classifier(lesson.entry.name)
    nearest = Indexes(services).find(classifier, lambda *_: None, model=lesson.entry.name)
    html = nearest_html(services, classifier, nearest, photo, "en")
    assert "Compared with 16 of the pictures it was taught with" in html
    assert "not on this machine" not in html
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "local", False)
        with pytest.raises(DatasetError, match="not on this machine"):
            Indexes(services).find(classifier, lambda *_: None, model=lesson.entry.name)
    own = shelf_of(services.store).path(lesson.entry.name)
    run, train, val = work.promote(SESSION, lesson.entry.name, "frozen")
    assert train + val == 16
    assert val >= 2
    config = run.config()
    assert (config.freeze, config.model) == ("layer3", "resnet20")
    start, taught = (load_checkpoint(path)[1].state_dict() for path in (Path(config.init_from or ""), own))
    assert torch.equal(start["conv1.weight"], taught["conv1.weight"])
    assert not torch.equal(start["fc.weight"], taught["fc.weight"]), "its head has learned from the val pictures too"
    assert Path(config.dataset).is_relative_to(services.data_dir.resolve() / "taught")
    services.runner.stop(run.run_id)
    assert services.runner.wait(60)
    assert run.status() in ("stopped", "finished")


def test_a_class_added_later_costs_only_its_own_pictures(
    services: Services, small: str, rooms: Classrooms, room: Classroom
):
    work, errands = TeachingWork(services, rooms), []
    fill(room, "roses", "tulips", each=8)
    work.teach(SESSION, small, "one")
    with pytest.MonkeyPatch.context() as patch:
        from resnet_core.training import looking

        see = looking._see
        patch.setattr(looking, "_see", lambda read, backbone: errands.append(len(read)) or see(read, backbone))
        fill(room, "other", each=3)
        lesson = work.teach(SESSION, small, "two")
    assert errands == [3]
    assert sum(lesson.report.counts.values()) == 19


def test_what_cannot_be_taught_is_a_sentence(services: Services, small: str, rooms: Classrooms, room: Classroom):
    work = TeachingWork(services, rooms)
    with pytest.raises(DatasetError, match="no classes yet"):
        work.teach(SESSION, small, "x")
    fill(room, "roses")
    with pytest.raises(DatasetError, match="only one class"):
        work.teach(SESSION, small, "x")
    room.add_class("empty")
    with pytest.raises(DatasetError, match="“empty” has no pictures"):
        work.teach(SESSION, small, "x")
    photo = read_image_with_notes(flower("roses", 0), name="p.png")
    with pytest.raises(DatasetError, match="Teach a model first"):
        work.answer(photo, "flowers", "en")
    assert work.answer_camera({"model": "flowers", "content": "AAAA"}) == {"error": "Teach a model first."}
    assert work.answer_camera(7).keys() == {"error"}


def test_bursts_alone_are_not_judged_and_the_card_says_so(
    services: Services, small: str, rooms: Classrooms, room: Classroom
):
    work = TeachingWork(services, rooms)
    fill(room, "roses", "tulips", burst="only")
    lesson = work.teach(SESSION, small, "bursts")
    assert lesson.report.judgement is None
    card = report_card(lesson.report, "bursts", "zh", refuses_unknown=False)
    assert "连拍" in card
    assert "NaN" not in card
    with pytest.raises(DatasetError, match="nothing could be kept back"):
        work.promote(SESSION, lesson.entry.name, "full")


def test_another_title_or_an_emptied_board_leaves_the_earlier_model(
    services: Services, small: str, rooms: Classrooms, room: Classroom
):
    work, shelf = TeachingWork(services, rooms), shelf_of(services.store)
    fill(room, "roses", "tulips")
    first = work.teach(SESSION, small, "garden A").entry
    second = work.teach(SESSION, small, "garden B").entry
    room.clear()
    fill(room, "roses", "other")
    third = work.teach(SESSION, small, "garden B").entry
    assert third.title == "garden B 2"
    assert {first.name, second.name, third.name} <= {entry.name for entry in shelf.list()}


def test_teaching_again_replaces_the_own_model_and_no_others(services: Services, small: str, rooms: Classrooms):
    def titles() -> list[str]:
        return sorted(entry.title for entry in shelf.list() if entry.title.lower().startswith("pets"))

    work, shelf = TeachingWork(services, rooms), shelf_of(services.store)
    assert work.taught(SESSION) == ""
    for session in (SESSION, OTHER):
        fill(rooms.open(session), "roses", "tulips")
    first = work.teach(SESSION, small, "Pets").entry
    assert work.teach(OTHER, small, "pets").entry.title == "pets 2"
    assert services.classifier(first.name).class_names == ("roses", "tulips")
    fill(rooms.open(SESSION), "other")
    second = work.teach(SESSION, small, "Pets").entry
    assert (second.title, titles()) == ("Pets", ["Pets", "pets 2"])
    assert second.name == first.name, "whoever has chosen it, by hand or by name, keeps it"
    assert services.classifier(first.name).class_names == ("other", "roses", "tulips")
    index = recall_pictures(services.classifier(first.name).checkpoint, shelf.pictures(first.name))
    assert index is not None
    assert len(index.paths) == 18
    assert TeachingWork(services, Classrooms(rooms.folder)).taught(SESSION) == first.name, "a restart finds it too"

    shelf.remove(second.name)  # by somebody else, and its file name is taken by another model
    assert work.taught(SESSION) == ""
    shelf.path(work.teach(OTHER, small, "pets").entry.name).rename(shelf.folder / f"{second.name[7:]}.safetensors")
    others = shelf.path(second.name).read_bytes()
    assert work.taught(SESSION) == ""
    assert work.teach(SESSION, small, "Pets").entry.title == "Pets 2"
    assert shelf.path(second.name).read_bytes() == others

    run, _, _ = work.promote(SESSION, work.teach(SESSION, small, "Pets").entry.name, "frozen")
    services.runner.stop(run.run_id)
    assert work.teach(SESSION, small, "Pets").entry.title == "Pets 2"
    assert Path(run.config().init_from or "").is_file(), "the training has a beginning of its own"
    assert services.runner.wait(60)


def test_a_training_that_cannot_start_leaves_no_pictures(
    services: Services, small: str, rooms: Classrooms, room: Classroom, monkeypatch: pytest.MonkeyPatch
):
    work = TeachingWork(services, rooms)
    fill(room, "roses", "tulips")
    model = work.teach(SESSION, small, "never trained").entry.name
    before = sorted((services.data_dir / "taught").glob("*"))

    def refuse(config: TrainConfig) -> None:
        raise DatasetError("There is no room.")

    monkeypatch.setattr(services.runner, "start", refuse)
    with pytest.raises(DatasetError, match="no room"):
        work.promote(SESSION, model, "frozen")
    assert sorted((services.data_dir / "taught").glob("*")) == before


def test_what_cannot_become_a_data_set_is_a_sentence(
    services: Services, small: str, rooms: Classrooms, room: Classroom, tmp_path: Path, monkeypatch: Any
):
    work = TeachingWork(services, rooms)
    fill(room, "roses", "tulips")
    model = work.teach(SESSION, small, "no data set").entry.name
    with monkeypatch.context() as patch:
        (tmp_path / "data").touch()  # a file, where nobody can make a folder
        patch.setattr(services, "data_dir", tmp_path / "data")
        with pytest.raises(DatasetError, match="free some space or change the data folder"):
            work.promote(SESSION, model, "frozen")
    room.add_class("empty")
    with pytest.raises(DatasetError, match="“empty” has no pictures"):
        work.promote(SESSION, model, "frozen")


def test_an_app_that_only_reads_teaches_nothing_and_says_so(
    services: Services, small: str, rooms: Classrooms, room: Classroom, monkeypatch: Any
):
    def refuse() -> None:
        raise RunError("Another app has the runs folder.")

    fill(room, "roses", "tulips")
    before = shelf_of(services.store).list()
    monkeypatch.setattr(services.store, "check_writable", refuse)
    with pytest.raises(RunError, match="Another app"):
        TeachingWork(services, rooms).teach(SESSION, small, "nowhere")
    assert shelf_of(services.store).list() == before


def test_the_camera_is_never_told_all_or_nothing_of_an_answer_that_is_not(
    services: Services, small: str, rooms: Classrooms, room: Classroom, monkeypatch: Any
):
    fill(room, "roses", "tulips")
    model = TeachingWork(services, rooms).teach(SESSION, small, "almost sure").entry.name
    ranked = (Prediction("roses", 0.997), Prediction("tulips", 0.003))
    nearly = Classification(predictions=ranked, unknown=False, seen=Image.new("RGB", (32, 32)), seconds=0)
    monkeypatch.setattr(services.desk, "classify", lambda *_, **__: SimpleNamespace(result=lambda: nearly))
    frame = sent(flower("roses", 9))[0]["content"]
    told = TeachingWork(services, rooms).answer_camera([{"model": model, "content": frame}])
    assert (told["sure"], [bar["said"] for bar in told["bars"]]) == (">99%", [">99%", "<1%"])
    assert "row.said" in script(CAMERA_SCRIPTS)


def test_a_reload_brings_back_the_part_that_asks_the_taught_model(services: Services, monkeypatch: Any):
    async def made() -> gr.Blocks:
        with gr.Blocks() as page:
            teaching_tab(services, page)
        return page

    functions = [each.fn for each in asyncio.run(made()).fns.values() if each.fn is not None]
    settle_in = next(function for function in functions if function.__name__ == "settle_in")
    for name in ("models/mine", ""):
        monkeypatch.setattr(TeachingWork, "taught", lambda self, session, name=name: name)
        who, model, camera, after = settle_in(SimpleNamespace(session=SESSION))
        assert (who, model, camera, after["visible"]) == (SESSION, name, name, bool(name))
