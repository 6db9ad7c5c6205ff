"""The same page in Chinese and English, chosen by the browser's language."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from visitor import Visitor

CJK = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW"])
def test_a_chinese_browser_reads_chinese_everywhere(visit: Callable[..., Visitor], examples: list[Path], locale: str):
    visitor = visit(locale=locale)
    for tab in ("识别", "训练", "特征图"):
        expect(visitor.page.get_by_role("tab", name=tab, exact=True)).to_be_visible()
    expect(visitor.part("#classify-answer")).to_have_text(re.compile("放入一张花的照片"))
    visitor.drop("#classify-photo", examples[0])
    expect(visitor.part("#classify-answer .sureness")).to_have_text(re.compile("相当确定|很可能|不太确定|最接近"))
    expect(visitor.part("#classify-answer")).to_contain_text("毫秒")
    visitor.go("训练")
    expect(visitor.part("#train-start")).to_have_text("开始")
    expect(visitor.part("#train-epochs")).to_contain_text("轮数")
    expect(visitor.part(".lb")).to_have_attribute("lang", "zh")
    visitor.go("特征图")
    expect(visitor.part("#maps-facts")).to_contain_text("放入一张照片")


@pytest.mark.parametrize("locale", ["en-US", "de-DE"])
def test_every_other_browser_reads_english(visit: Callable[..., Visitor], locale: str):
    visitor = visit(locale=locale)
    expect(visitor.page.get_by_role("tab", name="Feature maps", exact=True)).to_be_visible()
    visitor.go("Train")
    expect(visitor.part("#train-start")).to_have_text("Start")
    assert not CJK.search(visitor.part("body").inner_text())
