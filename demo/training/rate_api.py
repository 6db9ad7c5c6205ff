"""`/find_learning_rate` and `/preview_training`: what a run will be, for programs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import gradio as gr

from demo.sentences import failing_for_programs
from demo.services import Services
from demo.training.form_values import shareable_event
from demo.training.rate_section import SCANS, scan_rates
from resnet_core.data.datasets import load_dataset
from resnet_core.training.config import TrainConfig

Asked = Callable[[str | None, dict[str, Any] | None], TrainConfig]


def add_rate_api(services: Services, asked: Asked) -> None:
    """Registers them; `asked` makes a config of what a call names, or refuses."""

    @failing_for_programs
    def find_learning_rate(dataset: str | None = None, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        scan, config = scan_rates(services, asked(dataset, settings))
        return {**dataclasses.asdict(scan), "schedule": config.schedule}

    @failing_for_programs
    def preview_training(dataset: str | None = None, settings: dict[str, Any] | None = None) -> dict[str, Any]:
        services.ready()
        from resnet_core.device import choose_device
        from resnet_core.training.preview import preview

        config = asked(dataset, settings)
        spec = load_dataset(config.dataset, data_dir=services.data_dir, seed=config.seed)
        where = choose_device("auto" if config.device == "all" else config.device, precision=config.precision)
        told = preview(config, spec, where).to_json()
        return shareable_event(told, local=services.local)

    gr.api(find_learning_rate, api_name="find_learning_rate", **SCANS)
    gr.api(preview_training, api_name="preview_training", concurrency_limit=2)
