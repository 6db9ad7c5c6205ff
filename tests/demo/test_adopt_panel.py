"""The panel for weights from elsewhere: what it says, what it stores, and that nothing of an upload stays behind."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demo.classify.weights import staged_weights
from demo.classify.weights.adopt_card import findings_card, refused_card
from demo.classify.weights.adoption_desk import AdoptionDesk, wishes_of
from demo.classify.weights.shelf_list import shelf_choices, shelf_list
from demo.classify.weights.staged_weights import StagedWeights
from demo.services import Services, model_choices, refreshed_models
from demo.words import weights_in
from resnet_core.errors import CheckpointError, RunError
from resnet_core.inference.foreign import open_foreign
from resnet_core.inference.inspector import Wishes, inspect_weights
from resnet_core.inference.shelf import shelf_of
from resnet_core.models.zoo import build_model
from resnet_core.training.folder_lock import FolderLock
from resnet_core.training.runs import RunStore

FORM = (None, "", "", "", "")


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setattr(Services, "_prepare_quietly", lambda self: None)
    made = Services(data_dir=tmp_path / "data", runs_dir=tmp_path / "runs")
    made.warm_up()
    made.ready()
    yield made
    made.shutdown(5)


@pytest.fixture
def desk(services: Services) -> AdoptionDesk:
    return AdoptionDesk(services)


def uploaded(tmp_path: Path, name: str = "theirs.safetensors", **arguments: Any) -> Path:
    """A small network as an upload."""
    torch.manual_seed(0)
    path = tmp_path / "gradio" / "0123" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    state = build_model("resnet20", **{"num_classes": 2, **arguments}).state_dict()
    save_file(state, path) if name.endswith(".safetensors") else torch.save({"state_dict": state}, path)
    return path


def take(desk: AdoptionDesk, path: Path, before: str = "", class_file: str | None = None, typed: str = "") -> list[Any]:
    return list(desk.take(str(path), before, class_file, typed, None))  # type: ignore[arg-type]


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_dropped_file_is_explained_and_taken_away(desk: AdoptionDesk, tmp_path: Path):
    path = uploaded(tmp_path, "net.pth")
    box, token, card, name, button, network, _, _ = take(desk, path)
    assert (box, name, button["interactive"]) == (None, "net", True)
    assert "“net.pth” fits ResNet-20 (CIFAR): all" in card
    assert "stored under “state_dict”" in card
    assert [choice[1] for choice in network["choices"]] == ["resnet20", "resnet20/plain"]
    assert network["visible"]
    assert files_below(tmp_path / "gradio") == []
    assert files_below(tmp_path / "runs") == ["weights.safetensors"]  # the pickle itself is gone
    assert len(token) == 32


def test_adopting_makes_a_model_for_every_picker_and_leaves_no_upload(
    services: Services, desk: AdoptionDesk, tmp_path: Path
):
    names = tmp_path / "class_indices.json"
    names.write_text(json.dumps({"0": "<b>left</b>", "1": "right"}), encoding="utf-8")
    token = take(desk, uploaded(tmp_path))[1]
    card, button = desk.look_again(token, None, str(names), "", "resnet20/plain", "24", "none")  # type: ignore[arg-type]
    assert "plain twin" in card
    assert "&lt;b&gt;left&lt;/b&gt;, right" in card
    assert "<b>" not in card
    assert button["interactive"]
    out = desk.adopt(token, "Mine", None, str(names), "", "resnet20/plain", "24", "none")  # type: ignore[arg-type]
    assert "Adopted as “Mine”" in out[0]
    assert ("Mine", "models/mine") in model_choices(services)
    assert shelf_choices(services) == [("Mine · ResNet-20 (CIFAR), 2 classes", "models/mine")]
    assert files_below(tmp_path / "runs") == ["mine.label.json", "mine.safetensors"]
    assert not names.exists()
    classifier = services.classifier("models/mine")
    assert classifier.class_names == ("<b>left</b>", "right")
    assert classifier.checkpoint.preprocessing.crop == 24
    assert classifier.checkpoint.architecture_arguments["residual"] is False
    picture = Image.new("RGB", (30, 30), "red")
    assert services.classify("models/mine", picture).predictions[0].probability > 0


def test_a_refused_file_says_why_and_leaves_nothing(desk: AdoptionDesk, tmp_path: Path):
    path = tmp_path / "gradio" / "page.pth"
    path.parent.mkdir()
    path.write_bytes(b"<!doctype html>")
    box, token, card, _, button, network, _, _ = take(desk, path)
    assert (box, token, button["interactive"], network["visible"]) == (None, "", False, False)
    assert "looks like HTML" in card
    assert files_below(tmp_path) == []


def test_weights_that_fit_nothing_are_described_but_not_adopted(desk: AdoptionDesk, tmp_path: Path):
    path = tmp_path / "gradio" / "odd.safetensors"
    path.parent.mkdir()
    state = dict(build_model("resnet20", num_classes=2).state_dict())
    save_file({**state, "fc.bias": torch.zeros(3)}, path)
    _, token, card, _, button, _, _, _ = take(desk, path)
    assert not button["interactive"]
    assert "Cannot be adopted" in card
    assert "1 of other shape" in card
    with pytest.raises(CheckpointError, match=r"fc\.bias"):
        desk.adopt(token, "Odd", None, *FORM)  # type: ignore[arg-type]


def test_names_that_lie_there_for_other_weights_do_not_hinder_the_look(
    desk: AdoptionDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    _, token, card, _, button, *_ = take(desk, uploaded(tmp_path), typed="a, b, c")
    assert button["interactive"]
    assert "2 without names" in card
    assert len(said) == 1
    with pytest.raises(CheckpointError, match="3 class names"):
        desk.adopt(token, "Mine", None, None, "a, b, c", "", "", "")  # type: ignore[arg-type]


def test_a_stale_page_is_told_to_drop_the_file_again(desk: AdoptionDesk, tmp_path: Path):
    assert all("__type__" in each for each in desk.look_again("0" * 32, None, *FORM))  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="drop it again"):
        desk.adopt("../../etc", "Mine", None, *FORM)  # type: ignore[arg-type]


def test_the_next_file_takes_the_place_of_the_last(desk: AdoptionDesk, tmp_path: Path):
    token = take(desk, uploaded(tmp_path))[1]
    take(desk, uploaded(tmp_path), before=token)
    assert len(files_below(tmp_path / "runs")) == 1


def test_only_a_few_uploads_wait_and_old_ones_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    staged, incoming = StagedWeights(RunStore(tmp_path)), tmp_path / "models" / ".incoming"
    tokens = [staged.take(uploaded(tmp_path)) for _ in range(staged_weights.KEPT + 1)]
    assert [staged.find(token) is not None for token in tokens] == [False, *[True] * staged_weights.KEPT]
    assert sorted(os.listdir(incoming)) == sorted(tokens[1:])
    monkeypatch.setattr(staged_weights, "KEPT_SECONDS", -1.0)
    (incoming / "something else").mkdir()
    after_restart = StagedWeights(RunStore(tmp_path))
    token = after_restart.take(uploaded(tmp_path))
    assert sorted(os.listdir(incoming)) == sorted([token, "something else"])
    after_restart.drop(token)
    assert after_restart.find(token) is None


def test_what_an_ended_app_left_goes_although_nobody_uploads_anything(tmp_path: Path):
    incoming = tmp_path / "models" / ".incoming"
    for name, age in (("0" * 32, staged_weights.KEPT_SECONDS + 1), ("1" * 32, 60.0)):
        (incoming / name).mkdir(parents=True)
        os.utime(incoming / name, (time.time() - age, time.time() - age))
    StagedWeights(RunStore(tmp_path)).sweep()
    assert os.listdir(incoming) == ["1" * 32]


def test_an_app_that_only_reads_leaves_the_shelf_and_what_waits_for_it_alone(
    services: Services, desk: AdoptionDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    token = take(desk, uploaded(tmp_path))[1]
    desk.adopt(token, "Mine", None, *FORM)  # type: ignore[arg-type]
    waiting = take(desk, uploaded(tmp_path))[1]
    removing = remover(services)
    other = FolderLock(services.store.runs_dir)
    assert other.take()
    assert not services.store.claim()
    monkeypatch.setattr(staged_weights, "KEPT_SECONDS", -1.0)
    before = files_below(tmp_path / "runs")
    buttons: list[Callable[[], Any]] = [
        lambda: desk.adopt(waiting, "Yours", None, *FORM),  # type: ignore[arg-type]
        lambda: removing("models/mine", None),
        lambda: services.staged.take(uploaded(tmp_path)),
        services.staged.sweep,
    ]
    for button in buttons:
        with pytest.raises((RunError, gr.Error), match=r"Another ResNet Lab app \(process \d+, since"):
            button()
    box, _, card, *_ = take(desk, uploaded(tmp_path))
    assert box is None
    assert "this one only reads" in card
    assert files_below(tmp_path / "runs") == before
    assert files_below(tmp_path / "gradio") == []
    other.release()


def remover(services: Services) -> Callable[..., Any]:
    """What the button that removes a model for good does."""

    async def build() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page, gr.Tab() as tab:
            shelf_list(services, page, tab)
        return page

    handlers = [each.fn for each in asyncio.run(build()).fns.values() if each.fn is not None]
    return next(handler for handler in handlers if handler.__name__ == "remove_it")


def test_an_upload_nobody_asks_for_goes_with_the_next_one_or_the_next_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = [0.0]
    monkeypatch.setattr(staged_weights.time, "monotonic", lambda: clock[0])
    staged, incoming = StagedWeights(RunStore(tmp_path)), tmp_path / "models" / ".incoming"
    forgotten, used = staged.take(uploaded(tmp_path)), staged.take(uploaded(tmp_path))
    clock[0] = staged_weights.KEPT_SECONDS / 2
    assert staged.find(used) is not None
    clock[0] = staged_weights.KEPT_SECONDS + 1
    newest = staged.take(uploaded(tmp_path))
    assert staged.find(forgotten) is None
    assert sorted(os.listdir(incoming)) == sorted([used, newest])
    clock[0] += staged_weights.KEPT_SECONDS + 1
    staged.sweep()
    assert os.listdir(incoming) == []


def test_removing_from_the_shelf_takes_the_model_away(services: Services, desk: AdoptionDesk, tmp_path: Path):
    token = take(desk, uploaded(tmp_path))[1]
    desk.adopt(token, "Mine", None, *FORM)  # type: ignore[arg-type]
    services.classifier("models/mine")
    shelf_of(services.store).remove("models/mine")
    assert shelf_choices(services) == []
    update = refreshed_models(services, "models/mine")
    assert update["value"] == "flowers"
    assert "models/mine" not in dict(map(reversed, update["choices"]))
    assert "value" not in refreshed_models(services, "flowers")
    with pytest.raises(CheckpointError, match="There is no model"):
        services.classifier("models/mine")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_card_shows_foreign_words_as_text(tmp_path: Path, language: str):
    path = uploaded(tmp_path, "${alert(1)}<i>.safetensors")
    weights = open_foreign(path, scratch=tmp_path)
    card = findings_card(inspect_weights(weights, Wishes(class_names=("<script>", "${x}"))), language)
    card += refused_card("“<img onerror>${y}” is empty", language)
    assert "<script>" not in card
    assert "<i>" not in card
    assert "<img" not in card
    assert "${" not in card


def test_the_form_becomes_wishes(tmp_path: Path):
    assert wishes_of(*FORM) == Wishes()
    assert wishes_of(None, "a, b", "resnet34", " 96 ", "none") == Wishes(
        model="resnet34", plain=False, class_names=("a", "b"), image_size=96, normalization="none"
    )
    with pytest.raises(CheckpointError, match="whole number"):
        wishes_of(None, "", "", "1e3", "")


def test_every_convention_and_source_of_names_has_words():
    for key in ("given", "file", "imagenet", "numbers"):
        assert f"adopt_names_{key}" in weights_in.SENTENCES
    for key in ("torchvision", "cifar repositories", "tutorial"):
        assert f"adopt_from_{key}" in weights_in.SENTENCES
