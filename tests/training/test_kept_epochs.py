"""Epochs that stay: which, at what cost, and that nothing half-written is ever one of them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_core.data.datasets import DatasetSpec
from resnet_core.errors import CheckpointError, ConfigError, RunError
from resnet_core.inference.catalog import checkpoint_path, list_checkpoints
from resnet_core.training import kept_epochs as module
from resnet_core.training.checkpoint import load_checkpoint, read_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.events import RunEnded
from resnet_core.training.kept_epochs import in_words, keep_epoch, list_kept, sweep
from resnet_core.training.recorder import RunRecorder, load_kept, load_resume
from resnet_core.training.runs import Run, RunStore

Quick = Callable[..., TrainConfig]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def train(store: RunStore, config: TrainConfig, dataset: DatasetSpec) -> Run:
    run = store.create(config)
    with RunRecorder(run) as recorder:
        for _ in recorder.record(fit(config, dataset, saver=recorder)):
            pass
    return run


def fake_epoch(folder: Path, epoch: int, *, size: int = 10, **settings: Any) -> None:
    """What an epoch leaves behind, then keeps."""
    for name in ("last.safetensors", "resume.pt"):
        (folder / f"new-{name}").write_bytes(f"{epoch}".encode() * size)
        os.replace(folder / f"new-{name}", folder / name)
    keep_epoch(folder, epoch, **{"keep": "some", "best": 1, **settings})


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "kept").iterdir()} if (folder / "kept").is_dir() else set()


# ---- A training keeps them -------------------------------------------------------------------------------------


def test_the_powers_of_two_the_newest_and_the_best_stay_and_can_be_gone_on_from(
    store: RunStore, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    run = train(store, quick(model="resnet8", epochs=7), tiny_flowers)
    best = run.summary().best_epoch
    assert best is not None
    assert run.kept_epochs() == tuple(sorted({1, 2, 4, 7, best}))
    for epoch in run.kept_epochs():
        checkpoint, _ = load_checkpoint(run.kept_checkpoint(epoch))
        assert checkpoint.training["epoch"] == epoch
        position = load_kept(run, epoch)["position"]
        assert (position["epoch"], position["step_in_epoch"], position["step"]) == (epoch + 1, 0, 5 * epoch)
    assert os.path.samefile(run.kept_state(7), run.folder / "resume.pt")
    assert os.path.samefile(run.kept_checkpoint(7), run.folder / "last.safetensors")


@pytest.mark.parametrize(("keep", "kept"), [("none", ()), ("all", (1, 2, 3))])
def test_all_or_none_may_be_asked_for(
    keep: str, kept: tuple[int, ...], store: RunStore, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    run = train(store, quick(model="resnet8", epochs=3, keep=keep), tiny_flowers)
    assert run.kept_epochs() == kept
    assert (run.folder / "kept").exists() is (keep == "all")


def test_what_cannot_be_kept_is_refused_by_name_and_old_settings_open() -> None:
    with pytest.raises(ConfigError, match="Keep must be one of none, some, all"):
        TrainConfig(keep="most")
    old = TrainConfig().to_json()
    del old["keep"], old["forked_from"]
    assert TrainConfig.from_json(old) == TrainConfig()


def test_an_epoch_that_cannot_be_kept_does_not_end_the_training(
    store: RunStore, quick: Quick, tiny_flowers: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.copyfile

    def no_links(*_: Any) -> None:
        raise OSError(95, "no links here")

    def tears(source: Path, target: Path) -> None:
        real(source, target)
        if "epoch-0002" in str(target):
            target.write_bytes(target.read_bytes()[:100])
            raise OSError(28, "no space left")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(shutil, "copyfile", tears)
    run = train(store, quick(model="resnet8", epochs=3), tiny_flowers)
    assert run.status() == "finished"
    assert run.kept_epochs() == (1, 3)
    assert not [name for name in names(run.folder) if "0002" in name]
    assert load_resume(run)["position"]["epoch"] == 4
    assert not os.path.samefile(run.kept_state(3), run.folder / "resume.pt")
    assert run.kept_state(3).read_bytes() == (run.folder / "resume.pt").read_bytes()


def test_a_folder_deleted_during_the_training_ends_it_in_a_sentence_and_stays_deleted(
    store: RunStore, quick: Quick, tiny_flowers: DatasetSpec
) -> None:
    config = quick(model="resnet8", epochs=50)
    run = store.create(config)
    last = None
    with RunRecorder(run) as recorder:
        for event in recorder.record(fit(config, tiny_flowers, saver=recorder)):
            last = event
            if type(event).__name__ == "CheckpointSaved" and run.folder.exists():
                shutil.rmtree(run.folder)
                assert recorder.homeless
    assert isinstance(last, RunEnded)
    assert last.status == "failed"
    assert "was deleted while it was trained" in last.reason
    assert str(run.folder.parent) not in last.reason
    assert not run.folder.exists()
    with pytest.raises(RunError, match="There is no run"):
        store.get(run.run_id)


# ---- Thinning and crashes, on files alone ----------------------------------------------------------------------


def test_over_the_budget_the_earliest_go_the_best_after_them_and_the_newest_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUDGET", 85)
    seen = []
    for epoch in range(1, 10):
        fake_epoch(tmp_path, epoch, best=min(epoch, 3))
        seen.append(list_kept(tmp_path))
    first = [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]  # an epoch takes 20 bytes, so four fit
    assert seen == [*first, (2, 3, 4, 5), (2, 3, 4, 6), (2, 3, 4, 7), (2, 3, 4, 8), (3, 4, 8, 9)]
    monkeypatch.setattr(module, "BUDGET", 1)
    fake_epoch(tmp_path, 10, best=3)
    assert list_kept(tmp_path) == (10,)
    assert names(tmp_path) == {"epoch-0010.safetensors", "epoch-0010.pt"}


def test_the_same_epoch_kept_twice_is_the_newer_one(tmp_path: Path) -> None:
    fake_epoch(tmp_path, 4)
    keep_epoch(tmp_path, 4, keep="some", best=1)  # names of one file already
    fake_epoch(tmp_path, 4, size=99)
    assert names(tmp_path) == {"epoch-0004.safetensors", "epoch-0004.pt"}
    assert (tmp_path / "kept" / "epoch-0004.pt").stat().st_size == 99


@pytest.mark.parametrize("torn", ["epoch-0002.safetensors", "epoch-0002.pt"])
def test_half_an_epoch_does_not_count_and_is_swept(torn: str, tmp_path: Path) -> None:
    """A program may be killed between the two files, at keeping as at removing."""
    for epoch in (1, 2):
        fake_epoch(tmp_path, epoch)
    (tmp_path / "kept" / torn).unlink()
    (tmp_path / "kept" / ".epoch-0004.pt.abc.part").write_bytes(b"half")
    (tmp_path / "kept" / "notes of a person.txt").write_text("stays")
    assert list_kept(tmp_path) == (1,)
    sweep(tmp_path)
    assert names(tmp_path) == {"epoch-0001.safetensors", "epoch-0001.pt", "notes of a person.txt"}


@given(st.sets(st.integers(1, 60)))
def test_epochs_in_words_are_those_epochs(epochs: set[int]) -> None:
    read = set()
    for part in filter(None, in_words(epochs).split(", ")):
        first, _, last = part.partition("–")
        assert not last or int(last) > int(first) + 1
        read |= set(range(int(first), int(last or first) + 1))
    assert read == epochs


# ---- Their names -----------------------------------------------------------------------------------------------


def test_a_kept_epoch_is_a_model_with_a_name(store: RunStore, quick: Quick, tiny_flowers: DatasetSpec) -> None:
    run = train(store, quick(model="resnet8", epochs=3), tiny_flowers)
    assert checkpoint_path(f"{run.run_id}/2", store) == run.kept_checkpoint(2)
    assert read_checkpoint(checkpoint_path(f"{run.run_id}/0002", store)).training["epoch"] == 2
    plain = {entry.name for entry in list_checkpoints(store, with_imagenet=False)}
    listed = {entry.name for entry in list_checkpoints(store, with_imagenet=False, kept=True)}
    assert listed - plain == {f"{run.run_id}/{epoch}" for epoch in run.kept_epochs()}
    for name in listed:
        assert checkpoint_path(name, store).is_file()
    with pytest.raises(RunError, match=r"Epoch 9 of run .* is not kept; kept are 1"):
        checkpoint_path(f"{run.run_id}/9", store)
    for strange in ("³", "-1", "1.0", "9" * 5000, "../1", "kept", "epoch-0002", "0x1", " 1"):
        with pytest.raises((CheckpointError, RunError)):
            checkpoint_path(f"{run.run_id}/{strange}", store)
    with pytest.raises(CheckpointError, match="There is no model"):
        checkpoint_path("flowers/1", store)


def test_a_run_that_keeps_nothing_says_so(store: RunStore) -> None:
    run = store.create(TrainConfig())
    with pytest.raises(RunError, match=r"Epoch 1 of run .* is not kept; none of its epochs is"):
        run.kept_state(1)
