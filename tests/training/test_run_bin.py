"""The bin: whatever is deleted comes back whole for a day, and then goes wholly."""

import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from resnet_core.errors import RunError
from resnet_core.training.config import TrainConfig
from resnet_core.training.disk_use import disk_used
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.run_bin import FOLDER, KEPT_SECONDS
from resnet_core.training.runs import Run, RunStore

BAD_NAMES = ["", ".", "..", "../runs", "a/b", "/etc", "a\x00b", "x" * 300, ".bin", ".going-x", "nope", "\n", ".bin/x"]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def run(store: RunStore) -> Run:
    made = store.create(TrainConfig(name="mine"))
    (made.folder / "best.safetensors").write_bytes(b"x" * 1000)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_deleted_run_is_nowhere_and_comes_back_as_it_was(store: RunStore, run: Run) -> None:
    before = contents(run.folder)
    store.delete(run.run_id)
    assert store.list() == []
    with pytest.raises(RunError, match="There is no run"):
        store.get(run.run_id)
    (binned,) = store.bin.list()
    assert (binned.run_id, binned.size_bytes) == (run.run_id, sum(map(len, before.values())))
    assert abs(binned.deleted - time.time()) < 60
    assert store.restore(run.run_id).summary().name == "mine"
    assert contents(run.folder) == before
    assert store.bin.list() == ()
    assert [listed.run_id for listed in store.list()] == [run.run_id]


def test_another_process_sees_the_same(store: RunStore, run: Run) -> None:
    other = RunStore(store.runs_dir)
    assert other.get(run.run_id)
    store.delete(run.run_id)
    with pytest.raises(RunError, match="There is no run"):
        other.delete(run.run_id)
    assert other.restore(run.run_id).run_id == run.run_id
    with pytest.raises(RunError, match="in the bin"):
        store.restore(run.run_id)


def test_the_way_into_the_bin_writes_nothing(store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it works on a full disk."""
    store.bin.folder.mkdir()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write_text", "write_bytes", "touch"):
        monkeypatch.setattr(Path, name, full)
    monkeypatch.setattr(shutil, "copytree", full)
    store.delete(run.run_id)
    store.restore(run.run_id)


def test_a_run_under_way_cannot_be_deleted(store: RunStore, run: Run) -> None:
    with RunRecorder(run) as recorder:
        recorder.tell("preparing")
        with pytest.raises(RunError, match="is still preparing; stop it first"):
            store.delete(run.run_id)
    assert run.folder.is_dir()
    store.delete(run.run_id)  # ended as stopped
    assert not run.folder.exists()


def test_a_run_taken_up_in_that_very_moment_comes_back_at_once(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename
    recorders = []

    def after_somebody_resumed(source: Path, target: Path) -> None:
        if not recorders:
            recorders.append(RunRecorder(run, phase="queued"))
        rename(source, target)

    monkeypatch.setattr(os, "rename", after_somebody_resumed)
    with pytest.raises(RunError, match="being trained again"):
        store.delete(run.run_id)
    assert run.status() == "queued"
    assert store.bin.list() == ()


def test_a_deleted_run_is_not_made_anew_by_somebody_who_was_about_to_train_it(store: RunStore, run: Run) -> None:
    store.delete(run.run_id)
    with pytest.raises(RunError, match="gone"):
        RunRecorder(run, phase="queued")
    assert not run.folder.exists()


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: repr(name)[:20])
def test_no_name_leads_anywhere_else(name: str, store: RunStore, run: Run) -> None:
    store.delete(run.run_id)
    outside = store.runs_dir.parent / "runs-of-others"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    for ask in (store.delete, store.restore):
        with pytest.raises(RunError) as caught:
            ask(name)
        assert len(str(caught.value)) < 300
        assert str(store.runs_dir) not in str(caught.value)
    assert [binned.run_id for binned in store.bin.list()] == [run.run_id]
    assert outside.is_dir()


def test_a_place_that_is_taken_is_said_both_ways(store: RunStore, run: Run) -> None:
    store.delete(run.run_id)
    shutil.copytree(store.bin.folder / run.run_id, run.folder)
    with pytest.raises(RunError, match="another run"):
        store.restore(run.run_id)
    with pytest.raises(RunError, match="in the bin already"):
        store.delete(run.run_id)
    assert run.folder.is_dir()
    assert (store.bin.folder / run.run_id).is_dir()


def test_a_folder_that_vanishes_meanwhile_is_a_sentence(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    utime = os.utime

    def then_gone(path: Path) -> None:
        utime(path)
        shutil.rmtree(path)

    monkeypatch.setattr(os, "utime", then_gone)
    with pytest.raises(RunError, match="There is no run"):
        store.delete(run.run_id)
    assert store.bin.list() == ()


def test_after_a_day_it_goes_for_good_and_not_before(store: RunStore, run: Run) -> None:
    os.utime(run.folder, (1, 1))  # an old run, deleted just now
    store.delete(run.run_id)
    now = time.time()
    assert store.bin.empty(now=now + KEPT_SECONDS - 60) == 0
    assert store.bin.empty(now=now - 10 * KEPT_SECONDS) == 0  # a clock set back
    assert len(store.bin.list()) == 1
    assert store.bin.empty(now=now + KEPT_SECONDS + 60) == 1
    assert os.listdir(store.bin.folder) == []
    with pytest.raises(RunError, match="in the bin"):
        store.restore(run.run_id)


def test_emptying_takes_only_what_is_old(store: RunStore) -> None:
    old, new = store.create(TrainConfig()), store.create(TrainConfig())
    for each in (old, new):
        store.delete(each.run_id)
    os.utime(store.bin.folder / old.run_id, (time.time() - 2 * KEPT_SECONDS,) * 2)
    assert store.empty_bin() == 1
    assert [binned.run_id for binned in store.bin.list()] == [new.run_id]


def test_what_a_killed_emptying_left_is_swept_and_never_listed_or_restored(store: RunStore, run: Run) -> None:
    store.delete(run.run_id)
    half = store.bin.folder / f".going-{run.run_id}-abc"
    (store.bin.folder / run.run_id).rename(half)
    (half / "best.safetensors").unlink()
    assert store.bin.list() == ()
    for name in (run.run_id, half.name):
        with pytest.raises(RunError):
            store.restore(name)
    assert store.empty_bin() == 0
    assert not half.exists()


def test_what_the_system_does_not_let_go_is_tried_again(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.delete(run.run_id)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        assert store.empty_bin(older_than=0) == 1
        assert len(os.listdir(store.bin.folder)) == 1
    store.empty_bin()
    assert os.listdir(store.bin.folder) == []


def test_an_empty_or_missing_bin_is_no_failure(store: RunStore) -> None:
    assert store.bin.list() == ()
    assert store.empty_bin() == 0
    assert not store.runs_dir.exists()
    store.runs_dir.mkdir()
    (store.runs_dir / FOLDER).write_text("no folder")
    assert store.bin.list() == ()
    assert store.empty_bin() == 0


def test_only_one_of_many_who_delete_at_once_succeeds(store: RunStore, run: Run) -> None:
    outcomes: list[str] = []

    def delete() -> None:
        try:
            RunStore(store.runs_dir).delete(run.run_id)
            outcomes.append("done")
        except RunError:
            outcomes.append("refused")

    threads = [threading.Thread(target=delete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done"] + ["refused"] * 7
    assert len(store.bin.list()) == 1


# ---- The disk -------------------------------------------------------------------------------------------------


def test_a_file_with_two_names_is_counted_once(run: Run) -> None:
    before = disk_used(run.folder)
    (run.folder / "kept").mkdir()
    try:
        os.link(run.folder / "best.safetensors", run.folder / "kept" / "epoch-0001.safetensors")
    except OSError:
        pytest.skip("this file system has no hard links")
    assert disk_used(run.folder) == before
    assert run.summary().size_bytes == before
    (run.folder / "best.safetensors").unlink()
    assert disk_used(run.folder) == before


def test_two_runs_that_share_a_file_take_it_once_together(store: RunStore, run: Run) -> None:
    other = store.create(TrainConfig())
    alone = disk_used(other.folder)
    try:
        os.link(run.folder / "best.safetensors", other.folder / "last.safetensors")
    except OSError:
        pytest.skip("this file system has no hard links")
    assert disk_used(other.folder) == alone + 1000
    assert disk_used(run.folder, other.folder) == disk_used(run.folder) + alone


def test_what_vanishes_or_points_elsewhere_is_not_counted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = disk_used(run.folder)
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    (run.folder / "link").symlink_to(tmp_path / "big")
    assert disk_used(run.folder) - before < 1000
    (run.folder / "link").unlink()
    lstat = os.lstat

    def gone(path: str) -> os.stat_result:
        if str(path).endswith("best.safetensors"):
            raise FileNotFoundError(path)
        return lstat(path)

    monkeypatch.setattr(os, "lstat", gone)
    assert disk_used(run.folder) == before - 1000
    assert disk_used(tmp_path / "nowhere") == 0


def test_json_of_the_bin_is_plain(store: RunStore, run: Run) -> None:
    store.delete(run.run_id)
    assert json.loads(json.dumps([vars(binned) for binned in store.bin.list()]))[0]["run_id"] == run.run_id
