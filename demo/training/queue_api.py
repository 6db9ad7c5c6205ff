"""The named end points of the queue and of branches: list_queue, move_in_queue, drop_from_queue, fork_run."""

import contextlib
from collections.abc import Iterator
from typing import Any

import gradio as gr

from demo.sentences import failing_for_programs
from demo.services import Services
from demo.training.form_values import check_name
from demo.training.queue_section import queue_rows
from resnet_core.errors import ConfigError, DataChangedError, RunError


def add_queue_api(services: Services) -> None:
    """Registers the end points inside the current Blocks."""

    @failing_for_programs
    def list_queue() -> list[dict[str, Any]]:
        return queue_rows(services)

    @failing_for_programs
    def move_in_queue(run_id: str, place: int) -> list[dict[str, Any]]:
        services.runner.move(run_id, _whole(place, "place"))
        return queue_rows(services)

    @failing_for_programs
    def drop_from_queue(run_id: str) -> list[dict[str, Any]]:
        services.runner.drop(run_id)
        return queue_rows(services)

    @failing_for_programs
    def fork_run(
        run_id: str, epoch: int, settings: dict[str, Any] | None = None, anyway: bool = False
    ) -> dict[str, Any]:
        if not isinstance(settings, dict | None):
            raise ConfigError('settings must be an object of names and values, like {"learning_rate": 0.01}.')
        given = {str(name): value for name, value in (settings or {}).items()}
        if "anyway" in given:
            raise ConfigError("anyway is no setting; give it beside them.")
        check_name(given.get("name"))
        with advising_anyway():
            begun = services.runner.fork(run_id, _whole(epoch, "epoch"), anyway=flag(anyway, "anyway"), **given)
        return {"run_id": begun.run_id, "queued": begun.run_id in services.queued()}

    for end_point in (list_queue, move_in_queue, drop_from_queue, fork_run):
        gr.api(end_point, api_name=end_point.__name__, queue=False)


@contextlib.contextmanager
def advising_anyway() -> Iterator[None]:
    """Inside, pictures that have changed are told together with the way to go on all the same."""
    try:
        yield
    except DataChangedError as error:
        raise RunError(f"{error} Call again with anyway=true to go on with them as they are now.") from error


def flag(value: Any, name: str) -> bool:
    """The value itself; a text that looks like one is refused: in Python even “false” would count as true."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false.")
    return value


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0 or value < 1:
        raise ConfigError(f"{name} must be a whole number from 1 on.")
    return int(value)
