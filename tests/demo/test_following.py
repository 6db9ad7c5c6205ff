"""Asking a model while it learns: the newest epoch answers, is named rightly, and training never notices."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from demo.follow_banner.follow_banner import FollowBanner
from demo.follow_banner.follow_choice import followed_choices, has_kept, refreshed, told
from demo.following import followed, make_follow_ask, model_facts, planned_epochs, run_of
from demo.services import Services
from demo.words.runs import BANNER_WORDS
from resnet_core.data.preprocessing import Preprocessing
from resnet_core.models.zoo import build_model
from resnet_core.training.checkpoint import Checkpoint, save_checkpoint
from resnet_core.training.config import TrainConfig
from resnet_core.training.events import Changed, Event, RunEnded, RunStarted
from resnet_core.training.recorder import RunRecorder
from resnet_core.training.runs import Run


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setattr(Services, "_prepare_quietly", lambda self: None)
    made = Services(data_dir=tmp_path / "data", runs_dir=tmp_path / "runs")
    made.warm_up()
    made.ready()
    yield made
    assert made.shutdown(30)


def save_epoch(path: Path, epoch: int) -> None:
    """A checkpoint of that epoch with weights of its own, as the recorder replaces it."""
    torch.manual_seed(epoch)
    checkpoint = Checkpoint(
        architecture="resnet20",
        architecture_arguments={"num_classes": 2},
        class_names=("left", "right"),
        preprocessing=Preprocessing(resize=32, crop=32),
        training={"epoch": epoch, "step": 10 * epoch},
    )
    path.parent.mkdir(exist_ok=True)
    save_checkpoint(path, checkpoint, build_model("resnet20", num_classes=2).state_dict())
    os.utime(path, (1_700_000_000 + epoch,) * 2)  # two epochs of a test may fall into one tick of the clock


def started(epochs: int) -> Event:
    return RunStarted(
        model="resnet20", dataset="d", class_names=("left", "right"), parameters=1, n_train=1, n_val=1, epochs=epochs,
        steps_per_epoch=10, device="cpu", precision="fp32", settings={},
    )  # fmt: skip


@pytest.fixture
def learning(services: Services) -> Iterator[tuple[Run, RunRecorder]]:
    """A run under way: epoch 3 of 20 is the newest, epoch 2 the best."""
    run = services.store.create(TrainConfig(name="garden"))
    with RunRecorder(run) as recorder:
        recorder.write(started(20))
        save_epoch(run.folder / "last.safetensors", 3)
        save_epoch(run.folder / "best.safetensors", 2)
        yield run, recorder


# Which epoch


def test_the_newest_epoch_is_told_with_its_run(services: Services, learning: tuple[Run, RunRecorder]):
    run, _ = learning
    told_of = followed(services, f"{run.run_id}/last")
    assert told_of is not None
    assert (told_of.name, told_of.epoch, told_of.epochs, told_of.status) == ("garden", 3, 20, "running")
    assert told_of.live
    assert told_of.saved == 1_700_000_003
    best = followed(services, run.run_id)
    assert best is not None
    assert (best.which, best.epoch, best.live) == ("best", 2, True)


def test_the_epoch_told_is_the_one_that_answered_even_when_a_newer_one_has_come(
    services: Services, learning: tuple[Run, RunRecorder]
):
    run, _ = learning
    name = f"{run.run_id}/last"
    answered_by = services.classifier(name)
    save_epoch(run.folder / "last.safetensors", 4)
    told_of = followed(services, name, answered_by)
    assert told_of is not None
    assert (told_of.epoch, told_of.saved) == (3, 1_700_000_003)
    news = make_follow_ask(services)(name)
    assert news["stamp"] != told_of.stamp  # so the page asks again
    newer = followed(services, name)
    assert newer is not None
    assert (newer.epoch, newer.stamp) == (4, news["stamp"])  # and then is content


def test_the_copy_that_answers_is_not_the_one_of_the_epoch_before(
    services: Services, learning: tuple[Run, RunRecorder]
):
    run, _ = learning
    name = f"{run.run_id}/last"
    picture = Image.new("RGB", (32, 32), "red")
    first = services.classify(name, picture).predictions
    save_epoch(run.folder / "last.safetensors", 4)
    assert services.classify(name, picture).predictions != first
    save_epoch(run.folder / "last.safetensors", 3)
    assert services.classify(name, picture).predictions == first


def test_an_ended_run_is_told_as_ended_and_no_longer_live(services: Services, learning: tuple[Run, RunRecorder]):
    run, recorder = learning
    recorder.write(RunEnded(status="finished", reason=""))
    told_of = followed(services, f"{run.run_id}/last")
    assert told_of is not None
    assert (told_of.status, told_of.live) == ("finished", False)
    assert make_follow_ask(services)(f"{run.run_id}/last")["live"] is False


def test_a_kept_epoch_never_changes(services: Services, learning: tuple[Run, RunRecorder]):
    run, _ = learning
    save_epoch(run.folder / "kept" / "epoch-0001.safetensors", 1)
    (run.folder / "kept" / "epoch-0001.pt").write_bytes(b"")
    told_of = followed(services, f"{run.run_id}/1")
    assert told_of is not None
    assert (told_of.epoch, told_of.live, told_of.status) == (1, False, "running")


def test_epochs_changed_while_it_runs_count(services: Services, learning: tuple[Run, RunRecorder]):
    run, recorder = learning
    recorder.write(Changed(epoch=4, step=30, settings={"learning_rate": 0.1}))
    assert planned_epochs(run) == 20
    recorder.write(Changed(epoch=5, step=40, settings={"epochs": 8}))
    assert planned_epochs(run) == 8
    assert planned_epochs(services.store.create(TrainConfig())) == 0


@pytest.mark.parametrize("model", ["flowers", "imagenet/resnet18", "models/x", "models/3", "nobody", "nobody/last", ""])
def test_other_models_follow_nothing(services: Services, model: str):
    assert run_of(services, model) is None
    assert followed(services, model) is None
    assert told(services, model) == {"__type__": "update", "value": None, "visible": "hidden"}


def test_a_run_deleted_meanwhile_is_followed_no_more(services: Services, learning: tuple[Run, RunRecorder]):
    run, recorder = learning
    name = f"{run.run_id}/last"
    classifier = services.classifier(name)
    recorder.write(RunEnded(status="stopped", reason=""))
    services.store.delete(run.run_id)
    assert followed(services, name, classifier) is None
    assert make_follow_ask(services)(name) == {"live": False}


@pytest.mark.parametrize("question", [None, 3, [], ["a", "b"], {"x": 1}, "x" * 10_000, "\x00", "../..", ["flowers"]])
def test_whatever_the_banner_asks_is_answered(services: Services, question: Any):
    assert make_follow_ask(services)(question) == {"live": False}


def test_asking_for_news_loads_nothing(
    services: Services, learning: tuple[Run, RunRecorder], monkeypatch: pytest.MonkeyPatch
):
    run, _ = learning
    monkeypatch.setattr(Services, "classifier", lambda *_: pytest.fail("loaded a model"))
    assert make_follow_ask(services)([f"{run.run_id}/last"])["live"] is True


# The dropdown


def test_a_run_with_a_checkpoint_can_be_followed(services: Services, learning: tuple[Run, RunRecorder]):
    run, _ = learning
    choices = followed_choices(services)
    assert ("follow garden (newest epoch)", f"{run.run_id}/last") in choices
    assert ("garden · best epoch", run.run_id) in choices
    assert ("跟随 garden（最新一轮）", f"{run.run_id}/last") in followed_choices(services, language="zh")
    bare = services.store.create(TrainConfig())
    assert not [name for _, name in followed_choices(services) if name.startswith(bare.run_id)]


def test_kept_epochs_are_offered_only_when_asked_for(services: Services, learning: tuple[Run, RunRecorder]):
    run, _ = learning
    assert has_kept(services) is False
    save_epoch(run.folder / "kept" / "epoch-0001.safetensors", 1)
    (run.folder / "kept" / "epoch-0001.pt").write_bytes(b"")
    assert has_kept(services) is True
    kept = f"{run.run_id}/1"
    assert kept not in {name for _, name in followed_choices(services)}
    assert kept in {name for _, name in followed_choices(services, kept=True)}
    update = refreshed(services, kept, False, "en")  # the box is cleared while a kept epoch is chosen: it stays
    assert "value" not in update
    assert kept in {name for _, name in update["choices"]}


def test_a_model_that_is_gone_gives_way_to_the_shipped_one(services: Services, learning: tuple[Run, RunRecorder]):
    run, _ = learning
    assert "value" not in refreshed(services, f"{run.run_id}/last", False, "en")
    for gone in ("nobody", f"{run.run_id}/77", None):
        assert refreshed(services, gone, False, "en")["value"] == "flowers"


# Answers for programs


def test_an_answer_of_a_runs_model_says_which_epoch_it_is_from(services: Services, learning: tuple[Run, RunRecorder]):
    run, _ = learning
    for name, epoch in ((f"{run.run_id}/last", 3), (run.run_id, 2)):
        facts = model_facts(name, services.classifier(name))
        assert facts == {"model": {"name": name, "run_id": run.run_id, "epoch": epoch}}


@pytest.mark.parametrize("name", ["flowers", "imagenet/resnet18", "models/3"])
def test_an_answer_of_any_other_model_is_as_before(name: str):
    assert model_facts(name, SimpleNamespace()) == {}  # type: ignore[arg-type]


# The page


def test_the_banner_speaks_both_languages_and_offers_its_event(services: Services):
    banner = FollowBanner(make_follow_ask(services))
    assert callable(banner.tick)
    for english, chinese in BANNER_WORDS.values():
        assert {part.split("}")[0] for part in english.split("{")[1:]} == {
            part.split("}")[0] for part in chinese.split("{")[1:]
        }


def test_the_stamp_of_a_model_that_is_no_longer_held_is_zero(services: Services, learning: tuple[Run, RunRecorder]):
    run, _ = learning
    classifier = services.classifier(run.run_id)
    assert services.stamp_of(classifier) == 1_700_000_002
    save_epoch(run.folder / "best.safetensors", 5)
    services.classifier(run.run_id)
    assert services.stamp_of(classifier) == 0.0
    told_of = followed(services, run.run_id, classifier)
    assert told_of is not None
    assert told_of.epoch == 2
