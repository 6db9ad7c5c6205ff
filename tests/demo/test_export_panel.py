"""Taking a model away on the page: the zip is made in another process, and only what belongs to it is served."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from demo.classify.weights import export_panel as panel
from demo.classify.weights.export_panel import EXPORT_LIMIT, FORMATS, export_apart, report_html
from demo.services import Services
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, ConfigError, DeviceError
from resnet_core.inference import export, ways
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig

POPEN = subprocess.Popen


@pytest.fixture(scope="module")
def model(services: Services) -> str:
    torch.manual_seed(0)
    run = services.store.create(TrainConfig())
    network = build_model("resnet8", num_classes=3)
    checkpoint = Checkpoint(
        architecture="resnet8",
        architecture_arguments=dict(network.architecture_arguments),
        class_names=("<b>left</b>", "right", "${up}"),
        preprocessing=Preprocessing(resize=36, crop=32),
    )
    save_checkpoint(run.folder / "best.safetensors", checkpoint, network.state_dict())
    return run.run_id


def test_the_formats_offered_are_those_there_are() -> None:
    assert FORMATS == export.FORMATS


def test_a_model_becomes_a_zip_in_the_folder_that_is_served_and_nothing_else_stays(
    services: Services, model: str, tmp_path: Path
) -> None:
    parcel = export_apart(services, model, "pt2", tmp_path / "cache", api_url=None)
    assert parcel.path is not None
    assert parcel.path.name == f"{model}-pt2.zip"
    with zipfile.ZipFile(parcel.path) as packed:
        assert {Path(name).name for name in packed.namelist()} == {"MODEL_CARD.md", f"{model}.pt2", "predict.py"}
    left = sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert left == sorted([parcel.path, parcel.card_path])  # type: ignore[type-var]
    html = report_html(parcel.facts, "en")
    assert "The same answers everywhere: 8 test pictures" in html
    assert f"the zip holds {model}.pt2, MODEL_CARD.md, predict.py." in html
    assert str(tmp_path) not in html + parcel.card
    assert "# Model card" in parcel.card
    assert "<b>left" not in parcel.card


@pytest.mark.parametrize("name", ["/etc/passwd", "app.py", "../runs", "", "--help", "imagenet/../x", "nope"])
def test_only_models_of_the_list_can_be_named(name: str, services: Services, tmp_path: Path, model: str) -> None:
    with pytest.raises(CheckpointError, match="no such model"):
        export_apart(services, name, "pt2", tmp_path, api_url=None)
    with pytest.raises(ConfigError, match="onnx, pt2, safetensors"):
        export_apart(services, model, name, tmp_path, api_url=None)
    assert list(tmp_path.iterdir()) == []


def instead(monkeypatch: pytest.MonkeyPatch, program: str) -> list[Any]:
    """Lets another Python program stand for the command; the processes started."""
    started: list[Any] = []

    def start(arguments: list[str], **options: Any) -> Any:
        started.append(POPEN([sys.executable, "-c", program], **options))
        return started[-1]

    monkeypatch.setattr(ways.subprocess, "Popen", start)
    return started


def test_the_commands_complaint_is_what_the_page_says(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead(monkeypatch, "import sys; print('Writing ONNX needs the package onnx.', file=sys.stderr); sys.exit(1)")
    with pytest.raises(CheckpointError, match=r"^Writing ONNX needs the package onnx\.$"):
        export_apart(services, model, "onnx", tmp_path, api_url=None)
    instead(monkeypatch, "import os; os._exit(9)")
    with pytest.raises(CheckpointError, match="broke off"):
        export_apart(services, model, "onnx", tmp_path, api_url=None)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_takes_too_long_is_ended(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = instead(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setattr(panel, "EXPORT_LIMIT", 0.2)
    with pytest.raises(DeviceError, match="took longer"):
        export_apart(services, model, "pt2", tmp_path, api_url=None)
    assert [process.poll() is not None for process in started] == [True]
    assert list(tmp_path.iterdir()) == []
    assert EXPORT_LIMIT > 100


@pytest.mark.skipif(os.name != "posix", reason="Only POSIX has process groups.")
def test_what_the_export_has_started_ends_with_it(
    services: Services, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = tmp_path / "late"
    child = f"import time; time.sleep(20); open({str(late)!r}, 'w')"
    instead(monkeypatch, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    monkeypatch.setattr(panel, "EXPORT_LIMIT", 1.5)
    with pytest.raises(DeviceError, match="took longer"):
        export_apart(services, model, "pt2", tmp_path / "cache", api_url=None)
    assert not late.exists()  # had it lived, its pipes would have been waited for


def facts(**changes: Any) -> dict[str, Any]:
    way = {"way": "app", "difference": 1e-9, "limit": 1e-3, "cause": "", "engine": "openvino", "agrees": True}
    other = {**way, "way": "file", "engine": "", **changes}
    checked = {"agrees": other["agrees"], "pictures": 8, "ways": [way, other]}
    files = ["x-pt2.zip", "x.pt2", "MODEL_CARD.md", "MODEL_CARD.md"] if other["agrees"] else []
    return {"files": files, "bytes": 25_300_000, "seconds": 1.5, "verification": checked}


def test_the_report_tells_differences_in_words_of_the_visitor() -> None:
    html = report_html(facts(difference=2.5e-5), "en")
    assert "no probability differs by more than 0.0025%" in html
    assert "the app, by openvino" in html
    assert "below 0.0001%" in html
    assert "25.3 MB" in html
    assert "测试图片" in report_html(facts(), "zh")


def test_a_fault_is_named_and_shown_as_text() -> None:
    html = report_html(facts(difference=0.25, agrees=False, cause="Its class 1 is “<i>${x}</i>” here."), "en")
    assert "The answers differ" in html
    assert "25.0000%" in html
    assert 'class="differs"' in html
    assert "<i>" not in html
    assert "${" not in html
    assert "x.pt2" not in html


def test_a_way_that_was_not_asked_says_why() -> None:
    html = report_html(facts(difference=None, cause="Not asked: this app asks for a password."), "en")
    assert "Not asked: this app asks for a password." in html
    assert "The same answers everywhere" in html


def test_what_is_served_lies_where_gradio_would_have_put_it(tmp_path: Path) -> None:
    from gradio.processing_utils import save_file_to_cache

    source = tmp_path / "model.zip"
    source.write_bytes(os.urandom(100))
    copied = save_file_to_cache(source, str(tmp_path / "theirs"))
    moved = panel._serve(source, tmp_path / "ours")
    assert moved.relative_to(tmp_path / "ours") == Path(copied).relative_to(tmp_path / "theirs")
    assert not source.exists()
