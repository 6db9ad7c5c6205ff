"""End points of the run history for programs; same names and results as `runs` on the command line."""

import dataclasses
from typing import Any

import gradio as gr

from demo.sentences import failing_for_programs
from demo.services import Services
from resnet_core.errors import ConfigError


def add_history_api(services: Services) -> None:
    """Registers the end points inside the current Blocks."""

    @failing_for_programs
    def list_runs(search: str = "") -> list[dict[str, Any]]:
        return [dataclasses.asdict(summary) for summary in services.store.search(search)]

    @failing_for_programs
    def rename_run(run_id: str, name: str) -> dict[str, Any]:
        return _noted(services, run_id, name=name)

    @failing_for_programs
    def note_run(run_id: str, note: str) -> dict[str, Any]:
        return _noted(services, run_id, note=note)

    @failing_for_programs
    def tag_run(run_id: str, tags: list[str]) -> dict[str, Any]:
        return _noted(services, run_id, tags=tags)

    @failing_for_programs
    def delete_run(run_id: str) -> dict[str, Any]:
        services.store.delete(run_id)
        return {"run_id": run_id, "in_bin": True}

    @failing_for_programs
    def restore_run(run_id: str) -> dict[str, Any]:
        return {"run_id": services.store.restore(_text(run_id)).run_id, "in_bin": False}

    for end_point in (list_runs, rename_run, note_run, tag_run, delete_run, restore_run):
        gr.api(end_point, api_name=end_point.__name__, queue=False)


def _noted(services: Services, run_id: str, **notes: object) -> dict[str, Any]:
    return {"run_id": run_id, **dataclasses.asdict(services.store.describe(run_id, **notes))}


def _text(run_id: object) -> str:
    if not isinstance(run_id, str):
        raise ConfigError("Name the run by its id.")
    return run_id
