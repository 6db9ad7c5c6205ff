"""Before Start: the plan follows the form, a scan fills in a rate, settings travel as files, a run can be repeated."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.training.config import TrainConfig
from resnet_core.training.presets import PRESET_TITLES

SCAN = 240_000  # ms; a hundred small steps, beside whatever else the machine does


@pytest.fixture
def meadow(tmp_path: Path) -> Path:
    """Two classes of plain colours, 16 pictures to learn from."""
    for part, count in (("train", 8), ("val", 2)):
        for name in ("red", "yellow"):
            (tmp_path / "meadow" / part / name).mkdir(parents=True)
            for number in range(count):
                plain = Image.new("RGB", (24, 24), name)
                picture = plain.point(lambda value, less=9 * number: max(0, value - less))
                picture.save(tmp_path / "meadow" / part / name / f"{number}.png")
    return tmp_path / "meadow"


def open_more(visitor: Visitor) -> None:
    visitor.page.locator("#train-more > button").click()


def saved(visitor: Visitor, button: str, folder: Path) -> Path:
    """The file that a button hands out."""
    with visitor.page.expect_download() as told:
        visitor.part(button).click()
    path = folder / told.value.suggested_filename
    told.value.save_as(path)
    return path


def loaded(visitor: Visitor, path: Path) -> None:
    """Gives a file to “Load settings” as the file dialog does."""
    with visitor.page.expect_file_chooser() as asked:
        visitor.part("#settings-load").click()
    asked.value.set_files(path)


def test_a_preset_that_names_its_data_takes_the_place_of_the_folder_given_before(
    visitor: Visitor, meadow: Path
) -> None:
    visitor.go("Train")
    open_more(visitor)
    folder = visitor.part("#train-folder input, #train-folder textarea")
    visitor.fill("#train-folder", str(meadow))
    visitor.choose("#train-preset", PRESET_TITLES["default"])
    expect(folder).to_have_value(str(meadow))
    visitor.choose("#train-preset", PRESET_TITLES["tutorial-cifar10"])
    expect(folder).to_have_value("")


def test_from_a_plan_to_a_run_that_can_be_repeated(visit: Callable[..., Visitor], meadow: Path, tmp_path: Path) -> None:
    visitor = visit()
    visitor.go("Train")
    plan = visitor.part("#train-plan")
    expect(plan).to_contain_text("10 epochs of 50 steps")
    visitor.fill("#train-epochs", "3")
    expect(plan).to_contain_text("3 epochs of 50 steps")
    visitor.fill("#train-rate", "fast")
    expect(plan).to_contain_text("Learning rate must be a number")
    visitor.fill("#train-rate", "")

    open_more(visitor)
    visitor.fill("#train-folder", str(meadow))
    visitor.fill("#train-image-size", "16")
    visitor.fill("#train-batch", "4")
    visitor.fill("#train-mixup", "0.2")
    visitor.choose("#train-thaw", "gradually")
    expect(plan).to_contain_text("16 px, 3 epochs of 4 steps")
    expect(plan.locator(".plan-learns").first).to_be_attached()

    visitor.page.locator("#train-finder > button").click()
    visitor.part("#finder-scan").click()
    expect(visitor.part("#finder-curve svg.plan-picture")).to_be_visible(timeout=SCAN)
    if visitor.part("#finder-use").is_visible():
        visitor.part("#finder-use").click()
        expect(visitor.part("#train-rate textarea, #train-rate input")).to_have_value(re.compile(r"[\d.e-]+"))
    visitor.fill("#train-rate", "0.02")

    visitor.page.locator("#train-files > button").click()
    file = saved(visitor, "#settings-save", tmp_path)
    kept = TrainConfig.from_json(json.loads(file.read_text(encoding="utf-8")))
    assert (kept.epochs, kept.learning_rate, kept.mixup, kept.thaw) == (3, 0.02, 0.2, "gradual")

    visitor.part("#train-start").click()
    expect(visitor.part(".lb-title")).to_contain_text("meadow", timeout=SCAN)
    visitor.page.locator("#train-repeat > button").click()
    expect(visitor.part("#repeat-command textarea")).to_have_value(re.compile("--thaw gradual"))
    visitor.page.reload()
    visitor.go("Train")
    open_more(visitor)
    visitor.page.locator("#train-files > button").click()
    visitor.part("#settings-clone").click()
    expect(visitor.part("#train-epochs textarea, #train-epochs input")).to_have_value("3")
    bad = tmp_path / "bad.json"
    bad.write_text('{"epochs": "many"}', encoding="utf-8")
    loaded(visitor, bad)
    expect(visitor.page.locator(".toast-body").filter(has_text="Epochs must be a whole number")).to_be_visible()
    kept_file = tmp_path / "again.json"
    kept_file.write_text(json.dumps(kept.replace(epochs=4, width=None).to_json()), encoding="utf-8")
    loaded(visitor, kept_file)
    expect(visitor.part("#train-epochs textarea, #train-epochs input")).to_have_value("4")


def test_on_a_phone_nothing_of_the_form_sticks_out(visit: Callable[..., Visitor]) -> None:
    visitor = visit(viewport={"width": 390, "height": 800})
    visitor.go("Train")
    expect(visitor.part("#train-plan svg")).to_be_visible()
    for section in ("#train-more", "#train-finder", "#train-files"):
        visitor.page.locator(f"{section} > button").click()
    assert visitor.sideways() == 0
