"""What programs may ask of `/start_training`, and what they are told of a run, here and from elsewhere."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from demo.api import add_api
from demo.examples import RENDERED
from demo.services import Services
from resnet_core.data.images import read_image_with_notes
from resnet_core.errors import ConfigError
from resnet_core.processor import read_cores
from resnet_core.training.config import TrainConfig
from resnet_core.training.control import Control
from resnet_core.training.runner import Runner


@pytest.fixture(scope="module")
def calls(services: Services) -> dict[str, Callable[..., Any]]:
    """The end points by name."""

    async def made() -> gr.Blocks:  # outside a loop Gradio opens two and never closes them
        with gr.Blocks() as page:
            add_api(services)
        return page

    functions = [function.fn for function in asyncio.run(made()).fns.values() if function.fn]
    return {function.__name__: function for function in functions}


@pytest.fixture
def started(services: Services, monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The settings of what was started; it is made, and not trained."""
    begun: list[TrainConfig] = []

    def start(runner: Runner, config: TrainConfig) -> Any:
        begun.append(config)
        return services.store.create(config)

    monkeypatch.setattr(Runner, "start", start)
    return begun


@pytest.fixture
def elsewhere(services: Services) -> Iterator[None]:
    services.local = False
    yield
    services.local = True


def test_where_a_run_came_from_is_not_for_a_program_to_say(
    calls: dict[str, Callable[..., Any]], started: list[TrainConfig]
):
    calls["start_training"]("rendered-flowers", {"forked_from": "20260101-000000-x/3", "epochs": 2})
    assert (started[0].forked_from, started[0].epochs) == ("", 2)


def test_a_name_that_no_list_has_room_for_starts_nothing(
    calls: dict[str, Callable[..., Any]], started: list[TrainConfig]
):
    calls["start_training"]("rendered-flowers", {"name": "x" * 80})
    with pytest.raises(gr.Error, match="at most 80 characters"):
        calls["start_training"]("rendered-flowers", {"name": "x" * 81})
    assert [len(config.name) for config in started] == [80]


@pytest.mark.parametrize("odd", [None, 5, {}, ["x"], True, 1e400])
@pytest.mark.parametrize("here", [True, False])
def test_an_argument_of_another_kind_is_a_sentence(
    services: Services,
    calls: dict[str, Callable[..., Any]],
    started: list[TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    odd: Any,
    here: bool,
):
    monkeypatch.setattr(services, "local", here)
    asked: list[tuple[str, tuple[Any, ...]]] = [
        *((name, (odd,)) for name in ("run_events", "pause_training", "resume_training", "stop_training")),
        *((name, (odd,)) for name in ("delete_run", "restore_run", "describe_model", "drop_from_queue")),
        *((name, (odd, {})) for name in ("change_training", "fork_run", "move_in_queue")),
        *((name, (odd, "x")) for name in ("rename_run", "note_run", "tag_run")),
        *(("start_training", (odd,)),) * (odd is not None),
    ]
    photo = read_image_with_notes(RENDERED[0])
    for name, arguments in (*asked, ("classify", (photo, odd, 3))):
        with pytest.raises(gr.Error) as refused:
            calls[name](*arguments)
        assert "unexpected" not in str(refused.value), name
    assert started == []


def test_a_text_that_looks_like_yes_or_no_is_neither(services: Services, calls: dict[str, Callable[..., Any]]):
    for name, arguments in (
        ("stop_training", ("x", "false")),
        ("resume_training", ("x", "true")),
        ("fork_run", ("x", 1, {}, 1)),
        ("describe_model", ("resnet18", 0, 0, "false")),
    ):
        with pytest.raises(gr.Error, match=r"(after_epoch|anyway|as_published) must be true or false\."):
            calls[name](*arguments)


@pytest.mark.parametrize("settings", [{"run_id": "x"}, {"self": 1}])
def test_a_setting_called_like_an_argument_is_refused_like_any_other(
    services: Services, calls: dict[str, Callable[..., Any]], monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
):
    monkeypatch.setattr(Runner, "_require", lambda runner, run_id: None)
    with pytest.raises(gr.Error, match=f"{next(iter(settings))} cannot change while a run is on"):
        calls["change_training"]("x", settings)
    with pytest.raises(ConfigError, match="cannot change"):
        Control().change(**settings)


def test_a_preset_is_trained_on_its_own_pictures_unless_others_are_named(
    calls: dict[str, Callable[..., Any]], started: list[TrainConfig]
):
    calls["start_training"](settings={"preset": "tutorial-cifar10"})
    calls["start_training"](None, {"preset": "tutorial-flowers"})
    calls["start_training"]("rendered-flowers", {"preset": "tutorial-flowers"})
    calls["start_training"]()
    assert [config.dataset for config in started] == ["cifar10", "flower_photos", *["rendered-flowers"] * 2]
    assert [config.preset for config in started][:2] == ["tutorial-cifar10", "tutorial-flowers"]
    with pytest.raises(gr.Error, match="data set"):
        calls["preview_training"]("", {"preset": "tutorial-flowers"})


def test_the_tutorial_s_faulty_network_is_described_too(calls: dict[str, Callable[..., Any]]):
    sound, faulty = (calls["describe_model"]("tutorial-cifar", 32, 10, flag) for flag in (False, True))
    assert faulty["parameters"] < sound["parameters"]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("field", ["processes", "num_threads"])
def test_a_program_elsewhere_gets_no_more_than_the_machine_has(
    calls: dict[str, Callable[..., Any]], started: list[TrainConfig], field: str
):
    for end_point in ("start_training", "preview_training"):
        with pytest.raises(gr.Error, match=f"{field} must be at most"):
            calls[end_point]("rendered-flowers", {field: read_cores().usable + 1})
    assert started == []


@pytest.mark.usefixtures("elsewhere")
def test_the_events_of_a_run_name_no_folder_to_people_elsewhere(
    services: Services, calls: dict[str, Callable[..., Any]], meadow: Path
):
    settings = {"dataset": str(meadow), "model": "resnet8", "image_size": 16, "epochs": 1, "num_threads": 1}
    run = services.runner.start(TrainConfig(**settings, device="cpu"))
    assert services.runner.wait(120)
    told = calls["run_events"](run.run_id)
    begun = next(event for event in told["events"] if event["event"] == "RunStarted")
    assert begun["settings"]["dataset"] == "meadow"
    assert str(meadow.parent) not in str(told)
    services.local = True
    assert str(meadow) in str(calls["run_events"](run.run_id))
