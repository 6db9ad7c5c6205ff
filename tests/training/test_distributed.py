"""Several processes train one network: together they learn what one would, and they end together."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from observers import Keeper, facts
from together_host import FLOWERS, GARDEN, HEAD, LEARNS, SCENARIOS, targets

from resnet_core.data.datasets import DatasetSpec
from resnet_core.data.loaders import Batch, make_loaders
from resnet_core.data.mixing import Mixing
from resnet_core.data.sharing import Share
from resnet_core.training.config import TrainConfig
from resnet_core.training.engine import fit
from resnet_core.training.launching import count_processes
from resnet_core.training.runs import Run, RunStore
from resnet_core.training.session import Session

ROOT = Path(__file__).parents[2]
Told = dict[str, Any]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX can fork a warmed process")


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> Callable[[str], list[Told]]:
    """What each process of a scenario was told; those of a process that was killed are left out."""
    folder = tmp_path_factory.mktemp("together")
    host = Path(__file__).with_name("together_host.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(host), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "RESNET_LAB_CACHE": str(session_cache), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]

    def told(name: str) -> list[Told]:
        places = [place for place in targets(folder, name) if place.is_file()]
        assert places, done.stderr[-3000:]
        return [torch.load(place, weights_only=False) for place in places]

    return told


def alone(config: TrainConfig, dataset: DatasetSpec = FLOWERS) -> tuple[list[Told], Keeper]:
    keeper = Keeper()
    return facts(list(fit(config, dataset, saver=keeper))), keeper


def named(events: list[Told], *names: str) -> list[Told]:
    return [event for event in events if event["event"] in names]


def ending(told: Told) -> Told:
    assert [event["event"] for event in told["events"]].count("RunEnded") == 1
    assert told["events"][-1]["event"] == "RunEnded"
    return dict(told["events"][-1])


# ---- What a step sees -----------------------------------------------------------------------------------------

POLICIES = ("shift-flip", "standard", "strong")


@pytest.mark.parametrize("mixing", [Mixing(), Mixing(mixup=0.4, cutmix=1.0)], ids=("plain", "mixed"))
@pytest.mark.parametrize("policy", POLICIES)
def test_the_parts_of_a_batch_are_the_batch(policy: str, mixing: Mixing) -> None:
    """The same pictures, cut, changed and mixed alike, in the same order, whatever the number of processes."""
    whole, *shares = (loaded(policy, mixing, share) for share in (Share(), *(Share(rank, 3) for rank in range(3))))
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert {part.step_size for part in parts} == {len(batch.targets)}
        if len(batch.targets) < 6:  # too few to be divided: all learn them all
            assert all(torch.equal(part.images, batch.images) for part in parts)
            assert [part.whole.counted for part in parts if part.whole] == [True, False, False]
            assert {part.whole.times for part in parts if part.whole} == {3}
            continue
        assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)
        assert torch.allclose(torch.cat([part.images for part in parts]), batch.images, atol=1e-4)
        for part in parts:
            assert part.whole
            assert torch.equal(part.whole.targets, batch.targets)
            if batch.mixture and part.mixture and part.whole.partners is not None:
                assert part.mixture.share == batch.mixture.share
                assert torch.equal(part.whole.partners, batch.mixture.targets)


def loaded(policy: str, mixing: Mixing, share: Share) -> list[Batch]:
    from resnet_core.data.augment import get_policy
    from resnet_core.data.preprocessing import Preprocessing

    loaders = make_loaders(
        FLOWERS,
        Preprocessing(resize=18, crop=16),
        policy=get_policy(policy),
        batch_size=8,
        seed=3,
        device=torch.device("cpu"),
        mixing=mixing,
        share=share,
    )
    assert len(loaders.train) == 3
    return list(loaders.train.epoch(2))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("count", [1, 2, 10, 65])
def test_validation_pictures_are_dealt_out_once_in_the_same_number_of_batches(size: int, count: int) -> None:
    blocks = [list(range(count))[Share(rank, size).block(count)] for rank in range(size)]
    assert [index for block in blocks for index in block] == list(range(count))
    assert max(map(len, blocks)) == Share(0, size).largest_block(count)
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


# ---- Several learn as one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["head", "head in three"])
def test_parts_add_up_to_what_one_process_learns(name: str, groups: Callable[[str], list[Told]]) -> None:
    """Loss weights, label smoothing, mixing and unequal parts: sums and counts are reduced, never means of means."""
    expected, keeper = alone(SCENARIOS[name].config)
    for told in groups(name):
        steps, epochs = named(told["events"], "StepEnded"), named(told["events"], "EpochEnded")
        assert [step["step"] for step in steps] == [step["step"] for step in named(expected, "StepEnded")]
        for mine, theirs in zip(
            [*steps, *epochs], named(expected, "StepEnded") + named(expected, "EpochEnded"), strict=True
        ):
            for key in {"loss", "train_loss", "val_loss"} & mine.keys():
                assert mine[key] == pytest.approx(theirs[key], rel=2e-5)
            for key in {"train_top1", "val_top1"} & mine.keys():
                assert mine[key] == theirs[key], "counted, not averaged"
    lead, *others = groups(name)
    for key, tensor in keeper.judged.items():
        assert torch.allclose(lead["weights"][key], tensor, atol=2e-5), key
    assert all(told["saved"] == [] for told in others), "the first process alone writes"
    assert lead["saved"] == keeper.saved


@pytest.mark.parametrize("name", ["head", "head in three", "learns", "everything else", "changed", "paused"])
def test_every_process_is_told_the_same(name: str, groups: Callable[[str], list[Told]]) -> None:
    lead, *others = groups(name)
    assert ending(lead)["status"] == "finished"
    for told in others:
        assert told["events"] == lead["events"]


def test_two_processes_learn_as_well_as_one(groups: Callable[[str], list[Told]]) -> None:
    """BatchNorm sees half a batch in each, so the numbers differ; what is learned does not."""
    expected, _ = alone(LEARNS, GARDEN)
    single = named(expected, "EpochEnded")[-1]
    lead = groups("learns")[0]
    together = named(lead["events"], "EpochEnded")[-1]
    assert together["step"] == single["step"]
    assert single["val_top1"] > 0.7
    assert abs(together["val_top1"] - single["val_top1"]) <= 0.12, "sixty pictures tell it to about ± 6 %"
    started = named(lead["events"], "RunStarted")[0]
    assert any(note.startswith("Processes: 2,") and "BatchNorm" in note for note in started["notes"])


# ---- Wishes ---------------------------------------------------------------------------------------------------


def test_a_stop_asked_of_any_process_stops_all_at_the_same_step_saved(groups: Callable[[str], list[Told]]) -> None:
    lead, other = groups("stopped")
    assert ending(lead) == ending(other) == {
        "event": "RunEnded",
        "status": "stopped",
        "reason": "Stopped after step 6, as asked.",
    }  # fmt: skip
    assert lead["saved"][-1] == "resume"


@pytest.mark.parametrize("processes", [1, 3])
def test_a_run_goes_on_in_another_number_of_processes(
    processes: int, groups: Callable[[str], list[Told]], tmp_path: Path
) -> None:
    """Also in the middle of an epoch: what was counted before is counted once."""
    expected, keeper = alone(HEAD)
    stopped = groups("stopped")[0]
    if processes == 3:
        lead = groups("resumed in three")[0]
        events, weights = lead["events"], lead["weights"]
    else:
        (tmp_path / "state.pt").write_bytes(stopped["state"])
        own = Keeper()
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        events, weights = facts(list(fit(HEAD, FLOWERS, saver=own, resume=state))), own.judged
    told = [*named(stopped["events"], "EpochEnded"), *named(events, "EpochEnded")]
    for mine, theirs in zip(told, named(expected, "EpochEnded"), strict=True):
        assert (mine["step"], mine["train_top1"], mine["val_top1"]) == tuple(
            theirs[key] for key in ("step", "train_top1", "val_top1")
        )
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=2e-5)
    for key, tensor in keeper.judged.items():
        assert torch.allclose(weights[key], tensor, atol=2e-5), key


def test_a_pause_is_one_for_all_and_changes_nothing(groups: Callable[[str], list[Told]]) -> None:
    lead = groups("paused")[0]
    told = [event["event"] for event in named(lead["events"], "Paused", "Resumed")]
    assert told == ["Paused", "Resumed"]
    quiet = groups("head")[0]
    assert named(lead["events"], "EpochEnded") == named(quiet["events"], "EpochEnded")
    assert "resume" in lead["saved"]


def test_a_change_holds_in_every_process_from_the_same_epoch_on(groups: Callable[[str], list[Told]]) -> None:
    for told in groups("changed"):
        [changed] = named(told["events"], "Changed")
        assert (changed["epoch"], changed["settings"]) == (2, {"learning_rate": 0.001, "freeze": "layer1"})


def test_a_stop_after_the_epoch_ends_all_with_it(groups: Callable[[str], list[Told]]) -> None:
    for told in groups("after the epoch"):
        assert ending(told)["reason"] == "Stopped after the epoch, as asked."
        assert len(named(told["events"], "EpochEnded")) == 1


def test_a_full_disk_of_the_first_process_makes_all_wait(groups: Callable[[str], list[Told]]) -> None:
    for told in groups("full disk"):
        assert [event["event"] for event in named(told["events"], "Paused", "Resumed")] == ["Paused", "Resumed"]
        assert ending(told)["status"] == "finished"
        assert named(told["events"], "EpochEnded") == named(groups("head")[0]["events"], "EpochEnded")


# ---- All end together -----------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_in_one_process_ends_all_at_that_step(groups: Callable[[str], list[Told]]) -> None:
    processes = groups("no number")
    assert len(processes) == 2
    for told in processes:
        assert ending(told)["status"] == "failed"
        assert "no longer a number at step 6" in ending(told)["reason"]
    assert processes[0]["saved"] == ["best", "last"], "the epoch before is kept"


def test_the_others_say_why_one_broke_off(groups: Callable[[str], list[Told]]) -> None:
    lead, other = groups("one breaks off")
    assert ending(other)["reason"] == "The memory ran out; use a smaller batch or picture size."
    assert ending(lead)["status"] == "failed"
    assert ending(lead)["reason"] == f"Process 1 of 2 broke off: {ending(other)['reason']}"


def test_the_others_end_when_one_is_killed(groups: Callable[[str], list[Told]]) -> None:
    [lead] = groups("one is killed")
    assert ending(lead)["status"] == "failed"
    assert ending(lead)["reason"].startswith("Another process of this training has ended")
    assert lead["saved"] == ["best", "last"]


def test_processes_that_see_other_pictures_do_not_train_together(groups: Callable[[str], list[Told]]) -> None:
    for told in groups("other pictures"):
        assert "other pictures than the first one" in ending(told)["reason"]
        assert named(told["events"], "StepEnded") == []


def test_a_batch_too_small_to_be_divided_is_refused(groups: Callable[[str], list[Told]]) -> None:
    for told in groups("too small a batch"):
        assert ending(told)["reason"] == (
            "A batch of 3 pictures cannot be divided among 2 processes; use a batch size of at least 4."
        )


# ---- The number of processes ----------------------------------------------------------------------------------


def test_one_process_is_wrapped_in_nothing(tiny_flowers: DatasetSpec, quick: Callable[..., TrainConfig]) -> None:
    session = Session(quick(), tiny_flowers)
    assert session.learner.forward is session.learner.network


def test_all_gpus_means_a_process_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert count_processes(TrainConfig(device="all")) == 4
    assert count_processes(TrainConfig(device="auto")) == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert count_processes(TrainConfig(device="all")) == 1, "the training itself says that there is no GPU"
    assert count_processes(TrainConfig(processes=3)) == 3


# ---- The real launcher ----------------------------------------------------------------------------------------

COLORS = [
    "--model", "resnet8", "--image-size", "16", "--batch-size", "4", "--epochs", "40", "--augment", "flip",
    "--num-threads", "1", "--device", "cpu", "--precision", "fp32", "--seed", "1", "--json",
]  # fmt: skip


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "RESNET_LAB_CACHE": str(cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def only_run(runs: Path) -> Run:
    [run] = RunStore(runs).list()
    return run


def until(condition: Callable[[], Any], process: "subprocess.Popen[bytes]", seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        assert process.poll() is None, "the launcher has ended"
        time.sleep(0.02)


@pytest.mark.slow
def test_torchrun_replaces_a_killed_process_and_the_same_run_goes_on(
    tmp_path: Path, session_cache: Path, drawn_folder: Path
) -> None:
    runs = tmp_path / "runs"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "--max-restarts", "1", "-m", "resnet_core", "train", *COLORS]
    with (tmp_path / "words").open("wb") as words:
        process = subprocess.Popen(
            [*command, "--dataset", str(drawn_folder), "--runs-dir", str(runs)],
            cwd=ROOT,
            env=environment(session_cache),
            stdout=words,
            stderr=words,
            start_new_session=True,
        )
    try:
        until(lambda: runs.is_dir() and RunStore(runs).list(), process)
        run = only_run(runs)
        until(lambda: any(event.get("kind") == "last" for event in run.events()), process)
        os.kill(run.heartbeat()["pid"], signal.SIGKILL)
        code = process.wait(180)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert code == 0, (tmp_path / "words").read_text(errors="replace")[-9000:]
    run = only_run(runs)
    events = run.events()
    assert run.status() == "finished"
    assert [event["event"] for event in events].count("RunStarted") == 2, "once more after the kill"
    assert [event["event"] for event in events].count("Resumed") == 1
    last = {event["epoch"]: event for event in events if event["event"] == "EpochEnded"}
    assert sorted(last) == list(range(1, 41))
    assert run.config().processes == 2
    rows = (run.folder / "predictions.csv").read_text().splitlines()
    assert len(rows) == 1 + events[0]["n_val"], "every validation picture, whoever answered it"
    assert json.loads((run.folder / "launch.json").read_text())["launch"]
