"""`/switch_off`: what a model answers without some branches or skips, for programs."""

import dataclasses
from typing import Any

import gradio as gr

from demo.sentences import failing_for_programs
from demo.services import Services
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage
from resnet_core.errors import ConfigError


def add_switching(services: Services, trigger: Any, photo: Any, model: Any, answer: Any) -> None:
    """Registers the end point; picture and model come through components that are there already."""
    without_branch = gr.JSON([], label="without_branch", visible=False)
    without_skip = gr.JSON([], label="without_skip", visible=False)

    @failing_for_programs
    def switch_off(
        image: ReadImage | None, without_branch: list[str], without_skip: list[str], model: str
    ) -> dict[str, Any]:
        if image is None:
            raise ConfigError("Send a picture.")
        return switched_json(services, image, _names(without_branch), _names(without_skip), model)

    asked = [photo, without_branch, without_skip, model]
    trigger.click(switch_off, asked, answer, api_name="switch_off", concurrency_id=HEAVY, concurrency_limit=2)


def switched_json(
    services: Services, photo: ReadImage, without_branch: list[str], without_skip: list[str], model: str
) -> dict[str, Any]:
    """All probabilities before and after, the most probable first; and which blocks can be switched."""
    from resnet_core.activations.residual import list_blocks
    from resnet_core.activations.switching import compare_answers, switches

    off, classifier = switches(without_branch, without_skip), services.classifier(model)

    def work() -> dict[str, Any]:
        twin = services.private_copies.of(classifier)
        switched = compare_answers(twin, photo.image, off)
        both = {"before": switched.before, "after": switched.after}
        told = {key: [dataclasses.asdict(each) for each in result.predictions] for key, result in both.items()}
        return {"model": model, "off": off, "blocks": list(list_blocks(twin.model)), **told}

    return services.desk.run(work)


def _names(given: Any) -> list[str]:
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ConfigError('Blocks are a list of names, like ["layer2.1"].')
    return given
