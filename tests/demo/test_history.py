"""The strip of earlier answers: what the page is told of an answer, and what may come back."""

import base64
import io
import json
import os
from pathlib import Path

from PIL import Image

from demo.classify.history.history import SIDE, entry_of, stored_again
from demo.classify.history_section import chosen_again
from demo.photo import StoredPhoto
from demo.services import Services
from resnet_core.data.images import read_image_with_notes
from resnet_core.inference.classifier import Classification, Prediction

RESULT = Classification(
    predictions=(Prediction("<b>daisy</b>", 0.87654), Prediction("roses", 0.1)),
    unknown=False,
    seen=Image.new("RGB", (8, 8)),
    seconds=0.0,
)


def test_an_entry_is_small_and_says_what_the_card_said(tmp_path: Path) -> None:
    photo = StoredPhoto(Image.new("RGB", (600, 200), "red"), (), "PNG", (600, 200), str(tmp_path / "a.png"), "a.png")
    entry = json.loads(entry_of(photo, RESULT, "flowers"))
    assert entry.pop("at") > 0
    thumb = base64.b64decode(entry.pop("thumb"))
    with Image.open(io.BytesIO(thumb)) as small:
        assert max(small.size) == SIDE
    assert len(thumb) < 10_000
    assert entry == {
        "path": str(tmp_path / "a.png"), "label": "<b>daisy</b>", "share": 0.87654, "unknown": False,
        "model": "flowers", "asked": "flowers"
    }  # fmt: skip


def test_an_entry_names_the_model_as_it_is_asked_by_too(tmp_path: Path) -> None:
    photo = StoredPhoto(Image.new("RGB", (60, 20)), (), "PNG", (60, 20), str(tmp_path / "a.png"), "a.png")
    name = f"models/{'long-' * 60}"
    entry = json.loads(entry_of(photo, RESULT, name))
    assert entry["asked"] == name
    assert entry["model"] != name


def test_the_model_that_answered_is_chosen_again_while_it_is_listed(services: Services) -> None:
    assert chosen_again(services, "flowers", False, "en")["value"] == "flowers"
    for gone in ("20250101-000000-gone/last", "models/gone", "", None, 7, ["flowers"]):
        assert "value" not in chosen_again(services, gone, False, "en")


def test_a_picture_without_a_place_leaves_no_entry(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    assert entry_of(read_image_with_notes(tmp_path / "a.png"), RESULT, "flowers") == ""


def test_only_a_file_in_gradios_own_folder_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "gradio"
    (folder / "x").mkdir(parents=True)
    inside, outside = folder / "x" / "a.png", tmp_path / "secret.png"
    for path in (inside, outside):
        path.write_bytes(b"x")
    assert stored_again(str(inside), folder) == str(inside.resolve())
    strangers = [outside, folder / ".." / "secret.png", folder, folder / "gone.png", "/etc/hosts"]
    if os.name == "posix":  # elsewhere links need rights of their own
        (folder / "link.png").symlink_to(outside)
        strangers.append(folder / "link.png")
    assert [stored_again(str(path), folder) for path in strangers] == [None] * len(strangers)
    for path in (None, 7, "", "a\x00b", "x" * 5000, {"path": "a"}):
        assert stored_again(path, folder) is None
