"""Taking a model away in a real browser: the zip comes, says what the API says, and works without us."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from app_process import AppProcess
from playwright.sync_api import expect
from visitor import Visitor

from resnet_core.inference.catalog import SHIPPED
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import RunStore


def test_the_shipped_model_is_exported_checked_and_downloaded(
    visitor: Visitor, examples: list[Path], app: AppProcess, tmp_path: Path
) -> None:
    visitor.page.get_by_role("tab", name="Models", exact=True).click()
    expect(visitor.part("#export-download")).to_have_count(0)
    visitor.part("#export-go").click()
    report = visitor.part("#export-report")
    expect(report.locator("h3")).to_contain_text("The same answers everywhere: 8 test pictures", timeout=300_000)
    rows = report.locator("tbody tr")
    ways = [" ".join(text.split(",")[0].split()) for text in rows.locator("th").all_text_contents()]
    assert ways[:4] == ["the app", "the command line", "the HTTP API", "the exported file"]
    assert not any("Not asked" in text for text in rows.all_text_contents())

    with visitor.page.expect_download() as coming:
        visitor.part("#export-download").click()
    assert coming.value.suggested_filename == "flowers-pt2.zip"
    coming.value.save_as(tmp_path / "flowers.zip")
    with zipfile.ZipFile(tmp_path / "flowers.zip") as packed:
        packed.extractall(tmp_path)
    script = next(tmp_path.rglob("predict.py"))
    sunflower = next(picture for picture in examples if picture.stem == "sunflowers")
    told = subprocess.run(
        [sys.executable, "-I", script, sunflower], capture_output=True, text=True, cwd=script.parent, check=True
    )
    assert told.stdout.splitlines()[1].split()[-1] == "sunflowers"

    visitor.part("#export-panel button.label-wrap").click()
    expect(visitor.part("#export-card")).to_contain_text("Model card: Flowers (shipped)")
    assert visitor.sideways() <= 0

    run = RunStore(app.runs).create(TrainConfig(name="made meanwhile"))
    shutil.copyfile(SHIPPED, run.folder / "best.safetensors")
    visitor.choose("#export-model", "made meanwhile · best epoch")
    expect(visitor.part("#export-model input")).to_have_value("made meanwhile · best epoch")
