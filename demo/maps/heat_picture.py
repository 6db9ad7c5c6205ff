"""A heat map over the square that the network saw, for the API."""

from functools import partial
from typing import Any

from PIL import Image

from demo.services import Services
from resnet_core.data.images import ReadImage

HEAT_SIZE = 336  # px of the picture under a heat map; the network's own square would be a stamp


def heat_picture(
    services: Services,
    classifier: Any,
    photo: ReadImage,
    layer: str,
    class_index: int | None = None,
    against: int | None = None,
    method: str = "gradcam",
) -> Image.Image:
    """The heat map of a class (the answer, if None) by that method over the square the network saw, or why it and not
    `against`; only the passes of the network are done at the desk.

    Raises ConfigError for another method, ModelError for a layer without places.
    """
    from resnet_core.activations.contrast import contrast_map, contrast_overlay
    from resnet_core.activations.gradcam import overlay
    from resnet_core.activations.heat import heat_map

    preprocessing = classifier.checkpoint.preprocessing
    inputs, model, in_turn = preprocessing(photo.image)[None], classifier.model, services.desk.run
    square = preprocessing.square(photo.image).resize((HEAT_SIZE, HEAT_SIZE), Image.Resampling.BICUBIC)
    if class_index is None or against is None:
        return overlay(square, heat_map(model, inputs, layer, class_index, method=method, in_turn=in_turn).heat)
    return contrast_overlay(square, in_turn(partial(contrast_map, model, inputs, layer, class_index, against))[0])
