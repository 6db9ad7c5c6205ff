"""A model taken away: checked by asking it in every way, packed with its card, and nothing left half done."""

import contextlib
import json
import math
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_core.cli import main
from resnet_core.data.images import read_image
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.errors import CheckpointError, DeviceError
from resnet_core.inference import take_away as module
from resnet_core.inference import ways
from resnet_core.inference.classifier import Classifier
from resnet_core.inference.export import Source, export_model
from resnet_core.inference.exported import open_exported
from resnet_core.inference.take_away import Order, file_stem, take_away
from resnet_core.inference.verification import verify, write_test_pictures
from resnet_core.inference.ways import Ask, Way, ask_api, ask_app
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.runs import RunStore

POPEN = subprocess.Popen
NAMES = ("daisy", "雏菊", "${c}")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "my garden.safetensors"
    torch.manual_seed(0)
    model = build_model("resnet8", num_classes=3)
    checkpoint = Checkpoint(
        architecture="resnet8",
        architecture_arguments=dict(model.architecture_arguments),
        class_names=NAMES,
        preprocessing=Preprocessing(resize=36, crop=32),
        flip_average=True,
        temperature=2.0,
        unknown_threshold=0.4,
    )
    save_checkpoint(path, checkpoint, model.state_dict())
    return path


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def asked_here(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    """The command line answers in this process, without another that imports torch."""

    class Here:
        def __init__(self, checkpoint: str, pictures: list[Path], *, runs_dir: Path) -> None:
            assert Path(checkpoint).read_bytes() == weights.read_bytes()

        def asker(self, class_names: tuple[str, ...]) -> Ask:
            return ask_app(Classifier.load(weights, engine="plain"))

        def close(self) -> None:
            pass

    monkeypatch.setattr(module, "CommandLine", Here)


class Ran:
    """How one command went in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        capsys.readouterr()
        try:
            self.code = main(["export", *(str(argument) for argument in arguments)])
        except SystemExit as leaving:
            self.code = int(leaving.code or 0)
        self.out, self.err = capsys.readouterr()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setenv("RESNET_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "data"))
    return lambda *arguments: Ran(capsys, *arguments)


Run = Callable[..., Ran]


# The command line


@pytest.mark.usefixtures("asked_here")  # tests/demo/test_export_panel.py lets the real one answer
def test_the_command_exports_asks_app_command_line_and_file_and_says_how_they_differ(
    run: Run, weights: Path, tmp_path: Path
) -> None:
    done = run("--checkpoint", weights, "--output", tmp_path / "new" / "net.pt2", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["files"] == ["net.pt2", "predict.py"]
    assert told["bytes"] == (tmp_path / "new" / "net.pt2").stat().st_size
    assert [way["way"] for way in told["verification"]["ways"]] == ["app", "command_line", "file", "file_score"]
    assert told["verification"]["agrees"] is True
    assert [way["difference"] < 1e-4 for way in told["verification"]["ways"][2:]] == [True, True]  # no engine rounds
    assert '"net.pt2"' in (tmp_path / "new" / "predict.py").read_text()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["net.pt2", "predict.py"]


def test_a_zip_holds_model_card_and_script_in_one_folder(run: Run, weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "garden.zip"
    done = run("--checkpoint", weights, "--format", "pt2", "--output", target, "--no-verify")
    assert done.code == 0, done.err
    assert "wrote garden.zip, my-garden.pt2, MODEL_CARD.md, predict.py" in done.out
    with zipfile.ZipFile(target) as packed:
        assert sorted(packed.namelist()) == ["garden/MODEL_CARD.md", "garden/my-garden.pt2", "garden/predict.py"]
        packed.extractall(tmp_path)
    assert "# Model card: my garden" in (tmp_path / "garden" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert open_exported(tmp_path / "garden" / "my-garden.pt2", format="pt2").class_names == NAMES


@pytest.mark.usefixtures("asked_here")
def test_without_json_it_speaks_in_lines(run: Run, weights: Path, tmp_path: Path) -> None:
    done = run("--checkpoint", weights, "--output", tmp_path / "net.safetensors")
    assert done.code == 0, done.err
    assert re.search(r"MB of safetensors in \d+\.\d s; wrote net\.safetensors\.", done.out)
    assert re.search(r"the app +0\.\d{7} \(by \w+", done.out)
    assert re.search(r"the command line +0\.\d{7}\n", done.out)


def test_a_script_of_somebody_else_is_left_alone(run: Run, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "predict.py").write_text("print('mine')\n")
    done = run("--checkpoint", weights, "--output", tmp_path / "net.pt2", "--no-verify", "--json")
    assert json.loads(done.out)["files"] == ["net.pt2"]
    assert (tmp_path / "predict.py").read_text() == "print('mine')\n"


def test_a_card_can_be_had_alone(run: Run, weights: Path, tmp_path: Path) -> None:
    done = run("--checkpoint", weights, "--card", tmp_path / "card.md")
    assert done.code == 0, done.err
    assert "# Model card: my garden" in (tmp_path / "card.md").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.glob("*.*")] == ["card.md"]


def damaged(weights: Path, target: Path) -> Path:
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    target.write_bytes(content)
    return target


ERRORS: dict[str, tuple[int, str, Callable[[Path, Path], list[object]]]] = {
    "nothing asked": (2, "needs --output", lambda w, t: ["--checkpoint", w]),
    "unknown format": (
        2,
        "invalid choice",
        lambda w, t: ["--checkpoint", w, "--output", t / "a", "--format", "tflite"],
    ),
    "no format": (2, "--format says", lambda w, t: ["--checkpoint", w, "--output", t / "model.zip"]),
    "other ending": (2, "should not end in .onnx", lambda w, t: ["--format", "pt2", "--output", t / "model.onnx"]),
    "a folder": (2, "is a folder", lambda w, t: ["--format", "pt2", "--checkpoint", w, "--output", t]),
    "a device": (2, "no ordinary file", lambda w, t: ["--format", "pt2", "--checkpoint", w, "--output", "/dev/null"]),
    "below a file": (1, "could not be written", lambda w, t: ["--checkpoint", w, "--output", w / "model.pt2"]),
    "card is a folder": (2, "is a folder", lambda w, t: ["--checkpoint", w, "--card", t]),
    "no such model": (1, "There is no model", lambda w, t: ["--checkpoint", "nope", "--output", t / "a.pt2"]),
    "damaged": (
        1,
        "checksum",
        lambda w, t: ["--checkpoint", damaged(w, t / "damaged.safetensors"), "--output", t / "a.pt2", "--no-verify"],
    ),
    "a picture": (
        1,
        "not a readable checkpoint",
        lambda w, t: ["--checkpoint", __file__, "--output", t / "a.pt2", "--no-verify"],
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(
    case: str, run: Run, weights: Path, tmp_path: Path
) -> None:
    code, words, make = ERRORS[case]
    if case == "a device" and not Path("/dev/null").exists():
        pytest.skip("There are no such files on this system.")
    before = weights.read_bytes()
    done = run(*make(weights, tmp_path))
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert "Traceback" not in done.err
    assert {path.name for path in tmp_path.iterdir()} <= {"damaged.safetensors"}
    assert weights.read_bytes() == before


def test_a_folder_that_may_not_be_written_is_told_before_the_work(
    run: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "access", lambda path, mode: False)  # the superuser may write anywhere
    monkeypatch.setattr(module, "load_classifier", lambda *given, **named: pytest.fail("the work was begun"))
    done = run("--checkpoint", weights, "--output", tmp_path / "a.pt2")
    assert done.code == 1
    assert (
        done.err.strip()
        == "“a.pt2” could not be written (Permission denied); choose another folder or free some space."
    )


def test_a_disk_that_is_full_is_told_and_leaves_the_old_file(
    run: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.pt2").write_bytes(b"old")

    copied = shutil.copyfile

    def full(source: Path, target: Path) -> object:
        if Path(source).suffix == ".pt2":
            raise OSError(28, "No space left on device")
        return copied(source, target)

    monkeypatch.setattr(module.shutil, "copyfile", full)
    done = run("--checkpoint", weights, "--output", tmp_path / "a.pt2", "--no-verify")
    assert done.code == 1
    assert "No space left" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt2"]
    assert (tmp_path / "a.pt2").read_bytes() == b"old"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_before_the_work(
    package: str, run: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(module, "load_classifier", lambda *given, **named: pytest.fail("the work was begun"))
    done = run("--checkpoint", weights, "--output", tmp_path / "a.onnx")
    assert done.code == 1
    assert f"«pip install {package}»" in done.err
    assert list(tmp_path.iterdir()) == []


# A file that answers otherwise


@pytest.mark.usefixtures("asked_here")
def test_a_file_that_answers_otherwise_is_not_written_and_its_fault_is_named(
    run: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cold(source: Source, path: Path, *, format: str) -> None:
        export_model(replace(source, checkpoint=replace(source.checkpoint, temperature=1.0)), path, format=format)

    monkeypatch.setattr(module, "export_model", cold)
    done = run("--checkpoint", weights, "--output", tmp_path / "a.pt2", "--json")
    told = json.loads(done.out)
    assert done.code == 1
    assert told["files"] == []
    assert [way["agrees"] for way in told["verification"]["ways"]] == [True, True, False, False]
    assert "leaves out the temperature of 2" in told["verification"]["ways"][2]["cause"]
    assert list(tmp_path.iterdir()) == []


def test_an_epoch_that_ends_meanwhile_does_not_make_the_answers_differ(
    weights: Path, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = tmp_path / "live.safetensors"
    shutil.copyfile(weights, live)

    class Late:
        """The command line, which opens the file only once it has imported torch."""

        def __init__(self, checkpoint: str, pictures: list[Path], *, runs_dir: Path) -> None:
            self.checkpoint = Path(checkpoint)

        def asker(self, class_names: tuple[str, ...]) -> Ask:
            return ask_app(Classifier.load(self.checkpoint, engine="plain"))

        def close(self) -> None:
            pass

    def next_epoch(source: Source, path: Path, *, format: str) -> None:
        export_model(source, path, format=format)
        other = {name: value + 1 for name, value in source.network.state_dict().items() if value.is_floating_point()}
        save_checkpoint(live, source.checkpoint, {**source.network.state_dict(), **other})

    monkeypatch.setattr(module, "CommandLine", Late)
    monkeypatch.setattr(module, "export_model", next_epoch)
    taken = take_away(Order(checkpoint=str(live), format="safetensors", output=tmp_path / "a.safetensors"), store)
    assert live.read_bytes() != weights.read_bytes()
    assert taken.agrees
    assert taken.files == ("a.safetensors",)


def test_no_process_is_left_when_the_work_fails(
    weights: Path, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    class Noted(module.CommandLine):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            started.append(self._process)

    def broken(*given: object, **named: object) -> None:
        raise CheckpointError("It broke.")

    monkeypatch.setattr(module, "CommandLine", Noted)
    monkeypatch.setattr(module, "export_model", broken)
    with pytest.raises(CheckpointError, match="It broke"):
        take_away(Order(checkpoint=str(weights), format="pt2", output=tmp_path / "a.pt2"), store)
    assert [process.poll() is not None for process in started] == [True]


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("flowers", "flowers"),
        ("models/rösti", "models-r-sti"),
        ("../..", "model"),
        ("imagenet/resnet18", "imagenet-resnet18"),
    ],
)
def test_a_file_name_every_system_takes(name: str, stem: str) -> None:
    assert file_stem(name) == stem


# The command line as a way


@pytest.mark.parametrize(
    "program",
    [
        "import sys; sys.exit('Traceback (most recent call last): /srv/secret.py')",
        "import os; os.abort()",
        "print('{}')",
        "print('no JSON')",
        "pass",
    ],
)
def test_a_command_line_that_crashes_differs_and_what_it_said_stays_in_the_log(
    program: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def start(arguments: list[str], **options: Any) -> Any:
        return POPEN([sys.executable, "-c", program], **options)

    monkeypatch.setattr(ways.subprocess, "Popen", start)
    classifier = Classifier.load(weights, engine="plain")
    source = Source(name="x", checkpoint=classifier.checkpoint, network=classifier.model)
    pictures = write_test_pictures(tmp_path)
    command = ways.CommandLine(str(weights), pictures, runs_dir=tmp_path)
    checked = verify(source, [Way(name="command_line", ask=command.asker(NAMES))], pictures)
    command.close()
    assert not checked.agrees
    assert checked.compared[0].difference == math.inf
    assert checked.compared[0].cause == ways.BROKE_OFF
    assert ("secret" in caplog.text) == ("secret" in program)


# The API as a way


class Api:
    """An app that answers `POST /api/classify` as ours, or as a test wants."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.reply: tuple[int, bytes] | None = None
        self.facts: dict[str, object] = {}  # what it adds about a run's model
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.asked.append(self.path)
                status, content = outer.reply or (200, outer.answer(body))
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *given: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, body: bytes) -> bytes:
        result = self.classifier.classify(read_image(body))
        told = [{"label": p.label, "probability": p.probability} for p in result.predictions]
        return json.dumps(
            {"image": "image", "predictions": told, "unknown": False, "error": None} | self.facts
        ).encode()


@pytest.fixture
def api(weights: Path) -> Iterator[Api]:
    made = Api(Classifier.load(weights, engine="plain"))
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_the_api_of_an_app_that_runs_is_asked_for_every_class(api: Api, tmp_path: Path) -> None:
    source = Source(name="x", checkpoint=api.classifier.checkpoint, network=api.classifier.model)
    pictures = write_test_pictures(tmp_path)
    way = Way(name="api", ask=ask_api(api.url, "models/my garden", NAMES))
    checked = verify(source, [way], pictures)
    assert checked.agrees
    assert checked.compared[0].difference is not None
    assert api.asked == ["/api/classify?model=models%2Fmy+garden&top_k=3"] * 8


def test_an_app_that_has_a_newer_epoch_by_now_is_not_held_against_the_older_one(api: Api, tmp_path: Path) -> None:
    source = Source(
        name="x",
        checkpoint=replace(api.classifier.checkpoint, temperature=5.0),
        network=build_model("resnet8", num_classes=3),
    )
    api.facts = {"model": {"name": "run/last", "run_id": "run", "epoch": 4}}
    pictures = write_test_pictures(tmp_path)
    older, same = (Way(name="api", ask=ask_api(api.url, "run/last", NAMES, epoch=epoch)) for epoch in (3, 4))
    checked = verify(source, [older, same], pictures)
    assert checked.compared[0].cause == "Not asked: the app has a newer epoch by now."
    assert [one.agrees for one in checked.compared] == [True, False], "the same epoch still has to answer the same"


REFUSALS: dict[str, tuple[tuple[int, bytes], str]] = {
    "a password": ((401, b'{"error": "Not authenticated"}'), "asks for a password"),
    "a sentence": ((422, '{"error": "There is no model “x”."}'.encode()), "There is no model “x”."),
    "a page": ((404, b"<html>"), "status 404"),
    "a proxy": ((502, b"<html>"), "status 502"),
    "a crowd": ((503, b'{"error": "30 people are waiting."}'), "30 people are waiting"),
    "no JSON": ((200, b"<html>"), "nothing of ours"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_an_api_that_does_not_answer_is_told_and_does_not_count(case: str, api: Api, tmp_path: Path) -> None:
    api.reply, words = REFUSALS[case]
    source = Source(name="x", checkpoint=api.classifier.checkpoint, network=api.classifier.model)
    pictures = write_test_pictures(tmp_path)
    checked = verify(source, [Way(name="api", ask=ask_api(api.url, "x", NAMES))], pictures)
    assert checked.agrees
    assert checked.compared[0].difference is None
    assert words in checked.compared[0].cause


def test_an_api_that_breaks_does_not_agree(api: Api, tmp_path: Path) -> None:
    api.reply = 500, b"<html>"
    source = Source(name="x", checkpoint=api.classifier.checkpoint, network=api.classifier.model)
    checked = verify(source, [Way(name="api", ask=ask_api(api.url, "x", NAMES))], write_test_pictures(tmp_path))
    assert not checked.agrees
    assert checked.compared[0].cause == "The app failed (status 500); see its log."
    assert checked.to_json()["ways"][0]["difference"] is None


def test_addresses_that_are_none_are_refused(api: Api, tmp_path: Path) -> None:
    source = Source(name="x", checkpoint=api.classifier.checkpoint, network=api.classifier.model)
    pictures = write_test_pictures(tmp_path)
    closed = verify(source, [Way(name="api", ask=ask_api("http://127.0.0.1:9", "x", NAMES))], pictures)
    assert "nothing of ours" in closed.compared[0].cause
    with contextlib.suppress(DeviceError):
        ask_api("file:///etc/passwd", "x", NAMES)(pictures)
        pytest.fail("a file was read")
