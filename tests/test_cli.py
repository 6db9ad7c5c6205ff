"""The command line: results on stdout, one sentence on stderr, exit 0, 1 or 2; stopped by signals with all saved."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from resnet_core.cli import main
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.inference.classifier import Classifier
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import RunStore

ROOT = Path(__file__).parents[1]
QUICK = ["--model", "resnet20", "--image-size", "16", "--batch-size", "4", "--num-threads", "1", "--precision", "fp32"]


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_LAB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("RESNET_LAB_DATA", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cli") / "colors"
    for split, count in (("train", 10), ("val", 3)):
        for name, color in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (24, 24), tuple(v + index for v in color)).save(root / split / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "colors.safetensors"
    torch.manual_seed(0)
    model = build_model("resnet20", num_classes=2)
    described = Checkpoint(
        architecture="resnet20",
        architecture_arguments=dict(model.architecture_arguments),
        class_names=("blue", "red"),
        preprocessing=Preprocessing(resize=18, crop=16),
    )
    save_checkpoint(path, described, model.state_dict())
    return path


class Ran:
    """How one command went in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: object) -> None:
        capsys.readouterr()
        try:
            self.code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            self.code = int(leaving.code or 0)
        self.out, self.err = capsys.readouterr()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    return lambda *arguments: Ran(capsys, *arguments)


Run = Callable[..., Ran]


def python(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=timeout, check=False
    )


def spawn(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "resnet_core", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def one_sentence(text: str) -> None:
    assert text.strip(), "something must be said"
    assert len(text.strip().splitlines()) == 1, text
    assert "Traceback" not in text
    assert len(text) < 400


# ---- Errors ---------------------------------------------------------------------------------------------------

ERRORS: list[tuple[int, list[str]]] = [
    (2, []),
    (2, ["fly"]),
    (2, ["train", "--warp", "9"]),
    (2, ["train", "--epochs", "many"]),
    (2, ["train", "--epochs", "0"]),
    (2, ["train", "--batch-size", "0"]),
    (2, ["train", "--learning-rate", "-1"]),
    (2, ["train", "--learning-rate", "nan"]),
    (2, ["train", "--learning-rate", "inf"]),
    (2, ["train", "--image-size", "3"]),
    (2, ["train", "--seed", "-1"]),
    (2, ["train", "--optimizer", "magic"]),
    (2, ["train", "--precision", "fp8"]),
    (2, ["train", "--stem", "huge"]),
    (2, ["train", "--memory-format", "nhwc"]),
    (2, ["train", "--freeze", "head"]),
    (2, ["train", "--freeze"]),
    (2, ["train", "--compile", "yes"]),
    (2, ["train", "--resume", "nope", "--no-compile"]),
    (2, ["train", "--preset", "nope"]),
    (1, ["train", "--model", "resnet19"]),
    (1, ["train", "--dataset", "no-such-data"]),
    (1, ["train", "--dataset", "flower_photos"]),
    (1, ["train", "--dataset", "/dev/null"]),
    (1, ["train", "--init-from", "nope"]),
    (1, ["train", "--resume", "nope"]),
    (1, ["train", "--resume", "../runs"]),
    (2, ["train", "--resume", "nope", "--epochs", "3"]),
    (2, ["predict"]),
    (1, ["predict", "a.jpg", "--checkpoint", "nope"]),
    (1, ["predict", "a.jpg", "--checkpoint", "/etc/passwd"]),
    (1, ["predict", "a.jpg", "--checkpoint", "imagenet/resnet19"]),
    (1, ["predict", "a.jpg", "--device", "quantum"]),
    (2, ["predict", "a.jpg", "--top-k", "0"]),
    (2, ["predict", "a.jpg", "--top-k", "many"]),
    (1, ["evaluate", "--checkpoint", "nope"]),
    (2, ["evaluate", "--batch-size", "0"]),
    (2, ["evaluate", "--split", "test"]),
    (1, ["describe", "resnet19"]),
    (1, ["describe", "resnet18", "--image-size", "0"]),
    (1, ["describe", "resnet18", "--image-size", "-5"]),
    (1, ["describe", "tutorial-cifar", "--image-size", "2"]),
    (1, ["describe", "resnet18", "--num-classes", "0"]),
    (1, ["describe", "resnet18", "--as-published"]),
    (2, ["describe"]),
    (1, ["runs", "show", "nope"]),
    (1, ["runs", "rm", "../data"]),
    (2, ["runs", "rm"]),
    (2, ["runs", "show"]),
    (2, ["runs", "rename", "x"]),
    (2, ["runs", "list", "x"]),
    (2, ["runs", "rm", "x", "y"]),
    (1, ["runs", "restore", "../data"]),
    (1, ["runs", "note", "nope", "words"]),
    (2, ["runs", "burn"]),
    (2, ["datasets", "get"]),
    (1, ["datasets", "get", "imagenet"]),
    (2, ["models", "train"]),
]


@pytest.mark.parametrize(("code", "arguments"), ERRORS, ids=[f"{code} {' '.join(words)}" for code, words in ERRORS])
def test_a_mistake_is_one_sentence_on_stderr(code: int, arguments: list[str], run: Run, tmp_path: Path) -> None:
    ran = run(*arguments)
    one_sentence(ran.err)
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir()), "no run is left behind"


@pytest.mark.parametrize("place", ["a-file", "/dev/null/x"])
def test_a_runs_folder_that_cannot_be_written(place: str, run: Run, tmp_path: Path, colors: Path) -> None:
    (tmp_path / "a-file").write_text("x")
    ran = run("train", "--dataset", colors, "--runs-dir", tmp_path / place, *QUICK)
    one_sentence(ran.err)
    assert ran.code == 1
    assert "--runs-dir" in ran.err


def test_an_unforeseen_fault_is_one_sentence_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from resnet_core.commands import overview

    for fault in (
        ZeroDivisionError("boom"),
        RuntimeError("a\nb"),
        OSError(13, "Permission denied", "/srv"),
        ImportError(),
    ):

        def broken(_: object, fault: Exception = fault) -> int:
            raise fault

        monkeypatch.setattr(overview, "models", broken)
        ran = run("models", "list")
        one_sentence(ran.err)
        assert ran.code == 1


# ---- Train ----------------------------------------------------------------------------------------------------


def test_train_prints_what_happened_and_leaves_a_run(run: Run, colors: Path, tmp_path: Path) -> None:
    ran = run("train", "--dataset", colors, "--epochs", 2, "--name", "mine", *QUICK)
    assert (ran.code, ran.err) == (0, "")
    assert "resnet20" in ran.out
    epochs = [line for line in ran.out.splitlines() if line.startswith("[epoch ")]
    assert [line[:9] for line in epochs] == ["[epoch 1]", "[epoch 2]"]
    assert all(re.search(r"[\d,]+ images/s, waited \d+%", line) for line in epochs)
    assert ran.out.splitlines()[-1].startswith("Finished: ")
    [listed] = run("runs", "list", "--json").json
    assert (listed["status"], listed["name"], listed["epochs_done"]) == ("finished", "mine", 2)
    shown = run("runs", "show", listed["run_id"], "--json").json
    assert shown["config"]["epochs"] == 2
    assert shown["events"][-1]["event"] == "RunEnded"
    assert listed["run_id"] in run("runs", "list").out
    assert listed["run_id"] in [row["name"] for row in run("models", "list", "--json").json]
    again = run("train", "--resume", listed["run_id"])
    one_sentence(again.err)
    assert again.code == 1
    assert run("runs", "rm", listed["run_id"]).code == 0
    assert run("runs", "list", "--json").json == []


def test_freezing_and_computing_are_asked_for_and_shown(
    run: Run, colors: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    asked = ["--freeze", "layer2", "--memory-format", "contiguous", "--compile", "--init-from", checkpoint]
    ran = run("train", "--dataset", colors, "--epochs", 1, "--json", *asked, *QUICK)
    assert (ran.code, ran.err) == (0, "")
    settings = ran.lines[1]["settings"]
    assert (settings["freeze"], settings["memory_format"], settings["compile"]) == ("layer2", "contiguous", True)
    _, before = load_checkpoint(checkpoint)
    store = RunStore(Path(os.environ["RESNET_LAB_RUNS"]))
    _, after = load_checkpoint(store.get(ran.lines[0]["run_id"]).checkpoint_path())
    moved = {name for name, tensor in before.state_dict().items() if not torch.equal(tensor, after.state_dict()[name])}
    assert moved
    assert all(name.startswith(("layer3", "fc")) for name in moved)
    ran = run("train", "--dataset", colors, "--epochs", 1, "--freeze", "layer4", *QUICK)
    one_sentence(ran.err)
    assert ran.code == 1
    assert "none, stem, layer1, layer2, layer3" in ran.err
    shown = run("train", "--help").out
    assert all(option in shown for option in ("--freeze", "--memory-format", "--compile", "--no-compile"))


def test_train_json_is_the_story_line_by_line(run: Run, colors: Path) -> None:
    ran = run("train", "--dataset", colors, "--epochs", 1, "--json", *QUICK)
    assert ran.code == 0
    head, *events = ran.lines
    assert set(head) == {"run_id"}
    assert events[0]["event"] == "RunStarted"
    assert events[-1] == {"event": "RunEnded", "status": "finished", "reason": events[-1]["reason"]}
    kept = run("runs", "show", head["run_id"], "--json").json["events"]
    assert [{key: value for key, value in event.items() if key != "time"} for event in kept] == events


def test_a_training_that_fails_says_why_on_stderr(run: Run, colors: Path) -> None:
    for extra in ([], ["--json"]):
        ran = run("train", "--dataset", colors, *QUICK, "--device", "cuda:7", *extra)
        one_sentence(ran.err)
        assert ran.code == 1
        assert "cuda:7" in ran.err
        assert "Failed" not in ran.out


def test_train_starts_from_a_run_a_file_and_the_circle_closes(run: Run, colors: Path, checkpoint: Path) -> None:
    ran = run("train", "--dataset", colors, "--epochs", 1, "--json", "--init-from", checkpoint, *QUICK)
    assert ran.code == 0, ran.err
    run_id = ran.lines[0]["run_id"]
    assert run("train", "--dataset", colors, "--epochs", 1, "--init-from", run_id, *QUICK).code == 0
    picture = colors / "val" / "red" / "0.png"
    answer = run("predict", picture, "--checkpoint", run_id, "--json").json
    assert {p["label"] for p in answer["predictions"]} == {"red", "blue"}
    scores = run("evaluate", "--checkpoint", run_id, "--dataset", colors, "--json").json
    assert scores["n"] == 6
    other = run("train", "--dataset", colors, "--init-from", run_id, "--model", "resnet32", "--num-threads", 1)
    one_sentence(other.err)
    assert other.code == 1


def test_two_trainings_with_one_seed_are_the_same(run: Run, colors: Path) -> None:
    told = []
    for seed in (5, 5, 6):
        lines = run("train", "--dataset", colors, "--epochs", 1, "--json", "--seed", seed, *QUICK).lines
        told.append([event["loss"] for event in lines if event.get("event") == "StepEnded"])
    assert told[0] == told[1] != told[2]


# ---- Predict, evaluate, describe, lists -----------------------------------------------------------------------


def test_a_broken_picture_among_good_ones(run: Run, colors: Path, checkpoint: Path, tmp_path: Path) -> None:
    good = colors / "val" / "red" / "0.png"
    broken, empty, missing = tmp_path / "bröken 🌼.png", tmp_path / "empty.jpg", tmp_path / "missing.jpg"
    broken.write_bytes(good.read_bytes()[:40])
    empty.write_bytes(b"")
    (tmp_path / "bare").mkdir()
    pictures = [good, broken, good, empty, missing, tmp_path / "bare", colors / "val" / "blue" / "1.png"]
    ran = run("predict", *pictures, "--checkpoint", checkpoint, "--top-k", 1, "--json")
    assert ran.code == 1
    assert ran.err == ""
    assert [line["image"] for line in ran.lines] == [str(picture) for picture in pictures]
    for line, bad in zip(ran.lines, [0, 1, 0, 1, 1, 1, 0], strict=True):
        assert set(line) == {"image", "predictions", "unknown", "error"}
        assert bool(line["error"]) is bool(bad)
        assert len(line["predictions"]) == 1 - bad
        if bad:
            one_sentence(line["error"])
            assert str(tmp_path) not in line["error"]
    assert ran.lines[0] == ran.lines[2]
    people = run("predict", *pictures, "--checkpoint", checkpoint)
    assert people.code == 1
    assert len(people.out.splitlines()) == 3
    assert len(people.err.splitlines()) == 4
    assert run("predict", good, "--checkpoint", checkpoint).code == 0


def test_a_picture_whose_answer_is_no_number_is_told_and_the_rest_go_on(
    run: Run, colors: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Classifier.answer_rows

    def overflowing(classifier: Classifier, inputs: torch.Tensor) -> torch.Tensor:
        bluish = inputs[:, 2].mean((1, 2)) > inputs[:, 0].mean((1, 2))
        return rows(classifier, inputs).masked_fill(bluish[:, None], torch.nan)

    monkeypatch.setattr(Classifier, "answer_rows", overflowing)
    pictures = [colors / "val" / color / "0.png" for color in ("red", "blue", "red")]
    ran = run("predict", *pictures, "--checkpoint", checkpoint, "--csv", tmp_path / "table.csv", "--json")
    assert ran.code == 1
    assert [bool(line["error"]) for line in ran.lines] == [False, True, False]
    assert ran.lines[1]["error"].startswith("0.png: The model returned invalid numbers for this picture;")
    assert "invalid numbers" in (tmp_path / "table.csv").read_text().splitlines()[2]


def test_predictions_are_ranked_and_add_up(run: Run, colors: Path, checkpoint: Path) -> None:
    answer = run("predict", colors / "val/red/0.png", "--checkpoint", checkpoint, "--json", "--top-k", 99).json
    numbers = [prediction["probability"] for prediction in answer["predictions"]]
    assert numbers == sorted(numbers, reverse=True)
    assert sum(numbers) == pytest.approx(1)
    assert (answer["unknown"], answer["error"]) == (False, None)


def test_evaluate_has_the_promised_keys(run: Run, colors: Path, checkpoint: Path) -> None:
    scores = run("evaluate", "--checkpoint", checkpoint, "--dataset", colors, "--json").json
    assert {"n", "top1", "top5", "loss", "ece", "class_names", "confusion", "per_class"} <= scores.keys()
    assert sum(map(sum, scores["confusion"])) == scores["n"] == 6
    assert "top-1" in run("evaluate", "--checkpoint", checkpoint, "--dataset", colors, "--split", "train").out
    other = run("evaluate", "--checkpoint", checkpoint, "--dataset", "rendered-flowers")
    one_sentence(other.err)
    assert other.code == 1


def test_describe_adds_up(run: Run) -> None:
    table = run("describe", "resnet18", "--json").json
    assert table["parameters"] == 11_689_512
    assert table["macs"] == pytest.approx(1.814e9, rel=1e-3)
    assert {"name", "kind", "output_shape", "parameters", "macs"} <= table["layers"][0].keys()
    small = run("describe", "tutorial-cifar", "--as-published", "--num-classes", 10, "--json").json
    assert small["parameters"] == 9_553_674
    assert "in all" in run("describe", "resnet20").out.splitlines()[-1]


def test_describe_draws_a_deep_network_in_a_few_lines(run: Run) -> None:
    told = run("describe", "resnet110", "--outline").out
    assert "BasicBlock × 18, skip: identity" in told
    assert "BasicBlock, skip: padded" in told
    assert len(told.splitlines()) == 9
    assert "512×1×1 to a skip of 512×2×2" in run("describe", "tutorial-cifar", "--as-published", "--outline").out
    outline = run("describe", "resnet34", "--json").json["outline"]
    assert [sum(block["repeat"] for block in stage["blocks"]) for stage in outline["stages"]] == [3, 4, 6, 3]


def test_lists_are_tables_for_people_and_json_for_machines(run: Run) -> None:
    assert [row["name"] for row in run("datasets", "list", "--json").json] == [
        "rendered-flowers",
        "flower_photos",
        "cifar10",
    ]
    assert "rendered-flowers" in run("datasets", "list").out
    assert {"resnet18", "resnet20", "tutorial-cifar"} <= {row["name"] for row in run("models", "list", "--json").json}
    assert run("runs", "list", "--json").json == []
    assert run("runs", "list").out.split()[0] == "run_id"


# ---- In a process of its own ----------------------------------------------------------------------------------


def test_help_and_mistakes_do_not_wait_for_torch() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from resnet_core.cli import main\n"
        "for words in (['--help'], ['train', '--help'], ['fly'], []):\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main(words)\n"
        "heavy = {'torch', 'numpy', 'PIL', 'gradio', 'pandas', 'torchvision'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.returncode == 0
    shown = python("-m", "resnet_core", "--help")
    assert shown.returncode == 0
    for command in ("train", "predict", "evaluate", "describe", "runs", "datasets", "models"):
        assert command in shown.stdout


def test_a_server_without_gradio_and_pandas_can_train_and_predict(colors: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('gradio', 'gradio_client', 'pandas', 'matplotlib', 'demo'):\n"
        "    sys.modules[name] = None\n"
        "from resnet_core.cli import main\n"
        f"data, quick = {str(colors)!r}, {QUICK!r}\n"
        "assert main(['train', '--dataset', data, '--epochs', '1', '--name', 'bare', *quick]) == 0\n"
        "import os\n"
        "run_id = os.listdir(os.environ['RESNET_LAB_RUNS'])[0]\n"
        "assert main(['predict', data + '/val/red/0.png', '--checkpoint', run_id]) == 0\n"
        "assert main(['evaluate', '--dataset', data, '--checkpoint', run_id]) == 0\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def read_until(process: subprocess.Popen[str], word: str) -> list[str]:
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"ended without {word}: {process.communicate()[1]}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_signal_during_training_loses_nothing(number: signal.Signals, colors: Path, tmp_path: Path, run: Run) -> None:
    settings = ["--dataset", colors, "--epochs", 12, "--json", *QUICK]
    process = spawn("train", *settings)
    told = read_until(process, "EpochEnded" if number is signal.SIGKILL else "StepEnded")
    if number is signal.SIGKILL:
        told += read_until(process, '"last"')
    started = time.monotonic()
    process.send_signal(number)
    rest, err = process.communicate(timeout=30)
    assert time.monotonic() - started < 10
    run_id = json.loads(told[0])["run_id"]
    store = RunStore(tmp_path / "runs")
    kept = store.get(run_id)
    assert (kept.folder / "resume.pt").is_file()
    if number is signal.SIGKILL:
        assert kept.status() == "interrupted"
    else:
        assert (process.returncode, err) == (0, "")
        assert kept.status() == "stopped"
        endings = [event for event in kept.events() if event["event"] == "RunEnded"]
        assert [event["status"] for event in endings] == ["stopped"]
        assert json.loads(rest.splitlines()[-1])["event"] == "RunEnded"
    resumed = run("train", "--resume", run_id, "--json")
    assert (resumed.code, resumed.err) == (0, "")
    assert kept.status() == "finished"
    if number is not signal.SIGTERM:
        straight = run("train", *settings).lines[0]["run_id"]
        one, other = (load_checkpoint(store.get(name).folder / "last.safetensors")[1] for name in (run_id, straight))
        weights = other.state_dict()
        assert all(torch.equal(tensor, weights[name]) for name, tensor in one.state_dict().items()), "bit for bit"


def test_a_reader_that_goes_away_stops_the_training_with_all_saved(colors: Path, tmp_path: Path) -> None:
    process = spawn("train", "--dataset", colors, "--epochs", 500, "--json", *QUICK)
    run_id = json.loads(read_until(process, "StepEnded")[0])["run_id"]
    assert process.stdout
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr
    assert process.stderr.read() == ""
    process.stderr.close()
    kept = RunStore(tmp_path / "runs").get(run_id)
    assert kept.status() == "stopped"
    assert (kept.folder / "resume.pt").is_file()


def test_head_closes_a_list_without_a_complaint(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    for _ in range(30):
        store.create(TrainConfig(name="x" * 4000))
    command = f"{sys.executable} -m resnet_core runs list --json | head -c 10"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.stderr == ""


def test_names_that_are_no_utf8_stay_valid_json(run: Run, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path / "odd")
    for split in (b"train", b"val"):
        for name in (b"r\xff", b"b"):
            os.makedirs(os.path.join(folder, split, name))
            for index in range(3):
                Image.new("RGB", (16, 16), (index, 0, 0)).save(os.path.join(folder, split, name, b"%d.png" % index))
    ran = run("train", "--dataset", tmp_path / "odd", "--epochs", 1, "--json", *QUICK)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines[-1]["status"] == "finished"
    assert len(ran.lines[1]["class_names"]) == 2


# ---- Many pictures ---------------------------------------------------------------------------------------------


def test_a_folder_and_a_zip_stand_for_their_pictures_and_all_come_into_one_table(
    run: Run, colors: Path, checkpoint: Path, tmp_path: Path
) -> None:
    packed, table = tmp_path / "more.zip", tmp_path / "answers.csv"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(colors / "val/red/1.png", "red/=1.png")
        archive.writestr("red/broken.png", b"\x89PNG\r\n\x1a\n broken")
    ran = run("predict", colors / "val", packed, "--checkpoint", checkpoint, "--json", "--top-k", 1, "--csv", table)
    assert ran.code == 1
    names = [f"{colors}/val/{name}" for name in ("blue/0.png", "blue/1.png", "blue/2.png", "red/0.png", "red/1.png")]
    assert [line["image"].replace(os.sep, "/") for line in ran.lines[:5]] == names
    assert [line["image"] for line in ran.lines[6:]] == [f"{packed}/red/=1.png", f"{packed}/red/broken.png"]
    assert [len(line["predictions"]) for line in ran.lines] == [1] * 7 + [0]
    rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    assert [row["file"] for row in rows] == [line["image"] for line in ran.lines]
    for row, line in zip(rows[:7], ran.lines, strict=False):
        assert row["answer"] == line["predictions"][0]["label"]
        assert float(row["probability"]) == pytest.approx(line["predictions"][0]["probability"], abs=1e-6)
        assert float(row["p(blue)"]) + float(row["p(red)"]) == pytest.approx(1, abs=1e-5)
        assert row["right"] == ("yes" if row["answer"] == row["folder says"] else "no")
    assert [row["folder says"] for row in rows] == ["blue"] * 3 + ["red"] * 5
    assert "broken.png is incomplete" in rows[7]["reason"]


def test_a_table_that_cannot_be_written_is_named_before_anything_is_asked(
    run: Run, colors: Path, checkpoint: Path, tmp_path: Path
) -> None:
    ran = run("predict", colors / "val", "--checkpoint", checkpoint, "--csv", tmp_path / "nowhere" / "a.csv")
    one_sentence(ran.err)
    assert (ran.code, ran.out) == (2, "")
