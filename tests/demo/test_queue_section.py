"""The queue and the branches on the page and in the API: what is shown, what a press does, what is refused."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from demo.follow_banner.follow_choice import model_choice
from demo.live_board.live_board import LiveBoard, make_poll
from demo.services import Services
from demo.training.fork_section import branch_settings, fork_section, kept_choices
from demo.training.queue_api import add_queue_api
from demo.training.queue_list.queue_list import QueueList
from demo.training.queue_section import queue_rows, queue_section, queue_value
from demo.training.reading_note import reading_note
from demo.training.resume_button import wire_resume
from resnet_core.training.config import TrainConfig
from resnet_core.training.runs import Run, RunStore


@pytest.fixture
def config(meadow: Path) -> TrainConfig:
    return TrainConfig(
        dataset=str(meadow), model="resnet8", image_size=16, resize=16, batch_size=8, epochs=5000, device="cpu",
        num_threads=1, keep="all",
    )  # fmt: skip


@pytest.fixture
def going(services: Services, config: TrainConfig) -> Iterator[Run]:
    """A run that is being trained, and keeps epochs."""
    run = services.runner.start(config)
    until(run.kept_epochs)
    yield run
    for run_id in services.runner.queued():
        services.runner.drop(run_id)
    services.runner.stop(run.run_id)
    assert services.runner.wait(60)


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def handlers(build: Callable[[], Any]) -> dict[str, Callable[..., Any]]:
    """What is called by the part of a page that `build` makes, by name."""

    async def made() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page:
            build()
        return page

    functions = [function.fn for function in asyncio.run(made()).fns.values() if function.fn]
    return {function.__name__: function for function in functions}


def board_of(services: Services) -> LiveBoard:
    return LiveBoard(make_poll(services))


@pytest.fixture(scope="module")
def calls(services: Services) -> dict[str, Callable[..., Any]]:
    """The end points by name."""
    return handlers(lambda: add_queue_api(services))


def sentence(call: Callable[[], Any]) -> str:
    with pytest.raises(gr.Error) as refused:
        call()
    told = str(refused.value.message)
    assert "unexpected" not in told
    return told


def test_the_list_shows_who_waits_in_order(services: Services, going: Run, config: TrainConfig) -> None:
    assert queue_rows(services) == []
    assert queue_value(services) == "[]"
    name = "${alert(1)} <img src=x>\u202e"
    first = services.runner.start(config.replace(name=name))
    second = services.runner.start(config)
    assert [(row["place"], row["run_id"]) for row in queue_rows(services)] == [(1, first.run_id), (2, second.run_id)]
    shown = json.loads(queue_value(services))
    assert shown[0]["title"] == "${alert(1)} <img src=x>", "as text; the script writes it through textContent"
    assert (shown[0]["detail"], shown[0]["epochs"]) == (f"{first.run_id} · resnet8 · meadow", 5000)
    assert shown[1]["title"] == second.run_id


def test_the_script_never_writes_markup() -> None:
    listed = QueueList()
    assert "innerHTML" not in listed.js_on_load
    assert "${" not in listed.html_template


def test_programs_reorder_and_drop(
    services: Services, going: Run, config: TrainConfig, calls: dict[str, Callable[..., Any]]
) -> None:
    waiting = [services.runner.start(config).run_id for _ in range(3)]
    assert [row["run_id"] for row in calls["list_queue"]()] == waiting
    moved = calls["move_in_queue"](waiting[2], 1)
    assert [row["run_id"] for row in moved] == [waiting[2], *waiting[:2]]
    assert [row["run_id"] for row in calls["move_in_queue"](waiting[2], 3.0)] == waiting
    assert [row["run_id"] for row in calls["drop_from_queue"](waiting[0])] == waiting[1:]
    for place in (0, -1, 1.5, True, "1", None, float("nan"), float("inf")):
        told = sentence(lambda place=place: calls["move_in_queue"](waiting[1], place))  # type: ignore[misc]
        assert told == "place must be a whole number from 1 on."
    assert "does not wait" in sentence(lambda: calls["drop_from_queue"](going.run_id))
    assert "There is no run" in sentence(lambda: calls["move_in_queue"]("../x", 1))


def test_programs_branch_off(services: Services, going: Run, calls: dict[str, Callable[..., Any]]) -> None:
    epoch = going.kept_epochs()[0]
    begun = calls["fork_run"](going.run_id, epoch, {"learning_rate": 0.01, "epochs": 4000, "name": "twig"})
    assert begun["queued"] is True
    assert services.queued() == (begun["run_id"],)
    branch = services.store.get(begun["run_id"])
    assert (branch.config().forked_from, branch.config().name) == (f"{going.run_id}/{epoch}", "twig")
    for settings, told in (
        ({"batch_size": 4}, "batch_size cannot change in a branch"),
        ({"run_id": "x", "epoch": 3}, "run_id, epoch cannot change"),
        ({"anyway": True}, "anyway is no setting"),
        ({"name": "x" * 81}, "at most 80 characters"),
        ({"forked_from": "elsewhere/1"}, "forked_from cannot change"),
        (["epochs"], "settings must be an object"),
        ({3: 4}, "3 cannot change"),
    ):
        assert told in sentence(lambda given=settings: calls["fork_run"](going.run_id, epoch, given))  # type: ignore[misc]
    assert "is not kept" in sentence(lambda: calls["fork_run"](going.run_id, 10**7))
    assert len(services.queued()) == 1


def test_the_epochs_one_can_branch_off_from_show_how_good_they_were(services: Services, going: Run) -> None:
    choices = kept_choices(services, going.run_id)
    assert [int(epoch) for _, epoch in choices][:2] == list(going.kept_epochs())[:2]
    assert choices[0][0].startswith("1 · ")
    assert choices[0][0].endswith("%")
    assert kept_choices(services, "") == kept_choices(services, going.run_id)[: len(kept_choices(services, ""))]
    assert kept_choices(services, "nope") == []


def test_an_epoch_that_could_not_be_judged_is_offered_all_the_same(
    services: Services, going: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unjudged = [{"event": "EpochEnded", "epoch": 1, "val_top1": None}]
    monkeypatch.setattr(Run, "events", lambda self, after=0: unjudged)
    assert kept_choices(services, going.run_id)[0] == ("1", "1")


def test_choices_of_before_a_restart_reach_the_app(services: Services) -> None:
    """Gradio refuses a value that is not among the choices of the page as it was built."""

    async def made() -> list[gr.Dropdown]:
        with gr.Blocks() as page:
            fork_section(services, gr.Textbox(), board_of(services))
            model_choice(services, "chosen")
        return [block for block in page.blocks.values() if isinstance(block, gr.Dropdown)]

    boxes = {str(box.elem_id): box for box in asyncio.run(made())}
    assert boxes["fork-epoch"].preprocess("3") == "3"
    assert boxes["chosen"].preprocess("20260101-000000-x/3") == "20260101-000000-x/3"


def test_only_what_is_filled_in_is_changed_in_a_branch() -> None:
    assert branch_settings("", "", "", "  ") == {}
    assert branch_settings("0,01", "9", "flip", " twig ") == {
        "learning_rate": 0.01,
        "epochs": 9,
        "augment": "flip",
        "name": "twig",
    }
    assert branch_settings("fast", "", "", "") == {"learning_rate": "fast"}, "refused where all settings are"


def test_a_press_on_branch_off_shows_the_branch_and_a_second_press_means_it(
    services: Services, going: Run, meadow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda message, **_: warned.append(message))
    monkeypatch.setattr(gr, "Info", lambda message, **_: None)
    branch = handlers(lambda: fork_section(services, gr.Textbox(), board_of(services)))["branch"]
    (meadow / "red" / "0.png").unlink()
    first = branch(None, going.run_id, "1", "", "0.01", "", "", "")
    assert first[2] == f"{going.run_id}/1"
    assert first[3:] == ("0.01", "", "", ""), "nothing typed is lost"
    assert "1 gone" in warned[0]
    assert "Press the button once more" in warned[0]
    assert services.queued() == ()
    second = branch(None, going.run_id, "1", first[2], "0.01", "", "", "")
    assert services.queued() == (second[1],)
    assert second[2:] == ("", "", "", "", "")
    assert "“1 · 20%” is no epoch" in sentence(lambda: branch(None, going.run_id, "1 · 20%", "", "", "", "", ""))
    assert "at most 80" in sentence(lambda: branch(None, going.run_id, "1", "", "", "", "", "x" * 81))
    assert "keeps no epoch yet" in sentence(lambda: branch(None, going.run_id, None, "", "", "", "", ""))


def test_resume_asks_once_about_changed_pictures(
    services: Services, config: TrainConfig, meadow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda message, **_: warned.append(message))
    run = services.runner.start(config)
    until(run.kept_epochs)
    services.runner.stop(run.run_id)
    assert services.runner.wait(60)
    resume = handlers(lambda: wire_resume(services, gr.Button(), gr.Textbox(), board_of(services)))["resume"]
    (meadow / "red" / "0.png").unlink()
    _, mark = resume(None, run.run_id, "another run's id")
    assert mark == run.run_id
    assert "1 gone" in warned[0]
    assert run.status() == "stopped"
    assert resume(None, run.run_id, mark) == (run.run_id, "")
    services.runner.stop(run.run_id)
    assert services.runner.wait(60)


def test_a_press_in_the_list_moves_drops_or_says_why_not(
    services: Services, going: Run, config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda message, **_: warned.append(message))
    act = handlers(lambda: queue_section(services, gr.Textbox(), board_of(services)))["act"]
    waiting = [services.runner.start(config).run_id for _ in range(2)]

    def press(run_id: Any, place: Any) -> list[str]:
        value, _ = act(None, gr.EventData(None, {"run_id": run_id, "place": place}))
        return [row["id"] for row in json.loads(value)]

    assert press(waiting[1], 1) == waiting[::-1]
    assert press(waiting[1], 1) == waiting[::-1], "pressed twice is pressed once"
    assert press(waiting[1], 0) == waiting[:1]
    assert press(waiting[1], 0) == waiting[:1]
    assert "does not wait" in warned[-1]
    assert press("<b>", 1) == waiting[:1]
    assert "There is no run" in warned[-1]


def test_an_app_beside_another_shows_its_queue_and_says_that_it_only_reads(
    services: Services, going: Run, config: TrainConfig
) -> None:
    waiting = services.runner.start(config).run_id
    assert services.store.claim()
    second = Services(data_dir=services.data_dir, runs_dir=services.store.runs_dir)
    try:
        assert not second.store.claim()
        assert second.reads_only
        assert second.queued() == (waiting,)
        assert [row["run_id"] for row in queue_rows(second)] == [waiting]
        assert handlers(lambda: reading_note(services)) == {}
        assert "only shows what is there" in handlers(lambda: reading_note(second))["told"](None)
    finally:
        second.shutdown()
        services.store.release()
    third = RunStore(services.store.runs_dir)
    assert third.claim(), "an app that ends gives the folder back"
    third.release()
