"""The writer's side of a run: always one RunEnded, never a torn file, however it dies."""

import csv
import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from observers import StopsAtLook, story
from safetensors import SafetensorError

from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import RunError
from resnet_core.training import recorder as module
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import Event, RunEnded, StepEnded, Warned, event_to_json
from resnet_core.training.predictions import write_predictions
from resnet_core.training.recorder import RunRecorder, load_resume
from resnet_core.training.runs import Run, RunStore
from resnet_core.training.session import Validation

STEP = StepEnded(step=1, epoch=1, loss=1.0, learning_rate=0.1)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return RunStore(tmp_path / "runs").create(TrainConfig())


def endings(run: Run) -> list[dict[str, Any]]:
    return [event for event in run.events() if event["event"] == "RunEnded"]


def test_a_whole_training_on_disk(run: Run, quick: Callable[..., TrainConfig], tiny_flowers: DatasetSpec) -> None:
    with RunRecorder(run) as recorder:
        events = list(recorder.record(fit(quick(), tiny_flowers, saver=recorder)))
        assert threading.active_count() >= 2
    assert [{k: v for k, v in row.items() if k != "time"} for row in run.events()] == [
        json.loads(json.dumps(event_to_json(event))) for event in events
    ]
    assert all(isinstance(row["time"], float) for row in run.events())
    assert run.status() == "finished"
    names = {path.name for path in run.folder.iterdir()}
    files = "config.json events.jsonl heartbeat.json best.safetensors last.safetensors resume.pt predictions.csv"
    assert names - {"usage.jsonl", "run.lock"} == {*files.split(), "probes", "kept", "pictures.json.gz"}
    checkpoint, _ = load_checkpoint(run.checkpoint_path("last"))
    assert checkpoint.training["epoch"] == 2
    assert checkpoint.training["config"]["model"] == "resnet20"
    assert checkpoint.class_names == tiny_flowers.class_names
    last = [event for event in run.events() if event["event"] == "EpochEnded"][-1]
    told = {"val_top1": last["val_top1"], "val_loss": last["val_loss"], "n_val": 10}
    assert {name: checkpoint.metrics[name] for name in told} == told
    assert sum(count for _, _, count in checkpoint.metrics["reliability"]) == 10
    assert 0 <= checkpoint.metrics["val_ece_held_out"] <= 1
    assert 0.2 <= checkpoint.temperature <= 5


def test_the_best_file_answers_as_validation_did(
    run: Run, quick: Callable[..., TrainConfig], tiny_flowers: DatasetSpec
) -> None:
    """The circle closes: what was judged in training is what prediction gives."""
    from resnet_core.inference.classifier import Classifier

    with RunRecorder(run) as recorder:
        list(recorder.record(fit(quick(ema_decay=0.9), tiny_flowers, saver=recorder)))
    with (run.folder / "predictions.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    classifier = Classifier.load(run.checkpoint_path())
    assert len(rows) == 10
    for row, picture in zip(rows, tiny_flowers.val, strict=True):
        answer = classifier.classify(tiny_flowers.source.load(picture.path))
        assert row["image"] == picture.path
        assert row["class"] == tiny_flowers.class_names[picture.class_index]
        assert row["prediction"] == answer.predictions[0].label
        for prediction in answer.predictions:
            assert float(row[f"p_{prediction.label}"]) == pytest.approx(prediction.probability, abs=2e-4)
        assert sum(float(row[f"p_{name}"]) for name in tiny_flowers.class_names) == pytest.approx(1, abs=1e-4)


def test_resume_from_the_disk_equals_going_straight(
    run: Run, quick: Callable[..., TrainConfig], tiny_flowers: DatasetSpec
) -> None:
    expected = story(list(fit(quick(), tiny_flowers)))
    told: list[Event] = []
    with RunRecorder(run) as recorder:
        told += recorder.record(fit(quick(), tiny_flowers, saver=recorder, control=StopsAtLook(4)))
    assert run.status() == "stopped"
    with RunRecorder(run) as recorder:
        told += recorder.record(fit(quick(), tiny_flowers, saver=recorder, resume=load_resume(run)))
    assert story(told) == expected
    assert run.status() == "finished"
    assert [event["status"] for event in endings(run)] == ["stopped", "finished"]


# ---- One ending -----------------------------------------------------------------------------------------------


def test_leaving_without_an_ending_writes_one(run: Run) -> None:
    with RunRecorder(run) as recorder:
        recorder.write(STEP)
        assert run.status() == "running"
    assert [event["status"] for event in endings(run)] == ["stopped"]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("x"), "failed"), (KeyboardInterrupt(), "stopped"), (SystemExit(1), "stopped")]
)
def test_leaving_by_an_exception_writes_one(error: BaseException, status: str, run: Run) -> None:
    recorder = RunRecorder(run)
    with pytest.raises(type(error)):
        _write_and_raise(recorder, error)
    assert [event["status"] for event in endings(run)] == [status]
    assert run.status() == status


def _write_and_raise(recorder: RunRecorder, error: BaseException) -> None:
    with recorder:
        recorder.write(STEP)
        raise error


def test_after_the_ending_nothing_more_is_written(run: Run) -> None:
    with RunRecorder(run) as recorder:
        recorder.write(RunEnded(status="finished", reason="Done."))
        recorder.write(STEP)
        recorder.write(RunEnded(status="failed", reason="Late."))
    assert [event["event"] for event in run.events()] == ["RunEnded"]
    assert run.status() == "finished"


def test_no_thread_stays(run: Run) -> None:
    before = threading.active_count()
    for _ in range(5):
        with RunRecorder(run) as recorder:
            recorder.write(STEP)
    assert threading.active_count() == before


def test_writers_in_several_threads_do_not_mix_lines(run: Run) -> None:
    with RunRecorder(run) as recorder:
        threads = [
            threading.Thread(target=lambda: [recorder.write(Warned(message="x" * 5000)) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(run.events()) == 201


# ---- Phases ---------------------------------------------------------------------------------------------------


def test_the_heartbeat_tells_each_phase(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.01)
    recorder = RunRecorder(run, phase="queued")
    assert run.status() == "queued"
    with recorder:
        recorder.progress(3, 1200)
        for _ in range(500):
            if run.heartbeat()["detail"]:
                break
            threading.Event().wait(0.01)
        assert run.heartbeat()["detail"] == "3 of 1,200 pictures"
        assert run.status() == "preparing"
        recorder.write(STEP)
        assert run.heartbeat()["phase"] == "running"
    assert run.heartbeat()["phase"] == "ended"
    RunRecorder(run, phase="queued")
    assert run.status() == "queued", "a run that waits to be taken up again is no longer stopped"


def test_no_heartbeat_brings_back_a_removed_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.005)
    with RunRecorder(run) as recorder:
        recorder.write(RunEnded(status="stopped", reason="x"))
        shutil.rmtree(run.folder)
        threading.Event().wait(0.1)
    assert not run.folder.exists()


# ---- A disk that refuses --------------------------------------------------------------------------------------


class FullDisk:
    """A file that takes `room` bytes and no more, until it is given more."""

    def __init__(self, opened: Any, room: int) -> None:
        self.opened, self.room = opened, room

    def write(self, content: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self.opened.write(content[: self.room])
        self.room -= written
        return written

    def close(self) -> None:
        self.opened.close()


@pytest.mark.parametrize("room", [0, 1, 50, 130, 200])
def test_events_wait_in_memory_while_the_disk_is_full(room: int, run: Run) -> None:
    with RunRecorder(run) as recorder:
        full = FullDisk(recorder._events, room)
        recorder._events = full  # type: ignore[assignment]
        for step in range(1, 6):
            recorder.write(StepEnded(step=step, epoch=1, loss=1.0, learning_rate=0.1))
        assert len(run.events()) < 5
        full.room = 10_000
    assert [event.get("step") for event in run.events()] == [1, 2, 3, 4, 5, None]


def test_a_disk_that_stays_full_leaves_an_interrupted_run_not_an_eternal_one(run: Run) -> None:
    with RunRecorder(run) as recorder:
        recorder.write(STEP)
        recorder._events = FullDisk(recorder._events, 0)  # type: ignore[assignment]
    assert threading.active_count() >= 1
    assert run.status() == "interrupted"


def test_a_torn_line_of_a_killed_owner_is_closed_first(run: Run) -> None:
    with (run.folder / "events.jsonl").open("a") as opened:
        opened.write('{"event": "StepEnded"}\n{"event": "Step')
    (run.folder / ".resume.pt.abc.part").write_bytes(b"half")
    with RunRecorder(run) as recorder:
        recorder.write(STEP)
    assert [event["event"] for event in run.events()] == ["StepEnded", "StepEnded", "RunEnded"]
    assert not list(run.folder.glob(".*.part")), "half files of the dead are swept"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/srv/x"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_every_library_says_the_same_about_a_full_disk(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught, module._disk_errors(tmp_path):
        raise error
    assert caught.value.errno == errno.ENOSPC
    assert "MB free" in (caught.value.strerror or "")


def test_an_error_that_is_none_of_the_disk_stays_itself(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cudnn"), module._disk_errors(tmp_path):
        raise RuntimeError("cudnn")


LIMITED = """
import resource, sys, threading
from pathlib import Path
import torch
torch.set_num_threads(1)
from resnet_core.data.datasets import rendered_flowers
from resnet_core.training import engine
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import Paused
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import RunStore

engine.RETRY_SECONDS = 0.05
flowers = rendered_flowers(train=4, val=2, size=32)
quick = {"image_size": 16, "resize": 18, "batch_size": 4, "num_threads": 1, "precision": "fp32"}
config = TrainConfig(model="resnet20", epochs=1, **quick)

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

for room in (100_000, 1_500_000):  # too little for the weights, then for the resume state
    run = RunStore(Path(sys.argv[1])).create(config)
    kinds = []
    with RunRecorder(run) as recorder:
        for event in recorder.record(fit(config, flowers, saver=recorder)):
            kinds.append(type(event).__name__)
            if kinds[-1] == "RunStarted":
                limit(room)
            if isinstance(event, Paused):
                threading.Timer(0.3, limit, [resource.RLIM_INFINITY]).start()
    print(" ".join(kinds), run.status())
"""


def test_a_real_write_limit_pauses_the_training_and_lifting_it_goes_on(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes torch's and safetensors' own writers fail half way, as a full disk does."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 2
    for line in done.stdout.splitlines():
        kinds = line.split()
        assert (kinds.count("Paused"), kinds.count("Resumed")) == (1, 1)
        assert kinds[-2:] == ["RunEnded", "finished"]
    for folder in tmp_path.iterdir():
        load_checkpoint(folder / "best.safetensors")
        assert not list(folder.glob(".*.part"))


# ---- Killed while saving --------------------------------------------------------------------------------------

SAVING = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from resnet_core.data.datasets import rendered_flowers
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.recorder import RunRecorder, load_resume
from resnet_core.training.checkpoint import load_checkpoint
from resnet_core.training.runs import RunStore
from resnet_core.training.session import Session

quick = {"image_size": 16, "resize": 18, "batch_size": 4, "num_threads": 1, "precision": "fp32"}
config = TrainConfig(model="resnet20", epochs=2, **quick)
session = Session(config, rendered_flowers(train=4, val=2, size=32))
list(session.train_epoch())
validation = session.validate(Control())
run = RunStore(Path(sys.argv[1])).create(config)
random.seed(0)
for attempt in range(int(sys.argv[2])):
    if attempt >= 8 and (run.folder / "resume.pt").exists():  # a busy machine may need more of them
        break
    child = os.fork()
    if not child:
        with RunRecorder(run) as recorder:
            while True:
                session.end_epoch(validation)
                recorder.save_best(session, validation)
                recorder.save_epoch(session, validation)
    time.sleep(random.uniform(0.05, 0.25))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for name in ("best", "last"):
        if (run.folder / f"{name}.safetensors").exists():
            load_checkpoint(run.folder / f"{name}.safetensors")
    if (run.folder / "resume.pt").exists():
        Session(config, session.dataset, state=load_resume(run))
    assert run.status() == "interrupted", run.status()
with RunRecorder(run):
    pass
print(sorted(path.name for path in run.folder.iterdir()))
"""


def test_kill_9_while_saving_never_leaves_a_torn_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SAVING, str(tmp_path), "40"], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert ".part" not in done.stdout
    assert "resume.pt" in done.stdout, "at least one child came that far"


# ---- What can be read back ------------------------------------------------------------------------------------


@pytest.fixture
def damaged(run: Run) -> Callable[[bytes], RunError]:
    def refusal(content: bytes) -> RunError:
        (run.folder / "resume.pt").write_bytes(content)
        with pytest.raises(RunError) as caught:
            load_resume(run)
        return caught.value

    return refusal


def test_a_damaged_resume_file_is_a_sentence(damaged: Callable[[bytes], RunError], run: Run, tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"a": os.system}, tmp_path / "code.pt")
    good = tmp_path / "good.pt"
    torch.save({"a": torch.zeros(1000)}, good)
    for content in (
        b"",
        b"junk",
        (tmp_path / "list.pt").read_bytes(),
        (tmp_path / "code.pt").read_bytes(),
        good.read_bytes()[:1000],
    ):
        error = damaged(content)
        assert "damaged" in str(error)
        assert str(run.folder) not in str(error)


def test_nothing_saved_yet_is_said(run: Run) -> None:
    with pytest.raises(RunError, match="nothing to go on from"):
        load_resume(run)


def test_cells_that_a_spreadsheet_would_run_are_defused(tmp_path: Path) -> None:
    names = ("=1+1", "+x", "-x", "@x", "\tx", "plain", "a\udcff")
    validation = Validation(
        logits=torch.eye(7), targets=torch.arange(7), paths=tuple(f"{name}/1.jpg" for name in names), loss=1.0, top1=1.0
    )
    write_predictions(tmp_path / "p.csv", validation, names)
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.reader(opened))
    assert len(rows) == 8
    for row in rows:
        assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
