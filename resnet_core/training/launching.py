"""Trainings in several processes of their own, started and watched from here; and which run a torchrun goes on with.

torch's elastic launcher starts them and replaces all when one is killed; they then go on from where the run was last
saved. A process that ends by itself, for whatever reason, ends with 0, so that only a killed one is replaced: what
failed once would fail again.
"""

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import resnet_core
from resnet_core.errors import RunError
from resnet_core.files import write_json
from resnet_core.processes import process_started
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.events import RunEnded
from resnet_core.training.folder_lock import FolderLock
from resnet_core.training.orders import OrderWriter
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.run_lock import take_run
from resnet_core.training.runs import Run, RunStore

log = logging.getLogger(__name__)

RESTARTS = 3  # times that killed processes are replaced
LOOK = 0.1  # seconds between two looks at what people want and at the processes
GRACE = 6.0  # seconds a stop may take before the launcher is told as well: nothing trains yet then
LAUNCH = "launch.json"  # which start of torchrun a run belongs to
LAUNCHED = "RESNET_LAB_LAUNCHED"  # set for processes that were started from here


def count_processes(config: TrainConfig) -> int:
    """How many processes shall train together: as many as asked for, or one for each GPU of this machine."""
    gpus = torch.cuda.device_count() if config.device == "all" and torch.cuda.is_available() else 0
    return max(config.processes, gpus)


def under_torchrun() -> bool:
    """True in a process that torchrun has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def train_together(
    run: Run,
    control: Control,
    *,
    processes: int,
    data_dir: Path,
    json_lines: bool | None = None,
    replay: str | None = None,
) -> None:
    """Trains the run in so many processes and returns once they have ended; always with a RunEnded.

    Raises RunError where another program trains the run, or somebody has deleted it.
    They heed `control`. `json_lines` says how they print to this process's own output; None: they do not. `replay` is
    the run whose changes they repeat, without one those of the run itself.
    """
    command = [*_command(run, processes, data_dir, bool(json_lines)), *(["--replay", replay] if replay else [])]
    lock = take_run(run.folder)  # held between a killed process and the one after it as well
    try:
        recorder, before = RunRecorder(run, locks=False), len(run.events())
        ending = _from_start_to_end(run, control, command, _environment(processes), lock, silent=json_lines is None)
        if not any(event["event"] == "RunEnded" for event in run.events(before)[-1:]):
            with recorder:
                recorder.write(ending)
    finally:
        lock.release()


def run_of_this_launch(store: RunStore, config: TrainConfig) -> Run | None:
    """The unfinished run that this start of torchrun has begun before its processes were replaced.

    A start with a `--rdzv-id` of its own is known by it, even after the machine was started anew; any other by the
    process of its launcher. None for a first start, or one with other settings.
    """
    return next((run for run in _begun_by_this_launch(store) if run.config() == config), None)


def branch_of_this_launch(store: RunStore, forked_from: str, settings: dict[str, Any]) -> Run | None:
    """The same for a branch, known by where it began and by the settings it was given."""
    for run in _begun_by_this_launch(store):
        config = run.config()
        if config.forked_from == forked_from and config.replace(**settings) == config:
            return run
    return None


def _begun_by_this_launch(store: RunStore) -> Iterator[Run]:
    key = _launch_key()
    for run in store.list() if key else []:
        with contextlib.suppress(OSError, ValueError, RunError):
            noted = json.loads((run.folder / LAUNCH).read_text(encoding="utf-8"))
            if noted == {"launch": key} and run.status() != "finished":
                run.config()
                yield run


def note_launch(run: Run) -> None:
    """Writes down that this start of torchrun has begun the run."""
    key = _launch_key()
    if key:
        write_json(run.folder / LAUNCH, {"launch": key})


def _launch_key() -> str:
    named = os.environ.get("TORCHELASTIC_RUN_ID", "")
    if named and named != "none":
        return named
    return f"{socket.gethostname()} {os.getppid()} {process_started(os.getppid())}" if named else ""


def _command(run: Run, processes: int, data_dir: Path, json_lines: bool) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    training = ["-m", "resnet_core", "train", "--begin", run.run_id]
    folders = ["--runs-dir", str(run.folder.parent), "--data-dir", str(data_dir)]
    words = ["--json"] if json_lines else []
    return [sys.executable, *launcher, "--max-restarts", str(RESTARTS), *training, *folders, *words]


def _environment(processes: int) -> dict[str, str]:
    code = str(Path(resnet_core.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([code, *filter(None, [os.environ.get("PYTHONPATH")])])}
    environment[LAUNCHED] = "1"
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))  # or torchrun complains
    if os.name == "nt":
        environment.setdefault("USE_LIBUV", "0")  # torch for Windows is built without it
    return environment


def _from_start_to_end(
    run: Run, control: Control, command: list[str], environment: dict[str, str], lock: FolderLock, *, silent: bool
) -> RunEnded:
    """The processes' whole life; the ending of the run where they leave none themselves."""
    orders = OrderWriter(run.folder)
    try:
        orders.tell(control)
        with _output(run, silent) as output:
            launcher = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches them as an order, not as a signal beside it
                pass_fds=() if lock.descriptor is None or os.name != "posix" else (lock.descriptor,),  # till they end
            )
        _watch(launcher, orders, run, control)
    except OSError as error:
        log.exception("the processes of run %s could not be started", run.run_id)
        why = error.strerror or type(error).__name__
        return RunEnded(status="failed", reason=f"The processes of this training could not be started ({why}).")
    except Exception as error:
        log.exception("the processes of run %s were left alone", run.run_id)
        reason = f"The training broke off unexpectedly ({type(error).__name__}); see the log."
        return RunEnded(status="failed", reason=reason)
    finally:
        with contextlib.suppress(OSError):
            orders.remove()
    return _last_words(control)


@contextlib.contextmanager
def _output(run: Run, silent: bool) -> Any:
    """Where the processes print to: this one's own output, or a file of the run."""
    if not silent:
        yield None
        return
    with (run.folder / "processes.log").open("ab") as opened:
        yield opened


def _watch(launcher: "subprocess.Popen[bytes]", orders: OrderWriter, run: Run, control: Control) -> None:
    """Carries over what people want until the processes have ended; where it cannot, it ends them."""
    try:
        _carry_over(launcher, orders, run, control)
    except Exception:
        launcher.terminate()
        launcher.wait()
        raise


def _carry_over(launcher: "subprocess.Popen[bytes]", orders: OrderWriter, run: Run, control: Control) -> None:
    stop_asked: float | None = None
    taken = len(run.events())
    while _runs(launcher):
        with contextlib.suppress(OSError):  # a full disk: tried again
            orders.tell(control)
        news = run.events(taken)
        taken += len(news)
        _forget_what_changed(control, news)
        if control.stopping_now:
            stop_asked = stop_asked or time.monotonic()
            if time.monotonic() > stop_asked + GRACE:
                launcher.terminate()
                stop_asked = float("inf")


def _runs(launcher: "subprocess.Popen[bytes]") -> bool:
    """Whether it still runs a moment later. Where this process is told to go at once, the launcher goes too."""
    try:
        launcher.wait(LOOK)
    except subprocess.TimeoutExpired:
        return True
    except BaseException:
        launcher.terminate()
        raise
    return False


def _forget_what_changed(control: Control, news: list[dict[str, Any]]) -> None:
    """Takes from the wishes what the training says it has done, or could not do: that would hold up all later ones."""
    for event in news:
        answered = event.get({"Changed": "settings", "Warned": "refused"}.get(event["event"], ""))
        if isinstance(answered, dict):
            control.forget(answered)


def _last_words(control: Control) -> RunEnded:
    """The ending of processes that have left none themselves."""
    if control.stopping_now:
        return RunEnded(status="stopped", reason="Stopped before the processes of this training had begun, as asked.")
    reason = "The processes of this training ended unexpectedly; Resume goes on from where it was last saved."
    return RunEnded(status="failed", reason=reason)
