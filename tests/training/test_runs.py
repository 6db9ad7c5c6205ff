"""Runs on disk: what a reader sees in every life of a run, and files that are torn, foreign or gone."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resnet_core.errors import RunError
from resnet_core.processes import ALIVE
from resnet_core.training import runs
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Replay
from resnet_core.training.differences import compare_runs
from resnet_core.training.event_log import EventLog
from resnet_core.training.runs import Run, RunStore, process_started


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store: RunStore) -> Run:
    return store.create(TrainConfig(model="resnet20", epochs=3, name="mine"))


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[bytes]]:
    """Another program that is alive until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()
    assert process.stdin
    process.stdin.close()


def tell(run: Run, *events: str, **fields: Any) -> None:
    with (run.folder / "events.jsonl").open("a") as opened:
        for event in events:
            opened.write(json.dumps({"event": event, "time": time.time(), **fields}) + "\n")


def beat(run: Run, pid: int | None = None, **changes: Any) -> None:
    pid = os.getpid() if pid is None else pid
    content = {"pid": pid, "host": socket.gethostname(), "started": process_started(pid), "time": time.time()}
    (run.folder / "heartbeat.json").write_text(json.dumps({**content, "phase": "running", "detail": "", **changes}))


# ---- EventLog -------------------------------------------------------------------------------------------------


def test_a_torn_last_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    assert log.read() == []
    text = '{"event": "A"}\n{"event": "B", "ü": "🌼"}\n'.encode()
    for end in range(len(text) + 1):  # every way a write can be cut
        path.write_bytes(text[:end])
        assert [event["event"] for event in EventLog(path).read()] == ["A", "B"][: text[:end].count(b"\n")]
    path.write_bytes(b"")
    for end in range(len(text)):
        with path.open("ab") as opened:
            opened.write(text[end : end + 1])
        assert len(log.read()) == text[: end + 1].count(b"\n")


def test_a_line_torn_by_a_crash_does_not_hide_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "A"}\n{"event": "B", "lo\n\xff\xfe\n[1]\n{"no": 1}\n\n{"event": "C"}\n')
    assert [event["event"] for event in EventLog(path).read()] == ["A", "C"]


def test_reading_on_costs_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    line = json.dumps({"event": "StepEnded", "step": 1, "epoch": 1, "loss": 1.0, "learning_rate": 0.1}) + "\n"
    path.write_text(line * 50_000)
    log = EventLog(path)
    assert len(log.read()) == 50_000
    started = time.perf_counter()
    for count in range(1, 51):
        with path.open("a") as opened:
            opened.write(line)
        assert len(log.read()) == 50_000 + count
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_replaced_file_is_read_from_its_start(tmp_path: Path, size: int) -> None:
    path, other = tmp_path / "events.jsonl", tmp_path / "other"
    path.write_text('{"event": "A"}\n' * 2)
    log = EventLog(path)
    assert len(log.read()) == 2
    other.write_text('{"event": "Z"}\n' * size)
    other.replace(path)
    assert [event["event"] for event in log.read()] == ["Z"] * size


def test_a_vanished_file_is_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "A"}\n')
    log = EventLog(path)
    assert len(log.read()) == 1
    path.unlink()
    assert len(log.read()) == 1


def test_a_cursor_walks_through_all_events_once(run: Run) -> None:
    seen: list[Any] = []
    for step in range(1, 8):
        tell(run, *(["StepEnded"] * (step % 3)), step=step)
        seen += run.events(after=len(seen))
    assert seen == run.events()
    assert len(seen) == 7
    assert run.events(after=99) == []
    assert run.events(after=-5) == seen


# ---- Status ---------------------------------------------------------------------------------------------------

LIVES: list[tuple[tuple[str, ...], str, str, str]] = [
    # events, phase of the heartbeat, status while the owner lives, and once it is dead
    ((), "queued", "queued", "interrupted"),
    ((), "preparing", "preparing", "interrupted"),
    (("RunStarted",), "running", "running", "interrupted"),
    (("RunStarted", "StepEnded"), "running", "running", "interrupted"),
    (("RunStarted", "Warned", "EpochEnded", "CheckpointSaved"), "running", "running", "interrupted"),
    (("RunStarted", "StepEnded", "Paused"), "running", "paused", "interrupted"),
    (("RunStarted", "StepEnded", "Paused", "Resumed"), "running", "running", "interrupted"),
    (("RunStarted", "RunEnded"), "ended", "stopped", "stopped"),
    (("RunStarted", "RunEnded"), "queued", "queued", "stopped"),
    (("RunStarted", "RunEnded"), "preparing", "preparing", "stopped"),
    (("RunStarted", "RunEnded", "RunStarted", "Resumed"), "running", "running", "interrupted"),
]


@pytest.mark.parametrize(("events", "phase", "alive", "dead"), LIVES)
def test_status_in_every_life(
    events: tuple[str, ...], phase: str, alive: str, dead: str, run: Run, owner: subprocess.Popen[bytes]
) -> None:
    tell(run, *events, status="stopped")
    beat(run, owner.pid, phase=phase)
    assert run.status() == alive
    owner.kill()
    owner.wait()
    assert run.status() == dead


@pytest.mark.parametrize("status", ["finished", "stopped", "failed"])
def test_status_of_an_ended_run_is_its_own_word(status: str, run: Run) -> None:
    tell(run, "RunStarted", "RunEnded", status=status)
    assert run.status() == status
    beat(run, phase="ended")
    assert run.status() == status


def test_a_killed_owner_that_nobody_buried_is_dead(run: Run, owner: subprocess.Popen[bytes]) -> None:
    """A zombie still has a process id."""
    tell(run, "RunStarted")
    beat(run, owner.pid)
    owner.kill()
    deadline = time.monotonic() + 5
    while run.status() == "running" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert owner.returncode is None
    assert run.status() == "interrupted"


def test_a_process_id_used_again_is_another_process(run: Run) -> None:
    tell(run, "RunStarted")
    beat(run, os.getpid(), started="12345")
    assert run.status() == "interrupted"


def test_another_host_is_judged_by_its_heartbeat(run: Run) -> None:
    tell(run, "RunStarted")
    beat(run, 1, host="gpu-server", started="1", time=time.time() - 5)
    assert run.status() == "running"
    beat(run, 1, host="gpu-server", started="1", time=time.time() - 3600)
    assert run.status() == "interrupted"


def test_where_no_start_time_is_told_a_silent_owner_is_dead(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: after a restart of the machine some other process may have the number."""
    monkeypatch.setattr(runs, "process_started", lambda pid: ALIVE)
    tell(run, "RunStarted")
    beat(run, started=ALIVE)
    assert run.status() == "running"
    beat(run, started=ALIVE, time=time.time() - 3600)
    assert run.status() == "interrupted"


def test_a_heartbeat_of_only_the_contract_s_fields_counts_while_it_is_fresh(
    run: Run, owner: subprocess.Popen[bytes]
) -> None:
    def write(age: float) -> None:
        contract = {"pid": owner.pid, "host": socket.gethostname(), "time": time.time() - age}
        (run.folder / "heartbeat.json").write_text(json.dumps(contract))

    write(age=5)
    assert run.owner_alive()
    write(age=3600)  # nobody tells whether it is still the same process
    assert not run.owner_alive()
    owner.kill()
    owner.wait()
    write(age=5)
    assert not run.owner_alive()


@pytest.mark.parametrize("odd", [{"pid": float("inf")}, {"time": 10**400}, {"time": float("nan")}], ids=str)
def test_a_heartbeat_beyond_all_numbers_is_no_failure(odd: dict[str, Any], run: Run) -> None:
    content = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    (run.folder / "heartbeat.json").write_text(json.dumps(content | odd))
    assert not run.owner_alive()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 100_000,
        "null",
        '{"pid": "x"}',
        "\xff",
        '{"time": "x"}',
        json.dumps({"host": socket.gethostname()}),
    ],
)
def test_a_damaged_heartbeat_is_no_failure(content: str, run: Run) -> None:
    (run.folder / "heartbeat.json").write_text(content, encoding="latin-1")
    assert run.status() == "interrupted"


def test_a_heartbeat_with_an_odd_process_id(run: Run) -> None:
    for pid in (0, -1, 2**31, 2**70, None, "x"):
        (run.folder / "heartbeat.json").write_text(
            json.dumps({"host": socket.gethostname(), "pid": pid, "started": None, "time": time.time()})
        )
        assert run.status() == "interrupted", pid


# ---- Summary and store ----------------------------------------------------------------------------------------


def test_summary_of_a_run_taken_up_again_counts_epochs_once(run: Run) -> None:
    tell(run, "RunStarted", model="resnet20", dataset="d", epochs=3)
    for epoch, top1, best in ((1, 0.5, True), (2, 0.7, True), (2, 0.7, True), (3, 0.6, False)):
        tell(run, "EpochEnded", epoch=epoch, val_top1=top1, best=best)
    summary = run.summary()
    assert (summary.epochs_done, summary.epochs, summary.best_top1, summary.best_epoch) == (3, 3, 0.7, 2)
    assert (summary.name, summary.model, summary.dataset) == ("mine", "resnet20", "d")
    assert summary.started is not None
    assert summary.size_bytes > 0


def test_a_line_that_lacks_what_it_should_tell_hides_nothing_of_the_others(store: RunStore, run: Run) -> None:
    tell(run, "RunStarted", model="resnet20", epochs=3)
    tell(run, "EpochEnded", epoch=1, val_top1=0.5, best=True)
    odd = ['{"event": "EpochEnded"}', '{"event": "EpochEnded", "epoch": [], "val_top1": "x", "best": 1}', "[" * 99_999]
    with (run.folder / "events.jsonl").open("a") as opened:
        opened.write("\n".join([*odd, '{"event": []}', ""]))
    summary = store.search("resnet20")[0]
    assert (summary.epochs_done, summary.best_top1, summary.best_epoch) == (1, None, None)
    (run.folder / "events.jsonl").write_text('{"event": "RunStarted", "epochs": "x", "time": NaN, "model": {}}\n')
    summary = RunStore(store.runs_dir).list()[0].summary()
    assert (summary.epochs, summary.started, summary.model) == (3, None, "resnet20")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
TOLD = st.fixed_dictionaries(
    {"event": st.sampled_from(["RunStarted", "StepEnded", "EpochEnded", "Changed", "CheckpointSaved", "RunEnded"])},
    optional=dict.fromkeys(
        ("time", "epoch", "step", "epochs", "val_top1", "best", "model", "dataset", "settings", "status"), JSON
    ),
)


@hypothesis_settings(max_examples=60)
@given(lines=st.lists(TOLD | st.dictionaries(st.sampled_from(["event", "time"]), JSON), max_size=4))
def test_whatever_the_lines_of_a_run_hold_all_runs_are_listed(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, Any]]
) -> None:
    store = RunStore(tmp_path_factory.mktemp("hostile"))
    run, other = store.create(TrainConfig()), store.create(TrainConfig())
    (run.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert {summary.run_id for summary in store.search()} == {run.run_id, other.run_id}
    assert 0 <= run.lost_steps() <= 2**53
    assert compare_runs([run, run, other]) is not None
    Replay(run.events())
    json.dumps(run.summary().started, allow_nan=False)


def test_a_run_with_unreadable_settings_is_listed_all_the_same(store: RunStore, run: Run) -> None:
    (run.folder / "config.json").write_text('{"epochs": "lots"}')
    with pytest.raises(RunError, match="settings"):
        run.config()
    assert [listed.summary().run_id for listed in store.list()] == [run.run_id]


def test_summary_while_temporary_files_come_and_go(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file seen in the folder may be renamed before it is looked at."""
    ghost = run.folder / ".best.safetensors.abc.part"
    ghost.write_bytes(b"x" * 1000)
    is_file = Path.is_file

    def then_gone(path: Path) -> bool:
        found = is_file(path)
        if path == ghost:
            ghost.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Path, "is_file", then_gone)
    assert run.summary().size_bytes < 5000


def test_settings_are_kept_as_asked(store: RunStore, run: Run) -> None:
    assert run.config() == TrainConfig(model="resnet20", epochs=3, name="mine")
    assert RunStore(store.runs_dir).get(run.run_id).config() == run.config()


BAD_NAMES = ["", ".", "..", "../runs", "a/b", "/etc", "/", "a\x00b", "x" * 300, "x" * 100_000, ".hidden", "nope", "\n"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name)[:20])
def test_no_name_leads_outside_the_runs_folder(name: str, store: RunStore, run: Run) -> None:
    (store.runs_dir.parent / "config.json").write_text("{}")
    (store.runs_dir / "config.json").write_text("{}")
    hidden = store.runs_dir / ".hidden"
    hidden.mkdir()
    (hidden / "config.json").write_text("{}")
    for ask in (store.get, store.remove):
        with pytest.raises(RunError) as caught:
            ask(name)
        assert len(str(caught.value)) < 300
    assert run.folder.is_dir()
    absolute = str(run.folder)
    with pytest.raises(RunError):
        store.get(absolute)


@pytest.mark.parametrize("odd", [None, 5, {}, ["x"], b"x"])
def test_what_is_no_text_names_no_run(odd: Any, store: RunStore) -> None:
    with pytest.raises(RunError, match="Name the run by its id"):
        store.get(odd)


def test_newest_first_and_foreign_folders_left_out(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.list() == []
    ids = []
    for second in range(3):
        monkeypatch.setattr(time, "strftime", lambda _, second=second: f"20260101-00000{second}")
        ids.append(store.create(TrainConfig()).run_id)
    (store.runs_dir / "notes").mkdir()
    (store.runs_dir / "zz.txt").write_text("x")
    assert [run.run_id for run in store.list()] == ids[::-1]


def test_two_runs_of_one_second_never_meet(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["00aa", "00aa", "00aa", "00bb"])
    really_drawn = runs.secrets.token_hex
    monkeypatch.setattr(time, "strftime", lambda _: "20260101-000000")
    monkeypatch.setattr(runs.secrets, "token_hex", lambda size: next(drawn) if size == 2 else really_drawn(size))
    first, second = store.create(TrainConfig(name="first")), store.create(TrainConfig(name="second"))
    assert first.run_id.endswith("00aa")
    assert second.run_id.endswith("00bb")
    assert [run.config().name for run in (first, second)] == ["first", "second"]


def test_names_of_runs_are_safe_for_any_data_set(store: RunStore) -> None:
    for dataset in ("/tmp/my flowers.zip", "../../x", "Blümchen 🌼", "a\nb", "=1+1", ".", "x" * 5000, "a\udcffb"):
        run = store.create(TrainConfig(dataset=dataset))
        assert run.folder.parent == store.runs_dir
        assert run.run_id.isascii()
        assert len(run.run_id) < 100
        assert RunStore(store.runs_dir).get(run.run_id).config().dataset == dataset
        assert "/" not in run.summary().dataset


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "/proc/nowhere", "/dev/null/runs"])
def test_a_runs_folder_that_cannot_be_written_is_a_sentence(place: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("x")
    store = RunStore(tmp_path / place)
    with pytest.raises(RunError, match=r"runs folder cannot be written.*--runs-dir") as caught:
        store.create(TrainConfig())
    assert str(tmp_path) not in str(caught.value)
    assert store.list() == []


def test_remove_refuses_what_is_under_way_and_takes_the_rest(store: RunStore, run: Run) -> None:
    tell(run, "RunStarted")
    beat(run)
    with pytest.raises(RunError, match="still running"):
        store.remove(run.run_id)
    tell(run, "RunEnded", status="stopped")
    beat(run, phase="queued")
    with pytest.raises(RunError, match="still queued"):
        store.remove(run.run_id)
    beat(run, phase="ended")
    store.remove(run.run_id)
    assert not run.folder.exists()
    assert store.list() == []
    with pytest.raises(RunError):
        store.get(run.run_id)


def test_a_folder_deleted_by_hand_is_no_failure(store: RunStore, run: Run) -> None:
    shutil.rmtree(run.folder)
    assert store.list() == []
    assert run.status() == "interrupted"
    assert run.events() == []
    run.summary()


def test_checkpoint_path_says_when_there_is_none(run: Run) -> None:
    with pytest.raises(RunError, match="no checkpoint yet"):
        run.checkpoint_path()
    (run.folder / "last.safetensors").write_bytes(b"")
    assert run.checkpoint_path("last").name == "last.safetensors"


def test_process_started_tells_processes_apart(owner: subprocess.Popen[bytes]) -> None:
    mine = process_started(os.getpid())
    assert mine is not None
    assert mine == process_started(os.getpid())
    assert process_started(owner.pid) not in (None, mine)
    owner.kill()
    owner.wait()
    assert process_started(owner.pid) is None
