"""Somebody brings weights along: reads what they are, adopts them, asks them about a photo, and removes them again."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from app_process import AppProcess
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.models.zoo import build_model


def their_weights(folder: Path) -> Path:
    """A small network as a training script leaves it."""
    torch.manual_seed(0)
    state = build_model("resnet18", num_classes=3, width=16).state_dict()
    path = folder / "their net.pth"
    torch.save({"epoch": 9, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    return path


def test_weights_are_brought_along_asked_and_removed(
    visit: Callable[..., Visitor], app: AppProcess, tmp_path: Path, examples: list[Path]
):
    visitor = visit()
    visitor.go("Models")
    findings = visitor.part("#adopt-findings")
    visitor.drop("#adopt-file", {"name": "page.pth", "mimeType": "", "buffer": b"<html>404</html>"})
    expect(findings).to_contain_text("“page.pth” is not a readable checkpoint (looks like HTML).")
    expect(visitor.part("#adopt-button")).to_be_disabled()
    visitor.drop("#adopt-file", their_weights(tmp_path))
    expect(findings).to_contain_text(re.compile(r"“their net\.pth” fits ResNet-18, width 16: all \d+ tensors match"))
    expect(findings).to_contain_text("the prefix module. was taken off")
    expect(findings).to_contain_text("3 without names")
    names = {str(index): name for index, name in enumerate(("<i>ash</i>", "birch", "cedar"))}
    visitor.drop(
        "#adopt-class-file",
        {"name": "class_indices.json", "mimeType": "application/json", "buffer": json.dumps(names).encode()},
    )
    expect(findings).to_contain_text("3, as you named them: <i>ash</i>, birch, cedar")
    visitor.fill("#adopt-name", "My trees")
    visitor.part("#adopt-button").click()
    expect(findings).to_contain_text("Adopted as “My trees”")
    expect(visitor.part("#shelf-list")).to_contain_text("My trees · ResNet-18, 3 classes")
    assert not [path for path in app.uploads.rglob("*") if path.suffix in (".pth", ".json") and "class" in path.name]
    assert not list(app.uploads.rglob("*.pth"))
    ask_and_remove(visitor, examples)


def ask_and_remove(visitor: Visitor, examples: list[Path]) -> None:
    visitor.go("One")
    visitor.choose("#classify-model", "My trees")
    visitor.drop("#classify-photo", examples[0])
    bars: Any = visitor.part("#classify-answer .bar-label")
    expect(bars).to_have_count(3)
    assert set(bars.all_text_contents()) == {"<i>ash</i>", "birch", "cedar"}
    visitor.go("Models")
    visitor.part("#shelf-list").get_by_text("My trees").click()
    visitor.part("#shelf-remove").click()
    visitor.part("#shelf-sure").click()
    expect(visitor.page.locator("#shelf-list").get_by_text("My trees")).to_have_count(0)


def test_a_phone_shows_the_panel_without_sideways_scrolling_and_in_chinese(
    visit: Callable[..., Visitor], tmp_path: Path
):
    visitor = visit(viewport={"width": 390, "height": 844}, locale="zh-CN")
    visitor.go("模型")
    expect(visitor.part("#adopt-findings")).to_contain_text("放入来自 torchvision")
    visitor.drop("#adopt-file", their_weights(tmp_path))
    expect(visitor.part("#adopt-findings")).to_contain_text("个张量全部匹配")
    assert visitor.sideways() <= 0
