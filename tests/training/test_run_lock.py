"""A run is trained by one program at a time, and what has died keeps nobody out."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.run_lock import FILE, is_held
from resnet_core.training.runs import Run, RunStore

TRAINER = """
import sys
from pathlib import Path
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import Run
with RunRecorder(Run(Path(sys.argv[1]))):
    print("trains", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return RunStore(tmp_path / "runs").create(TrainConfig())


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_second_program_is_refused_until_the_first_has_gone_or_died(run: Run) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(run.folder)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdout
    try:
        assert first.stdout.readline() == b"trains\n"
        assert is_held(run.folder)
        told = f"Run {run.run_id} is being trained by another program; stop it there first."
        with pytest.raises(RunError) as caught, RunRecorder(run):
            pass
        assert str(caught.value) == told
        assert run.events() == [], "it has written nothing into the other's story"
        assert run.heartbeat().get("pid") != os.getpid(), "and does not pass for its owner"
    finally:
        first.kill()
        first.communicate()
    assert not is_held(run.folder)
    with RunRecorder(run):
        assert is_held(run.folder)
    assert not is_held(run.folder)
    assert run.status() == "stopped"


def test_looking_keeps_nobody_out_and_leaves_nothing(run: Run) -> None:
    assert not is_held(run.folder)
    assert not (run.folder / FILE).exists()
    with RunRecorder(run):
        pass
    before = (run.folder / FILE).stat().st_size
    assert not is_held(run.folder)
    assert (run.folder / FILE).stat().st_size == before == 0


def test_where_the_lock_cannot_be_made_the_training_is_not_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room for another file: the events may still have some."""
    real = os.open

    def full(path: object, *rest: int, **more: int) -> int:
        if str(path).endswith(FILE):
            raise OSError(28, "No space left on device")
        return real(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", full)
    with RunRecorder(run):
        pass
    assert run.status() == "stopped"


def test_a_run_that_is_gone_is_not_made_anew_by_its_lock(run: Run) -> None:
    recorder = RunRecorder(run, phase="queued")
    run.folder.rename(run.folder.with_name("elsewhere"))
    with contextlib.suppress(OSError), recorder:
        pytest.fail("it must not begin")
    assert not run.folder.exists()


def test_a_beginning_that_fails_lets_go(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: RunRecorder) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(RunRecorder, "_begin", fails)
        with pytest.raises(OSError, match="Input/output"):
            RunRecorder(run).__enter__()
    assert not is_held(run.folder)
    with RunRecorder(run):
        pass
