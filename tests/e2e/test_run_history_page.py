"""What a person does with the runs of last week, and with one that is still learning, in a real browser."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from app_process import AppProcess
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.data.preprocessing import Preprocessing
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.events import RunEnded, RunStarted
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import Run, RunStore

HOSTILE = "<img src=x onerror=document.hacked=1>${document.hacked=2}"


def begun(epochs: int, **settings: Any) -> RunStarted:
    return RunStarted(
        model="resnet20", dataset="meadow", class_names=("left", "right"), parameters=1, n_train=1, n_val=1,
        epochs=epochs, steps_per_epoch=10, device="cpu", precision="fp32",
        settings=TrainConfig(model="resnet20", epochs=epochs, **settings).to_json(),
    )  # fmt: skip


@pytest.fixture
def runs(app: AppProcess) -> Iterator[Callable[..., Run]]:
    """Makes ended runs in the app's folder; afterwards none of them is left."""
    store = RunStore(app.runs)
    made: list[Run] = []

    def make(name: str, epochs: int, **settings: Any) -> Run:
        run = store.create(TrainConfig(name=name, epochs=epochs, **settings))
        made.append(run)
        with RunRecorder(run) as recorder:
            recorder.write(begun(epochs, **settings))
            recorder.write(RunEnded(status="finished", reason="All done."))
        return run

    yield make
    for run in made:
        if run.folder.is_dir():
            store.remove(run.run_id)
    store.empty_bin(older_than=0)


def open_runs(visitor: Visitor) -> None:
    visitor.go("Train")
    visitor.part("#run-history").get_by_role("button", name="Runs").first.click()
    expect(visitor.part(".rt")).to_have_attribute("data-asked", re.compile("[1-9]"))


def row(visitor: Visitor, run: Run) -> Any:
    return visitor.part(f".rt-row[data-run='{run.run_id}']")


def test_runs_are_found_renamed_compared_deleted_and_brought_back(
    visitor: Visitor, visit: Callable[..., Visitor], runs: Callable[..., Run]
):
    spring, autumn = runs("spring garden", 3, learning_rate=0.1), runs("autumn garden", 5, learning_rate=0.02)
    open_runs(visitor)
    expect(row(visitor, spring)).to_contain_text("spring garden")
    expect(row(visitor, spring).locator(".rt-state")).to_have_text("finished")

    visitor.part(".rt-search").fill("AUTUMN garden")
    expect(row(visitor, spring)).to_have_count(0)
    expect(row(visitor, autumn)).to_have_count(1)
    visitor.part(".rt-search").fill("")
    expect(row(visitor, spring)).to_have_count(1)

    row(visitor, spring).locator(".rt-edit").press("Enter")  # by keyboard alone
    expect(visitor.part(".rt-box-name")).to_be_focused()
    visitor.page.keyboard.type(HOSTILE)
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.type("first, Bloom")
    visitor.page.keyboard.press("Tab")
    visitor.page.keyboard.type("too few epochs")
    visitor.page.keyboard.press("Control+Enter")
    expect(row(visitor, spring).locator(".rt-name")).to_have_text(HOSTILE)
    expect(row(visitor, spring).locator(".rt-tag")).to_have_text(["first", "Bloom"])
    expect(row(visitor, spring).locator(".rt-note")).to_have_text("too few epochs")
    expect(row(visitor, spring).locator(".rt-edit")).to_be_focused()
    assert visitor.part(".rt img").count() == 0
    assert visitor.page.evaluate("document.hacked") is None
    row(visitor, spring).locator(".rt-tag").first.click()
    expect(row(visitor, autumn)).to_have_count(0)
    visitor.part(".rt-search").fill("")

    for run in (spring, autumn):
        row(visitor, run).locator(".rt-mark").check()
    visitor.part(".rt-compare").click()
    settings = visitor.part("#live-board .lb-setting")
    rates = settings.filter(has_text="learning rate").locator("td")
    expect(rates).to_have_count(2)
    assert sorted(rates.all_text_contents()) == ["0.02", "0.1"]
    expect(settings.filter(has_text="seed")).to_have_count(0)

    row(visitor, spring).locator(".rt-delete").click()
    expect(row(visitor, spring)).to_have_count(0)
    assert not spring.folder.exists()
    expect(visitor.part(".rt-undo-go")).to_be_focused()
    visitor.page.keyboard.press("Enter")
    expect(row(visitor, spring)).to_have_count(1)
    assert spring.folder.is_dir()

    row(visitor, autumn).locator(".rt-show").click()
    expect(visitor.part(".lb-title")).to_have_text("autumn garden")

    phone = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    open_runs(phone)
    expect(row(phone, spring).locator(".rt-name")).to_have_text(HOSTILE)
    expect(row(phone, spring).locator(".rt-under")).to_contain_text("meadow")
    assert phone.sideways() <= 0
    row(phone, spring).locator(".rt-delete").click()
    expect(phone.part(".rt-bin")).to_be_visible()
    assert phone.sideways() <= 0


def test_the_table_is_sorted_and_taken_away_as_a_file(visitor: Visitor, runs: Callable[..., Run]):
    first, second = runs('=1+1, "quoted"', 9), runs("b", 2)
    open_runs(visitor)
    by_name = visitor.part("th[data-key=name]")
    by_name.locator("button").click()
    expect(by_name).to_have_attribute("aria-sort", "ascending")
    listed = visitor.part(".rt-row")
    wanted = [first.run_id, second.run_id]
    order = [run for run in listed.evaluate_all("rows => rows.map((row) => row.dataset.run)") if run in wanted]
    by_name.locator("button").click()
    expect(by_name).to_have_attribute("aria-sort", "descending")
    turned = [run for run in listed.evaluate_all("rows => rows.map((row) => row.dataset.run)") if run in wanted]
    assert order == turned[::-1]
    with visitor.page.expect_download() as waiting:
        visitor.part(".rt-csv").click()
    text = Path(waiting.value.path()).read_text(encoding="utf-8-sig")
    assert f'{first.run_id},"\'=1+1, ""quoted""",finished,meadow,resnet20' in text
    assert waiting.value.suggested_filename.endswith(".csv")


def save_epoch(run: Run, epoch: int, *, sure: float) -> None:
    """An epoch whose model always answers “left”, more or less surely."""
    model = build_model("resnet20", num_classes=2)
    with torch.no_grad():
        for parameter in model.fc.parameters():
            parameter.zero_()
        model.fc.bias[0] = sure
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 2},
        class_names=("left", "right"),
        preprocessing=Preprocessing(resize=32, crop=32),
        training={"epoch": epoch, "step": epoch},
    )
    path = run.folder / "last.safetensors"
    save_checkpoint(path, checkpoint, model.state_dict())
    os.utime(path, (1_700_000_000 + epoch,) * 2)


def test_a_model_is_asked_while_it_learns_and_the_answer_follows_its_epochs(
    app: AppProcess, visit: Callable[..., Visitor], examples: list[Path]
):
    store = RunStore(app.runs)
    run = store.create(TrainConfig(name="growing"))
    try:
        with RunRecorder(run) as recorder:
            recorder.write(begun(20))
            save_epoch(run, 6, sure=0.0)
            visitor = visit()
            visitor.drop("#classify-photo", examples[0])
            expect(visitor.part("#classify-answer h2")).to_be_visible()
            expect(visitor.part("#classify-follow .fb-line")).to_be_hidden()
            visitor.choose("#classify-model", "follow growing (newest epoch)")
            banner, answer = visitor.part("#classify-follow .fb-told"), visitor.part("#classify-answer .bar-number")
            expect(banner).to_have_text(re.compile(r"^This is epoch 6 of 20 of growing, which is still training"))
            expect(answer.first).to_have_text("50.0%")

            save_epoch(run, 7, sure=5.0)
            expect(banner).to_have_text(re.compile("^This is epoch 7 of 20"))
            expect(answer.first).to_have_text("99.3%")

            visitor.go("Feature maps")
            visitor.drop("#maps-photo", examples[0])
            visitor.choose("#maps-model", "follow growing (newest epoch)")
            told = visitor.part("#maps-follow .fb-told")
            expect(told).to_have_text(re.compile("^This is epoch 7 of 20 of growing, which is still training"))
            save_epoch(run, 8, sure=5.0)
            expect(told).to_have_text(re.compile("^This is epoch 8 of 20"))
            recorder.write(RunEnded(status="finished", reason="All done."))
            expect(told).to_have_text(re.compile(r"^This is epoch 8 of 20 of growing \(saved"))

        asked = visitor.part("#maps-follow .fb").get_attribute("data-asked")
        visitor.page.wait_for_timeout(3000)
        assert visitor.part("#maps-follow .fb").get_attribute("data-asked") == asked  # an ended run is not asked after
        status, body, _ = app.get("/gradio_api/info")
        assert status == 200
        assert {"/rename_run", "/delete_run", "/restore_run"} <= json.loads(body)["named_endpoints"].keys()
    finally:
        store.remove(run.run_id)
