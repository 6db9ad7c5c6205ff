"""The end points /grad_cam and /trust_heat_map: where a network looked, and whether that may be trusted."""

from typing import Any

import gradio as gr
from PIL import Image

from demo.maps.heat_picture import heat_picture
from demo.sentences import failing_for_programs
from demo.services import Services
from demo.turns import HEAVY
from resnet_core.data.images import ReadImage, display_name
from resnet_core.errors import ConfigError

DEEPEST = "layer4"


def add_heat_api(
    services: Services, trigger: Any, photo: Any, model: Any, label: Any, picture: Any, answer: Any
) -> None:
    """Registers both end points; the hidden components are those of demo/api.py."""
    layer = gr.Textbox(DEEPEST, label="layer", visible=False)
    against = gr.Textbox("", label="against", visible=False)
    method = gr.Textbox("gradcam", label="method", visible=False)

    @failing_for_programs
    def grad_cam(
        image: ReadImage, layer: str, label: str, model: str, against: str, method: str
    ) -> tuple[Image.Image, Any]:
        classifier = services.classifier(model)
        names = classifier.class_names
        check_classes(names, label, against)
        chosen = label or _answered(services, image, model)
        index, other = names.index(chosen), names.index(against) if against else None
        heat = heat_picture(services, classifier, _required(image), layer, index, other, method)
        facts = {"layer": layer, "model": model, "label": chosen}
        facts |= {"method": method} if method != "gradcam" else {}
        return heat, {**facts, "against": against} if against else facts

    @failing_for_programs
    def trust_heat_map(image: ReadImage, layer: str, label: str, model: str, method: str) -> dict[str, Any]:
        from resnet_core.activations.heat import trust_heat

        classifier = services.classifier(model)
        check_classes(classifier.class_names, label)
        chosen = label or _answered(services, image, model)
        inputs = classifier.checkpoint.preprocessing(_required(image).image)[None]
        index = classifier.class_names.index(chosen)
        test = trust_heat(classifier.model, inputs, layer, index, method=method, in_turn=services.desk.run)
        return {"layer": layer, "model": model, "label": chosen, "method": method, **test.to_json()}

    heavy: dict[str, Any] = {"concurrency_id": HEAVY, "concurrency_limit": 2}
    asked = [photo, layer, label, model]
    trigger.click(grad_cam, [*asked, against, method], [picture, answer], api_name="grad_cam", **heavy)
    trigger.click(trust_heat_map, [*asked, method], answer, api_name="trust_heat_map", **heavy)


def check_classes(class_names: tuple[str, ...], *labels: str) -> None:
    """Raises ConfigError for a class the model lacks; "" stands for none."""
    unknown = next((label for label in labels if label and label not in class_names), None)
    if unknown is not None:
        raise ConfigError(f"This model has no class “{display_name(unknown)}”; it has {', '.join(class_names[:10])}.")


def _answered(services: Services, image: ReadImage, model: str) -> str:
    return services.classify(model, _required(image).image, top_k=1).predictions[0].label


def _required(image: ReadImage | None) -> ReadImage:
    if image is None:
        raise ConfigError("Send a picture.")
    return image
